//! Label selectors.
//! *Source:* `k8s.io/apimachinery/pkg/labels`, `metav1.LabelSelectorAsSelector`.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

use super::parse::Parser;
use crate::names;
use crate::text::go_quote;

/// How a label is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operator {
    /// The label is there with one of the values; written `in`, or `=` for one value.
    In,
    /// The label is absent or has none of the values; written `notin`, or `!=` for one value.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is absent.
    DoesNotExist,
    /// The label is a whole number above the value.
    GreaterThan,
    /// The label is a whole number below the value.
    LessThan,
}

/// One condition on one label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
    /// The operator as it was written (`=`, `==`, `!=`, `in` …), for printing.
    written: &'static str,
}

/// Conditions on labels that must all hold; no conditions match everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
    nothing: bool,
}

/// Why a text or an object is no label selector; the text is the message for the user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseSelectorError(pub(super) String);

/// A set of labels that can be asked for one.
pub trait Labels {
    /// Gives the value of a label, `None` when it is absent.
    fn label(&self, key: &str) -> Option<&str>;
}

impl Labels for Map<String, Value> {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }
}

impl Labels for BTreeMap<String, String> {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key).map(String::as_str)
    }
}

impl<L: Labels> Labels for Option<L> {
    fn label(&self, key: &str) -> Option<&str> {
        self.as_ref()?.label(key)
    }
}

impl<L: Labels + ?Sized> Labels for &L {
    fn label(&self, key: &str) -> Option<&str> {
        (**self).label(key)
    }
}

impl Labels for [(String, String)] {
    fn label(&self, key: &str) -> Option<&str> {
        self.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}

impl Requirement {
    /// Makes a condition after checking it.
    ///
    /// # Errors
    /// When the key or a value is malformed, or the number of values does not fit the operator.
    pub fn new(
        key: &str,
        operator: Operator,
        values: Vec<String>,
    ) -> Result<Self, ParseSelectorError> {
        let written = match operator {
            Operator::In => "in",
            Operator::NotIn => "notin",
            Operator::Exists => "",
            Operator::DoesNotExist => "!",
            Operator::GreaterThan => ">",
            Operator::LessThan => "<",
        };
        Self::checked(key, operator, values, written)
    }

    pub(super) fn checked(
        key: &str,
        operator: Operator,
        values: Vec<String>,
        written: &'static str,
    ) -> Result<Self, ParseSelectorError> {
        let mut complaints = vec![];
        complain(&mut complaints, "key", key, names::qualified_name(key));
        if let Some(words) = wrong_number_of_values(operator, values.len()) {
            let shown = serde_json::to_string(&values).unwrap_or_default();
            complaints.push(format!("values: Invalid value: {shown}: {words}"));
        }
        for (index, value) in values.iter().enumerate() {
            let comparing = matches!(operator, Operator::GreaterThan | Operator::LessThan);
            if comparing && value.parse::<i64>().is_err() {
                let words = "for 'Gt', 'Lt' operators, the value must be an integer";
                let quoted = go_quote(value);
                complaints.push(format!("values[{index}]: Invalid value: {quoted}: {words}"));
            }
            let field = format!("values[{index}][{key}]");
            complain(&mut complaints, &field, value, names::label_value(value));
        }
        match complaints.len() {
            0 => Ok(Requirement { key: key.to_owned(), operator, values, written }),
            1 => Err(ParseSelectorError(complaints.remove(0))),
            _ => Err(ParseSelectorError(format!("[{}]", complaints.join(", ")))),
        }
    }

    /// Gives the label's key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Gives how the label is compared.
    pub fn operator(&self) -> Operator {
        self.operator
    }

    /// Gives the values to compare with, in the order written.
    pub fn values(&self) -> &[String] {
        &self.values
    }

    /// Tells whether the labels fulfil this condition.
    pub fn matches(&self, labels: &(impl Labels + ?Sized)) -> bool {
        let value = labels.label(&self.key);
        let listed = || value.is_some_and(|value| self.values.iter().any(|item| item == value));
        match self.operator {
            Operator::In => listed(),
            Operator::NotIn => !listed(),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan => self.compares(value, |label, bound| label > bound),
            Operator::LessThan => self.compares(value, |label, bound| label < bound),
        }
    }

