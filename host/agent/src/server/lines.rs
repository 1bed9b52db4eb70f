//! Lines of a CRI log: `2026-11-21T10:00:00.123456789Z stdout F text`.
//!
//! *Source:* the CRI log format; `P` marks a piece of a line that goes on.

use jiff::Timestamp;

/// One piece of output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// As written, for `timestamps=true`.
    pub timestamp: &'a str,
    /// `stdout` or `stderr`.
    pub stream: &'a str,
    /// The line ends here.
    pub full: bool,
    /// The text, without its line end.
    pub text: &'a [u8],
}

impl<'a> Line<'a> {
    /// Parses one line of a log file, without its line end; gives nothing for a damaged one.
    #[must_use]
    pub fn parse(raw: &'a [u8]) -> Option<Self> {
        let (timestamp, rest) = word(raw)?;
        let (stream, rest) = word(rest)?;
        let (tag, text) = match word(rest) {
            Some(parts) => parts,
            None => (std::str::from_utf8(rest).ok()?, &[][..]),
        };
        let full = !tag.split(':').any(|tag| tag == "P");
        Some(Self { timestamp, stream, full, text })
    }

    /// The moment of writing.
    #[must_use]
    pub fn moment(&self) -> Option<Timestamp> {
        self.timestamp.parse().ok()
    }

    /// Appends the line as a client is to see it.
    pub fn render(&self, timestamps: bool, begins: bool, out: &mut Vec<u8>) {
        if timestamps && begins {
            out.extend_from_slice(self.timestamp.as_bytes());
            out.push(b' ');
        }
        out.extend_from_slice(self.text);
        if self.full {
            out.push(b'\n');
        }
    }
}

fn word(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let at = bytes.iter().position(|byte| *byte == b' ')?;
    let (first, rest) = bytes.split_at_checked(at)?;
    Some((std::str::from_utf8(first).ok()?, rest.get(1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_and_rendered() {
        let check = |raw: &str, timestamps: bool| {
            let mut out = Vec::new();
            Line::parse(raw.as_bytes())?.render(timestamps, true, &mut out);
            String::from_utf8(out).ok()
        };
        let rows = [
            ("2026-01-01T00:00:00Z stdout F hello world", false, Some("hello world\n")),
            ("2026-01-01T00:00:00Z stderr F x", true, Some("2026-01-01T00:00:00Z x\n")),
            ("2026-01-01T00:00:00Z stdout P half", false, Some("half")),
            ("2026-01-01T00:00:00Z stdout F ", false, Some("\n")),
            ("2026-01-01T00:00:00Z stdout F", false, Some("\n")),
            ("2026-01-01T00:00:00Z stdout F:more sold", false, Some("sold\n")),
            ("damaged", false, None),
        ];
        for (raw, timestamps, expected) in rows {
            assert_eq!(check(raw, timestamps).as_deref(), expected, "{raw}");
        }
    }
}
