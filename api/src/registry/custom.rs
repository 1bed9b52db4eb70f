//! Kinds that users define, as the rest of the server sees kinds.
//!
//! A kind of the registry lives as long as the process, so that every part can hold on to it and the
//! built-in ones cost nothing to look up. Kinds of users are interned in the same way: one for each
//! distinct text of what matters in a definition, so that making the same definition anew, or
//! changing what is beside the point, costs nothing. [`CUSTOM_KINDS_MAX`] bounds them.

use std::collections::HashMap;
use std::sync::Mutex;

use serde_json::{Value, json};

use super::{Convert, Kind, Rules, ScalePaths, Stored, Subresource, select, strategy};
use crate::custom::{JsonPath, SchemaError, Version};
use crate::schema::Type;

/// Most distinct kinds of users in the life of a process; each keeps its schema in memory.
pub const CUSTOM_KINDS_MAX: usize = 10_000;

/// What a user's kind has beside what all kinds have.
#[derive(Debug)]
pub struct Custom {
    /// What is done to its objects.
    pub version: &'static Version,
    /// Its type, for decoding and ownership.
    pub ty: &'static Type,
    /// The kind in which objects are kept; `None` for itself.
    pub storage: Option<&'static Kind>,
    /// The webhook that brings objects into another version: `conversion.webhook` of the definition. `None` where a
    /// version is but a name.
    pub converter: Option<&'static Value>,
}

/// Why a definition gives no kinds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CustomError {
    /// A schema cannot be used.
    #[error("schema of version {version}: {source}")]
    Schema {
        /// The version.
        version: String,
        /// What is wrong.
        #[source]
        source: SchemaError,
    },
    /// No version is marked as that in which objects are kept.
    #[error("no version has `storage: true`")]
    NoStorage,
    /// There are too many.
    #[error("more than {CUSTOM_KINDS_MAX} distinct kinds since the server started; restart it")]
    TooMany,
}

static INTERNED: Mutex<Option<HashMap<String, &'static Kind>>> = Mutex::new(None);

/// Makes the kinds of a CustomResourceDefinition that was validated, one for each served version, the
/// preferred version first; and that in which objects are kept, served or not.
///
/// # Errors
/// When a schema cannot be used, which validation refuses, or there are too many kinds.
pub fn kinds_of(definition: &Value) -> Result<(Vec<&'static Kind>, &'static Kind), CustomError> {
    let versions = definition["spec"]["versions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let kept = versions.iter().find(|version| version["storage"] == true);
    let kept = kept.ok_or(CustomError::NoStorage)?;
    let stored = definition["status"]["storedVersions"].as_array().map_or(0, Vec::len);
    // Objects may be there in an older form: then even that of the storage version is put right.
    let renames = versions.len() > 1 || stored > 1;
    let storage = kind_of(definition, kept, None, renames)?;
    let mut kinds = Vec::new();
    for version in versions.iter().filter(|version| version["served"] == true) {
        let kind = match version["name"] == kept["name"] {
            true => storage,
            false => kind_of(definition, version, Some(storage), renames)?,
        };
        kinds.push(kind);
    }
    kinds.sort_by_key(|kind| std::cmp::Reverse(priority(kind.version)));
    Ok((kinds, storage))
}

/// Orders versions: stable before beta before alpha, greater numbers first, other names last.
///
/// *Source:* `CompareKubeAwareVersionStrings` in apimachinery.
fn priority(version: &str) -> (u8, u64, u64) {
    let Some(rest) = version.strip_prefix('v') else { return (0, 0, 0) };
    let (major, after) = digits(rest);
    let Some(major) = major else { return (0, 0, 0) };
    let (stage, minor) = match after {
        "" => (3, Some(0)),
        _ => match (after.strip_prefix("beta"), after.strip_prefix("alpha")) {
            (Some(minor), _) => (2, minor.parse().ok()),
            (None, Some(minor)) => (1, minor.parse().ok()),
            (None, None) => (0, None),
        },
    };
    minor.map_or((0, 0, 0), |minor| (stage, major, minor))
}

fn digits(text: &str) -> (Option<u64>, &str) {
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    (number.parse().ok(), rest)
}

fn kind_of(
    definition: &Value,
    version: &Value,
    storage: Option<&'static Kind>,
    renames: bool,
) -> Result<&'static Kind, CustomError> {
    let spec = &definition["spec"];
    let storage_text = storage.map(|kind| std::ptr::from_ref(kind).addr());
    let conversion = &spec["conversion"];
    let key = json!([
        spec["group"],
        spec["names"],
        spec["scope"],
        version,
        storage_text,
        renames,
        conversion
    ]);
    let key = key.to_string();
    let mut interned = INTERNED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let known = interned.get_or_insert_default();
    if let Some(kind) = known.get(&key) {
        return Ok(kind);
    }
    if known.len() >= CUSTOM_KINDS_MAX {
        return Err(CustomError::TooMany);
    }
    let read = Version::read(definition, version).map_err(|source| CustomError::Schema {
        version: version["name"].as_str().unwrap_or_default().to_owned(),
        source,
    })?;
    let kind: &'static Kind = Box::leak(Box::new(make(spec, version, read, (storage, renames))));
    known.insert(key, kind);
    Ok(kind)
}