    fn compares(&self, value: Option<&str>, holds: fn(i64, i64) -> bool) -> bool {
        let bound = self.values.first().and_then(|text| text.parse().ok());
        let label = value.and_then(|text| text.parse().ok());
        matches!((label, bound), (Some(label), Some(bound)) if holds(label, bound))
    }
}

fn complain(complaints: &mut Vec<String>, field: &str, value: &str, words: Vec<String>) {
    if !words.is_empty() {
        let (quoted, words) = (go_quote(value), words.join("; "));
        complaints.push(format!("{field}: Invalid value: {quoted}: {words}"));
    }
}

fn wrong_number_of_values(operator: Operator, number: usize) -> Option<&'static str> {
    match operator {
        Operator::In | Operator::NotIn if number == 0 => {
            Some("for 'in', 'notin' operators, values set can't be empty")
        }
        Operator::Exists | Operator::DoesNotExist if number != 0 => {
            Some("values set must be empty for exists and does not exist")
        }
        Operator::GreaterThan | Operator::LessThan if number != 1 => {
            Some("for 'Gt', 'Lt' operators, exactly one value is required")
        }
        Operator::In
        | Operator::NotIn
        | Operator::Exists
        | Operator::DoesNotExist
        | Operator::GreaterThan
        | Operator::LessThan => None,
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut values: Vec<&str> = self.values.iter().map(String::as_str).collect();
        values.sort_unstable();
        let values = values.join(",");
        let key = &self.key;
        match self.written {
            "" => f.write_str(key),
            "!" => write!(f, "!{key}"),
            "in" | "notin" => write!(f, "{key} {} ({values})", self.written),
            symbol => write!(f, "{key}{symbol}{values}"),
        }
    }
}

impl LabelSelector {
    /// Gives the selector that matches every object.
    pub fn everything() -> Self {
        LabelSelector::default()
    }

    /// Gives the selector that matches no object, as an absent selector of an object does.
    pub fn nothing() -> Self {
        LabelSelector { requirements: vec![], nothing: true }
    }

    /// Makes a selector of conditions that must all hold.
    pub fn from_requirements(requirements: Vec<Requirement>) -> Self {
        LabelSelector { requirements, nothing: false }
    }

    /// Reads the query form; the empty text matches everything.
    ///
    /// # Errors
    /// When the text breaks the grammar or names a malformed key or value.
    pub fn parse(query: &str) -> Result<Self, ParseSelectorError> {
        let mut requirements = Parser::new(query).requirements()?;
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(LabelSelector::from_requirements(requirements))
    }

    /// Reads a `metav1.LabelSelector`; absent or `null` matches nothing, `{}` everything.
    ///
    /// # Errors
    /// When an expression has an unknown operator, or key and values that do not fit.
    pub fn from_value(selector: &Value) -> Result<Self, ParseSelectorError> {
        let Some(selector) = selector.as_object() else {
            return Ok(LabelSelector::nothing());
        };
        let mut requirements = vec![];
        if let Some(labels) = selector.get("matchLabels").and_then(Value::as_object) {
            for (key, value) in labels {
                let value = value.as_str().unwrap_or_default().to_owned();
                requirements.push(Requirement::checked(key, Operator::In, vec![value], "=")?);
            }
        }
        let expressions = selector.get("matchExpressions").and_then(Value::as_array);
        for expression in expressions.into_iter().flatten() {
            requirements.push(requirement_from_value(expression)?);
        }
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(LabelSelector::from_requirements(requirements))
    }

    /// Reads a plain map of labels that must all be equal, as Services and ReplicationControllers
    /// have; absent or `null` matches nothing.
    pub fn from_map(labels: &Value) -> Self {
        let Some(labels) = labels.as_object() else {
            return LabelSelector::nothing();
        };
        let equal = |(key, value): (&String, &Value)| Requirement {
            key: key.clone(),
            operator: Operator::In,
            values: vec![value.as_str().unwrap_or_default().to_owned()],
            written: "=",
        };
        LabelSelector::from_requirements(labels.iter().map(equal).collect())
    }

    /// Gives the single conditions, sorted by key.
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// Tells whether every object matches.
    pub fn is_everything(&self) -> bool {
        !self.nothing && self.requirements.is_empty()
    }

    /// Tells whether the labels fulfil every condition.
    pub fn matches(&self, labels: &(impl Labels + ?Sized)) -> bool {
        !self.nothing && self.requirements.iter().all(|condition| condition.matches(labels))
    }
}

