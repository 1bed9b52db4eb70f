//! The registry's paths and names, parsed once.

use std::fmt;

use http::Method;

use super::digest::Digest;
use super::error::OciError;

/// A repository's name: path components of lower-case letters, digits and separators.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Repository(String);

/// Longest repository name. *Source:* the limit that most clients assume, host name included.
const NAME_BYTES_MAX: usize = 255;
/// Longest tag. *Source:* OCI Distribution Specification.
const TAG_BYTES_MAX: usize = 128;

impl Repository {
    /// Parses a name.
    ///
    /// # Errors
    /// `NAME_INVALID` when it does not follow the grammar; no valid name leaves its folder or begins with `_`.
    pub fn parse(text: &str) -> Result<Repository, OciError> {
        let valid = text.len() <= NAME_BYTES_MAX && text.split('/').all(is_component);
        if valid {
            Ok(Repository(text.to_owned()))
        } else {
            Err(OciError::NameInvalid(text.to_owned()))
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `[a-z0-9]+` joined by `.`, `_`, `__` or any number of `-`.
fn is_component(text: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let ends = text.bytes().next().is_some_and(alphanumeric)
        && text.bytes().last().is_some_and(alphanumeric);
    let legal = text.bytes().all(|b| alphanumeric(b) || b"._-".contains(&b));
    let separators = text.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    ends && legal
        && separators
            .filter(|s| !s.is_empty())
            .all(|s| matches!(s, "." | "_" | "__") || s.bytes().all(|b| b == b'-'))
}

/// How a manifest is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// By a tag, which may move.
    Tag(String),
    /// By its content.
    Digest(Digest),
}

impl Reference {
    /// Parses a tag or digest.
    ///
    /// # Errors
    /// `DIGEST_INVALID` or `NAME_INVALID`.
    pub fn parse(text: &str) -> Result<Reference, OciError> {
        if text.contains(':') {
            return Digest::parse(text).map(Reference::Digest);
        }
        let legal = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        let first = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
        let valid = first && text.len() <= TAG_BYTES_MAX && text.bytes().all(legal);
        if valid {
            Ok(Reference::Tag(text.to_owned()))
        } else {
            Err(OciError::NameInvalid(text.to_owned()))
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reference::Tag(tag) => f.write_str(tag),
            Reference::Digest(digest) => digest.fmt(f),
        }
    }
}

/// What a registry request means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// `GET /v2/`
    Ping,
    /// `GET /v2/_catalog`
    Catalog,
    /// `GET /v2/NAME/tags/list`
    Tags(Repository),
    /// `GET /v2/NAME/referrers/DIGEST`
    Referrers(Repository, Digest),
    /// `GET` or `HEAD /v2/NAME/manifests/REFERENCE`
    GetManifest(Repository, Reference),
    /// `PUT /v2/NAME/manifests/REFERENCE`
    PutManifest(Repository, Reference),
    /// `DELETE /v2/NAME/manifests/REFERENCE`
    DeleteManifest(Repository, Reference),
    /// `GET` or `HEAD /v2/NAME/blobs/DIGEST`
    GetBlob(Repository, Digest),
    /// `DELETE /v2/NAME/blobs/DIGEST`
    DeleteBlob(Repository, Digest),
    /// `POST /v2/NAME/blobs/uploads/`
    StartUpload(Repository),
    /// `GET /v2/NAME/blobs/uploads/ID`
    UploadStatus(Repository, UploadId),
    /// `PATCH /v2/NAME/blobs/uploads/ID`
    UploadChunk(Repository, UploadId),
    /// `PUT /v2/NAME/blobs/uploads/ID`
    FinishUpload(Repository, UploadId),
    /// `DELETE /v2/NAME/blobs/uploads/ID`
    CancelUpload(Repository, UploadId),
}

/// Names an upload: a UUID that the registry chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadId(String);

impl UploadId {
    /// Takes an id that came with a request.
    ///
    /// # Errors
    /// `BLOB_UPLOAD_UNKNOWN` when it is no UUID, so that no other text reaches a path.
    pub fn parse(text: &str) -> Result<UploadId, OciError> {
        let id =
            uuid::Uuid::parse_str(text).map_err(|_| OciError::UploadUnknown(text.to_owned()))?;
        Ok(UploadId(id.to_string()))
    }