fn leak(text: &Value) -> &'static str {
    Box::leak(text.as_str().unwrap_or_default().to_owned().into_boxed_str())
}

fn leak_all(list: &Value) -> &'static [&'static str] {
    Box::leak(list.as_array().into_iter().flatten().map(leak).collect())
}

const EVERY_VERB: &[&str] =
    &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const READ_WRITE: &[&str] = &["get", "patch", "update"];

fn make(
    spec: &Value,
    version: &Value,
    read: Version,
    (storage, renames): (Option<&'static Kind>, bool),
) -> Kind {
    let (group, names) = (leak(&spec["group"]), &spec["names"]);
    let (name, kind) = (leak(&version["name"]), leak(&names["kind"]));
    let read: &'static Version = Box::leak(Box::new(read));
    let ty = Type::of_custom(leak(&json!(open_api_name(group, name, kind))), read);
    let conversion = &spec["conversion"];
    let converts = renames && conversion["strategy"] == "Webhook";
    let converter =
        converts.then(|| -> &'static Value { Box::leak(Box::new(conversion["webhook"].clone())) });
    let custom = Custom { version: read, ty: Box::leak(Box::new(ty)), storage, converter };
    let stored = renames.then(|| -> &'static Stored {
        let kept = storage.map_or(name, |storage| storage.version);
        let rename = |version: &str| Convert::Rename(leak(&json!(format!("{group}/{version}"))));
        Box::leak(Box::new(Stored { group, version: kept, to: rename(kept), from: rename(name) }))
    });
    Kind {
        group,
        version: name,
        kind,
        plural: leak(&names["plural"]),
        singular: leak(&names["singular"]),
        short_names: leak_all(&names["shortNames"]),
        categories: leak_all(&names["categories"]),
        namespaced: spec["scope"] != "Cluster",
        verbs: EVERY_VERB,
        subresources: subresources(version, (group, name, kind)),
        storage_version_hash: storage_version_hash(group, name, kind),
        stored,
        rules: Box::leak(Box::new(rules(version))),
        custom: Some(Box::leak(Box::new(custom))),
    }
}

/// Names the type as upstream does: the group from its end, version, kind.
fn open_api_name(group: &str, version: &str, kind: &str) -> String {
    let parts: Vec<&str> = group.split('.').rev().collect();
    format!("{}.{version}.{kind}", parts.join("."))
}

fn subresources(
    version: &Value,
    (group, name, kind): (&'static str, &'static str, &'static str),
) -> &'static [Subresource] {
    let wanted = &version["subresources"];
    let mut found = Vec::new();
    if wanted["scale"].is_object() {
        let scale = ("autoscaling", "v1", "Scale");
        found.push(Subresource {
            name: "scale",
            group: scale.0,
            version: scale.1,
            kind: scale.2,
            verbs: READ_WRITE,
        });
    }
    if wanted["status"].is_object() {
        found.push(Subresource { name: "status", group, version: name, kind, verbs: READ_WRITE });
    }
    found.leak()
}

/// *Source:* `StorageVersionHash` of apiserver: eight bytes of a digest, in base64.
fn storage_version_hash(group: &str, version: &str, kind: &str) -> &'static str {
    use base64::Engine;
    let digest = crate::openapi::digest_bytes(format!("{group}/{version}/{kind}").as_bytes());
    let short = digest.get(..8).unwrap_or_default();
    leak(&json!(base64::engine::general_purpose::STANDARD.encode(short)))
}