fn requirement_from_value(expression: &Value) -> Result<Requirement, ParseSelectorError> {
    let key = expression["key"].as_str().unwrap_or_default();
    let word = expression["operator"].as_str().unwrap_or_default();
    let operator = match word {
        "In" => Operator::In,
        "NotIn" => Operator::NotIn,
        "Exists" => Operator::Exists,
        "DoesNotExist" => Operator::DoesNotExist,
        _ => {
            let message = format!("{} is not a valid label selector operator", go_quote(word));
            return Err(ParseSelectorError(message));
        }
    };
    let values = expression["values"].as_array().into_iter().flatten();
    let values = values.filter_map(Value::as_str).map(str::to_owned).collect();
    Requirement::new(key, operator, values)
}

impl fmt::Display for LabelSelector {
    /// Writes the query form; conditions on a map of labels come out as `a=b,c=d`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.requirements.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            write!(f, "{requirement}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    /// `labels` as `a=b,c=d`.
    fn check(query: &str, labels: &str, matches: bool) {
        let pairs: Vec<(String, String)> = labels
            .split(',')
            .filter_map(|pair| pair.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        let selector = LabelSelector::parse(query).unwrap();
        assert_eq!(selector.matches(pairs.as_slice()), matches, "{query} on {labels}");
        let printed = LabelSelector::parse(&selector.to_string()).unwrap();
        assert_eq!(printed, selector, "{query}");
    }

    #[test]
    fn queries_match() {
        for (query, labels, matches) in [
            ("", "a=b", true),
            ("a=b", "a=b", true),
            ("a==b", "a=c", false),
            ("a!=b", "", true),
            ("a!=b", "a=b", false),
            ("a in (b, c)", "a=c", true),
            ("a in (b,c)", "", false),
            ("a notin (b,c)", "", true),
            ("a notin (b,c)", "a=b", false),
            ("a", "a=", true),
            ("!a", "a=x", false),
            ("!a", "", true),
            ("env in (a,b),!x", "env=a", true),
            ("env in (a,b),!x", "env=a,x=1", false),
            ("n>3", "n=4", true),
            ("n<3", "n=4", false),
            ("n>3", "n=x", false),
            ("a=", "a=", true),
            ("a=,b", "a=,b=1", true),
            ("a in (in,notin)", "a=in", true),
            ("in=in", "in=in", true),
            ("a in (,b)", "a=", true),
            ("a in (b,)", "a=", true),
            ("a in ()", "a=", true),
            (" a = b ", "a=b", true),
            ("x.io/a=b", "x.io/a=b", true),
        ] {
            check(query, labels, matches);
        }
    }

    #[test]
    fn refusals_say_what_was_expected() {
        for (query, message) in [
            ("a=b,", "found '', expected: identifier after ','"),
            (",a", "found ',', expected: !, identifier, or 'end of string'"),
            ("a=b c", "found 'c', expected: ',' or 'end of string'"),
            ("a in b", "unable to parse requirement: found 'b' expected: '('"),
            (
                "a b",
                "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt",
            ),
            ("a==(", "unable to parse requirement: found '(', expected: identifier"),
            (
                "a=-b",
                "unable to parse requirement: values[0][a]: Invalid value: \"-b\": a valid label \
                 must be an empty string or consist of alphanumeric characters, '-', '_' or '.', \
                 and must start and end with an alphanumeric character (e.g. 'MyValue',  or \
                 'my_value',  or '12345', regex used for validation is \
                 '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
            ),
        ] {
            assert_eq!(LabelSelector::parse(query).unwrap_err().to_string(), message, "{query}");
        }
    }

    #[test]
    fn objects_match() {
        let selector = json!({
            "matchLabels": {"app": "web"},
            "matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["db"]}],
        });
        let selector = LabelSelector::from_value(&selector).unwrap();
        assert_eq!(selector.to_string(), "app=web,tier notin (db)");
        let labels = |value: Value| value.as_object().cloned().unwrap();
        assert!(selector.matches(&labels(json!({"app": "web"}))));
        assert!(!selector.matches(&labels(json!({"app": "web", "tier": "db"}))));
        assert!(!LabelSelector::from_value(&Value::Null).unwrap().matches(&Map::new()));
        assert!(LabelSelector::from_value(&json!({})).unwrap().matches(&Map::new()));
        let bad = json!({"matchExpressions": [{"key": "a", "operator": "Is"}]});
        assert_eq!(
            LabelSelector::from_value(&bad).unwrap_err().to_string(),
            r#""Is" is not a valid label selector operator"#
        );
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(query in "[ab,=!<>() intox./-]{0,30}") {
            if let Ok(selector) = LabelSelector::parse(&query) {
                let printed = selector.to_string();
                let again = LabelSelector::parse(&printed);
                prop_assert_eq!(again.unwrap(), selector, "{}", printed);
            }
        }
    }
}
