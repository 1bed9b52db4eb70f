//! Image references: `registry/repository:tag@digest`.
//!
//! *Source:* the OCI distribution spec's grammar and Docker's normalisation (`app` is
//! `docker.io/library/app:latest`).

use std::fmt;

/// The registry that the API server itself is, under the host's own credentials.
pub const BUILT_IN_REGISTRY: &str = "registry.coracle.internal";

/// A normalised reference.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    /// Host and port.
    pub registry: String,
    /// Path below it.
    pub repository: String,
    /// Tag; `latest` when neither tag nor digest were given.
    pub tag: Option<String>,
    /// `sha256:` and 64 hexadecimal digits.
    pub digest: Option<String>,
}

/// A text that is not an image reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("couldn't parse image name \"{text}\": invalid reference format{detail}")]
pub struct InvalidReference {
    text: String,
    detail: &'static str,
}

impl Reference {
    /// Parses and normalises a reference as a pod writes it.
    ///
    /// # Errors
    /// When a part has characters that it may not have.
    pub fn parse(text: &str) -> Result<Self, InvalidReference> {
        let fail = |detail| InvalidReference { text: text.to_owned(), detail };
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (text, None),
        };
        if digest.is_some_and(|digest| !is_digest(digest)) {
            return Err(fail(": invalid digest"));
        }
        let last = name.rfind('/').map_or(0, |slash| slash + 1);
        let (path, tag) = match name.get(last..).unwrap_or_default().rfind(':') {
            Some(colon) => {
                let (path, tag) = name.split_at(last + colon);
                (path, tag.strip_prefix(':'))
            }
            None => (name, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(fail(": invalid tag"));
        }
        let (registry, repository) = split_registry(path);
        if repository.chars().any(|c| c.is_ascii_uppercase()) {
            return Err(fail(": repository name must be lowercase"));
        }
        if !is_host(&registry) || !is_repository(&repository) {
            return Err(fail(""));
        }
        let tag = tag.map(str::to_owned).or_else(|| digest.is_none().then(|| "latest".into()));
        Ok(Self { registry, repository, tag, digest: digest.map(str::to_owned) })
    }

    /// What a registry is asked for: the digest if there is one, else the tag.
    #[must_use]
    pub fn version(&self) -> &str {
        self.digest.as_deref().or(self.tag.as_deref()).unwrap_or("latest")
    }

    /// The name that an image has in a status: repository and manifest digest.
    #[must_use]
    pub fn image_id(&self, manifest_digest: &str) -> String {
        format!("{}/{}@{manifest_digest}", self.registry, self.repository)
    }

    /// Tells whether it may be fetched without TLS: registries on this machine only.
    #[must_use]
    pub fn is_local(&self) -> bool {
        let host = self.registry.rsplit_once(':').map_or(self.registry.as_str(), |(host, _)| host);
        matches!(host, "localhost" | "127.0.0.1" | "[::1]")
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

fn split_registry(path: &str) -> (String, String) {
    match path.split_once('/') {
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => {
            let host = if host == "index.docker.io" { "docker.io" } else { host };
            let bare = host == "docker.io" && !rest.contains('/');
            let rest = if bare { format!("library/{rest}") } else { rest.to_owned() };
            (host.to_owned(), rest)
        }
        Some(_) => ("docker.io".into(), path.to_owned()),
        None => ("docker.io".into(), format!("library/{path}")),
    }
}

fn is_host(registry: &str) -> bool {
    let (host, port) = registry.rsplit_once(':').unwrap_or((registry, "0"));
    let part = |part: &str| {
        let outer = |c: char| c.is_ascii_alphanumeric();
        let inner = |c: char| outer(c) || c == '-';
        part.starts_with(outer) && part.ends_with(outer) && part.chars().all(inner)
    };
    port.parse::<u16>().is_ok() && (host == "[::1]" || host.split('.').all(part))
}

fn is_repository(repository: &str) -> bool {
    let part = |part: &str| {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
        let outer = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        part.starts_with(outer) && part.ends_with(outer) && part.chars().all(inner)
    };
    repository.len() <= 255 && repository.split('/').all(part)
}

fn is_tag(tag: &str) -> bool {
    let first = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let other = |c: char| first(c) || c == '.' || c == '-';
    tag.len() <= 128 && tag.starts_with(first) && tag.chars().all(other)
}

/// Tells whether a text is a digest that we can verify.
#[must_use]
pub fn is_digest(digest: &str) -> bool {
    let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    digest.strip_prefix("sha256:").is_some_and(|text| text.len() == 64 && text.chars().all(hex))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_normalised() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        let rows = [
            ("app", "docker.io/library/app:latest".to_owned()),
            ("team/app:1.2", "docker.io/team/app:1.2".to_owned()),
            ("localhost:5000/team/app:1.2", "localhost:5000/team/app:1.2".to_owned()),
            ("localhost/app", "localhost/app:latest".to_owned()),
            (
                "registry.coracle.internal/hello",
                "registry.coracle.internal/hello:latest".to_owned(),
            ),
            ("index.docker.io/app", "docker.io/library/app:latest".to_owned()),
            (&format!("ghcr.io/a/b@{digest}"), format!("ghcr.io/a/b@{digest}")),
            (&format!("ghcr.io/a/b:1@{digest}"), format!("ghcr.io/a/b:1@{digest}")),
        ];
        for (text, expected) in rows {
            assert_eq!(Reference::parse(text).unwrap().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_reference_is_refused_with_the_reason() {
        let rows = [
            ("", "couldn't parse image name \"\": invalid reference format"),
            (
                "App",
                "couldn't parse image name \"App\": invalid reference format: repository name must be lowercase",
            ),
            ("a b", "couldn't parse image name \"a b\": invalid reference format"),
            ("a:!", "couldn't parse image name \"a:!\": invalid reference format: invalid tag"),
            (
                "a@sha256:00",
                "couldn't parse image name \"a@sha256:00\": invalid reference format: invalid digest",
            ),
            ("../etc", "couldn't parse image name \"../etc\": invalid reference format"),
        ];
        for (text, expected) in rows {
            assert_eq!(Reference::parse(text).unwrap_err().to_string(), expected);
        }
    }
}
