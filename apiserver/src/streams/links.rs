//! Links of a page that came through a proxy: those to a path of the page's server lead through the proxy again,
//! since a browser takes them for paths of the API server. Pure.
//!
//! *Source:* `Transport` of `k8s.io/apimachinery/pkg/util/proxy`; unlike there, links that name a host stay as they
//! are, and a page is passed on while it comes. However small a page was packed, it is never unpacked as a whole.

use std::io::{self, Write as _};

use bytes::{Buf as _, Bytes};
use flate2::write::MultiGzDecoder;

/// Bytes of a tag that are held back until its end has come. A longer one is passed on as it is.
const TAG_BYTES_MAX: usize = 64 << 10;

/// Bytes of a packed page that are unpacked in a step. A byte becomes at most 1,032 (*Source:* RFC 1951, two bits for 258
/// bytes), so what a step gives is about 1 MiB at most.
const PACKED_BYTES_MAX: usize = 1 << 10;

/// Bytes of a page that was not packed that are looked at in a step: links get longer, so that what comes out is more.
const PLAIN_BYTES_MAX: usize = 64 << 10;

/// Which attributes of which elements are links.
///
/// *Source:* the index of attributes of HTML 4.01 and of the HTML standard.
const LINKS: [(&str, &[&str]); 25] = [
    ("a", &["href"]),
    ("applet", &["codebase"]),
    ("area", &["href"]),
    ("audio", &["src"]),
    ("base", &["href"]),
    ("blockquote", &["cite"]),
    ("body", &["background"]),
    ("button", &["formaction"]),
    ("del", &["cite"]),
    ("embed", &["src"]),
    ("form", &["action"]),
    ("frame", &["longdesc", "src"]),
    ("head", &["profile"]),
    ("html", &["manifest"]),
    ("iframe", &["longdesc", "src"]),
    ("img", &["longdesc", "src", "usemap"]),
    ("input", &["src", "usemap", "formaction"]),
    ("ins", &["cite"]),
    ("link", &["href"]),
    ("object", &["classid", "codebase", "data", "usemap"]),
    ("q", &["cite"]),
    ("script", &["src"]),
    ("source", &["src"]),
    ("track", &["src"]),
    ("video", &["poster", "src"]),
];

/// Elements whose content is no markup, with what ends them.
const RAW: [(&str, &[u8]); 4] = [
    ("script", b"</script"),
    ("style", b"</style"),
    ("textarea", b"</textarea"),
    ("title", b"</title"),
];

/// Rewrites a page piece by piece.
pub(super) struct Links {
    /// What is put before a path, fit for an attribute.
    outer: Vec<u8>,
    /// What came and was not looked at.
    input: Bytes,
    /// The beginning of something whose end has not come.
    held: Vec<u8>,
    /// How far that was looked at, when it is a tag.
    scan: TagScan,
    /// What ends the part that is no markup.
    until: Option<&'static [u8]>,
    /// Unpacks a page that was packed.
    unpack: Option<MultiGzDecoder<Vec<u8>>>,
}

impl Links {
    /// For a page that is reached below the path `outer`, which has no slash at its end.
    pub(super) fn new(outer: &str, is_gzip: bool) -> Self {
        let mut escaped = Vec::with_capacity(outer.len());
        for byte in outer.bytes() {
            match byte {
                b'&' => escaped.extend(b"&amp;"),
                b'"' => escaped.extend(b"&quot;"),
                b'\'' => escaped.extend(b"&#39;"),
                b'<' => escaped.extend(b"&lt;"),
                b'>' => escaped.extend(b"&gt;"),
                byte => escaped.push(byte),
            }
        }
        Self {
            outer: escaped,
            input: Bytes::new(),
            held: Vec::new(),
            scan: TagScan::default(),
            until: None,
            unpack: is_gzip.then(|| MultiGzDecoder::new(Vec::new())),
        }
    }

    /// Takes the next piece, after all [`step`](Self::step)s of the one before.
    pub(super) fn push(&mut self, piece: Bytes) {
        self.input = piece;
    }

    /// Looks at a little of the piece and gives what is ready, if only nothing; `None` when all of the piece was looked at.
    ///
    /// # Errors
    /// When a packed page cannot be unpacked.
    pub(super) fn step(&mut self) -> io::Result<Option<Vec<u8>>> {
        if self.input.is_empty() {
            return Ok(None);
        }
        let most = if self.unpack.is_some() { PACKED_BYTES_MAX } else { PLAIN_BYTES_MAX };
        let part = self.input.slice(..most.min(self.input.len()));
        let taken = match &mut self.unpack {
            None => {
                self.held.extend_from_slice(&part);
                part.len()
            }
            Some(unpack) => {
                let taken = unpack.write(&part)?;
                self.held.append(unpack.get_mut());
                taken
            }
        };
        if taken == 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.input.advance(taken);
        Ok(Some(self.ready()))
    }

