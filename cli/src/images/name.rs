//! Names of images in the built-in registry.

use std::fmt;
use std::str::FromStr;

/// The host name under which manifests refer to the built-in registry.
pub(crate) const REGISTRY_HOST: &str = "registry.coracle.internal";

/// A repository and tag in the built-in registry. *Source:* OCI distribution specification 1.1,
/// *Pulling manifests*.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImageName {
    /// Such as `guestbook/web`.
    pub(crate) repository: String,
    /// Such as `1`; `latest` if it was not given.
    pub(crate) tag: String,
}

/// A text that is no name of an image here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "image name '{name}' {why}: write NAME:TAG, such as hello:1 or {REGISTRY_HOST}/shop/hello:1"
)]
pub(crate) struct InvalidName {
    name: String,
    why: &'static str,
}

impl ImageName {
    /// The image as a manifest refers to it by its digest.
    pub(crate) fn by_digest(&self, digest: &str) -> String {
        format!("{REGISTRY_HOST}/{}@{digest}", self.repository)
    }
}

impl FromStr for ImageName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let invalid = |why| InvalidName { name: text.to_owned(), why };
        let local = match text.split_once('/') {
            Some((REGISTRY_HOST, rest)) => rest,
            Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => {
                return Err(invalid("names another registry, which has its own push tools"));
            }
            Some(_) | None => text,
        };
        if local.contains('@') {
            return Err(invalid("has a digest, which is computed and not chosen"));
        }
        let (repository, tag) = local.rsplit_once(':').unwrap_or((local, "latest"));
        if !repository.split('/').all(is_path_component) {
            return Err(invalid(
                "must be of lower-case letters, digits and single . _ - between them",
            ));
        }
        if !is_tag(tag) {
            return Err(invalid("has a tag that is not 1 to 128 letters, digits, . _ or -"));
        }
        Ok(Self { repository: repository.to_owned(), tag: tag.to_owned() })
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{REGISTRY_HOST}/{}:{}", self.repository, self.tag)
    }
}

fn is_path_component(text: &str) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.first().is_some_and(alphanumeric)
        && bytes.last().is_some_and(alphanumeric)
        && bytes.iter().all(|byte| alphanumeric(byte) || b"._-".contains(byte))
}

fn is_tag(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        && !text.starts_with(['.', '-'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<String, String> {
        text.parse::<ImageName>().map(|name| name.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn reads_names_with_and_without_the_host() {
        assert_eq!(check("hello").unwrap(), "registry.coracle.internal/hello:latest");
        assert_eq!(check("shop/hello:1.2").unwrap(), "registry.coracle.internal/shop/hello:1.2");
        let whole = "registry.coracle.internal/shop/hello:1";
        assert_eq!(check(whole).unwrap(), whole);
    }

    #[test]
    fn refuses_what_it_cannot_push() {
        for name in
            ["", "Hello", "a//b", "-a", "a:", "a:.x", "ghcr.io/a/b", "localhost/a", "a@sha256:00"]
        {
            assert!(check(name).unwrap_err().contains("write NAME:TAG"), "{name}");
        }
    }
}
