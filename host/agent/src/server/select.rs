//! Which part of a log is asked for: pure.
//!
//! *Source:* `PodLogOptions`.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};

use super::lines::Line;

/// What a client asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Go on as more is written.
    pub follow: bool,
    /// Of the life before the current one.
    pub previous: bool,
    /// Put the moment of writing before each line.
    pub timestamps: bool,
    /// Only the last so many lines.
    pub tail_lines: Option<usize>,
    /// Only lines written since.
    pub since: Option<Timestamp>,
    /// At most so many bytes.
    pub limit_bytes: Option<usize>,
    /// Only this stream (`stdout` or `stderr`).
    pub stream: Option<String>,
}

impl LogOptions {
    /// Reads the query of a log request made at `now`.
    ///
    /// # Errors
    /// A sentence that names the parameter.
    pub fn parse(query: &str, now: Timestamp) -> Result<Self, String> {
        let mut options = Self::default();
        for (name, value) in pairs(query) {
            let wrong = || format!("{name}: Invalid value: \"{value}\"");
            let number = || value.parse::<usize>().map_err(|_| wrong());
            match name.as_str() {
                "follow" => options.follow = flag(&value).ok_or_else(wrong)?,
                "previous" => options.previous = flag(&value).ok_or_else(wrong)?,
                "timestamps" => options.timestamps = flag(&value).ok_or_else(wrong)?,
                "tailLines" => options.tail_lines = Some(number()?),
                "limitBytes" => options.limit_bytes = Some(number()?),
                "sinceTime" => options.since = Some(value.parse().map_err(|_| wrong())?),
                "sinceSeconds" => {
                    let seconds = value.parse::<i64>().map_err(|_| wrong())?;
                    options.since = now.checked_sub(SignedDuration::from_secs(seconds)).ok();
                }
                "stream" if value == "Stdout" || value == "Stderr" => {
                    options.stream = Some(value.to_lowercase());
                }
                _ => {}
            }
        }
        Ok(options)
    }
}

/// Takes a log in pieces and gives what the client is to see of it.
#[derive(Debug)]
pub struct Selection {
    options: LogOptions,
    /// Bytes of a line of which the end has not come yet.
    rest: Vec<u8>,
    /// Rendered lines held back for `tailLines`.
    tail: VecDeque<Vec<u8>>,
    tailing: bool,
    begins: bool,
    left: usize,
}

impl Selection {
    /// A selection by `options`.
    #[must_use]
    pub fn new(options: LogOptions) -> Self {
        let tailing = options.tail_lines.is_some();
        let left = options.limit_bytes.unwrap_or(usize::MAX);
        Self { options, rest: Vec::new(), tail: VecDeque::new(), tailing, begins: true, left }
    }

    /// Tells whether the byte limit has been reached.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.left == 0
    }

    /// Takes the next bytes of the file.
    #[must_use]
    pub fn take(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut bytes = bytes;
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, after) = bytes.split_at(end);
            self.rest.extend_from_slice(line);
            bytes = after.get(1..).unwrap_or_default();
            let raw = std::mem::take(&mut self.rest);
            self.line(&raw, &mut out);
        }
        self.rest.extend_from_slice(bytes);
        self.limit(out)
    }

    /// The end of what is there now: gives what `tailLines` has held back.
    #[must_use]
    pub fn caught_up(&mut self) -> Vec<u8> {
        self.tailing = false;
        let tail = std::mem::take(&mut self.tail);
        self.limit(tail.into_iter().flatten().collect())
    }

    fn line(&mut self, raw: &[u8], out: &mut Vec<u8>) {
        let Some(line) = Line::parse(raw) else { return };
        let other = self.options.stream.as_ref().is_some_and(|stream| stream != line.stream);
        let old =
            self.options.since.is_some_and(|since| line.moment().is_some_and(|at| at < since));
        if other || old {
            return;
        }
        let begins = std::mem::replace(&mut self.begins, line.full);
        if !self.tailing {
            return line.render(self.options.timestamps, begins, out);
        }
        if begins {
            self.tail.push_back(Vec::new());
        }
        if let Some(last) = self.tail.back_mut() {
            line.render(self.options.timestamps, begins, last);
        }
        if self.tail.len() > self.options.tail_lines.unwrap_or(usize::MAX) {
            self.tail.pop_front();
        }
    }

    fn limit(&mut self, mut out: Vec<u8>) -> Vec<u8> {
        out.truncate(self.left);
        self.left -= out.len();
        out
    }
}

fn flag(value: &str) -> Option<bool> {
    match value {
        "" | "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

/// The names and values of a query, decoded, in order.
pub(crate) fn pairs(query: &str) -> impl Iterator<Item = (String, String)> {
    query.split('&').filter(|part| !part.is_empty()).map(|part| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        (decode(name), decode(value))
    })
}

/// Undoes percent encoding.
#[must_use]
pub fn decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let pair = (digit(bytes.next()), digit(bytes.next()));
                if let (Some(high), Some(low)) = pair {
                    out.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                }
            }
            byte => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "2026-01-01T00:00:01Z stdout F one\n2026-01-01T00:00:02Z stdout P tw\n\
        2026-01-01T00:00:02Z stdout F o\n2026-01-01T00:00:03Z stderr F three\n";

    fn check(query: &str, piece: usize) -> String {
        let now = "2026-01-01T00:00:04Z".parse().unwrap();
        let mut selection = Selection::new(LogOptions::parse(query, now).unwrap());
        let mut out = Vec::new();
        for bytes in LOG.as_bytes().chunks(piece) {
            out.extend(selection.take(bytes));
        }
        out.extend(selection.caught_up());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_asked_part_comes_whatever_the_pieces() {
        let rows = [
            ("", "one\ntwo\nthree\n"),
            ("tailLines=2", "two\nthree\n"),
            ("tailLines=0", ""),
            ("sinceSeconds=1", "three\n"),
            ("sinceTime=2026-01-01T00:00:02Z", "two\nthree\n"),
            ("limitBytes=5", "one\nt"),
            (
                "timestamps=true&tailLines=2",
                "2026-01-01T00:00:02Z two\n2026-01-01T00:00:03Z three\n",
            ),
            ("stream=Stderr", "three\n"),
        ];
        for (query, expected) in rows {
            for piece in [1, 7, 1000] {
                assert_eq!(check(query, piece), expected, "{query} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn a_wrong_parameter_is_named() {
        let error = LogOptions::parse("tailLines=x", Timestamp::UNIX_EPOCH).unwrap_err();
        assert_eq!(error, "tailLines: Invalid value: \"x\"");
    }
}
