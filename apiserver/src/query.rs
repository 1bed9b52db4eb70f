//! The query string: percent-decoding and typed access to single parameters.

/// A parsed query string: pairs in the order in which they were sent, repeated names kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Parses the part after `?`. Broken escapes are kept as they are, as Go's parser would refuse only them.
    pub fn parse(text: &str) -> Query {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        });
        Query(pairs.collect())
    }

    /// The same query with one value for a parameter in place of what it had.
    pub fn with(&self, name: &str, value: &str) -> Query {
        let mut pairs: Vec<(String, String)> =
            self.0.iter().filter(|(n, _)| n != name).cloned().collect();
        pairs.push((name.to_owned(), value.to_owned()));
        Query(pairs)
    }

    /// The first value of a parameter; `None` when it is missing or empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(n, _)| n == name)?;
        Some(value.as_str()).filter(|value| !value.is_empty())
    }

    /// All values of a parameter, in order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// Whether a flag is set: present without a value, or with anything but `0` and `false`.
    ///
    /// *Source:* the conversion of `*bool` query parameters in `k8s.io/apimachinery`.
    pub fn is_true(&self, name: &str) -> bool {
        self.flag(name).unwrap_or(false)
    }

    /// A flag that may be absent.
    pub fn flag(&self, name: &str) -> Option<bool> {
        let (_, value) = self.0.iter().find(|(n, _)| n == name)?;
        Some(!matches!(value.as_str(), "0" | "false" | "False" | "FALSE"))
    }

    /// A whole number.
    ///
    /// # Errors
    /// When the parameter is present and no 64-bit integer: gives the offending text.
    pub fn integer(&self, name: &str) -> Result<Option<i64>, String> {
        match self.get(name) {
            None => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| text.to_owned()),
        }
    }

    /// Writes the pairs back, without those for which `drop` says so; for forwarding to a node.
    pub fn encode_without(&self, drop: impl Fn(&str) -> bool) -> String {
        let mut out = String::new();
        for (name, value) in self.0.iter().filter(|(name, _)| !drop(name)) {
            if !out.is_empty() {
                out.push('&');
            }
            encode(name, &mut out);
            out.push('=');
            encode(value, &mut out);
        }
        out
    }
}

/// Decodes `%XX` and `+` of one query component; bytes that are no UTF-8 become U+FFFD.
fn decode(text: &str) -> String {
    if !text.contains(['%', '+']) {
        return text.to_owned();
    }
    let spaced = text.replace('+', " ");
    percent_decode(&spaced)
}

/// Decodes `%XX` alone, as path segments need it.
pub fn percent_decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let mut ahead = bytes.clone();
        let escaped = match (byte, ahead.next().and_then(hex), ahead.next().and_then(hex)) {
            (b'%', Some(high), Some(low)) => Some(high * 16 + low),
            _ => None,
        };
        match escaped {
            Some(value) => {
                out.push(value);
                bytes = ahead;
            }
            None => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Percent-encodes one query component.
pub fn encode(text: &str, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for nibble in [byte >> 4, byte & 15] {
                out.push(HEX.get(usize::from(nibble)).copied().map_or('0', char::from));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_escapes_and_keeps_broken_ones() {
        let query = Query::parse("labelSelector=app%3Dweb%2Ctier+in+%28a%29&x=%zz&flag&n=12");
        assert_eq!(query.get("labelSelector"), Some("app=web,tier in (a)"));
        assert_eq!(query.get("x"), Some("%zz"));
        assert!(query.is_true("flag"));
        assert_eq!(query.integer("n"), Ok(Some(12)));
        assert_eq!(query.integer("x"), Err("%zz".to_owned()));
    }

    #[test]
    fn encodes_what_it_decoded() {
        let query = Query::parse("a=b%20c&drop=1&d=%2F");
        assert_eq!(query.encode_without(|name| name == "drop"), "a=b%20c&d=%2F");
    }
}
