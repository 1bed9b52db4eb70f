//! An ordered map of objects whose copies cost nothing and stay as they are: a list of sorted chunks, shared until
//! written.
//!
//! A write copies one chunk, and the list of chunks when a reader holds it. With the objects of one resource in chunks
//! of some hundred, both are short.

use super::marks::Marks;
use super::object::Object;
use std::sync::Arc;

/// A chunk with more objects than this is split. Copying so many pointers costs about a microsecond.
const CHUNK_OBJECTS_MAX: usize = 128;

type Chunk = Arc<Vec<Entry>>;

/// An object with its marks beside the pointer, so that a scan for some of many reads no other object's memory.
#[derive(Debug, Clone)]
struct Entry {
    marks: Marks,
    object: Arc<Object>,
}

/// Between two objects: the number of a chunk and a place in it, which may be the chunk's end.
#[derive(Debug, Clone, Copy)]
struct Place {
    chunk: usize,
    at: usize,
}

/// Objects in byte order of their keys; a clone is a snapshot.
#[derive(Debug, Clone, Default)]
pub(super) struct Tree {
    /// Sorted, none empty.
    chunks: Arc<Vec<Chunk>>,
    len: usize,
}

impl Tree {
    /// How many objects there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The chunk that holds or would hold a key.
    fn chunk_of(&self, key: &[u8]) -> usize {
        let starts_after =
            |chunk: &Chunk| chunk.first().is_some_and(|first| *first.object.key <= *key);
        self.chunks.partition_point(starts_after).saturating_sub(1)
    }

    /// The object of a key.
    pub(super) fn get(&self, key: &[u8]) -> Option<&Arc<Object>> {
        let chunk = self.chunks.get(self.chunk_of(key))?;
        chunk.get(position(chunk, key).ok()?).map(|entry| &entry.object)
    }

    /// Puts an object in the place of the one with its key.
    pub(super) fn insert(&mut self, object: Arc<Object>) {
        let index = self.chunk_of(&object.key);
        let entry = Entry { marks: Marks::of(&object.header), object };
        let chunks = Arc::make_mut(&mut self.chunks);
        let Some(chunk) = chunks.get_mut(index) else {
            chunks.push(Arc::new(vec![entry]));
            self.len += 1;
            return;
        };
        let objects = Arc::make_mut(chunk);
        match position(objects, &entry.object.key) {
            Ok(found) => {
                if let Some(slot) = objects.get_mut(found) {
                    *slot = entry;
                }
            }
            Err(place) => {
                objects.insert(place, entry);
                self.len += 1;
            }
        }
        if objects.len() > CHUNK_OBJECTS_MAX {
            // Keys that only grow are common, so the first half is left full.
            let keep =
                if index + 1 == chunks.len() { CHUNK_OBJECTS_MAX } else { CHUNK_OBJECTS_MAX / 2 };
            self.split(index, keep);
        }
    }

    fn split(&mut self, index: usize, keep: usize) {
        let chunks = Arc::make_mut(&mut self.chunks);
        if let Some(chunk) = chunks.get_mut(index) {
            let rest = Arc::make_mut(chunk).split_off(keep);
            chunks.insert(index + 1, Arc::new(rest));
        }
    }

    /// Takes the object of a key out.
    pub(super) fn remove(&mut self, key: &[u8]) {
        let index = self.chunk_of(key);
        let found = self.chunks.get(index).and_then(|chunk| position(chunk, key).ok());
        let Some(found) = found else { return };
        let chunks = Arc::make_mut(&mut self.chunks);
        let Some(chunk) = chunks.get_mut(index) else { return };
        let objects = Arc::make_mut(chunk);
        objects.remove(found);
        self.len -= 1;
        if objects.is_empty() {
            chunks.remove(index);
        }
    }

