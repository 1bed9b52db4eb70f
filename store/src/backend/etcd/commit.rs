//! A commit as one transaction of etcd, and what its answer means. Pure.

use crate::{CommitError, Guard, Kv, Write};
use bytes::Bytes;
use std::collections::HashSet;

use super::messages::{
    Compare, DeleteRangeRequest, MODIFIED, Number, PutRequest, RangeRequest, Request, RequestOp,
    ResponseOp, TxnRequest,
};
use super::value::{self, Author, Origin};

/// The transaction of a commit: its guards are the conditions; when they fail, what the guarded keys hold is told.
///
/// # Errors
/// [`CommitError::Twice`].
pub(super) fn transaction(
    writes: &[Write],
    author: Author,
    origin: Origin,
) -> Result<TxnRequest, CommitError> {
    let mut seen = HashSet::new();
    let mut transaction = TxnRequest::default();
    for (index, write) in writes.iter().enumerate() {
        if !seen.insert(write.key()) {
            return Err(CommitError::Twice { index });
        }
        if let Some(modified) = expected(write.guard(), origin) {
            transaction.compare.push(Compare {
                target: MODIFIED,
                key: write.key().clone(),
                number: Some(Number::Modified(modified)),
            });
            transaction.failure.push(op(Request::Range(one(write.key()))));
        }
        transaction.success.push(op(match write {
            Write::Put { key, content, .. } => Request::Put(PutRequest {
                key: key.clone(),
                value: value::written(&content.bytes, content.stamp, author),
            }),
            Write::Delete { key, .. } => {
                Request::DeleteRange(DeleteRangeRequest { key: key.clone() })
            }
        }));
    }
    Ok(transaction)
}

/// Which write's guard did not hold, and what its key holds, by the answers to the ranges of a failed transaction;
/// `None` when all of them hold now.
pub(super) fn conflict(
    writes: &[Write],
    answers: Vec<ResponseOp>,
    origin: Origin,
) -> Option<(usize, Option<Kv>)> {
    let guarded = writes.iter().enumerate().filter_map(|(index, write)| {
        expected(write.guard(), origin).map(|modified| (index, modified))
    });
    guarded.zip(answers).find_map(|((index, modified), answer)| {
        let found = answer.range.and_then(|range| range.kvs.into_iter().next());
        let holds = found.as_ref().map_or(0, |kv| kv.mod_revision) == modified;
        (!holds).then(|| (index, found.map(|kv| value::read(kv, origin).0)))
    })
}

/// Whether a transaction that succeeded changed anything: it does not when all that it removes was not there.
pub(super) fn changed(writes: &[Write], answers: &[ResponseOp]) -> bool {
    let puts = writes.iter().any(|write| matches!(write, Write::Put { .. }));
    let removed =
        |answer: &ResponseOp| answer.delete.as_ref().is_some_and(|delete| delete.deleted > 0);
    puts || answers.iter().any(removed)
}

/// Asks for one key.
pub(super) fn one(key: &Bytes) -> RangeRequest {
    RangeRequest { key: key.clone(), ..RangeRequest::default() }
}

fn expected(guard: Guard, origin: Origin) -> Option<i64> {
    match guard {
        Guard::Any => None,
        Guard::Absent => Some(0),
        Guard::At(revision) => Some(origin.etcd(revision)),
    }
}

pub(super) fn op(request: Request) -> RequestOp {
    RequestOp { request: Some(request) }
}

#[cfg(test)]
mod tests {
    use super::super::messages::{KeyValue, RangeResponse};
    use super::*;
    use crate::Revision;

    const AUTHOR: Author = Author { process: 1, number: 2 };

    fn put(key: &'static str, guard: Guard) -> Write {
        Write::put(key, Bytes::from("v"), guard)
    }

    fn answer(modified: i64) -> ResponseOp {
        let kv = KeyValue { key: Bytes::from("k"), mod_revision: modified, ..KeyValue::default() };
        let kvs = if modified == 0 { Vec::new() } else { vec![kv] };
        let range = Some(RangeResponse { kvs, ..RangeResponse::default() });
        ResponseOp { range, delete: None }
    }

    #[test]
    fn guards_are_conditions() {
        let writes =
            [put("a", Guard::Any), put("b", Guard::Absent), put("c", Guard::At(Revision(1007)))];
        let made = transaction(&writes, AUTHOR, Origin(1000)).unwrap();
        let numbers: Vec<_> = made.compare.iter().map(|compare| compare.number).collect();
        assert_eq!(numbers, [Some(Number::Modified(0)), Some(Number::Modified(7))]);
        assert_eq!((made.success.len(), made.failure.len()), (3, 2));
        let twice = transaction(&[put("a", Guard::Any), put("a", Guard::Any)], AUTHOR, Origin(0));
        assert!(matches!(twice, Err(CommitError::Twice { index: 1 })));
    }

    #[test]
    fn the_first_guard_that_fails_is_told() {
        let writes =
            [put("a", Guard::Any), put("b", Guard::Absent), put("c", Guard::At(Revision(7)))];
        let check = |answers: [i64; 2], expected: Option<(usize, bool)>| {
            let found = conflict(&writes, answers.map(answer).into(), Origin(0));
            assert_eq!(found.map(|(index, kv)| (index, kv.is_some())), expected);
        };
        check([0, 7], None);
        check([3, 7], Some((1, true)));
        check([0, 8], Some((2, true)));
        check([0, 0], Some((2, false)));
    }
}
