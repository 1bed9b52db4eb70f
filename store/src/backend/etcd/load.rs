//! All keys at one revision.
//!
//! An edge: it asks for one page after the other.

use super::client::{Client, PAGE_TIME_MAX, TRY_TIME_MAX};
use super::commit::one;
use super::compact::COMPACTED;
use super::error::CallError;
use super::messages::{KeyValue, RangeRequest, everything, revision};
use super::value::{self, Origin};
use crate::{Kv, Mvcc, Revision};
use bytes::{BufMut as _, Bytes, BytesMut};

/// Keys that are asked for at a time: some megabytes of usual objects.
const PAGE_KEYS: i64 = 1000;

/// The key that says how far the store's revisions are beyond etcd's. Not there in a store that began in etcd.
pub(crate) const ORIGIN: &[u8] = b"/coracle/origin";

/// How far back the history is read at a start, so that watches of other servers' clients go on: as many events as the
/// history keeps.
const CAUGHT_UP_REVISIONS_MAX: i64 = crate::HISTORY_EVENTS_MAX as i64;

/// How far the store's revisions are beyond etcd's.
pub(super) async fn origin(client: &Client) -> Result<Origin, CallError> {
    let found = client.range(&one(&Bytes::from_static(ORIGIN)), TRY_TIME_MAX).await?;
    let Some(kv) = found.kvs.into_iter().next() else { return Ok(Origin::default()) };
    let (kv, _) = value::read(kv, Origin::default());
    let text = std::str::from_utf8(&kv.value).ok();
    let number = text.and_then(|text| text.trim().parse().ok());
    number.map(Origin).ok_or_else(|| CallError::Nonsense(format!("no number in {ORIGIN:?}")))
}

/// The core as it was at the oldest revision that etcd still has, if that is not long ago, so that the watch brings the
/// history; and the latest revision.
pub(super) async fn past(client: &Client, origin: Origin) -> Result<(Mvcc, Revision), CallError> {
    let found = client.range(&one(&Bytes::from_static(COMPACTED)), TRY_TIME_MAX).await?;
    let now = revision(found.header.as_ref());
    let kept = found.kvs.first().and_then(|kv| std::str::from_utf8(&kv.value).ok()?.parse().ok());
    let recent = kept.filter(|kept: &i64| *kept > 0 && now - kept < CAUGHT_UP_REVISIONS_MAX);
    let then = match recent {
        Some(kept) => all(client, origin, kept).await,
        None => return Ok((all(client, origin, 0).await?, origin.revision(now))),
    };
    match then {
        Err(error) if error.is_compacted() => {
            Ok((all(client, origin, 0).await?, origin.revision(now)))
        }
        then => Ok((then?, origin.revision(now))),
    }
}

/// All keys at a revision of etcd, 0 for the latest.
pub(super) async fn all(client: &Client, origin: Origin, at: i64) -> Result<Mvcc, CallError> {
    let (mut key, range_end) = everything();
    let (mut items, mut at) = (Vec::new(), at);
    loop {
        let question = RangeRequest {
            key,
            range_end: range_end.clone(),
            limit: PAGE_KEYS,
            revision: at,
            ..RangeRequest::default()
        };
        let page = client.range(&question, PAGE_TIME_MAX).await?;
        if at == 0 {
            at = revision(page.header.as_ref());
        }
        let Some(last) = page.kvs.last() else { break };
        let mut next = BytesMut::from(last.key.as_ref());
        next.put_u8(0);
        key = next.freeze();
        let more = page.more;
        items.extend(page.kvs.into_iter().filter_map(|kv| kept(kv, origin)));
        if !more {
            break;
        }
    }
    Ok(Mvcc::at(items, origin.revision(at)))
}

fn kept(kv: KeyValue, origin: Origin) -> Option<Kv> {
    (kv.key != COMPACTED).then(|| value::read(kv, origin).0)
}