    /// The id, which is the upload's file name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Route {
    /// Reads a request's method and path.
    ///
    /// # Errors
    /// `UNSUPPORTED` for paths that the registry does not have; name and digest errors.
    pub(super) fn parse(method: &Method, path: &str) -> Result<Route, OciError> {
        let path = path.strip_prefix("/v2").unwrap_or(path).trim_start_matches('/');
        let method = if method == Method::HEAD { "GET" } else { method.as_str() };
        match (method, path) {
            ("GET", "") => return Ok(Route::Ping),
            ("GET", "_catalog") => return Ok(Route::Catalog),
            _ => {}
        }
        if let Some(name) =
            path.strip_suffix("/blobs/uploads/").or_else(|| path.strip_suffix("/blobs/uploads"))
        {
            return if method == "POST" {
                Repository::parse(name).map(Route::StartUpload)
            } else {
                Err(OciError::Unsupported)
            };
        }
        let (head, last) = path.rsplit_once('/').ok_or(OciError::Unsupported)?;
        let (name, noun) = split_noun(head).ok_or(OciError::Unsupported)?;
        Route::of_noun(method, Repository::parse(name)?, noun, last)
    }

    fn of_noun(method: &str, name: Repository, noun: &str, last: &str) -> Result<Route, OciError> {
        Ok(match (method, noun) {
            ("GET", "tags") if last == "list" => Route::Tags(name),
            ("GET", "referrers") => Route::Referrers(name, Digest::parse(last)?),
            ("GET", "manifests") => Route::GetManifest(name, known_reference(last)?),
            ("PUT", "manifests") => Route::PutManifest(name, Reference::parse(last)?),
            ("DELETE", "manifests") => Route::DeleteManifest(name, Reference::parse(last)?),
            ("GET", "blobs") => Route::GetBlob(name, Digest::parse(last)?),
            ("DELETE", "blobs") => Route::DeleteBlob(name, Digest::parse(last)?),
            ("GET", "uploads") => Route::UploadStatus(name, UploadId::parse(last)?),
            ("PATCH", "uploads") => Route::UploadChunk(name, UploadId::parse(last)?),
            ("PUT", "uploads") => Route::FinishUpload(name, UploadId::parse(last)?),
            ("DELETE", "uploads") => Route::CancelUpload(name, UploadId::parse(last)?),
            _ => return Err(OciError::Unsupported),
        })
    }
}

/// A reference to something that should be there: what no tag can be is not there.
fn known_reference(text: &str) -> Result<Reference, OciError> {
    let found = Reference::parse(text);
    let is_digest = text.contains(':');
    if is_digest { found } else { found.map_err(|_| OciError::ManifestUnknown(text.to_owned())) }
}

/// Splits `NAME/blobs/uploads`, `NAME/blobs`, `NAME/manifests`, `NAME/tags` or `NAME/referrers`.
fn split_noun(head: &str) -> Option<(&str, &str)> {
    if let Some(name) = head.strip_suffix("/blobs/uploads") {
        return Some((name, "uploads"));
    }
    head.rsplit_once('/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(request: &str, expected: Expect) {
        let (method, path) = request.split_once(' ').unwrap();
        let text = match Route::parse(&method.parse().unwrap(), path) {
            Ok(route) => format!("{route:?}"),
            Err(error) => error.to_string(),
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn paths() {
        check("GET /v2/", expect!["Ping"]);
        check("GET /v2/_catalog", expect!["Catalog"]);
        check("GET /v2/a/b/tags/list", expect![[r#"Tags(Repository("a/b"))"#]]);
        check("HEAD /v2/a/manifests/1.0", expect![[r#"GetManifest(Repository("a"), Tag("1.0"))"#]]);
        check("POST /v2/a/b/blobs/uploads/", expect![[r#"StartUpload(Repository("a/b"))"#]]);
        check(
            "PATCH /v2/a/blobs/uploads/not-a-uuid",
            expect!["blob upload not-a-uuid unknown to the registry"],
        );
        check("PUT /v2/a/tags/list", expect!["the operation is not supported here"]);
    }

    #[test]
    fn hostile_names() {
        check(
            "GET /v2/../x/tags/list",
            expect![[r#"invalid repository name or reference "../x""#]],
        );
        check(
            "GET /v2/_blobs/tags/list",
            expect![[r#"invalid repository name or reference "_blobs""#]],
        );
        check("GET /v2/A/tags/list", expect![[r#"invalid repository name or reference "A""#]]);
        check("PUT /v2/a/manifests/..", expect![[r#"invalid repository name or reference "..""#]]);
        check("PUT /v2/a/manifests/-x", expect![[r#"invalid repository name or reference "-x""#]]);
        check("GET /v2/a/manifests/..", expect!["manifest .. unknown to the repository"]);
        assert!(Repository::parse("a__b/c-d.e--f").is_ok());
        assert!(Repository::parse("a..b").is_err());
        assert!(Repository::parse("a//b").is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_name_leaves_its_folder(name in "[a-z0-9._/-]{0,40}") {
            if let Ok(repository) = Repository::parse(&name) {
                let legal = |part: &str| !part.is_empty() && !part.starts_with(['.', '_', '-']);
                proptest::prop_assert!(repository.as_str().split('/').all(legal));
            }
        }
    }
}
