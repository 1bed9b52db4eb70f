//! The CRI log format: one line per write of the guest, cut where it is too long.
//!
//! *Source:* Kubernetes' CRI logging proposal: `<RFC 3339 with nanoseconds> <stream> <tag> <line>`,
//! tag `F` for a full line and `P` for a part of one. On its way to disk a line also names the request that it was
//! written for, as `F:req=ID`; what is on disk does not.

use std::fmt::Write;

use coracle_telemetry::RequestId;

/// The most bytes of one line; what is longer is written in parts.
///
/// *Source:* containerd's `max_container_log_line_size`, 16 KiB.
pub(crate) const LINE_BYTES_MAX: usize = 16 << 10;

/// How the tag begins that names a request, after `P` or `F`.
pub(super) const REQUEST_TAG: &str = ":req=";

/// Which of a guest's two outputs a line is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    Stdout,
    Stderr,
}

impl Output {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Cuts the bytes of one output into lines.
#[derive(Debug)]
pub(crate) struct Lines {
    output: Output,
    /// The beginning of a line whose end has not come.
    rest: Vec<u8>,
    /// The request that lines are written for.
    of: Option<RequestId>,
}

impl Lines {
    /// Starts with nothing.
    pub(crate) fn new(output: Output) -> Self {
        Self { output, rest: Vec::new(), of: None }
    }

    /// Says for which request lines are written from now on.
    pub(crate) fn of(&mut self, request: Option<RequestId>) {
        self.of = request;
    }

    /// Says whether the last line that was begun has ended.
    pub(crate) fn is_at_start(&self) -> bool {
        self.rest.is_empty()
    }

    /// Takes `bytes` and appends each line that they complete to `out`.
    pub(crate) fn take(&mut self, mut bytes: &[u8], now: jiff::Timestamp, out: &mut Vec<u8>) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at(end);
            self.full(line, now, out);
            bytes = rest.get(1..).unwrap_or_default();
        }
        self.rest.extend_from_slice(bytes);
        while self.rest.len() >= LINE_BYTES_MAX {
            let tail = self.rest.split_off(LINE_BYTES_MAX);
            let part = std::mem::replace(&mut self.rest, tail);
            self.record('P', &part, now, out);
        }
    }

    /// Appends the line that was left without an end, if there is one, as a part: it has no end, and so
    /// it is shown.
    ///
    /// *Source:* containerd, which treats it so.
    pub(crate) fn finish(&mut self, now: jiff::Timestamp, out: &mut Vec<u8>) {
        if !self.rest.is_empty() {
            let rest = std::mem::take(&mut self.rest);
            self.record('P', &rest, now, out);
        }
    }

    fn full(&mut self, line: &[u8], now: jiff::Timestamp, out: &mut Vec<u8>) {
        if self.rest.is_empty() && line.len() <= LINE_BYTES_MAX {
            return self.record('F', line, now, out);
        }
        let mut whole = std::mem::take(&mut self.rest);
        whole.extend_from_slice(line);
        let mut parts = whole.chunks(LINE_BYTES_MAX).peekable();
        while let Some(part) = parts.next() {
            let tag = if parts.peek().is_some() { 'P' } else { 'F' };
            self.record(tag, part, now, out);
        }
    }

    fn record(&self, tag: char, line: &[u8], now: jiff::Timestamp, out: &mut Vec<u8>) {
        let mut head = String::with_capacity(96);
        // Writing to a String cannot fail.
        let _ = write!(head, "{now:.9} {} {tag}", self.output.as_str());
        if let Some(of) = &self.of {
            let _ = write!(head, "{REQUEST_TAG}{}", of.as_str());
        }
        head.push(' ');
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(line);
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(writes: &[&str], want: Expect) {
        let now = jiff::Timestamp::from_nanosecond(1_700_000_000_000_000_001).unwrap();
        let mut lines = Lines::new(Output::Stdout);
        let mut out = Vec::new();
        for write in writes {
            lines.take(write.as_bytes(), now, &mut out);
        }
        out.extend_from_slice(b"-- end\n");
        lines.finish(now, &mut out);
        want.assert_eq(&String::from_utf8(out).unwrap());
    }

    #[test]
    fn lines_are_whole_whatever_the_writes() {
        check(
            &["a\nb", "c\n\n", "d"],
            expect![[r#"
                2023-11-14T22:13:20.000000001Z stdout F a
                2023-11-14T22:13:20.000000001Z stdout F bc
                2023-11-14T22:13:20.000000001Z stdout F 
                -- end
                2023-11-14T22:13:20.000000001Z stdout P d
            "#]],
        );
    }

    #[test]
    fn a_line_names_the_request_that_it_was_written_for() {
        let now = jiff::Timestamp::UNIX_EPOCH;
        let mut lines = Lines::new(Output::Stderr);
        let mut out = Vec::new();
        lines.of(RequestId::try_from("order-7".to_owned()).ok());
        lines.take(b"sold\n", now, &mut out);
        lines.of(None);
        lines.take(b"closed\n", now, &mut out);
        expect![[r#"
            1970-01-01T00:00:00.000000000Z stderr F:req=order-7 sold
            1970-01-01T00:00:00.000000000Z stderr F closed
        "#]]
        .assert_eq(&String::from_utf8(out).unwrap());
    }

    #[test]
    fn a_long_line_comes_in_parts() {
        let now = jiff::Timestamp::UNIX_EPOCH;
        let mut lines = Lines::new(Output::Stderr);
        let mut out = Vec::new();
        lines.take(&vec![b'x'; LINE_BYTES_MAX + 5], now, &mut out);
        lines.take(b"y\nz\n", now, &mut out);
        let text = String::from_utf8(out).unwrap();
        let shown: Vec<_> = text
            .lines()
            .map(|line| {
                let mut words = line.splitn(4, ' ').skip(1);
                let head = (words.next().unwrap(), words.next().unwrap());
                (head.0, head.1, words.next().unwrap().len())
            })
            .collect();
        assert_eq!(
            shown,
            [("stderr", "P", LINE_BYTES_MAX), ("stderr", "F", 6), ("stderr", "F", 1)]
        );
    }

    proptest::proptest! {
        #[test]
        fn nothing_is_lost(writes in proptest::collection::vec("[ab\n]{0,40}", 0..10)) {
            let now = jiff::Timestamp::UNIX_EPOCH;
            let mut lines = Lines::new(Output::Stdout);
            let mut out = Vec::new();
            for write in &writes {
                lines.take(write.as_bytes(), now, &mut out);
            }
            lines.finish(now, &mut out);
            let text = String::from_utf8(out).unwrap();
            let back: Vec<&str> = text.lines().map(|line| line.splitn(4, ' ').nth(3).unwrap()).collect();
            let all = writes.concat();
            let want: Vec<&str> = all.lines().collect();
            proptest::prop_assert_eq!(back, want);
        }
    }
}
