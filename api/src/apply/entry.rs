//! Entries of `metadata.managedFields`: one manager's field set, with how and when it came to it.

use serde_json::{Map, Value, json};

use super::set::{self, Fields};

/// Most entries of updates; the oldest of more are put together under [`ANCIENT`], because every
/// name that ever wrote would be kept for good. *Source:* upstream's `DefaultMaxUpdateManagers`.
const UPDATE_ENTRIES_MAX: usize = 10;

/// The manager of updates that are too old to be told apart.
const ANCIENT: &str = "ancient-changes";

/// How a manager came to its fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// By server-side apply.
    Apply,
    /// By create, update or any other patch.
    Update,
}

impl Operation {
    /// Gives the word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Operation::Apply => "Apply",
            Operation::Update => "Update",
        }
    }
}

/// Who writes, and by which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manager<'a> {
    /// The client's name for itself: `kubectl`. Empty stands for `unknown`.
    pub name: &'a str,
    /// `group/version` in which the client writes: `apps/v1`.
    pub api_version: &'a str,
    /// The subresource that is written, empty for the object itself.
    pub subresource: &'a str,
}

/// One entry.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) operation: Operation,
    /// RFC 3339, whole seconds, UTC; `None` when it was never noted.
    pub(super) time: Option<String>,
    pub(super) manager: String,
    pub(super) api_version: String,
    pub(super) subresource: String,
    pub(super) fields: Fields,
}

impl Entry {
    /// An entry of a manager.
    pub(super) fn new(
        manager: &Manager<'_>,
        operation: Operation,
        time: &str,
        fields: Fields,
    ) -> Entry {
        let name = if manager.name.is_empty() { "unknown" } else { manager.name };
        Entry {
            operation,
            time: Some(time.to_owned()),
            manager: name.to_owned(),
            api_version: manager.api_version.to_owned(),
            subresource: manager.subresource.to_owned(),
            fields,
        }
    }

    /// Tells whether two entries are of one manager. An applier keeps its entry when it goes over to
    /// another version.
    pub(super) fn is_same_manager(&self, other: &Entry) -> bool {
        self.operation == other.operation
            && self.manager == other.manager
            && self.subresource == other.subresource
            && (self.operation == Operation::Apply || self.api_version == other.api_version)
    }

    fn read(value: &Value) -> Option<Entry> {
        let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
        let operation = match text("operation") {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return None,
        };
        if text("apiVersion").is_empty() || text("fieldsType") != "FieldsV1" {
            return None;
        }
        let none = json!({});
        let fields = value.get("fieldsV1").unwrap_or(&none);
        let fields =
            if set::is_well_formed(fields, 0) { fields.as_object()? } else { return None };
        Some(Entry {
            operation,
            time: value.get("time").and_then(Value::as_str).map(str::to_owned),
            manager: text("manager").to_owned(),
            api_version: text("apiVersion").to_owned(),
            subresource: text("subresource").to_owned(),
            fields: fields.clone(),
        })
    }

    fn into_value(self) -> Value {
        let mut entry = Map::new();
        let mut put = |name: &str, value: Value| entry.insert(name.to_owned(), value);
        put("apiVersion", self.api_version.into());
        put("fieldsType", "FieldsV1".into());
        put("fieldsV1", self.fields.into());
        if !self.manager.is_empty() {
            put("manager", self.manager.into());
        }
        put("operation", self.operation.as_str().into());
        if !self.subresource.is_empty() {
            put("subresource", self.subresource.into());
        }
        if let Some(time) = self.time {
            put("time", time.into());
        }
        Value::Object(entry)
    }
}

/// Reads `metadata.managedFields`; `None` when it is there and cannot be read.
pub(super) fn read(managed_fields: Option<&Value>) -> Option<Vec<Entry>> {
    let Some(list) = managed_fields.filter(|value| !value.is_null()) else {
        return Some(Vec::new());
    };
    list.as_array()?.iter().map(Entry::read).collect()
}

/// Writes entries into an object, in upstream's order; those without fields are left out.
pub(super) fn write(object: &mut Value, mut entries: Vec<Entry>) {
    entries.retain(|entry| !entry.fields.is_empty());
    entries.sort_by(|one, other| {
        let key = |entry: &'_ Entry| (entry.operation, entry.time.clone());
        key(one)
            .cmp(&key(other))
            .then_with(|| one.manager.cmp(&other.manager))
            .then_with(|| one.api_version.cmp(&other.api_version))
            .then_with(|| one.subresource.cmp(&other.subresource))
    });
    if entries.is_empty() {
        crate::meta::remove(object, "managedFields");
        return;
    }
    let list: Vec<Value> = entries.into_iter().map(Entry::into_value).collect();
    crate::meta::set(object, "managedFields", list);
}

/// Puts the oldest updates together until there are at most [`UPDATE_ENTRIES_MAX`].
pub(super) fn cap(entries: &mut Vec<Entry>) {
    let is_update = |entry: &Entry| entry.operation == Operation::Update;
    let mut over =
        entries.iter().filter(|entry| is_update(entry)).count().saturating_sub(UPDATE_ENTRIES_MAX);
    if over == 0 {
        return;
    }
    let mut updates: Vec<usize> =
        entries.iter().enumerate().filter(|(_, e)| is_update(e)).map(|(index, _)| index).collect();
    let age = |index: &usize| entries.get(*index).map(|e| (e.time.clone(), e.manager.clone()));
    updates.sort_by_key(age);
    let mut gone: Vec<usize> = Vec::new();
    let mut buckets: Vec<usize> = Vec::new();
    for index in updates {
        if over == 0 {
            break;
        }
        let Some(entry) = entries.get(index).cloned() else { continue };
        let same = |bucket: &usize| {
            entries.get(*bucket).is_some_and(|other| other.api_version == entry.api_version)
        };
        let Some(bucket) = buckets.iter().copied().find(same) else {
            buckets.push(index);
            continue;
        };
        if let Some(bucket) = entries.get_mut(bucket) {
            bucket.manager = ANCIENT.to_owned();
            bucket.subresource.clear();
            bucket.time = entry.time;
            set::unite(&mut bucket.fields, &entry.fields);
            gone.push(index);
            over -= 1;
        }
    }
    let mut index = 0;
    entries.retain(|_| {
        index += 1;
        !gone.contains(&(index - 1))
    });
}

/// Gives an object its former `managedFields` when it differs from the former state by their times
/// alone, so that applying the same again changes nothing.
pub fn settle_times(new: &mut Value, old: &Value) {
    fn entries(object: &Value) -> &[Value] {
        let list = object.pointer("/metadata/managedFields").and_then(Value::as_array);
        list.map(Vec::as_slice).unwrap_or_default()
    }
    fn but<'a>(object: &'a Value, name: &'a str) -> impl Iterator<Item = (&'a String, &'a Value)> {
        object.as_object().into_iter().flatten().filter(move |(member, _)| *member != name)
    }
    let (ours, theirs) = (entries(new), entries(old));
    let same_entries = ours.len() == theirs.len()
        && ours.iter().zip(theirs).all(|(one, other)| but(one, "time").eq(but(other, "time")));
    let same = same_entries && but(new, "metadata").eq(but(old, "metadata")) && {
        let (ours, theirs) = (new.get("metadata"), old.get("metadata"));
        ours.zip(theirs)
            .is_some_and(|(one, other)| but(one, "managedFields").eq(but(other, "managedFields")))
    };
    if same && let Some(managed) = old.pointer("/metadata/managedFields") {
        crate::meta::set(new, "managedFields", managed.clone());
    }
}
