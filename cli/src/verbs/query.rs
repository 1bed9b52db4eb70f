//! Query strings.

use std::fmt::Write as _;

use crate::config::SelectFlags;

/// Parameters of a request, percent-encoded as they are added.
#[derive(Debug, Default, Clone)]
pub(crate) struct Query(String);

impl Query {
    /// The parameters of a selection.
    pub(crate) fn of_selection(select: &SelectFlags) -> Self {
        Self::default()
            .maybe("labelSelector", select.selector.as_deref())
            .maybe("fieldSelector", select.field_selector.as_deref())
    }

    /// One more parameter.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.0.push(if self.0.is_empty() { '?' } else { '&' });
        self.0.push_str(name);
        self.0.push('=');
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                self.0.push(char::from(byte));
            } else {
                // Writing to a String does not fail.
                let _ = write!(self.0, "%{byte:02X}");
            }
        }
        self
    }

    /// One more parameter if there is a value.
    pub(crate) fn maybe(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// One more parameter that is `true`, or none.
    pub(crate) fn flag(self, name: &str, set: bool) -> Self {
        self.maybe(name, set.then_some("true"))
    }

    /// A path with these parameters.
    pub(crate) fn on(&self, path: &str) -> String {
        format!("{path}{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_encoded() {
        let query = Query::default().with("a", "x=y,z !w").flag("b", true).flag("c", false);
        assert_eq!(query.on("/p"), "/p?a=x%3Dy%2Cz%20%21w&b=true");
        assert_eq!(Query::default().on("/p"), "/p");
    }
}
