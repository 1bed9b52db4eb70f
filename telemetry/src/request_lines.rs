//! The lines that were written for requests: the last ones of a process, in memory. Nothing here waits.
//!
//! Files of logs name no request, since collectors read none there that does.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::post::now_nanos;
use crate::requests::{RequestId, cut_to};

/// Bytes of lines that one process remembers, with what each costs besides; with more it forgets the oldest. Some
/// 20,000 lines of usual length, a few for each request that is remembered.
pub const REQUEST_LINES_BYTES_MAX: usize = 4 << 20;

/// Lines that are given for one request, the first ones.
pub const REQUEST_LINES_FOUND_MAX: usize = 200;

/// Bytes of them, so that an answer stays small whatever a guest writes.
const FOUND_BYTES_MAX: usize = 64 << 10;

/// Bytes of a line that are kept: as long as a log has them in one piece, with time and stream.
const LINE_BYTES_MAX: usize = 17 << 10;

/// What a line costs besides its text, its id and the place in the ring among it.
const LINE_COST_BYTES: usize = 100;

type Take = dyn Fn(RequestId, &str) + Send + Sync;

/// Takes lines that were written for requests.
#[derive(Clone)]
pub struct RequestLineSink(Arc<Take>);

impl RequestLineSink {
    /// A sink that does this with each: the id of the request, and the line with its time and stream. It must not wait.
    pub fn new(take: impl Fn(RequestId, &str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(take))
    }

    /// Takes one.
    pub fn take(&self, id: RequestId, line: &str) {
        (self.0)(id, line);
    }
}

impl std::fmt::Debug for RequestLineSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RequestLineSink")
    }
}

/// The last lines, each with who wrote it.
#[derive(Debug)]
pub(crate) struct RequestLines<T> {
    kept: VecDeque<Kept<T>>,
    bytes: usize,
    /// None is forgotten that came after this, in microseconds since 1970.
    since_micros: u64,
}

#[derive(Debug)]
struct Kept<T> {
    id: RequestId,
    of: Arc<T>,
    at_micros: u64,
    text: Box<str>,
}

impl<T> Kept<T> {
    fn cost(&self) -> usize {
        self.text.len() + self.id.as_str().len() + LINE_COST_BYTES
    }
}

impl<T> Default for RequestLines<T> {
    fn default() -> Self {
        Self { kept: VecDeque::new(), bytes: 0, since_micros: now_nanos() / 1000 }
    }
}

impl<T> RequestLines<T> {
    /// Remembers one, and forgets the oldest while they are too many.
    pub(crate) fn keep(&mut self, id: RequestId, line: &str, of: &Arc<T>) {
        let text = cut_to(line, LINE_BYTES_MAX).into();
        let kept = Kept { id, of: of.clone(), at_micros: now_nanos() / 1000, text };
        self.bytes += kept.cost();
        self.kept.push_back(kept);
        while self.bytes > REQUEST_LINES_BYTES_MAX
            && let Some(old) = self.kept.pop_front()
        {
            self.bytes -= old.cost();
            self.since_micros = self.since_micros.max(old.at_micros);
        }
    }

    /// Those that this one wrote for requests with this id, the oldest first.
    pub(crate) fn find(&self, id: &RequestId, of: &Arc<T>) -> Vec<String> {
        let is = |kept: &&Kept<T>| Arc::ptr_eq(&kept.of, of) && kept.id == *id;
        let mut bytes = 0;
        let fits = |kept: &&Kept<T>| {
            bytes += kept.text.len();
            bytes <= FOUND_BYTES_MAX
        };
        let found = self.kept.iter().filter(is).take(REQUEST_LINES_FOUND_MAX).take_while(fits);
        found.map(|kept| kept.text.to_string()).collect()
    }

    pub(crate) fn since_micros(&self) -> u64 {
        self.since_micros
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> RequestId {
        RequestId::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn lines_are_found_by_their_request_and_by_who_wrote_them() {
        let mut lines = RequestLines::default();
        // Equal, and yet two.
        let (web, other) = (Arc::new("web"), Arc::new("web"));
        for (name, text, of) in
            [("a", "one", &web), ("b", "two", &web), ("a", "three", &other), ("a", "four", &web)]
        {
            lines.keep(id(name), text, of);
        }
        assert_eq!(lines.find(&id("a"), &web), ["one", "four"]);
        assert_eq!(lines.find(&id("a"), &other), ["three"]);
        assert!(lines.find(&id("c"), &web).is_empty());
        for _ in 0..REQUEST_LINES_FOUND_MAX {
            lines.keep(id("b"), "x", &web);
        }
        assert_eq!(lines.find(&id("b"), &web).len(), REQUEST_LINES_FOUND_MAX);
    }

    #[test]
    fn more_bytes_than_are_kept_push_out_the_oldest_and_that_is_known() {
        let mut lines = RequestLines::default();
        let (of, begin) = (Arc::new(()), lines.since_micros());
        let long = "é".repeat(LINE_BYTES_MAX);
        lines.keep(id("first"), &long, &of);
        assert_eq!(lines.find(&id("first"), &of)[0].len(), LINE_BYTES_MAX);
        assert_eq!(lines.since_micros(), begin, "nothing is forgotten yet");
        for _ in 0..=REQUEST_LINES_BYTES_MAX / LINE_BYTES_MAX {
            lines.keep(id("other"), &long, &of);
            assert!(lines.bytes <= REQUEST_LINES_BYTES_MAX);
        }
        assert!(lines.find(&id("first"), &of).is_empty());
        assert_eq!(lines.find(&id("other"), &of).len(), FOUND_BYTES_MAX / LINE_BYTES_MAX);
        assert_eq!(lines.bytes, lines.kept.iter().map(Kept::cost).sum::<usize>());
        assert!(lines.since_micros() >= begin);
        lines.keep(id("last"), "", &of);
        assert_eq!(lines.find(&id("last"), &of), [""]);
    }
}
