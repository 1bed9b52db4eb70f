//! Forms of output: tables, JSON, YAML, names and JSON path templates.

use anyhow::{Context as _, bail};
use coracle_api::custom::JsonPath;
use serde_json::Value;

/// How objects are printed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Form {
    /// The server's table.
    Table,
    /// The server's table with all columns.
    Wide,
    /// Indented JSON.
    Json,
    /// YAML.
    Yaml,
    /// `pod/web`.
    Name,
    /// A template.
    JsonPath(Vec<Piece>),
}

/// A part of a JSON path template.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Piece {
    /// Text as it is.
    Text(String),
    /// What a path finds, with blanks between.
    Path(JsonPath),
    /// The pieces within, for each thing that a path finds.
    Range(JsonPath, Vec<Piece>),
}

impl Form {
    /// Reads `-o`.
    pub(crate) fn read(text: &str) -> anyhow::Result<Self> {
        match text {
            "" => Ok(Self::Table),
            "wide" => Ok(Self::Wide),
            "json" => Ok(Self::Json),
            "yaml" => Ok(Self::Yaml),
            "name" => Ok(Self::Name),
            other => match other.strip_prefix("jsonpath=") {
                Some(template) => Ok(Self::JsonPath(template_of(template)?)),
                None => {
                    bail!("-o '{other}' must be one of json, yaml, name, wide, jsonpath=TEMPLATE")
                }
            },
        }
    }
}

/// An object, or a list of them, as YAML.
pub(crate) fn yaml(value: &Value) -> anyhow::Result<String> {
    serde_saphyr::to_string(value).context("write YAML")
}

/// What a template makes of an object.
pub(crate) fn render(pieces: &[Piece], object: &Value) -> String {
    let mut text = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(literal) => text.push_str(literal),
            Piece::Path(path) => {
                let found: Vec<String> = path.find(object).into_iter().map(shown).collect();
                text.push_str(&found.join(" "));
            }
            Piece::Range(path, inner) => {
                for item in path.find(object) {
                    text.push_str(&render(inner, item));
                }
            }
        }
    }
    text
}

/// A found value: strings without quotes, the rest as JSON.
pub(crate) fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A path as kubectl takes it: `{.a}`, `.a`, `a`, `$.a`.
pub(crate) fn path_of(text: &str) -> anyhow::Result<JsonPath> {
    let inner = text.strip_prefix('{').and_then(|t| t.strip_suffix('}')).unwrap_or(text);
    let inner = inner.strip_prefix('$').or_else(|| inner.strip_prefix('@')).unwrap_or(inner);
    let dotted = if inner.starts_with(['.', '[']) { inner.to_owned() } else { format!(".{inner}") };
    JsonPath::read(&dotted).with_context(|| format!("jsonpath '{text}'"))
}

fn template_of(text: &str) -> anyhow::Result<Vec<Piece>> {
    let mut open: Vec<(JsonPath, Vec<Piece>)> = Vec::new();
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let Some(start) = rest.find('{') else {
            pieces.push(Piece::Text(rest.to_owned()));
            break;
        };
        if start > 0 {
            pieces.push(Piece::Text(rest[..start].to_owned()));
        }
        let inner = rest[start + 1..].trim_start();
        let end = closing(inner).with_context(|| format!("jsonpath '{text}' lacks a '}}'"))?;
        let (word, after) = (inner[..end].trim(), &inner[end + 1..]);
        rest = after;
        if word == "end" {
            let (path, outer) = open.pop().context("jsonpath has an {end} without a {range}")?;
            let inner = std::mem::replace(&mut pieces, outer);
            pieces.push(Piece::Range(path, inner));
        } else if let Some(path) = word.strip_prefix("range ") {
            open.push((path_of(path.trim())?, std::mem::take(&mut pieces)));
        } else if word.starts_with(['"', '\'']) {
            pieces.push(Piece::Text(literal(word)));
        } else {
            pieces.push(Piece::Path(path_of(word)?));
        }
    }
    if !open.is_empty() {
        bail!("jsonpath '{text}' has a {{range}} without an {{end}}");
    }
    Ok(pieces)
}

/// Where the brace that is open ends; quotes hide braces.
fn closing(text: &str) -> Option<usize> {
    let mut quote = None;
    for (index, letter) in text.char_indices() {
        match quote {
            Some(open) if letter == open => quote = None,
            Some(_) => {}
            None if letter == '"' || letter == '\'' => quote = Some(letter),
            None if letter == '}' => return Some(index),
            None => {}
        }
    }
    None
}

fn literal(word: &str) -> String {
    let inner = word.trim_matches(['"', '\'']);
    inner.replace("\\n", "\n").replace("\\t", "\t")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(template: &str, expected: &str) {
        let list = json!({"items": [
            {"metadata": {"name": "a"}, "n": 1},
            {"metadata": {"name": "b"}, "n": 2},
        ]});
        let text = match Form::read(&format!("jsonpath={template}")) {
            Ok(Form::JsonPath(pieces)) => render(&pieces, &list),
            other => format!("{other:?}"),
        };
        assert_eq!(text, expected, "{template}");
    }

    #[test]
    fn templates() {
        check("{.items[*].metadata.name}", "a b");
        check("{.items[?(@.n==2)].metadata.name}!", "b!");
        check(r#"{range .items[*]}{.metadata.name}{"\t"}{.n}{"\n"}{end}"#, "a\t1\nb\t2\n");
        check("{.none}", "");
    }

    #[test]
    fn unknown_forms_are_refused() {
        for (text, words) in [
            ("xml", "must be one of"),
            ("jsonpath={.a", "lacks a '}'"),
            ("jsonpath={end}", "{end}"),
        ] {
            let error = Form::read(text).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn yaml_reads_back_as_it_was() {
        let value = json!({"a": ["true", "1", "null", "", "x: y", "line\nline", "0x1f", "~", "no"],
            "b": {"c": 1, "d": 1.5, "e": null, "f": true, "empty": {}, "none": []}});
        let text = yaml(&value).unwrap();
        assert_eq!(coracle_api::decode::documents(&text).unwrap(), [value], "{text}");
    }
}
