//! What is found out about a request while it is worked on, for the audit log: who let it in and why, what policies note,
//! and the name that its object got.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// Bytes that the value of an annotation may have; the rest is cut off. *Source:* `maxAuditAnnotationValueLength` of the
/// `ValidatingAdmissionPolicy` admission plugin.
const VALUE_BYTES_MAX: usize = 10 * 1024;

/// Annotations of one request; more are not told. Each comes from a policy, and somebody may have made many.
const ANNOTATIONS_MAX: usize = 100;

/// The notes of a request; a clone is the same notes. The default one forgets all, for requests that the log does not tell.
#[derive(Debug, Clone, Default)]
pub(crate) struct Notes(Option<Arc<Mutex<Noted>>>);

#[derive(Debug, Default)]
struct Noted {
    annotations: BTreeMap<String, String>,
    name: String,
}

impl Notes {
    /// Notes that are kept.
    pub(crate) fn kept() -> Notes {
        Notes(Some(Arc::default()))
    }

    /// Adds an annotation; the first of a key stays.
    pub(crate) fn annotate(&self, key: impl Into<String>, value: &str) {
        let Some(noted) = &self.0 else { return };
        let annotations = &mut noted.lock().annotations;
        if annotations.len() < ANNOTATIONS_MAX {
            let end = value.floor_char_boundary(VALUE_BYTES_MAX);
            let value = value.get(..end).unwrap_or_default();
            annotations.entry(key.into()).or_insert_with(|| value.to_owned());
        }
    }

    /// Notes the name of an object that the path does not tell.
    pub(crate) fn name(&self, name: &str) {
        if let Some(noted) = &self.0 {
            name.clone_into(&mut noted.lock().name);
        }
    }

    /// All annotations, by key.
    pub(super) fn annotations(&self) -> BTreeMap<String, String> {
        self.0.as_ref().map(|noted| noted.lock().annotations.clone()).unwrap_or_default()
    }

    /// The name that was noted, or nothing.
    pub(super) fn noted_name(&self) -> String {
        self.0.as_ref().map(|noted| noted.lock().name.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_note_of_a_key_stays_and_long_ones_are_cut() {
        let notes = Notes::kept();
        notes.clone().annotate("a", "1");
        notes.annotate("a", "2");
        notes.annotate("long", &"x".repeat(VALUE_BYTES_MAX + 1));
        let found = notes.annotations();
        assert_eq!(found["a"], "1");
        assert_eq!(found["long"].len(), VALUE_BYTES_MAX);
        for number in 0..=ANNOTATIONS_MAX {
            notes.annotate(format!("n{number}"), "");
        }
        assert_eq!(notes.annotations().len(), ANNOTATIONS_MAX);
        let forgetful = Notes::default();
        forgetful.annotate("a", "1");
        assert!(forgetful.annotations().is_empty());
    }
}
