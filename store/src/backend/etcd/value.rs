//! How a value looks in etcd: the bytes as they were given, and a last line that says where the revision belongs in them
//! and which commit wrote them. Pure.
//!
//! The line is a list of JSON, so that what reads JSON values one after the other still reads these:
//! `[STAMP or null,PROCESS,NUMBER]`. A value without it, such as one that a person put there, has no stamp.

use crate::{Kv, Revision, stamp};
use bytes::Bytes;

use super::messages::KeyValue;

/// Which commit of which process wrote a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Author {
    /// Drawn at random by each process.
    pub(super) process: u64,
    /// Counts its commits.
    pub(super) number: u64,
}

/// How revisions of etcd and of the store go together: a store that moved here goes on beyond its old revisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Origin(pub(super) u64);

impl Origin {
    /// The store's revision for one of etcd.
    pub(super) fn revision(self, etcd: i64) -> Revision {
        Revision(u64::try_from(etcd).unwrap_or_default().saturating_add(self.0))
    }

    /// etcd's revision for one of the store; -1, which no key has, for one from before the store moved.
    pub(super) fn etcd(self, Revision(revision): Revision) -> i64 {
        let etcd = revision.checked_sub(self.0).filter(|etcd| *etcd > 0);
        etcd.and_then(|etcd| i64::try_from(etcd).ok()).unwrap_or(-1)
    }
}

/// A value for etcd.
pub(super) fn written(bytes: &[u8], stamp: Option<u32>, author: Author) -> Bytes {
    let stamp = stamp.map_or("null".to_owned(), |stamp| stamp.to_string());
    let line = format!("\n[{stamp},{},{}]\n", author.process, author.number);
    [bytes, line.as_bytes()].concat().into()
}

/// A key of etcd as the store knows it, and who wrote it.
pub(super) fn read(kv: KeyValue, origin: Origin) -> (Kv, Option<Author>) {
    let modified = origin.revision(kv.mod_revision);
    let created = origin.revision(kv.create_revision);
    let (length, at, author) = match last_line(&kv.value) {
        Some((length, at, author)) => (length, at, Some(author)),
        None => (kv.value.len(), None, None),
    };
    let bytes = kv.value.slice(..length);
    let value = match at {
        Some(at) => stamp(&bytes, at, modified),
        None => bytes,
    };
    (Kv { key: kv.key, value, created, modified, stamp: at }, author)
}

/// The length of the value before its last line, and what the line says.
fn last_line(value: &[u8]) -> Option<(usize, Option<u32>, Author)> {
    let line = value.strip_suffix(b"]\n")?;
    let begin = line.iter().rposition(|byte| *byte == b'\n')?;
    let line = std::str::from_utf8(line.get(begin..)?).ok()?;
    let mut parts = line.strip_prefix("\n[")?.split(',');
    let stamp = match parts.next()? {
        "null" => None,
        digits => Some(digits.parse().ok()?),
    };
    let (process, number) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    parts.next().is_none().then_some((begin, stamp, Author { process, number }))
}

/// The store's value as etcd would have had it: with the revision taken out again.
pub(super) fn unstamped(kv: &Kv) -> Bytes {
    let Some(at) = kv.stamp else { return kv.value.clone() };
    let at = kv.value.len().min(at as usize);
    let (before, after) = kv.value.split_at(at);
    let digits = after.iter().take_while(|byte| byte.is_ascii_digit()).count();
    [before, after.get(digits..).unwrap_or_default()].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AUTHOR: Author = Author { process: u64::MAX, number: 3 };

    fn etcd(value: Bytes) -> KeyValue {
        KeyValue {
            key: Bytes::from("k"),
            create_revision: 5,
            mod_revision: 9,
            value,
            ..KeyValue::default()
        }
    }

    #[test]
    fn the_revision_is_written_in_when_it_is_read() {
        let check = |bytes: &str, stamp, origin, expected: &str| {
            let value = written(bytes.as_bytes(), stamp, AUTHOR);
            let (kv, author) = read(etcd(value), Origin(origin));
            assert_eq!((kv.value.as_ref(), author), (expected.as_bytes(), Some(AUTHOR)));
            assert_eq!((kv.created, kv.modified), (Revision(5 + origin), Revision(9 + origin)));
            assert_eq!(unstamped(&kv), bytes.as_bytes());
        };
        check(r#"{"v":""}"#, Some(6), 0, r#"{"v":"9"}"#);
        check(r#"{"v":""}"#, Some(6), 1000, r#"{"v":"1009"}"#);
        check("", None, 0, "");
        check("a\n[1,2,3]\n", None, 0, "a\n[1,2,3]\n");
    }

    #[test]
    fn revisions_from_before_the_move_are_no_key_s() {
        let origin = Origin(1000);
        assert_eq!(origin.revision(7), Revision(1007));
        assert_eq!(origin.etcd(Revision(1007)), 7);
        assert_eq!(origin.etcd(Revision(1000)), -1);
        assert_eq!(origin.etcd(Revision(3)), -1);
    }

    proptest! {
        #[test]
        fn any_value_comes_back(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let (kv, author) = read(etcd(written(&bytes, None, AUTHOR)), Origin(0));
            prop_assert_eq!(kv.value.as_ref(), bytes.as_slice());
            prop_assert_eq!(author, Some(AUTHOR));
            // Of whatever somebody put there, nothing is lost that is no line of ours.
            let (kv, author) = read(etcd(bytes.clone().into()), Origin(0));
            prop_assert!(author.is_some() || kv.value.as_ref() == bytes.as_slice());
        }
    }
}
