//! A snapshot brought into an empty etcd.
//!
//! An edge: it writes one batch after the other.

use super::client::{Client, TRY_TIME_MAX, Tries};
use super::commit::op;
use super::config::EtcdConfig;
use super::error::CallError;
use super::load::ORIGIN;
use super::messages::{
    Compare, MODIFIED, Number, PutRequest, RangeRequest, Request, TxnRequest, TxnResponse,
    everything,
};
use super::value::{self, Author};
use crate::{COMMIT_WRITES_MAX, REVISIONS_LEFT_OUT, Revision, Snapshot};
use bytes::Bytes;
use std::io;

/// Bytes of one transaction; etcd takes 1.5 MiB unless it is told otherwise.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// Why a snapshot could not be brought into etcd.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EtcdImportError {
    /// There are keys already.
    #[error("etcd holds keys already; a store moves into an empty one only")]
    NotEmpty,
    /// It could not be reached, or refused. What was written by then is there.
    #[error("write to etcd")]
    Io(#[source] io::Error),
}

impl From<CallError> for EtcdImportError {
    fn from(error: CallError) -> EtcdImportError {
        EtcdImportError::Io(error.into())
    }
}

impl Snapshot {
    /// Makes an etcd without keys the store of the snapshot, and gives the revision beyond which it goes on.
    ///
    /// # Errors
    /// [`EtcdImportError`].
    pub async fn import(self, config: EtcdConfig) -> Result<Revision, EtcdImportError> {
        let client = Client::new(config);
        let (key, range_end) = everything();
        let question = RangeRequest { key, range_end, limit: 1, ..RangeRequest::default() };
        if !client.range(&question, TRY_TIME_MAX).await?.kvs.is_empty() {
            return Err(EtcdImportError::NotEmpty);
        }
        let origin = self.revision.0.saturating_add(REVISIONS_LEFT_OUT);
        let author = Author { process: 0, number: 0 };
        let first = value::written(origin.to_string().as_bytes(), None, author);
        write(&client, vec![(Bytes::from_static(ORIGIN), first)]).await?;
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for kv in self.items.into_iter().filter(|kv| kv.key != ORIGIN) {
            let value = value::written(&value::unstamped(&kv), kv.stamp, author);
            if batch.len() == COMMIT_WRITES_MAX || bytes + value.len() > BATCH_BYTES_MAX {
                write(&client, std::mem::take(&mut batch)).await?;
                bytes = 0;
            }
            bytes += kv.key.len() + value.len();
            batch.push((kv.key, value));
        }
        if !batch.is_empty() {
            write(&client, batch).await?;
        }
        Ok(Revision(origin))
    }
}

/// Makes keys that are not there; that they are there at a second try is as good.
async fn write(client: &Client, batch: Vec<(Bytes, Bytes)>) -> Result<(), CallError> {
    let mut question = TxnRequest::default();
    for (key, value) in batch {
        let number = Some(Number::Modified(0));
        question.compare.push(Compare { target: MODIFIED, key: key.clone(), number });
        question.success.push(op(Request::Put(PutRequest { key, value })));
    }
    let mut tries = Tries::begin();
    let mut doubtful = false;
    loop {
        match client.attempt::<_, TxnResponse>("KV/Txn", &question, TRY_TIME_MAX).await {
            Ok(answer) if answer.succeeded || doubtful => return Ok(()),
            Ok(_) => {
                return Err(CallError::Nonsense("keys that others make meanwhile".to_owned()));
            }
            Err(error) => {
                doubtful |= error.is_doubtful();
                tries.again(error).await?;
            }
        }
    }
}