    /// The objects whose keys begin with `prefix` and come after `start_after`, and that may have the `wanted` marks.
    pub(super) fn scan(
        &self,
        prefix: &[u8],
        start_after: Option<&[u8]>,
        wanted: Marks,
    ) -> impl Iterator<Item = &Arc<Object>> + use<'_> {
        let begin = match start_after {
            Some(after) if after >= prefix => self.place(after, true),
            Some(_) | None => self.place(prefix, false),
        };
        let end = match successor(prefix) {
            Some(next) => self.place(&next, false),
            None => Place { chunk: self.chunks.len(), at: 0 },
        };
        let chunks = self.chunks.iter().enumerate().skip(begin.chunk);
        let chunks = chunks.take_while(move |(index, _)| *index <= end.chunk);
        chunks
            .flat_map(move |(index, chunk)| {
                let from = if index == begin.chunk { begin.at } else { 0 };
                let to = if index == end.chunk { end.at } else { chunk.len() };
                chunk.get(from..to).unwrap_or_default()
            })
            .filter(move |entry| entry.marks.may_hold(wanted))
            .map(|entry| &entry.object)
    }

    /// The place before the first object whose key is not less than this one, or behind the object with the key.
    fn place(&self, key: &[u8], behind: bool) -> Place {
        let chunk = self.chunk_of(key);
        let at = self.chunks.get(chunk).map_or(0, |chunk| match position(chunk, key) {
            Ok(found) => found + usize::from(behind),
            Err(place) => place,
        });
        Place { chunk, at }
    }
}

/// The first key after all that begin with a prefix; `None` when there is none.
fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut next = prefix.to_vec();
    while let Some(last) = next.pop() {
        if let Some(greater) = last.checked_add(1) {
            next.push(greater);
            return Some(next);
        }
    }
    None
}

fn position(entries: &[Entry], key: &[u8]) -> Result<usize, usize> {
    entries.binary_search_by(|entry| (*entry.object.key).cmp(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Header;
    use bytes::Bytes;
    use coracle_store::{Kv, Revision};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn object(key: &str, revision: u64) -> Arc<Object> {
        let kind = coracle_api::registry::by_kind("", "v1", "ConfigMap").unwrap();
        let kv = Kv {
            key: Bytes::copy_from_slice(key.as_bytes()),
            value: Bytes::from_static(b"{}"),
            created: Revision(revision),
            modified: Revision(revision),
            stamp: None,
        };
        Arc::new(Object::new(kind, &kv, Some(Arc::new(Header::default()))))
    }

    fn listed(tree: &Tree, prefix: &str, after: Option<&str>) -> Vec<(String, u64)> {
        let text = |key: &[u8]| String::from_utf8(key.to_vec()).unwrap();
        tree.scan(prefix.as_bytes(), after.map(str::as_bytes), Marks::default())
            .map(|object| (text(&object.key), object.revision.0))
            .collect()
    }

    proptest! {
        #[test]
        fn is_an_ordered_map_with_snapshots(
            operations in proptest::collection::vec((0..4_u8, 0..700_u32), 0..1500),
            prefix in 0..10_u32,
            after in 0..700_u32,
        ) {
            let mut tree = Tree::default();
            let mut model = BTreeMap::new();
            let mut snapshot = (tree.clone(), model.clone());
            for (revision, (operation, key)) in operations.into_iter().enumerate() {
                let key = format!("{key}");
                let revision = revision as u64;
                match operation {
                    0 => {
                        tree.remove(key.as_bytes());
                        model.remove(&key);
                    }
                    1 if key.ends_with('7') => snapshot = (tree.clone(), model.clone()),
                    _ => {
                        tree.insert(object(&key, revision));
                        model.insert(key, revision);
                    }
                }
            }
            let after = after.to_string();
            let prefix = prefix.to_string();
            for (tree, model) in [(tree, model), snapshot] {
                prop_assert_eq!(tree.len(), model.len());
                let all: Vec<_> = model.clone().into_iter().collect();
                prop_assert_eq!(listed(&tree, "", None), all.clone());
                let wanted = |(key, _): &(String, u64)| key.starts_with(&prefix) && *key > after;
                let some: Vec<_> = all.into_iter().filter(wanted).collect();
                prop_assert_eq!(listed(&tree, &prefix, Some(&after)), some);
                let found = tree.get(after.as_bytes()).map(|object| object.revision.0);
                prop_assert_eq!(found, model.get(&after).copied());
            }
        }
    }
}
