//! Prometheus' text format, in chunks.
//!
//! *Source:* Prometheus' exposition format 0.0.4: families are not mixed, `\`, `"` and line ends are escaped in labels.

use bytes::Bytes;
use std::fmt::Write as _;

/// The `Content-Type` of a page.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A chunk is sent when it has so many bytes: enough for a frame, little for memory.
pub(super) const CHUNK_BYTES: usize = 64 * 1024;

/// A metric of a kind: its name, and the lines of one row.
pub(super) struct Family<T: 'static> {
    /// Name.
    pub(super) name: &'static str,
    /// `gauge` or `counter`.
    pub(super) kind: &'static str,
    /// Writes the lines of a row.
    pub(super) write: fn(&T, &mut Lines<'_>),
}

/// A gauge.
pub(super) const fn gauge<T: 'static>(
    name: &'static str,
    write: fn(&T, &mut Lines<'_>),
) -> Family<T> {
    Family { name, kind: "gauge", write }
}

/// A counter.
pub(super) const fn counter<T: 'static>(
    name: &'static str,
    write: fn(&T, &mut Lines<'_>),
) -> Family<T> {
    Family { name, kind: "counter", write }
}

/// Where the lines of one family go.
pub(super) struct Lines<'a> {
    name: &'static str,
    out: &'a mut String,
}

/// Labels of a line.
pub(super) type Labels<'a> = &'a [(&'a str, &'a str)];

impl Lines<'_> {
    /// Writes a line with the labels of the object and those of the line.
    pub(super) fn add(&mut self, own: Labels<'_>, more: Labels<'_>, value: f64) {
        self.out.push_str(self.name);
        self.out.push('{');
        for (index, (label, text)) in own.iter().chain(more).enumerate() {
            if index > 0 {
                self.out.push(',');
            }
            self.out.push_str(label);
            self.out.push_str("=\"");
            escape(text, self.out);
            self.out.push('"');
        }
        // Writing into a string cannot fail.
        let _infallible = writeln!(self.out, "}} {value}");
    }

    /// Writes a line unless there is no value.
    pub(super) fn maybe(&mut self, own: Labels<'_>, more: Labels<'_>, value: Option<f64>) {
        if let Some(value) = value {
            self.add(own, more, value);
        }
    }

    /// Writes a line for each of the possible states, 1 for the one that it is.
    pub(super) fn states(&mut self, own: Labels<'_>, label: &str, states: &[&str], is: &str) {
        for state in states {
            self.add(own, &[(label, *state)], flag(*state == is));
        }
    }
}

fn escape(text: &str, out: &mut String) {
    for letter in text.chars() {
        match letter {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
}

/// 1 for true.
pub(super) fn flag(is: bool) -> f64 {
    if is { 1.0 } else { 0.0 }
}

/// The pages of one kind: an iterator over chunks, which writes as it is asked.
pub(super) struct Pages<T: 'static> {
    rows: Vec<T>,
    families: &'static [Family<T>],
    family: usize,
    row: usize,
}

impl<T: 'static> Pages<T> {
    /// Pages of these rows.
    pub(super) fn new(rows: Vec<T>, families: &'static [Family<T>]) -> Pages<T> {
        Pages { rows, families, family: 0, row: 0 }
    }
}

impl<T: 'static> Iterator for Pages<T> {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let mut out = String::new();
        while out.len() < CHUNK_BYTES {
            let Some(family) = self.families.get(self.family) else { break };
            if self.row == 0 {
                let Family { name, kind, .. } = family;
                let _infallible = writeln!(out, "# TYPE {name} {kind}");
            }
            match self.rows.get(self.row) {
                Some(row) => {
                    (family.write)(row, &mut Lines { name: family.name, out: &mut out });
                    self.row += 1;
                }
                None => {
                    self.family += 1;
                    self.row = 0;
                }
            }
        }
        (!out.is_empty()).then(|| out.into())
    }
}
