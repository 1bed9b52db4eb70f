//! The web dashboard's files at `/ui/`. They are the same for everybody and hold nothing of the cluster, so no
//! credentials are asked for; what the page then shows, it asks of the API in its user's name.

use std::io::Read as _;

use coracle_dashboard::{CONTENT_SECURITY_POLICY, File, ROOT};
use flate2::read::GzDecoder;
use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY as POLICY, CONTENT_TYPE, ETAG,
    HeaderValue, IF_NONE_MATCH, LOCATION, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use http::{HeaderMap, Method, StatusCode};

use crate::body;
use crate::negotiate::header;
use crate::respond::{self, Answer};

/// Answers a read of the dashboard's files; `None` for every other request, which takes the usual way.
pub(crate) fn answer(method: &Method, path: &str, headers: &HeaderMap) -> Option<Answer> {
    let below = path.strip_prefix(ROOT)?;
    if !matches!(*method, Method::GET | Method::HEAD) {
        return None;
    }
    let Some(below) = below.strip_prefix('/') else {
        return below.is_empty().then(to_the_page);
    };
    let Some(file) = coracle_dashboard::file(below) else {
        return Some(respond::text(StatusCode::NOT_FOUND, "the dashboard has no such file\n"));
    };
    let is_known = header(headers, IF_NONE_MATCH).split(',').any(|tag| tag.trim() == file.tag);
    let mut answer =
        match (is_known, header(headers, http::header::ACCEPT_ENCODING).contains("gzip")) {
            (true, _) => respond::text(StatusCode::NOT_MODIFIED, ""),
            (false, true) => packed(file),
            (false, false) => Answer::new(body::full(unpacked(file))),
        };
    if *method == Method::HEAD {
        *answer.body_mut() = body::empty();
    }
    describe(answer.headers_mut(), file);
    Some(answer)
}

/// `/ui` goes to `/ui/`, below which the page finds its files.
fn to_the_page() -> Answer {
    let mut answer = respond::text(StatusCode::PERMANENT_REDIRECT, "");
    answer.headers_mut().insert(LOCATION, HeaderValue::from_static("/ui/"));
    answer
}

fn packed(file: &File) -> Answer {
    let mut answer = Answer::new(body::full(file.gzip));
    answer.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    answer
}

/// The file as it was before it was compressed, for clients that take no gzip.
fn unpacked(file: &File) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Err(error) = GzDecoder::new(file.gzip).read_to_end(&mut bytes) {
        tracing::error!(%error, path = file.path, "a file of the dashboard cannot be unpacked");
    }
    bytes
}

/// The headers that every file has: fresh at each visit (an unchanged one costs no body), and shut in.
fn describe(headers: &mut HeaderMap, file: &'static File) {
    let all = [
        (CONTENT_TYPE, file.content_type),
        (ETAG, file.tag),
        (CACHE_CONTROL, "no-cache"),
        (VARY, "Accept-Encoding"),
        (POLICY, CONTENT_SECURITY_POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
    ];
    for (name, value) in all {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(
        method: Method,
        path: &str,
        pairs: &[(http::HeaderName, &str)],
        expected: Option<u16>,
    ) -> HeaderMap {
        let headers =
            pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        let found = answer(&method, path, &headers);
        assert_eq!(
            found.as_ref().map(|answer| answer.status().as_u16()),
            expected,
            "{method} {path}"
        );
        found.map(|answer| answer.headers().clone()).unwrap_or_default()
    }

    #[test]
    fn gives_its_files_and_nothing_else() {
        assert_eq!(check(Method::GET, "/ui", &[], Some(308))[LOCATION], "/ui/");
        let plain = check(Method::GET, "/ui/", &[], Some(200));
        assert_eq!(plain[CONTENT_TYPE], "text/html; charset=utf-8");
        assert!(
            !plain.contains_key(CONTENT_ENCODING)
                && plain[POLICY].to_str().unwrap().contains("default-src 'none'")
        );
        let packed =
            check(Method::GET, "/ui/", &[(http::header::ACCEPT_ENCODING, "br, gzip")], Some(200));
        assert_eq!(packed[CONTENT_ENCODING], "gzip");
        let tag = plain[ETAG].to_str().unwrap();
        check(Method::GET, "/ui/", &[(IF_NONE_MATCH, tag)], Some(304));
        check(Method::GET, "/ui/../version", &[], Some(404));
        check(Method::POST, "/ui/", &[], None);
        check(Method::GET, "/uid", &[], None);
        check(Method::GET, "/api", &[], None);
    }

    #[test]
    fn every_file_unpacks() {
        for file in coracle_dashboard::files() {
            assert!(!unpacked(file).is_empty(), "{}", file.path);
        }
    }
}
