//! An object as it is kept: its JSON bytes and the few parts that lists, watches and rules look at.

use super::encode::encode;
use super::header::Header;
use bytes::Bytes;
use coracle_api::registry::Kind;
use coracle_store::{Kv, Revision, stamp};
use serde_json::Value;
use std::sync::Arc;

/// One object at one revision.
#[derive(Debug)]
pub struct Object {
    /// Its key in the store.
    pub key: Bytes,
    /// Its `metadata.resourceVersion`.
    pub revision: Revision,
    /// Its JSON as it is served, compact, with `metadata.resourceVersion`.
    pub json: Bytes,
    /// What is looked at without decoding.
    pub header: Arc<Header>,
    stamp: Option<u32>,
}

impl Object {
    /// An object as the store holds it; the header is parsed from the value when the writer's is not at hand.
    ///
    /// A value that is no object has an empty header: it can be read and deleted, and no selector matches it.
    pub(super) fn new(kind: &Kind, kv: &Kv, header: Option<Arc<Header>>) -> Object {
        let (key, json) = (kv.key.clone(), kv.value.clone());
        let known = header.is_some();
        let header = header.unwrap_or_default();
        let mut object = Object { key, revision: kv.modified, json, header, stamp: kv.stamp };
        if !known {
            let read = Header::read(kind, &object.json);
            object.header =
                Arc::new(read.unwrap_or_else(|| Header::of(kind, &object.sketch().object)));
        }
        object
    }

    /// The same object as it is shown by its `DELETED` event, with the event's revision.
    pub(super) fn at(&self, revision: Revision) -> Object {
        let json = match self.stamp.and_then(|at| self.json.split_at_checked(at as usize)) {
            Some((before, after)) => {
                let old = after.iter().take_while(|byte| byte.is_ascii_digit()).count();
                let after = after.get(old..).unwrap_or_default();
                [before, revision.to_string().as_bytes(), after].concat().into()
            }
            None => self.json.clone(),
        };
        let (key, header) = (self.key.clone(), Arc::clone(&self.header));
        Object { key, revision, json, header, stamp: self.stamp }
    }

    /// The same object as the schema of its kind wants it now; `None` when it is so already, and for kinds that are
    /// not users' own.
    pub(super) fn recast(&self, kind: &Kind) -> Option<Object> {
        let version = &kind.custom?.version;
        let old = self.value();
        let mut new = old.clone();
        version.prune(&mut new);
        version.fill(&mut new);
        if new == old {
            return None;
        }
        let content = encode(kind, &new);
        let json = content.stamp.map(|at| stamp(&content.bytes, at, self.revision));
        let header = Arc::new(Header::of(kind, &new));
        let (key, revision) = (self.key.clone(), self.revision);
        Some(Object { key, revision, json: json?, header, stamp: content.stamp })
    }

    /// The offset of the revision in the JSON, when the writer left a place for it.
    pub(super) fn stamp(&self) -> Option<u32> {
        self.stamp
    }

    /// The decoded object; `Null` when its bytes are no JSON, which only a damaged store brings about.
    pub fn value(&self) -> Value {
        serde_json::from_slice(&self.json).unwrap_or_default()
    }
}
