//! The web dashboard, as the server hands it to browsers.
//!
//! `web/` holds plain ES modules and a style sheet, written by hand; the build script compresses each into the binary.
//! In the browser they call the public API as any client does, with the user's own credentials, and so show what that
//! user may see. Never here: HTTP, and anything that the API does not give to everybody.

/// One file for the browser.
#[derive(Debug)]
pub struct File {
    /// Its path below the dashboard's own, such as `app.js`.
    pub path: &'static str,
    /// The value of `Content-Type`.
    pub content_type: &'static str,
    /// Its entity tag, in quotes; another one whenever the content is.
    pub tag: &'static str,
    /// The content, in gzip.
    pub gzip: &'static [u8],
}

/// All files, sorted by path.
static FILES: &[File] = include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// Where the dashboard is served, without a slash at the end.
pub const ROOT: &str = "/ui";

/// What the page may do: load its own files, and call the server that it came from. Nothing is inline, nothing comes
/// from elsewhere, nothing can be framed.
///
/// *Source:* Content Security Policy Level 3; `'self'` of `connect-src` covers WebSockets of the same origin.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The file of a path below [`ROOT`]; the empty path is the page itself.
#[must_use]
pub fn file(path: &str) -> Option<&'static File> {
    let path = if path.is_empty() { "index.html" } else { path };
    let found = FILES.binary_search_by(|file| file.path.cmp(path)).ok()?;
    FILES.get(found)
}

/// All files that there are.
#[must_use]
pub fn files() -> &'static [File] {
    FILES
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    /// Bytes that the whole dashboard may take on the wire: a second on a slow line, and the promise of
    /// `specs/decisions.md`.
    const TRANSFER_BYTES_MAX: usize = 300 * 1024;

    fn text(file: &File) -> String {
        let mut text = String::new();
        flate2::read::GzDecoder::new(file.gzip).read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn the_page_is_there_and_small() {
        assert_eq!(file("").map(|file| file.path), Some("index.html"));
        assert!(file("../Cargo.toml").is_none() && file("none.js").is_none());
        let bytes: usize = files().iter().map(|file| file.gzip.len()).sum();
        assert!(bytes <= TRANSFER_BYTES_MAX, "{bytes} bytes");
    }

    #[test]
    fn every_module_is_there_and_preloaded() {
        let page = text(file("").unwrap());
        for file in files().iter().filter(|file| file.path.ends_with(".js")) {
            let source = text(file);
            for import in source.lines().filter(|line| line.starts_with("import ")) {
                let name = import.split('"').nth(1).unwrap_or_default();
                let name = name.strip_prefix("./").unwrap_or(name);
                assert!(self::file(name).is_some(), "{}: {import}", file.path);
            }
            assert!(page.contains(&format!("href=\"{}\"", file.path)), "{}", file.path);
        }
    }

    #[test]
    fn nothing_comes_from_elsewhere_and_no_text_becomes_markup() {
        for file in files() {
            let text = text(file);
            for never in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "eval(",
                "new Function",
                "document.write",
            ] {
                assert!(!text.contains(never), "{}: {never}", file.path);
            }
            let foreign = text.match_indices("://").filter(|(at, _)| {
                let before = text.get(..*at).unwrap_or_default();
                let after = text.get(at + 3..).unwrap_or_default();
                let is_link = before.ends_with("https")
                    || before.ends_with("http")
                    || before.ends_with("wss");
                is_link && !after.starts_with("www.w3.org/") && !after.starts_with(['$', '`', '"'])
            });
            assert_eq!(foreign.count(), 0, "{} names another host", file.path);
        }
    }
}
