//! Where a complaint is about, in both ways in which upstream writes it.

use crate::field_error::FieldError;

/// Path of a place: `spec.items[0].name`; empty for the whole object.
#[derive(Debug, Clone, Default)]
pub(super) struct At(String);

impl At {
    /// Goes on to a field.
    pub(super) fn field(&self, name: &str) -> At {
        At(if self.0.is_empty() { name.to_owned() } else { format!("{}.{name}", self.0) })
    }

    /// Goes on to an entry of a map.
    pub(super) fn key(&self, name: &str) -> At {
        // Upstream writes keys of maps as fields, too.
        self.field(name)
    }

    /// Goes on to an item.
    pub(super) fn index(&self, index: usize) -> At {
        At(format!("{}[{index}]", self.0))
    }

    /// Gives the path; upstream writes that of a whole object so.
    pub(super) fn path(&self) -> &str {
        if self.0.is_empty() { "<nil>" } else { &self.0 }
    }

    /// Says what a place should be: `spec.replicas in body should be …`.
    pub(super) fn should(&self, words: &str) -> String {
        format!("{} in body {words}", self.0)
    }

    /// Refuses a value.
    pub(super) fn invalid(&self, value: impl serde::Serialize, words: &str) -> FieldError {
        FieldError::invalid(self.path(), value, words)
    }
}
