//! YAML text to the same tree as JSON.
//!
//! Follows what kubectl and the API server accept: YAML 1.1 octal numbers (`defaultMode: 0644`) and
//! booleans, duplicate keys noted, aliases within the parser's budget.

use std::cell::RefCell;

use serde::de::DeserializeSeed;
use serde_json::Value;
use serde_saphyr::{DuplicateKeyPolicy, Options};

use super::json::Tree;

/// Scalars, lists and mappings that aliases may repeat in one document: enough for any manifest, and
/// a few megabytes at most for a hostile one.
const ALIAS_EVENTS_MAX: usize = 50_000;

/// Why a YAML text has no documents.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum YamlError {
    /// A document is not YAML, or does more than the parser's budget allows.
    #[error("document {number} is not YAML: {problem}")]
    Syntax {
        /// Which document, from 1.
        number: usize,
        /// What the parser says, with line and column.
        problem: String,
    },
}

/// Splits a stream of documents and reads each; empty documents are left out.
///
/// Duplicate keys are an error here, because nobody would be told of them.
///
/// # Errors
/// [`YamlError::Syntax`] for the first document that cannot be read.
pub fn documents(text: &str) -> Result<Vec<Value>, YamlError> {
    let mut found = Vec::new();
    for (index, document) in split(text).into_iter().enumerate() {
        let number = index + 1;
        let (value, duplicates) =
            parse(document.as_bytes()).map_err(|problem| YamlError::Syntax { number, problem })?;
        if let Some(path) = duplicates.first() {
            let problem = format!("duplicate field \"{path}\"");
            return Err(YamlError::Syntax { number, problem });
        }
        if !value.is_null() {
            found.push(value);
        }
    }
    Ok(found)
}

/// Splits at lines that start with `---`, as Kubernetes' YAML reader does.
fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut position = 0;
    for line in text.split_inclusive('\n') {
        if is_separator(line) {
            parts.push(text.get(start..position).unwrap_or_default());
            start = position + line.len();
        }
        position += line.len();
    }
    parts.push(text.get(start..).unwrap_or_default());
    parts.retain(|part| part.lines().any(|line| !line.trim().is_empty() && !line.starts_with('#')));
    parts
}

fn is_separator(line: &str) -> bool {
    line.strip_prefix("---").is_some_and(|rest| {
        let rest = rest.trim();
        rest.is_empty() || rest.starts_with('#')
    })
}

/// Reads one YAML document; gives the tree and the paths of duplicate keys.
pub(super) fn parse(bytes: &[u8]) -> Result<(Value, Vec<String>), String> {
    let duplicates = RefCell::new(Vec::new());
    let value =
        serde_saphyr::with_deserializer_from_slice_with_options(bytes, options(), |reader| {
            Tree { duplicates: &mut duplicates.borrow_mut() }.deserialize(reader)
        })
        .map_err(|error| error.to_string())?;
    Ok((value, duplicates.into_inner()))
}

/// Says where a text has a key of a mapping for the second time, as Go's YAML reader does; `None` when it has none.
pub(super) fn repeated(bytes: &[u8]) -> Option<String> {
    let mut options = options();
    options.duplicate_keys = DuplicateKeyPolicy::Error;
    let error = serde_saphyr::from_slice_with_options::<Value>(bytes, options).err()?;
    let line = error.location()?.line();
    let serde_saphyr::Error::DuplicateMappingKey { key: Some(key), .. } = error else {
        return None;
    };
    Some(format!("line {line}: key \"{key}\" already set in map"))
}

fn options() -> Options {
    serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::LastWins,
        legacy_octal_numbers: true,
        strict_booleans: false,
        with_snippet: false,
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: ALIAS_EVENTS_MAX,
        },
    }
}
