//! Joins the two streams of a forwarded connection: one for its bytes, one for what went wrong.
//!
//! *Source:* `portforward.k8s.io`: streams with `streamtype`, `port` and `requestid`. Clients of
//! before 1.4 send no request id; their data stream follows the error stream at once, so that its
//! number is two higher. They are not served.

use std::collections::HashMap;

/// Connections of which only one stream has come. One more makes room by dropping the oldest.
pub(crate) const HALVES_MAX: usize = 64;

/// Streams that wait for their other half; `S` is a stream.
#[derive(Debug)]
pub(crate) struct Pairs<S> {
    waiting: HashMap<String, Half<S>>,
    next: u64,
}

#[derive(Debug)]
struct Half<S> {
    stream: S,
    is_error: bool,
    age: u64,
}

/// What a stream's headers say is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PairError {
    /// Neither `error` nor `data`.
    #[error("invalid stream type {0:?}")]
    Kind(String),
    /// Not a port.
    #[error("invalid port {0:?}")]
    Port(String),
    /// The same half twice.
    #[error("{kind} stream already set for request {id}")]
    Twice {
        /// Which half.
        kind: &'static str,
        /// The request.
        id: String,
    },
}

/// A connection whose streams are both there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Pair<S> {
    /// The pod's port.
    pub(crate) port: u16,
    /// Bytes, both ways.
    pub(crate) data: S,
    /// A sentence towards the client, or nothing.
    pub(crate) error: S,
}

impl<S> Default for Pairs<S> {
    fn default() -> Self {
        Self { waiting: HashMap::new(), next: 0 }
    }
}

impl<S> Pairs<S> {
    /// Takes a stream by its headers; gives the connection when it is the second one of it.
    ///
    /// # Errors
    /// When the headers make no sense; the stream is dropped.
    pub(crate) fn add(
        &mut self,
        (kind, port, id): (&str, &str, &str),
        stream: S,
    ) -> Result<Option<Pair<S>>, PairError> {
        let is_error = match kind {
            "error" => true,
            "data" => false,
            _ => return Err(PairError::Kind(kind.to_owned())),
        };
        let number = port.parse::<u16>().ok().filter(|port| *port > 0);
        let number = number.ok_or_else(|| PairError::Port(port.to_owned()))?;
        let Some(other) = self.waiting.remove(id) else {
            self.wait(id, stream, is_error);
            return Ok(None);
        };
        if other.is_error == is_error {
            let kind = if is_error { "error" } else { "data" };
            self.waiting.insert(id.to_owned(), other);
            return Err(PairError::Twice { kind, id: id.to_owned() });
        }
        let (data, error) = if is_error { (other.stream, stream) } else { (stream, other.stream) };
        Ok(Some(Pair { port: number, data, error }))
    }

    fn wait(&mut self, id: &str, stream: S, is_error: bool) {
        if self.waiting.len() >= HALVES_MAX {
            let oldest = self.waiting.iter().min_by_key(|(_, half)| half.age);
            if let Some(oldest) = oldest.map(|(id, _)| id.clone()) {
                self.waiting.remove(&oldest);
            }
        }
        self.next += 1;
        self.waiting.insert(id.to_owned(), Half { stream, is_error, age: self.next });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_streams_of_a_request_are_a_connection() {
        let mut pairs = Pairs::default();
        assert_eq!(pairs.add(("error", "80", "0"), 'a'), Ok(None));
        assert_eq!(pairs.add(("data", "81", "1"), 'b'), Ok(None));
        let first = Pair { port: 80, data: 'c', error: 'a' };
        assert_eq!(pairs.add(("data", "80", "0"), 'c'), Ok(Some(first)));
        let second = Pair { port: 81, data: 'b', error: 'd' };
        assert_eq!(pairs.add(("error", "81", "1"), 'd'), Ok(Some(second)));
        assert!(pairs.waiting.is_empty());
    }

    #[test]
    fn headers_that_make_no_sense_are_named() {
        let check = |headers, expected: &str| {
            let mut pairs = Pairs::default();
            pairs.add(("data", "80", "7"), 'a').unwrap();
            assert_eq!(pairs.add(headers, 'b').unwrap_err().to_string(), expected);
        };
        check(("date", "80", "0"), "invalid stream type \"date\"");
        check(("data", "0", "0"), "invalid port \"0\"");
        check(("data", "65536", "0"), "invalid port \"65536\"");
        check(("data", "80", "7"), "data stream already set for request 7");
    }

    #[test]
    fn one_half_too_many_drops_the_oldest() {
        let mut pairs = Pairs::default();
        for id in 0..=HALVES_MAX {
            assert_eq!(pairs.add(("error", "80", &id.to_string()), id), Ok(None));
        }
        assert_eq!(pairs.waiting.len(), HALVES_MAX);
        assert_eq!(pairs.add(("data", "80", "0"), 0), Ok(None), "the first was dropped");
        assert!(pairs.add(("data", "80", "2"), 0).unwrap().is_some());
    }
}
