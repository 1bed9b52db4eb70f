//! What the registry lets its repositories do: pure.

/// Rules for repositories.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Repositories of which a tag, once pushed, always means the same manifest: names, or prefixes
    /// that end in `*`.
    pub immutable_tags: Vec<String>,
    /// Most bytes of all blobs of one repository.
    pub repository_bytes_max: Option<u64>,
}

impl Policy {
    /// Tells whether tags of a repository stay as they are.
    #[must_use]
    pub fn is_immutable(&self, repository: &str) -> bool {
        self.immutable_tags.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(prefix) => repository.starts_with(prefix),
            None => repository == pattern,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_name_repositories_and_prefixes() {
        let policy = |pattern: &str| Policy {
            immutable_tags: vec![pattern.to_owned()],
            ..Policy::default()
        };
        assert!(policy("*").is_immutable("a/b"));
        assert!(policy("team/*").is_immutable("team/app"));
        assert!(!policy("team/*").is_immutable("teams"));
        assert!(policy("app").is_immutable("app") && !policy("app").is_immutable("app/x"));
        assert!(!Policy::default().is_immutable("app"));
    }
}
