//! What happened, as a hash and as the last lines.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::time::Duration;

/// Lines that are kept for the report of a failure.
const LINES_KEPT: usize = 60;

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
    /// Also goes here, line by line.
    pub output: Option<std::io::BufWriter<std::fs::File>>,
}

impl Trace {
    /// Notes what happened at a virtual time.
    pub fn note(&mut self, at: Duration, what: fmt::Arguments<'_>) {
        let mut line = String::new();
        // Writing to a string cannot fail.
        let _ = write!(line, "{:>12.6} {what}", at.as_secs_f64());
        self.hash.add(line.as_bytes());
        self.count += 1;
        if let Some(output) = &mut self.output {
            let _ = std::io::Write::write_fmt(output, format_args!("{line}\n"));
        }
        if self.last.len() == LINES_KEPT {
            self.last.pop_front();
        }
        self.last.push_back(line);
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
}
