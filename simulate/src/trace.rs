//! What happened, as a hash and as the last lines.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::time::Duration;

/// Lines that are kept for the report of a failure.
const LINES_KEPT: usize = 60;

/// Lines that are kept of the story: some minutes of faults, starts and ends.
const STORY_LINES_KEPT: usize = 200;

/// How the lines begin that tell of each request and each write, which are most.
const TRAFFIC: [&str; 3] = ["-> ", "<- ", "commit "];

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// FNV-1a, which is the same on every machine.
#[derive(Debug, Clone, Copy)]
pub struct Fnv(pub u64);

impl Default for Fnv {
    fn default() -> Fnv {
        Fnv(FNV_OFFSET)
    }
}

impl Fnv {
    /// Takes bytes in.
    pub fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(FNV_PRIME);
        }
    }

    /// The hash of bytes.
    pub fn of(bytes: &[u8]) -> u64 {
        let mut hash = Fnv::default();
        hash.add(bytes);
        hash.0
    }
}

/// Everything that was noted.
#[derive(Debug, Default)]
pub struct Trace {
    hash: Fnv,
    count: u64,
    last: VecDeque<String>,
    story: VecDeque<String>,
    /// Also goes here, line by line.
    pub output: Option<std::io::BufWriter<std::fs::File>>,
}

impl Trace {
    /// Notes what happened at a virtual time.
    pub fn note(&mut self, at: Duration, what: fmt::Arguments<'_>) {
        let mut line = String::new();
        // Writing to a string cannot fail.
        let _ = write!(line, "{:>12.6} ", at.as_secs_f64());
        let begin = line.len();
        let _ = write!(line, "{what}");
        if !TRAFFIC.iter().any(|traffic| line[begin..].starts_with(traffic)) {
            keep(&mut self.story, STORY_LINES_KEPT, line.clone());
        }
        self.hash.add(line.as_bytes());
        self.count += 1;
        if let Some(output) = &mut self.output {
            let _ = std::io::Write::write_fmt(output, format_args!("{line}\n"));
        }
        keep(&mut self.last, LINES_KEPT, line);
    }

    /// The hash of all that was noted.
    pub fn hash(&self) -> u64 {
        self.hash.0
    }

    /// How much was noted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The last lines.
    pub fn last(&self) -> impl Iterator<Item = &str> {
        self.last.iter().map(String::as_str)
    }

    /// The last lines that tell of more than traffic: what broke and healed, started and ended, and what users did.
    pub fn story(&self) -> impl Iterator<Item = &str> {
        self.story.iter().map(String::as_str)
    }
}

/// Puts a line behind the others and lets the first go when there are too many.
fn keep(lines: &mut VecDeque<String>, most: usize, line: String) {
    if lines.len() == most {
        lines.pop_front();
    }
    lines.push_back(line);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_story_leaves_the_traffic_out_and_both_are_bounded() {
        let mut trace = Trace::default();
        trace.note(Duration::from_millis(1_500), format_args!("the server dies"));
        for number in 0..LINES_KEPT {
            trace.note(Duration::from_secs(2), format_args!("-> n1 GET /{number}"));
            trace.note(Duration::from_secs(2), format_args!("commit {number} /registry/x 0"));
        }
        assert_eq!(trace.story().collect::<Vec<_>>(), ["    1.500000 the server dies"]);
        assert_eq!(trace.last().count(), LINES_KEPT);
        for number in 0..=STORY_LINES_KEPT {
            trace.note(Duration::from_secs(3), format_args!("host n{number} starts"));
        }
        assert_eq!(trace.story().next(), Some("    3.000000 host n1 starts"));
        assert_eq!(trace.story().count(), STORY_LINES_KEPT);
    }
}
