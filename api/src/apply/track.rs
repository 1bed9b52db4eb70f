//! Ownership after a create, update or patch: who writes takes what changed.

use serde_json::{Value, json};

use super::compare::compare;
use super::entry::{self, Entry, Manager, Operation};
use super::schema::Schema;
use super::set;

/// A write whose ownership is to be noted.
#[derive(Debug, Clone, Copy)]
pub struct Tracked<'a> {
    /// The stored object, `None` for a create.
    pub old: Option<&'a Value>,
    /// `metadata.managedFields` as the client sent it; ignored for subresources.
    pub sent: Option<&'a Value>,
    /// Who writes.
    pub manager: Manager<'a>,
    /// Members at the top of the object that this way of writing cannot change, such as `status`.
    pub excluded: &'a [&'a str],
    /// RFC 3339, whole seconds, UTC.
    pub now: &'a str,
}

/// Brings `metadata.managedFields` of a new state up to date.
///
/// An object that has no entries stays without: its owners are not known. A client resets the
/// entries by an empty list, and may set them otherwise, as `kubectl` does when it goes over from
/// client-side apply; what cannot be read is ignored.
pub fn track<S: Schema>(schema: S, new: &mut Value, write: &Tracked<'_>) {
    let mut entries = entries_before(write);
    if entries.is_empty() && write.old.is_some() {
        crate::meta::remove(new, "managedFields");
        return;
    }
    let difference = compare(schema, write.old, new, write.excluded);
    if !difference.is_empty() {
        for entry in &mut entries {
            set::subtract(&mut entry.fields, &difference.took);
            set::subtract(&mut entry.fields, &difference.lost);
        }
    }
    if !difference.took.is_empty() {
        let own = Entry::new(&write.manager, Operation::Update, write.now, difference.took);
        match entries.iter_mut().find(|entry| entry.is_same_manager(&own)) {
            Some(entry) => {
                set::unite(&mut entry.fields, &own.fields);
                entry.time = own.time;
            }
            None => entries.push(own),
        }
        entries.retain(|entry| !entry.fields.is_empty());
        entry::cap(&mut entries);
    }
    entry::write(new, entries);
}

fn entries_before(write: &Tracked<'_>) -> Vec<Entry> {
    let stored = || {
        let managed = write.old.and_then(|old| old.pointer("/metadata/managedFields"));
        entry::read(managed).unwrap_or_default()
    };
    let Some(sent) = write.sent.filter(|_| write.manager.subresource.is_empty()) else {
        return stored();
    };
    if is_reset(sent) {
        return Vec::new();
    }
    entry::read(Some(sent)).filter(|entries| !entries.is_empty()).unwrap_or_else(stored)
}

/// An empty list, or a list of one empty entry for patches that cannot say the former.
fn is_reset(sent: &Value) -> bool {
    sent == &json!([]) || sent == &json!([{}])
}
