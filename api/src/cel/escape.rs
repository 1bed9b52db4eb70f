//! Names of fields as expressions write them.

/// Words that CEL keeps for itself.
const RESERVED: &[&str] = &[
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// Writes a field's name as an identifier: `foo-bar` becomes `foo__dash__bar`; `None` for a name
/// that no expression can speak of.
///
/// *Source:* `Escape` in `k8s.io/apiserver/pkg/cel/escaping.go`.
pub fn escape(name: &str) -> Option<String> {
    if RESERVED.contains(&name) {
        return Some(format!("__{name}__"));
    }
    let first = name.bytes().next()?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-/".contains(&byte);
    if first.is_ascii_digit() || !name.bytes().all(allowed) {
        return None;
    }
    let name = name.replace("__", "__underscores__");
    Some(name.replace('.', "__dot__").replace('-', "__dash__").replace('/', "__slash__"))
}

/// Gives the field's name behind an identifier that [`escape`] made.
pub(super) fn unescape(identifier: &str) -> String {
    let word = identifier.strip_prefix("__").and_then(|rest| rest.strip_suffix("__"));
    if let Some(word) = word.filter(|word| is_reserved(word)) {
        return word.to_owned();
    }
    let plain = identifier.replace("__dot__", ".").replace("__dash__", "-");
    plain.replace("__slash__", "/").replace("__underscores__", "__")
}

/// Tells whether a name is an identifier although it is written differently after escaping.
pub(super) fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_identifiers() {
        for (name, expected) in [
            ("plain", Some("plain")),
            ("with_one", Some("with_one")),
            ("foo-bar", Some("foo__dash__bar")),
            ("a.b/c", Some("a__dot__b__slash__c")),
            ("a__b", Some("a__underscores__b")),
            ("namespace", Some("__namespace__")),
            ("1st", None),
            ("a b", None),
            ("", None),
        ] {
            assert_eq!(escape(name).as_deref(), expected, "{name}");
            if let Some(escaped) = expected {
                assert_eq!(unescape(escaped), name);
            }
        }
    }
}
