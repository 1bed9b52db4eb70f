//! Compaction by the clock: of all servers, one at a time.
//!
//! An edge: it waits. The servers agree by a key that each of them tries to write; whoever succeeds compacts up to where
//! the history was a period ago. *Source:* kube-apiserver's compactor in behaviour, and its key.

use super::client::{Client, PAGE_TIME_MAX, TRY_TIME_MAX};
use super::commit::{one, op};
use super::error::CallError;
use super::messages::{
    CompactionRequest, Compare, Done, Number, PutRequest, Request, TxnRequest, TxnResponse,
    VERSION, revision,
};
use crate::HISTORY_AGE_MAX;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// The key by which the servers agree; it holds the revision that was compacted last.
pub(super) const COMPACTED: &[u8] = b"compact_rev_key";

/// Compacts each [`HISTORY_AGE_MAX`], without end.
pub(super) async fn run(client: Arc<Client>) {
    let mut known = Known::default();
    loop {
        sleep(HISTORY_AGE_MAX).await;
        match turn(&client, &known).await {
            Ok(now) => known = now,
            Err(error) => tracing::warn!(%error, "etcd is not compacted"),
        }
    }
}

/// What was known a period ago.
#[derive(Default)]
struct Known {
    /// How often the key was written.
    version: i64,
    /// The revision of etcd.
    revision: i64,
}

/// Compacts up to the known revision unless another server has been here since, and gives what is known now.
async fn turn(client: &Client, known: &Known) -> Result<Known, CallError> {
    let key = Bytes::from_static(COMPACTED);
    let value = Bytes::from(known.revision.to_string());
    let question = TxnRequest {
        compare: vec![Compare {
            target: VERSION,
            key: key.clone(),
            number: Some(Number::Version(known.version)),
        }],
        success: vec![op(Request::Put(PutRequest { key: key.clone(), value }))],
        failure: vec![op(Request::Range(one(&key)))],
    };
    let answer = client.attempt::<_, TxnResponse>("KV/Txn", &question, TRY_TIME_MAX).await;
    let answer = match answer {
        Ok(answer) => answer,
        // A full database takes no key, and needs the compaction most.
        Err(error) => {
            compact(client, known.revision).await?;
            return Err(error);
        }
    };
    let now = revision(answer.header.as_ref());
    if answer.succeeded {
        compact(client, known.revision).await?;
        return Ok(Known { version: known.version + 1, revision: now });
    }
    let range = answer.responses.into_iter().next().and_then(|answer| answer.range);
    let version = range.and_then(|range| Some(range.kvs.first()?.version)).unwrap_or_default();
    Ok(Known { version, revision: now })
}

/// Forgets what etcd holds of the time before a revision; it is no error when that is gone already.
pub(super) async fn compact(client: &Client, revision: i64) -> Result<(), CallError> {
    forget(client, CompactionRequest { revision, physical: false }, TRY_TIME_MAX).await
}

/// The same, and waits until the space is free.
pub(super) async fn compact_whole(client: &Client, revision: i64) -> Result<(), CallError> {
    forget(client, CompactionRequest { revision, physical: true }, PAGE_TIME_MAX).await
}

async fn forget(
    client: &Client,
    question: CompactionRequest,
    time: Duration,
) -> Result<(), CallError> {
    if question.revision <= 0 {
        return Ok(());
    }
    match client.attempt::<_, Done>("KV/Compact", &question, time).await {
        Err(error) if error.is_compacted() => Ok(()),
        done => done.map(|_| ()),
    }
}
