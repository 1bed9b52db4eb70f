//! Field selectors: comparisons with a few fields of a kind, in the query only.
//! *Source:* `k8s.io/apimachinery/pkg/fields`.

use std::borrow::Cow;
use std::fmt;

/// How a field is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FieldOperator {
    /// `=` or `==`.
    Equals,
    /// `!=`.
    NotEquals,
}

/// One comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldRequirement {
    /// The field's label, as in `spec.nodeName`.
    pub label: String,
    /// How to compare.
    pub operator: FieldOperator,
    /// What to compare with.
    pub value: String,
}

/// Comparisons that must all hold; none match everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FieldSelector {
    requirements: Vec<FieldRequirement>,
}

/// Why a text is no field selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseFieldSelectorError {
    /// A term has no comparison.
    #[error("invalid selector: '{selector}'; can't understand '{term}'")]
    NoOperator {
        /// The whole text.
        selector: String,
        /// The part that is no comparison.
        term: String,
    },
    /// A backslash stands before a character that needs none, or at the end.
    #[error("invalid field selector: invalid escape sequence: {0}")]
    Escape(String),
    /// A value holds a character that must be escaped.
    #[error("invalid field selector: unescaped character in value: {0}")]
    Unescaped(char),
}

impl FieldSelector {
    /// Gives the selector that matches every object.
    pub fn everything() -> Self {
        FieldSelector::default()
    }

    /// Reads the query form: terms `label=value`, `label==value`, `label!=value` joined by commas;
    /// `\` escapes `,`, `=` and `\` in values. The empty text matches everything.
    ///
    /// # Errors
    /// When a term has no comparison or a value a wrong escape.
    pub fn parse(query: &str) -> Result<Self, ParseFieldSelectorError> {
        let mut requirements = vec![];
        for term in split_terms(query) {
            if term.is_empty() {
                continue;
            }
            let (label, operator, value) =
                split_term(term).ok_or_else(|| ParseFieldSelectorError::NoOperator {
                    selector: query.to_owned(),
                    term: term.to_owned(),
                })?;
            let value = unescape(value)?;
            requirements.push(FieldRequirement { label: label.to_owned(), operator, value });
        }
        requirements.sort_by(|a, b| a.label.cmp(&b.label));
        Ok(FieldSelector { requirements })
    }

    /// Gives the single comparisons, sorted by label.
    pub fn requirements(&self) -> &[FieldRequirement] {
        &self.requirements
    }

    /// Tells whether every object matches.
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Gives the value that a label must equal, if the selector demands one.
    pub fn equals(&self, label: &str) -> Option<&str> {
        let wanted = |requirement: &&FieldRequirement| {
            requirement.label == label && requirement.operator == FieldOperator::Equals
        };
        self.requirements.iter().find(wanted).map(|requirement| requirement.value.as_str())
    }

    /// Tells whether the fields fulfil every comparison; an absent field equals the empty text.
    pub fn matches<'a>(&self, field: impl Fn(&str) -> Option<Cow<'a, str>>) -> bool {
        self.requirements.iter().all(|requirement| {
            let found = field(&requirement.label).unwrap_or_default();
            match requirement.operator {
                FieldOperator::Equals => found == requirement.value,
                FieldOperator::NotEquals => found != requirement.value,
            }
        })
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.requirements.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            let symbol = match requirement.operator {
                FieldOperator::Equals => "=",
                FieldOperator::NotEquals => "!=",
            };
            write!(f, "{comma}{}{symbol}{}", requirement.label, escape(&requirement.value))?;
        }
        Ok(())
    }
}

/// Splits at commas that no backslash escapes.
fn split_terms(query: &str) -> Vec<&str> {
    let mut terms = vec![];
    let (mut start, mut escaped) = (0, false);
    for (index, c) in query.char_indices() {
        if c == ',' && !escaped {
            terms.push(&query[start..index]);
            start = index + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    terms.push(&query[start..]);
    terms
}

fn split_term(term: &str) -> Option<(&str, FieldOperator, &str)> {
    for (index, _) in term.char_indices() {
        let rest = &term[index..];
        for (symbol, operator) in [
            ("!=", FieldOperator::NotEquals),
            ("==", FieldOperator::Equals),
            ("=", FieldOperator::Equals),
        ] {
            if let Some(value) = rest.strip_prefix(symbol) {
                return Some((&term[..index], operator, value));
            }
        }
    }
    None
}

fn unescape(value: &str) -> Result<String, ParseFieldSelectorError> {
    let mut text = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(escaped @ ('\\' | ',' | '=')) => text.push(escaped),
                other => {
                    let tail = other.map(String::from).unwrap_or_default();
                    return Err(ParseFieldSelectorError::Escape(format!("\\{tail}")));
                }
            },
            ',' | '=' => return Err(ParseFieldSelectorError::Unescaped(c)),
            c => text.push(c),
        }
    }
    Ok(text)
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(query: &str, matches: bool) {
        let selector = FieldSelector::parse(query).unwrap();
        let field = |label: &str| match label {
            "metadata.name" => Some(Cow::Borrowed("a")),
            "status.phase" => Some(Cow::Borrowed("Running")),
            "odd" => Some(Cow::Borrowed("x,y=z\\")),
            _ => None,
        };
        assert_eq!(selector.matches(field), matches, "{query}");
        assert_eq!(FieldSelector::parse(&selector.to_string()).unwrap(), selector);
    }

    #[test]
    fn queries_match() {
        for (query, matches) in [
            ("", true),
            ("metadata.name=a", true),
            ("metadata.name==a,status.phase!=Running", false),
            ("status.phase!=Pending", true),
            ("spec.nodeName=", true),
            ("spec.nodeName!=", false),
            (r"odd=x\,y\=z\\", true),
        ] {
            check(query, matches);
        }
        assert_eq!(
            FieldSelector::parse("metadata.name=a").unwrap().equals("metadata.name"),
            Some("a")
        );
    }

    #[test]
    fn refusals() {
        for (query, message) in [
            ("a", "invalid selector: 'a'; can't understand 'a'"),
            (r"a=\x", r"invalid field selector: invalid escape sequence: \x"),
            ("a=b=c", "invalid field selector: unescaped character in value: ="),
        ] {
            assert_eq!(FieldSelector::parse(query).unwrap_err().to_string(), message);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(query in r"[a=!,\\.]{0,20}") {
            if let Ok(selector) = FieldSelector::parse(&query) {
                prop_assert_eq!(FieldSelector::parse(&selector.to_string()).unwrap(), selector);
            }
        }
    }
}