fn rules(version: &Value) -> Rules {
    let wanted = &version["subresources"];
    let has_status = wanted["status"].is_object();
    let pointer = |field: &str| -> &'static str {
        let path = wanted["scale"][field].as_str().and_then(|path| JsonPath::read(path).ok());
        leak(&json!(path.and_then(|path| path.pointer()).unwrap_or_default()))
    };
    let scale = wanted["scale"].is_object().then(|| ScalePaths {
        spec_replicas: pointer("specReplicasPath"),
        status_replicas: pointer("statusReplicasPath"),
        selector: pointer("labelSelectorPath"),
    });
    let fields = version["selectableFields"].as_array().into_iter().flatten();
    let mut selectable: Vec<&'static str> = fields
        .filter_map(|field| field["jsonPath"].as_str()?.strip_prefix('.'))
        .map(|path| leak(&json!(path)))
        .collect();
    selectable.sort_unstable();
    Rules {
        default: strategy::leave,
        prepare_create: if has_status {
            strategy::custom::create
        } else {
            strategy::with_generation::create_without_status
        },
        prepare_update: if has_status {
            strategy::custom::update
        } else {
            strategy::with_generation::update_whole
        },
        prepare_status_update: strategy::custom::update_status,
        validate: strategy::accept,
        validate_update: strategy::accept_update,
        validate_status_update: strategy::accept_update,
        selectable: selectable.leak(),
        select: select::path,
        has_generation: true,
        unconditional_update: false,
        create_on_update: false,
        grace_period: None,
        scale,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition() -> Value {
        json!({"spec": {"group": "x.io", "scope": "Namespaced",
        "names": {"kind": "Thing", "plural": "things", "singular": "thing", "shortNames": ["th"]},
        "versions": [
            {"name": "v1beta1", "served": true, "storage": false, "schema": {"openAPIV3Schema": {"type": "object"}}},
            {"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}},
                "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.n", "statusReplicasPath": ".status.n"}},
                "selectableFields": [{"jsonPath": ".spec.color"}]},
        ]}})
    }

    #[test]
    fn each_served_version_is_a_kind() {
        let (kinds, storage) = kinds_of(&definition()).unwrap();
        let names: Vec<String> = kinds.iter().map(|kind| format!("{kind:?}")).collect();
        assert_eq!(names, ["x.io/v1/Thing", "x.io/v1beta1/Thing"]);
        assert_eq!(storage, kinds[0]);
        let paths = kinds[0].rules.scale.unwrap();
        assert_eq!((paths.spec_replicas, paths.selector), ("/spec/n", ""));
        assert_eq!(kinds[0].rules.selectable, ["spec.color"]);
        let object = json!({"spec": {"color": "red"}});
        assert_eq!((kinds[0].rules.select)(&object, "spec.color").as_deref(), Some("red"));
        assert_eq!(kinds[1].stored_kind(), kinds[0]);
        let mut object = json!({"apiVersion": "x.io/v1", "kind": "Thing"});
        kinds[1].stored.unwrap().from.apply(&mut object);
        assert_eq!(object["apiVersion"], "x.io/v1beta1");
    }

    #[test]
    fn the_same_text_is_the_same_kind() {
        let (one, _) = kinds_of(&definition()).unwrap();
        let (other, _) = kinds_of(&definition()).unwrap();
        assert!(std::ptr::eq(one[0], other[0]));
        let mut changed = definition();
        changed["spec"]["versions"][1]["schema"]["openAPIV3Schema"]["description"] = json!("new");
        let (changed, _) = kinds_of(&changed).unwrap();
        assert!(!std::ptr::eq(one[0], changed[0]));
    }

    #[test]
    fn stable_versions_go_first() {
        let mut versions = ["v1alpha1", "v1", "v10", "v2beta2", "v2beta10", "odd"];
        versions.sort_by_key(|version| std::cmp::Reverse(priority(version)));
        assert_eq!(versions, ["v10", "v1", "v2beta10", "v2beta2", "v1alpha1", "odd"]);
    }
}
