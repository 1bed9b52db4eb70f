//! JSON paths as printer columns and kubectl write them: `.status.conditions[?(@.type=="Ready")].status`.
//!
//! No `$`, dots in names are escaped by a backslash. *Source:* `k8s.io/client-go/util/jsonpath`.

use serde_json::Value;

/// Most steps of one path.
const STEPS_MAX: usize = 64;

/// Why a text is no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonPathError {
    /// It does not begin with a dot or bracket.
    #[error("is malformed: must start with '.' or '['")]
    Start,
    /// A bracket is not closed, or what is inside is no index, name or filter.
    #[error("is malformed: {0:?} is no index, name or filter")]
    Bracket(String),
    /// It has too many steps.
    #[error("is malformed: must not have more than {STEPS_MAX} steps")]
    Long,
}

/// A path that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct JsonPath(Vec<Step>);

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Field(String),
    Index(i64),
    All,
    Filter { path: Vec<Step>, test: Option<(Test, Value)> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Test {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Tests by their sign; a sign that begins with another stands before it.
const TESTS: [(&str, Test); 6] = [
    ("==", Test::Equal),
    ("!=", Test::NotEqual),
    ("<=", Test::LessOrEqual),
    (">=", Test::GreaterOrEqual),
    ("<", Test::Less),
    (">", Test::Greater),
];

impl JsonPath {
    /// Reads a path.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn read(text: &str) -> Result<JsonPath, JsonPathError> {
        if !text.starts_with(['.', '[']) {
            return Err(JsonPathError::Start);
        }
        Ok(JsonPath(steps(text)?))
    }

    /// Finds all values at the path, in order.
    pub fn find<'a>(&self, object: &'a Value) -> Vec<&'a Value> {
        find(&self.0, object)
    }

    /// Writes the path as a JSON pointer; `None` when it has other steps than names.
    pub fn pointer(&self) -> Option<String> {
        let mut pointer = String::new();
        for step in &self.0 {
            let Step::Field(name) = step else { return None };
            pointer.push('/');
            pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
        }
        Some(pointer)
    }
}

fn steps(text: &str) -> Result<Vec<Step>, JsonPathError> {
    let mut steps = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        if steps.len() >= STEPS_MAX {
            return Err(JsonPathError::Long);
        }
        if let Some(inner) = rest.strip_prefix('[') {
            let (inside, after) = bracket(inner)?;
            steps.push(step_in_bracket(inside)?);
            rest = after;
            continue;
        }
        rest = rest.strip_prefix('.').unwrap_or(rest);
        let (name, after) = name(rest);
        match name.as_str() {
            "" => {}
            "*" => steps.push(Step::All),
            _ => steps.push(Step::Field(name)),
        }
        rest = after;
    }
    Ok(steps)
}

/// Takes a name up to the next dot or bracket that is not escaped.
fn name(text: &str) -> (String, &str) {
    let mut name = String::new();
    let mut escaped = false;
    for (index, letter) in text.char_indices() {
        match letter {
            '\\' if !escaped => {
                escaped = true;
                continue;
            }
            '.' | '[' if !escaped => return (name, &text[index..]),
            _ => name.push(letter),
        }
        escaped = false;
    }
    (name, "")
}

/// Takes what is inside a bracket; quotes may hold brackets.
fn bracket(text: &str) -> Result<(&str, &str), JsonPathError> {
    let (mut quote, mut depth) = (None, 0u32);
    for (index, letter) in text.char_indices() {
        match (letter, quote) {
            ('\'' | '"', None) => quote = Some(letter),
            (letter, Some(open)) if letter == open => quote = None,
            ('[', None) => depth += 1,
            (']', None) if depth == 0 => return Ok((&text[..index], &text[index + 1..])),
            (']', None) => depth -= 1,
            _ => {}
        }
    }
    Err(JsonPathError::Bracket(text.to_owned()))
}

fn step_in_bracket(inside: &str) -> Result<Step, JsonPathError> {
    let inside = inside.trim();
    if inside == "*" {
        return Ok(Step::All);
    }
    if let Some(name) = unquoted(inside) {
        return Ok(Step::Field(name.to_owned()));
    }
    if let Some(filter) = inside.strip_prefix("?(").and_then(|rest| rest.strip_suffix(')')) {
        return filter_of(filter);
    }
    inside.parse().map(Step::Index).map_err(|_| JsonPathError::Bracket(inside.to_owned()))
}

