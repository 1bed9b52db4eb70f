//! The formats of names, labels and keys, each with upstream's words for what is wrong.
//!
//! Every function gives the list of complaints, empty when the value is fine.
//! *Source:* `k8s.io/apimachinery/pkg/util/validation` and `pkg/api/validate/content`.

/// Most bytes of a DNS label.
pub const DNS1123_LABEL_BYTES_MAX: usize = 63;
/// Most bytes of a DNS subdomain.
pub const DNS1123_SUBDOMAIN_BYTES_MAX: usize = 253;
/// Most bytes of a label's value.
pub const LABEL_VALUE_BYTES_MAX: usize = 63;
/// Most bytes of the name part of a qualified name.
pub const QUALIFIED_NAME_BYTES_MAX: usize = 63;
/// Most bytes of a key in a ConfigMap or Secret.
pub const CONFIG_MAP_KEY_BYTES_MAX: usize = 253;

const DNS1123_LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric \
     characters or '-', and must start and end with an alphanumeric character \
     (e.g. 'my-name',  or '123-abc', regex used for validation is \
     '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const DNS1123_SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case \
     alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character \
     (e.g. 'example.com', regex used for validation is \
     '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const DNS1035_LABEL: &str = "a DNS-1035 label must consist of lower case alphanumeric characters \
     or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. \
     'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED_NAME: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must \
     start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', \
     regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric \
     characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. \
     'MyValue',  or 'my_value',  or '12345', regex used for validation is \
     '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const ENV_VAR_NAME: &str = "a valid environment variable name must consist only of printable \
     ASCII characters other than '='";
const CONFIG_MAP_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', \
     '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is \
     '[-._a-zA-Z0-9]+')";

/// Checks a DNS label (`my-name`): at most 63 lower-case letters, digits and `-`.
pub fn dns1123_label(value: &str) -> Vec<String> {
    let mut complaints = too_long(value, DNS1123_LABEL_BYTES_MAX, "characters");
    if !is_dns1123_label(value) {
        if is_dns1123_subdomain(value) {
            // The usual mistake: say it plainly.
            complaints.push("must not contain dots".to_owned());
        } else {
            complaints.push(DNS1123_LABEL.to_owned());
        }
    }
    complaints
}

/// Checks a DNS subdomain (`my.name`): at most 253 bytes of labels joined by dots.
pub fn dns1123_subdomain(value: &str) -> Vec<String> {
    let mut complaints = too_long(value, DNS1123_SUBDOMAIN_BYTES_MAX, "characters");
    if !is_dns1123_subdomain(value) {
        complaints.push(DNS1123_SUBDOMAIN.to_owned());
    }
    complaints
}

/// Checks a DNS-1035 label (Service names): a DNS label that begins with a letter.
pub fn dns1035_label(value: &str) -> Vec<String> {
    let mut complaints = too_long(value, DNS1123_LABEL_BYTES_MAX, "characters");
    if !is_dns1123_label(value) || !value.starts_with(|c: char| c.is_ascii_lowercase()) {
        complaints.push(DNS1035_LABEL.to_owned());
    }
    complaints
}

/// Checks a qualified name (`example.com/name` or `name`), as keys of labels and annotations are.
pub fn qualified_name(value: &str) -> Vec<String> {
    let mut complaints = vec![];
    let name = match value.split_once('/') {
        None => value,
        Some((prefix, name)) if !name.contains('/') => {
            if prefix.is_empty() {
                complaints.push("prefix part must be non-empty".to_owned());
            } else {
                let found = dns1123_subdomain(prefix);
                complaints.extend(found.into_iter().map(|words| format!("prefix part {words}")));
            }
            name
        }
        Some(_) => {
            return vec![format!(
                "a valid label key {QUALIFIED_NAME} with an optional DNS subdomain prefix and '/' \
                 (e.g. 'example.com/MyName')"
            )];
        }
    };
    if name.is_empty() {
        complaints.push("name part must be non-empty".to_owned());
    } else {
        let found = too_long(name, QUALIFIED_NAME_BYTES_MAX, "bytes");
        complaints.extend(found.into_iter().map(|words| format!("name part {words}")));
    }
    if !is_name_part(name) {
        complaints.push(format!("name part {QUALIFIED_NAME}"));
    }
    complaints
}

/// Checks the value of a label: empty, or at most 63 bytes of letters, digits, `-`, `_`, `.`.
pub fn label_value(value: &str) -> Vec<String> {
    let mut complaints = too_long(value, LABEL_VALUE_BYTES_MAX, "bytes");
    if !value.is_empty() && !is_name_part(value) {
        complaints.push(LABEL_VALUE.to_owned());
    }
    complaints
}

/// Checks a key of a ConfigMap or Secret.
pub fn config_map_key(value: &str) -> Vec<String> {
    let mut complaints = too_long(value, CONFIG_MAP_KEY_BYTES_MAX, "characters");
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if value.is_empty() || !value.bytes().all(fits) {
        complaints.push(CONFIG_MAP_KEY.to_owned());
    }
    complaints.extend(dots(value));
    complaints
}