    /// Gives the rest, after all steps of the last piece.
    ///
    /// # Errors
    /// When a packed page is not whole.
    pub(super) fn end(&mut self) -> io::Result<Vec<u8>> {
        if let Some(unpack) = &mut self.unpack {
            unpack.try_finish()?;
            self.held.append(unpack.get_mut());
        }
        let mut ready = self.ready();
        ready.append(&mut self.held);
        Ok(ready)
    }

    fn ready(&mut self) -> Vec<u8> {
        let mut held = std::mem::take(&mut self.held);
        let (mut out, mut done) = (Vec::new(), 0);
        while let Some(rest) = held.get(done..)
            && let Some(length) = self.token(rest, &mut out).filter(|length| *length > 0)
        {
            done += length;
        }
        held.drain(..done);
        self.held = held;
        out
    }

    /// Writes what `rest` begins with, and gives its length; `None` when its end has not come.
    fn token(&mut self, rest: &[u8], out: &mut Vec<u8>) -> Option<usize> {
        let length = if let Some(end) = self.until {
            let found = rest.windows(end.len()).position(|part| part.eq_ignore_ascii_case(end));
            if found.is_some() {
                self.until = None;
            }
            found.unwrap_or((rest.len() + 1).saturating_sub(end.len()))
        } else if rest.first()? != &b'<' {
            rest.iter().position(|byte| *byte == b'<').unwrap_or(rest.len())
        } else if rest.starts_with(b"<!--") {
            self.until = Some(b"-->");
            4
        } else if b"<!--".starts_with(rest) {
            return None;
        } else if rest.get(1)?.is_ascii_alphabetic() {
            return self.tag(rest, out);
        } else {
            1
        };
        // What ends a part that is no markup may begin right here: then it is looked at once more, as markup.
        out.extend_from_slice(rest.get(..length)?);
        if length == 0 && self.until.is_none() { self.token(rest, out) } else { Some(length) }
    }

    /// Does so for a tag.
    fn tag(&mut self, rest: &[u8], out: &mut Vec<u8>) -> Option<usize> {
        let found = self.scan.end_of(rest)?;
        self.scan = TagScan::default();
        let (End::Found(length) | End::TooFar(length)) = found;
        let tag = rest.get(..length)?;
        match found {
            End::Found(_) => {
                let name = name_of(tag);
                self.until = RAW.iter().find(|(raw, _)| *raw == name).map(|(_, end)| *end);
                self.write_tag(tag, &name, out);
            }
            End::TooFar(_) => out.extend_from_slice(tag),
        }
        Some(length)
    }

    fn write_tag(&self, tag: &[u8], name: &str, out: &mut Vec<u8>) {
        let links = LINKS.iter().find(|(element, _)| *element == name);
        let mut done = 0;
        for (attribute, value) in attributes(tag) {
            let is_link = links.is_some_and(|(_, all)| all.contains(&attribute.as_str()));
            let path = tag.get(value..).unwrap_or_default();
            let is_path = path.starts_with(b"/") && !path.starts_with(b"//");
            if is_link && is_path && !path.starts_with(&self.outer) {
                out.extend_from_slice(tag.get(done..value).unwrap_or_default());
                out.extend_from_slice(&self.outer);
                done = value;
            }
        }
        out.extend_from_slice(tag.get(done..).unwrap_or_default());
    }
}

/// How far a tag was looked at whose end has not come, so that no byte of it is looked at twice.
#[derive(Default)]
struct TagScan {
    /// Bytes that were looked at.
    at: usize,
    /// The quote that is open there.
    quote: Option<u8>,
}

/// How long a tag is.
enum End {
    /// It ends after so many bytes.
    Found(usize),
    /// It has not ended within the bytes that a tag may have.
    TooFar(usize),
}

impl TagScan {
    /// Looks on for the end, which is not in quotes, of the tag that the text begins with; `None` when it has not come.
    fn end_of(&mut self, text: &[u8]) -> Option<End> {
        let most = text.len().min(TAG_BYTES_MAX);
        for byte in text.get(self.at..most)? {
            self.at += 1;
            match (self.quote, byte) {
                (None, b'>') => return Some(End::Found(self.at)),
                (None, b'"' | b'\'') => self.quote = Some(*byte),
                (Some(open), byte) if open == *byte => self.quote = None,
                (None | Some(_), _) => {}
            }
        }
        (most == TAG_BYTES_MAX).then_some(End::TooFar(most))
    }
}