fn unquoted(text: &str) -> Option<&str> {
    ['\'', '"'].into_iter().find_map(|quote| text.strip_prefix(quote)?.strip_suffix(quote))
}

fn filter_of(filter: &str) -> Result<Step, JsonPathError> {
    let malformed = || JsonPathError::Bracket(filter.to_owned());
    let found = TESTS.iter().filter_map(|(sign, test)| Some((filter.find(sign)?, *sign, *test)));
    // The earliest sign counts, and of two at one place the longer, which stands first in the list.
    let first = found.min_by_key(|(index, sign, _)| (*index, std::cmp::Reverse(sign.len())));
    let (path, test) = match first {
        None => (filter, None),
        Some((index, sign, test)) => {
            let literal = filter[index + sign.len()..].trim();
            let value = match unquoted(literal) {
                Some(text) => Value::String(text.to_owned()),
                None => serde_json::from_str(literal).map_err(|_| malformed())?,
            };
            (&filter[..index], Some((test, value)))
        }
    };
    let path = path.trim().strip_prefix('@').ok_or_else(malformed)?;
    Ok(Step::Filter { path: steps(path)?, test })
}

fn find<'a>(steps: &[Step], value: &'a Value) -> Vec<&'a Value> {
    let mut found = vec![value];
    for step in steps {
        found = found.into_iter().flat_map(|value| take(step, value)).collect();
    }
    found
}

fn take<'a>(step: &Step, value: &'a Value) -> Vec<&'a Value> {
    match step {
        Step::Field(name) => value.get(name).into_iter().collect(),
        Step::Index(index) => {
            let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
            let from_end = usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX);
            let place = if *index < 0 { items.len().checked_sub(from_end) } else { Some(from_end) };
            place.and_then(|place| items.get(place)).into_iter().collect()
        }
        Step::All => match value {
            Value::Array(items) => items.iter().collect(),
            Value::Object(members) => members.values().collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
        },
        Step::Filter { path, test } => {
            let items = value.as_array().into_iter().flatten();
            items.filter(|item| passes(item, path, test.as_ref())).collect()
        }
    }
}

fn passes(item: &Value, path: &[Step], test: Option<&(Test, Value)>) -> bool {
    let found = find(path, item);
    let Some((test, wanted)) = test else { return !found.is_empty() };
    found.first().is_some_and(|value| {
        let order = match (value.as_f64(), wanted.as_f64()) {
            (Some(one), Some(other)) => one.partial_cmp(&other),
            _ => value.as_str().zip(wanted.as_str()).map(|(one, other)| one.cmp(other)),
        };
        match test {
            Test::Equal => *value == wanted || order.is_some_and(|order| order.is_eq()),
            Test::NotEqual => *value != wanted,
            Test::Less => order.is_some_and(|order| order.is_lt()),
            Test::LessOrEqual => order.is_some_and(|order| order.is_le()),
            Test::Greater => order.is_some_and(|order| order.is_gt()),
            Test::GreaterOrEqual => order.is_some_and(|order| order.is_ge()),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_find_values() {
        let object = json!({
            "spec": {"a.b": 1, "list": [{"n": 1, "t": "x"}, {"n": 2, "t": "y"}]},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        });
        let check = |path: &str, expected: Value| {
            let found: Vec<Value> =
                JsonPath::read(path).unwrap().find(&object).into_iter().cloned().collect();
            assert_eq!(Value::Array(found), expected, "{path}");
        };
        check(".spec.a\\.b", json!([1]));
        check(".spec['a.b']", json!([1]));
        check(".spec.list[0].t", json!(["x"]));
        check(".spec.list[-1].t", json!(["y"]));
        check(".spec.list[*].n", json!([1, 2]));
        check(".spec.list[?(@.n>=2)].t", json!(["y"]));
        check(".spec.list[?(@.t!=\"x\")].n", json!([2]));
        check(".status.conditions[?(@.type==\"Ready\")].status", json!(["True"]));
        check(".nothing.here", json!([]));
    }

    #[test]
    fn malformed_paths_are_refused() {
        assert_eq!(JsonPath::read("spec"), Err(JsonPathError::Start));
        assert!(JsonPath::read(".a[").is_err() && JsonPath::read(".a[x]").is_err());
        assert!(JsonPath::read(&".a".repeat(STEPS_MAX + 1)).is_err());
        assert_eq!(JsonPath::read(".a.b").unwrap().pointer().as_deref(), Some("/a/b"));
        assert_eq!(JsonPath::read(".a[0]").unwrap().pointer(), None);
    }
}