/// Checks the name of an environment variable: printable ASCII without `=`.
pub fn env_var_name(value: &str) -> Vec<String> {
    let mut complaints = vec![];
    let fits = |b: u8| (0x20..0x7f).contains(&b) && b != b'=';
    if value.is_empty() || !value.bytes().all(fits) {
        complaints.push(ENV_VAR_NAME.to_owned());
    }
    complaints
}

/// Checks the name of a port: at most 15 lower-case letters, digits and single `-`, one letter.
/// *Source:* RFC 6335 section 5.1.
pub fn port_name(value: &str) -> Vec<String> {
    let mut complaints = vec![];
    if value.len() > 15 {
        complaints.push("must be no more than 15 characters".to_owned());
    }
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if !value.bytes().all(fits) || value.is_empty() {
        complaints.push(
            "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned(),
        );
    }
    if !value.bytes().any(|b| b.is_ascii_lowercase()) {
        complaints.push("must contain at least one letter (a-z)".to_owned());
    }
    if value.contains("--") {
        complaints.push("must not contain consecutive hyphens".to_owned());
    }
    if value.starts_with('-') || value.ends_with('-') {
        complaints.push("must not begin or end with a hyphen".to_owned());
    }
    complaints
}

/// Checks a port number: 1 to 65535.
pub fn port_number(port: i64) -> Vec<String> {
    if (1..=65_535).contains(&port) { vec![] } else { vec![in_range(1, 65_535)] }
}

/// Checks one path segment, as names of RBAC objects are.
pub fn path_segment(value: &str) -> Vec<String> {
    match value {
        "." => vec!["may not be '.'".to_owned()],
        ".." => vec!["may not be '..'".to_owned()],
        _ => ["/", "%"]
            .iter()
            .filter(|illegal| value.contains(**illegal))
            .map(|illegal| format!("may not contain '{illegal}'"))
            .collect(),
    }
}

/// Words a complaint about a number outside a closed range.
pub fn in_range(low: i64, high: i64) -> String {
    format!("must be between {low} and {high}, inclusive")
}

/// Complains in upstream's two words for the same thing: names have "characters", labels "bytes".
fn too_long(value: &str, max: usize, unit: &str) -> Vec<String> {
    if value.len() > max { vec![format!("must be no more than {max} {unit}")] } else { vec![] }
}

fn dots(value: &str) -> Option<String> {
    if value == "." {
        Some("must not be '.'".to_owned())
    } else if value == ".." {
        Some("must not be '..'".to_owned())
    } else if value.starts_with("..") {
        Some("must not start with '..'".to_owned())
    } else {
        None
    }
}

/// Tells whether the characters are those of a DNS label; the length is not looked at.
pub fn is_dns1123_label(value: &str) -> bool {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = value.as_bytes();
    matches!((bytes.first(), bytes.last()), (Some(&first), Some(&last)) if fits(first) && fits(last))
        && bytes.iter().all(|&b| fits(b) || b == b'-')
}

/// Tells whether the characters are those of a DNS subdomain; the length is not looked at.
pub fn is_dns1123_subdomain(value: &str) -> bool {
    value.split('.').all(is_dns1123_label)
}

fn is_name_part(value: &str) -> bool {
    let bytes = value.as_bytes();
    let ends = |b: u8| b.is_ascii_alphanumeric();
    matches!((bytes.first(), bytes.last()), (Some(&first), Some(&last)) if ends(first) && ends(last))
        && bytes.iter().all(|&b| ends(b) || matches!(b, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rule: fn(&str) -> Vec<String>, good: &[&str], bad: &[&str]) {
        for value in good {
            assert_eq!(rule(value), Vec::<String>::new(), "{value:?}");
        }
        for value in bad {
            assert_ne!(rule(value), Vec::<String>::new(), "{value:?}");
        }
    }

    #[test]
    fn formats() {
        let long = "a".repeat(64);
        check(dns1123_label, &["a", "a-b", "0"], &["", "A", "-a", "a-", "a.b", "a_b", &long]);
        check(dns1123_subdomain, &["a.b", "a", "0.1"], &["", ".", "a.", "a..b", "A.b"]);
        check(dns1035_label, &["a", "a0"], &["", "0a", "a.b"]);
        check(
            qualified_name,
            &["a", "A.b_c", "x.y/Z"],
            &["", "/a", "a/", "a/b/c", "A/b", "-a", &long],
        );
        check(label_value, &["", "a", "A.b_c-d"], &["-a", "a b", &long]);
        check(config_map_key, &["a", ".a", "A_b-c.d"], &["", ".", "..", "..a", "a/b"]);
        check(env_var_name, &["A", "a b", "0"], &["", "a=b", "é"]);
        check(port_name, &["http", "a-1"], &["", "1", "-a", "a--b", "A", "abcdefghijklmnop"]);
        check(path_segment, &["a:b"], &[".", "..", "a/b", "a%b"]);
    }

    #[test]
    fn complaints_are_upstreams_words() {
        assert_eq!(
            dns1123_subdomain("My_App"),
            ["a lowercase RFC 1123 subdomain must consist of lower case alphanumeric \
                 characters, '-' or '.', and must start and end with an alphanumeric character \
                 (e.g. 'example.com', regex used for validation is \
                 '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"]
        );
        assert_eq!(port_number(0), ["must be between 1 and 65535, inclusive"]);
        assert_eq!(dns1123_label("a.b"), ["must not contain dots"]);
    }
}
