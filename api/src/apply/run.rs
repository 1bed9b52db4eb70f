//! The apply itself: merge, prune, compare, and conflicts or new owners.

use serde_json::{Value, json};

use crate::meta;
use crate::status::Status;

use super::collect::collect;
use super::compare::{Difference, compare};
use super::conflict::{self, Conflict};
use super::entry::{self, Entry, Manager, Operation};
use super::merge::merge;
use super::migrate;
use super::prune::prune;
use super::schema::Schema;
use super::set::{self, Fields};

/// The manager of what an untracked object had before somebody applied to it.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// What a manager wants of an object.
#[derive(Debug, Clone, Copy)]
pub struct Configuration<'a> {
    /// The fields that it wants, and no others; `apiVersion`, `kind` and `metadata.name` included.
    pub object: &'a Value,
    /// Who applies.
    pub manager: Manager<'a>,
    /// Whether to take fields that others own.
    pub force: bool,
    /// Members at the top of the object that this way of writing cannot change, such as `status`.
    pub excluded: &'a [&'a str],
    /// RFC 3339, whole seconds, UTC.
    pub now: &'a str,
}

/// Why a configuration was not applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The configuration names an item twice, or leaves out what identifies it.
    #[error("{0}")]
    Malformed(String),
    /// Others own what it would change.
    #[error("apply failed with {} conflicts", .0.len())]
    Conflicts(Vec<Conflict>),
}

impl Refused {
    /// Gives the answer for the client; `object` names the object as upstream does:
    /// `default/web; apps/v1, Kind=Deployment`.
    pub fn to_status(&self, object: &str) -> Status {
        match self {
            Refused::Malformed(why) => Status::bad_request(format!(
                "failed to create typed patch object ({object}): {why}"
            )),
            Refused::Conflicts(conflicts) => conflict::status(conflicts),
        }
    }
}

/// Applies a configuration to an object, `None` when there is none yet.
///
/// Gives the whole object, with its `managedFields`; it may hold `null` where the configuration does.
/// Applying the same again gives the same object, times included.
///
/// # Errors
/// [`Refused`].
pub fn apply<S: Schema>(
    schema: S,
    live: Option<&Value>,
    config: &Configuration<'_>,
) -> Result<Value, Refused> {
    let wanted = collect(schema, config.object, config.excluded).map_err(Refused::Malformed)?;
    let mut entries = live.map_or_else(Vec::new, |live| entries_of(schema, live, config.now));
    let mut own = Entry::new(&config.manager, Operation::Apply, config.now, wanted);
    let place = entries.iter().position(|entry| entry.is_same_manager(&own));
    let former = place.map(|index| entries.remove(index));
    let merged = merged(schema, live, config, former.as_ref(), &entries, &own.fields);
    let difference = match live {
        Some(live) => compare(schema, Some(live), &merged, config.excluded),
        None => Difference::default(),
    };
    if !config.force {
        refuse_conflicts(schema, live, config, &entries, &difference)?;
    }
    for entry in &mut entries {
        set::subtract(&mut entry.fields, &difference.took);
        set::subtract(&mut entry.fields, &difference.lost);
    }
    let unchanged =
        |former: &Entry| former.fields == own.fields && former.api_version == own.api_version;
    if let Some(former) = former.filter(|former| live.is_some() && unchanged(former))
        && difference.is_empty()
    {
        own.time = former.time;
    }
    entries.push(own);
    let mut object = merged;
    entry::write(&mut object, entries);
    migrate::keep_annotation(&mut object, config.object, config.manager.name);
    Ok(object)
}

/// The entries of an object; one that has none is owned as a whole by [`BEFORE_FIRST_APPLY`].
fn entries_of<S: Schema>(schema: S, live: &Value, now: &str) -> Vec<Entry> {
    let entries = entry::read(live.pointer("/metadata/managedFields")).unwrap_or_default();
    if !entries.is_empty() {
        return entries;
    }
    let api_version = live.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    let manager = Manager { name: BEFORE_FIRST_APPLY, api_version, subresource: "" };
    let all = compare(schema, None, live, &[]).took;
    vec![Entry::new(&manager, Operation::Update, now, all)]
}

fn merged<S: Schema>(
    schema: S,
    live: Option<&Value>,
    config: &Configuration<'_>,
    former: Option<&Entry>,
    others: &[Entry],
    wanted: &Fields,
) -> Value {
    let mut object = live.cloned().unwrap_or_else(|| json!({}));
    meta::remove(&mut object, "managedFields");
    merge(schema, &mut object, config.object);
    if let Some(former) = former {
        let mut owned: Vec<&Fields> = others.iter().map(|entry| &entry.fields).collect();
        owned.push(wanted);
        prune(schema, &mut object, &former.fields, &owned);
    }
    object
}

fn refuse_conflicts<S: Schema>(
    schema: S,
    live: Option<&Value>,
    config: &Configuration<'_>,
    others: &[Entry],
    difference: &Difference,
) -> Result<(), Refused> {
    let contested = |entry: &Entry| set::intersect(&entry.fields, &difference.took);
    let mut found: Vec<(&Entry, Fields)> = others.iter().map(|e| (e, contested(e))).collect();
    found.retain(|(_, fields)| !fields.is_empty());
    if found.is_empty() {
        return Ok(());
    }
    let own =
        live.and_then(|live| migrate::owned_by_client_side(schema, live, config.manager.name));
    let mut conflicts = Vec::new();
    for (entry, mut fields) in found {
        if let Some(own) = &own {
            set::subtract(&mut fields, own);
        }
        let paths = set::paths(&fields).into_iter();
        conflicts.extend(paths.map(|path| Conflict { owner: conflict::owner(entry), path }));
    }
    if conflicts.is_empty() { Ok(()) } else { Err(Refused::Conflicts(conflicts)) }
}