fn ends_name(byte: u8) -> bool {
    byte.is_ascii_whitespace() || matches!(byte, b'/' | b'>' | b'=')
}

fn name_of(tag: &[u8]) -> String {
    let name = tag.iter().skip(1).take_while(|byte| !ends_name(**byte));
    name.map(|byte| char::from(byte.to_ascii_lowercase())).collect()
}

/// The attributes of a tag that have values: their names in lower case, and where the values begin.
fn attributes(tag: &[u8]) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    let skip = |from: usize, skipped: fn(u8) -> bool| {
        let length = tag.iter().skip(from).take_while(|byte| skipped(**byte)).count();
        from + length
    };
    let mut at = skip(1, |byte| !ends_name(byte));
    loop {
        let begin = skip(at, |byte| byte.is_ascii_whitespace() || matches!(byte, b'/' | b'='));
        let end = skip(begin, |byte| !ends_name(byte));
        if end == begin {
            return found;
        }
        let name = tag.get(begin..end).unwrap_or_default().to_ascii_lowercase();
        let equals = skip(end, |byte| byte.is_ascii_whitespace());
        if tag.get(equals) != Some(&b'=') {
            at = equals;
            continue;
        }
        let value = skip(equals + 1, |byte| byte.is_ascii_whitespace());
        let (value, after) = match tag.get(value) {
            Some(b'"') => (value + 1, skip(value + 1, |byte| byte != b'"') + 1),
            Some(b'\'') => (value + 1, skip(value + 1, |byte| byte != b'\'') + 1),
            _ => (value, skip(value, |byte| !byte.is_ascii_whitespace() && byte != b'>')),
        };
        found.push((String::from_utf8_lossy(&name).into_owned(), value));
        at = after;
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;

    /// The page as it comes out, whole and in pieces of each size, packed and not.
    fn check(page: &str, expected: &str) {
        for size in [page.len().max(1), 1, 3] {
            for is_gzip in [false, true] {
                assert_eq!(rewritten(page.as_bytes(), size, is_gzip), expected, "{size}");
            }
        }
    }

    fn rewritten(page: &[u8], size: usize, is_gzip: bool) -> String {
        let packed = packed(page);
        let bytes = if is_gzip { &packed[..] } else { page };
        let mut links = Links::new("/proxy", is_gzip);
        let mut out = Vec::new();
        bytes.chunks(size).for_each(|piece| out.extend(pushed(&mut links, piece).unwrap()));
        out.extend(links.end().unwrap());
        String::from_utf8(out).unwrap()
    }

    fn pushed(links: &mut Links, piece: &[u8]) -> io::Result<Vec<u8>> {
        links.push(Bytes::copy_from_slice(piece));
        let mut out = Vec::new();
        while let Some(ready) = links.step()? {
            out.extend(ready);
        }
        Ok(out)
    }

    fn packed(page: &[u8]) -> Vec<u8> {
        let mut packed = GzEncoder::new(Vec::new(), Compression::best());
        packed.write_all(page).unwrap();
        packed.finish().unwrap()
    }

    #[test]
    fn links_to_paths_lead_through_the_proxy() {
        check(r#"<a href="/x">t</a>"#, r#"<a href="/proxy/x">t</a>"#);
        check("<A class=c HREF = '/x' >", "<A class=c HREF = '/proxy/x' >");
        check("<img alt=\"a > b\" src=/i.png>", "<img alt=\"a > b\" src=/proxy/i.png>");
        check("<script src=/a.js></script>", "<script src=/proxy/a.js></script>");
        check("<video poster=/p src=\"/v\"/><p>", "<video poster=/proxy/p src=\"/proxy/v\"/><p>");
    }

    #[test]
    fn everything_else_stays_as_it_is() {
        for page in [
            "",
            "1 < 2 > 0 <",
            "<a href=\"x\"><a href=\"//host/x\"><a href=\"http://host/x\">",
            "<a href=\"/proxy/x\">",
            "<p href=\"/x\"><a title=\"/x\" href>",
            "<!-- <a href=\"/x\"> -->",
            "<script>let a = '<a href=\"/x\">';</script>",
            "<title><a href=\"/x\"></title>",
            "<a href=\"/never ends",
            "</a href=\"/x\">",
        ] {
            check(page, page);
        }
    }

    #[test]
    fn markup_goes_on_after_what_is_none() {
        check(
            "<!-- --><a href=/x><STYLE></Style><a href=/y>",
            "<!-- --><a href=/proxy/x><STYLE></Style><a href=/proxy/y>",
        );
    }

    #[test]
    fn a_tag_that_is_too_long_is_passed_on() {
        let page = format!("<a title=\"{}\" href=\"/x\">", "x".repeat(2 * TAG_BYTES_MAX));
        assert_eq!(rewritten(page.as_bytes(), 1_000, false), page);
        let tag = |length: usize| format!("<a title={} href=/x>", "x".repeat(length - 18));
        let (longest, longer) = (tag(TAG_BYTES_MAX), tag(TAG_BYTES_MAX + 1));
        check(&longest, &longest.replace("/x", "/proxy/x"));
        check(&longer, &longer);
    }

    #[test]
    fn what_was_seen_of_a_tag_is_not_looked_at_again() {
        let mut links = Links::new("/proxy", false);
        assert_eq!(pushed(&mut links, b"<a title='x href=/x").unwrap(), b"");
        assert_eq!((links.scan.at, links.scan.quote), (19, Some(b'\'')));
        // An end where it looked already would be found only by looking there once more.
        links.held[2] = b'>';
        assert_eq!(pushed(&mut links, b"y").unwrap(), b"");
        assert_eq!((links.scan.at, links.held.len()), (20, 20));
        assert_eq!(pushed(&mut links, b"'>").unwrap(), b"<a>title='x href=/xy'>");
        assert_eq!((links.scan.at, links.held.len()), (0, 0));
    }

    /// The most that came out of a step, and that was held after it.
    fn most_of(page: &[u8], expected: usize) -> (usize, usize) {
        let mut links = Links::new("/proxy", true);
        links.push(Bytes::from(packed(page)));
        let (mut sum, mut most) = (0, (0, 0));
        while let Some(ready) = links.step().unwrap() {
            sum += ready.len();
            most = (most.0.max(ready.len()), most.1.max(links.held.len()));
        }
        assert_eq!(sum + links.end().unwrap().len(), expected);
        most
    }

    #[test]
    fn a_page_that_was_packed_small_is_never_there_as_a_whole() {
        let size = 32 << 20;
        let zeros = vec![0; size];
        let tag = [b"<a ".as_slice(), &zeros].concat();
        for (page, held_max) in [(zeros, 0), (tag, TAG_BYTES_MAX)] {
            let (out, held) = most_of(&page, page.len());
            // What a step unpacks, and with it what was held before.
            assert!(out <= (1_032 * PACKED_BYTES_MAX) + TAG_BYTES_MAX, "{out}");
            assert!(held <= held_max, "{held}");
        }
    }

    #[test]
    fn a_page_may_be_packed_in_several_members() {
        let members = [b"<a hr".as_slice(), b"", b"ef=/x>"].map(packed).concat();
        for size in [members.len(), 1, 7] {
            let mut links = Links::new("/proxy", true);
            let pieces = members.chunks(size).map(|piece| pushed(&mut links, piece).unwrap());
            let mut out = pieces.collect::<Vec<_>>().concat();
            out.extend(links.end().unwrap());
            assert_eq!(String::from_utf8(out).unwrap(), "<a href=/proxy/x>");
        }
        let mut links = Links::new("/proxy", true);
        pushed(&mut links, &members[..members.len() - 1]).unwrap();
        assert!(links.end().is_err());
        assert!(pushed(&mut Links::new("/proxy", true), b"no gzip at all").is_err());
    }

    #[test]
    fn a_path_is_no_way_out_of_its_attribute() {
        let mut links = Links::new("/a\"'<&>", false);
        let out = pushed(&mut links, b"<a href=\"/x\">").unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "<a href=\"/a&quot;&#39;&lt;&amp;&gt;/x\">");
    }

    proptest! {
        #[test]
        fn no_byte_is_lost(page in "[<>a-c/!\"'= -]{0,60}", size in 1usize..9) {
            let mut links = Links::new("", false);
            let mut out = Vec::new();
            for piece in page.as_bytes().chunks(size) {
                out.extend(pushed(&mut links, piece).unwrap());
            }
            out.extend(links.end().unwrap());
            prop_assert_eq!(String::from_utf8(out).unwrap(), page);
        }

        #[test]
        fn it_does_not_matter_how_a_page_comes(page in "(<a href='?/|<!--|-->|</?style>|[<>'\"]){0,20}", size in 1usize..9) {
            let whole = rewritten(page.as_bytes(), page.len().max(1), false);
            prop_assert_eq!(rewritten(page.as_bytes(), size, true), whole);
        }
    }
}
