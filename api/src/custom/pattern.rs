//! A `pattern` of a schema: kept as its text, and compiled when a value is first held against it.
//!
//! Definitions have hundreds of patterns, of which each takes some ten KiB compiled; few are ever used.

use std::fmt;
use std::sync::OnceLock;

use regex::Regex;

/// A regular expression that was found to be one.
#[derive(Debug)]
pub(super) struct Pattern {
    text: Box<str>,
    compiled: OnceLock<Option<Regex>>,
}

impl Pattern {
    /// Checks a text and keeps it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(text: &str) -> Result<Pattern, regex::Error> {
        Regex::new(text)?;
        Ok(Pattern { text: text.into(), compiled: OnceLock::new() })
    }

    /// Tells whether some part of a text is as it says.
    pub(super) fn is_match(&self, text: &str) -> bool {
        let compiled = self.compiled.get_or_init(|| Regex::new(&self.text).ok());
        // What compiled once does so again.
        compiled.as_ref().is_none_or(|compiled| compiled.is_match(text))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_as_it_is_written() {
        let pattern = Pattern::read("^[a-c]+$").unwrap();
        assert!(pattern.is_match("abc") && !pattern.is_match("abd") && pattern.is_match("a"));
        assert_eq!(pattern.to_string(), "^[a-c]+$");
        assert!(Pattern::read("(").is_err());
    }
}
