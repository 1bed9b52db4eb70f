//! Every built-in kind that is served: its names, its verbs, and the rules of its objects.
//!
//! Routing, discovery, OpenAPI, defaulting and validation all read this one list, so adding a kind
//! is one entry in `kinds` plus its rules. Nothing here does IO, and nothing here knows how a
//! request is worked on.

pub mod convert;
mod custom;
mod kinds;
pub mod select;
pub mod strategy;

use std::borrow::Cow;
use std::fmt;

use serde_json::Value;

use crate::field_error::FieldError;
use crate::key::{GroupKind, GroupResource};
use crate::schema::{self, Type};
use crate::validate::metadata::check_owned_finalizers;
use crate::validate::spelling;

pub use custom::{CUSTOM_KINDS_MAX, Custom, CustomError, kinds_of};
pub use kinds::kinds;

/// Finalizer that holds a CustomResourceDefinition until its objects are gone.
pub const DEFINITION_CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// One kind that is served.
#[derive(Clone, Copy)]
pub struct Kind {
    /// API group, empty for core.
    pub group: &'static str,
    /// API version: `v1`.
    pub version: &'static str,
    /// CamelCase singular: `Deployment`.
    pub kind: &'static str,
    /// Lower-case plural, the path segment: `deployments`.
    pub plural: &'static str,
    /// Lower-case singular: `deployment`.
    pub singular: &'static str,
    /// Short names for kubectl: `deploy`.
    pub short_names: &'static [&'static str],
    /// Groups of kinds for kubectl: `all`.
    pub categories: &'static [&'static str],
    /// True when objects live in a namespace.
    pub namespaced: bool,
    /// Verbs of the main resource, sorted.
    pub verbs: &'static [&'static str],
    /// Subresources, sorted by name.
    pub subresources: &'static [Subresource],
    /// What legacy discovery publishes, equal for all versions that share a stored form.
    pub storage_version_hash: &'static str,
    /// Where and how the objects are kept, when that is not as they are served: another version
    /// of the same kind.
    pub stored: Option<&'static Stored>,
    /// What is done to and asked of the objects.
    pub rules: &'static Rules,
    /// What a user's kind has beside; `None` for built-in kinds.
    pub custom: Option<&'static Custom>,
}

/// The form in which objects of a served version are kept.
///
/// Both functions are total, change `apiVersion`, and a round trip loses nothing of what the served
/// version can say. *Source:* API concepts, "Versions"; the `conversion.go` of each group upstream.
#[derive(Clone, Copy)]
pub struct Stored {
    /// Group of the kept kind.
    pub group: &'static str,
    /// Version of the kept kind.
    pub version: &'static str,
    /// Makes the kept form of an object as it is served.
    pub to: Convert,
    /// Makes the served form of an object as it is kept.
    pub from: Convert,
}

/// How an object is brought into another version.
#[derive(Clone, Copy)]
pub enum Convert {
    /// By a function, which changes `apiVersion`, too.
    With(fn(&mut Value)),
    /// By its `apiVersion` alone.
    Rename(&'static str),
}

impl Convert {
    /// Converts an object in place.
    pub fn apply(self, object: &mut Value) {
        match self {
            Convert::With(convert) => convert(object),
            Convert::Rename(api_version) => {
                if let Some(members) = object.as_object_mut() {
                    members.insert("apiVersion".to_owned(), api_version.into());
                }
            }
        }
    }
}

/// One subresource of a kind, such as `pods/log`.
#[derive(Debug, Clone, Copy)]
pub struct Subresource {
    /// Path segment after the object's name: `scale`.
    pub name: &'static str,
    /// Group of the kind that is sent and answered.
    pub group: &'static str,
    /// Version of the kind that is sent and answered.
    pub version: &'static str,
    /// Kind that is sent and answered: `Scale`.
    pub kind: &'static str,
    /// Verbs, sorted.
    pub verbs: &'static [&'static str],
}

/// What is done to and asked of the objects of a kind, in the order of a request: decode, admit
/// (elsewhere), `default`, `prepare_*`, `validate*`.
///
/// All functions are pure. `prepare_*` own `status` and `metadata.generation`: callers must not
/// count generations themselves. *Source:* the `strategy.go` of each resource upstream.
#[derive(Clone, Copy)]
pub struct Rules {
    /// Fills what the user left out; doing it twice changes nothing.
    pub default: fn(&mut Value),
    /// Clears what a client may not set when it creates, and sets the first `generation`.
    pub prepare_create: fn(&mut Value),
    /// Takes (new, old): keeps what an update of the main resource may not change.
    pub prepare_update: fn(&mut Value, &Value),
    /// Takes (new, old): keeps everything except `status` (and for some kinds metadata).
    pub prepare_status_update: fn(&mut Value, &Value),
    /// Says what is wrong with a new object; empty when nothing is.
    pub validate: fn(&Value) -> Vec<FieldError>,
    /// Takes (new, old): says what is wrong with an update, immutability included.
    pub validate_update: ChangeRule,
    /// Takes (new, old): says what is wrong with an update of the `status` subresource.
    pub validate_status_update: ChangeRule,
    /// Field selector labels beyond `metadata.name` and `metadata.namespace`.
    pub selectable: &'static [&'static str],
    /// Gives the value of a selectable label; an absent field gives its zero value as text.
    pub select: for<'a> fn(&'a Value, &str) -> Option<Cow<'a, str>>,
    /// True when `metadata.generation` counts the changes of the desired state.
    pub has_generation: bool,
    /// True when an update may leave out `resourceVersion`.
    pub unconditional_update: bool,
    /// True when PUT of an object that is absent creates it.
    pub create_on_update: bool,
    /// Seconds of grace when a delete names none; `None` deletes at once.
    pub grace_period: Option<fn(&Value) -> i64>,
    /// Where the `scale` subresource reads and writes.
    pub scale: Option<ScalePaths>,
}

/// Takes (new, old): says what is wrong with a change.
type ChangeRule = fn(&Value, &Value) -> Vec<FieldError>;

/// Where the `scale` subresource finds its parts, as JSON pointers.
#[derive(Debug, Clone, Copy)]
pub struct ScalePaths {
    /// Wanted number, read and written.
    pub spec_replicas: &'static str,
    /// Observed number.
    pub status_replicas: &'static str,
    /// Label selector object.
    pub selector: &'static str,
}

impl Kind {
    /// Returns the kind of a list of these: `DeploymentList`.
    pub fn list_kind(&self) -> String {
        format!("{}List", self.kind)
    }

    /// Returns the resource by group and plural.
    pub fn group_resource(&self) -> GroupResource {
        GroupResource::new(self.group, self.plural)
    }

    /// Returns the kind by group.
    pub fn group_kind(&self) -> GroupKind {
        GroupKind::new(self.group, self.kind)
    }

    /// Returns `group/version`, or the version alone for core.
    pub fn api_version(&self) -> String {
        api_version(self.group, self.version)
    }

    /// Returns the schema of an object of this kind.
    pub fn ty(&self) -> &'static Type {
        if let Some(custom) = self.custom {
            return custom.ty;
        }
        // The tests look up every kind, so the fallback is never taken.
        schema::lookup(self.group, self.version, self.kind).unwrap_or_else(schema::unknown)
    }

    /// Returns the kind whose form is kept: itself for most.
    pub fn stored_kind(&'static self) -> &'static Kind {
        if let Some(custom) = self.custom {
            return custom.storage.unwrap_or(self);
        }
        let stored =
            self.stored.and_then(|stored| by_kind(stored.group, stored.version, self.kind));
        stored.unwrap_or(self)
    }

    /// Fills what the user left out.
    pub fn fill(&self, object: &mut Value) {
        match self.custom {
            Some(custom) => custom.version.fill(object),
            None => (self.rules.default)(object),
        }
    }

    /// Says what is wrong with a new object; empty when nothing is.
    pub fn validate(&self, object: &Value) -> Vec<FieldError> {
        match self.custom {
            Some(custom) => custom.version.validate(object),
            None => {
                let mut errors = (self.rules.validate)(object);
                // These two are of servers of their own upstream, which do not ask for it; one's own finalizer has no
                // owner, and comes back with a restored definition.
                if !matches!(self.group, "apiextensions.k8s.io" | "apiregistration.k8s.io") {
                    check_owned_finalizers(&mut errors, object);
                }
                errors
            }
        }
    }

    /// Says what is wrong with an update of the main resource.
    pub fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        match self.custom {
            Some(custom) => custom.version.validate_update(new, old),
            None => self.judge(self.rules.validate_update, new, old),
        }
    }

    /// Says what is wrong with an update of the `status` subresource.
    pub fn validate_status_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        match self.custom {
            Some(custom) => custom.version.validate_update(new, old),
            None => self.judge(self.rules.validate_status_update, new, old),
        }
    }

    /// Asks a rule about a change; an amount that is only written in another way has not changed.
    fn judge(&self, rule: ChangeRule, new: &Value, old: &Value) -> Vec<FieldError> {
        let errors = rule(new, old);
        if errors.is_empty() {
            return errors;
        }
        match spelling::as_before(new, old, self.ty()) {
            Some(settled) => rule(&settled, old),
            None => errors,
        }
    }

    /// Returns the subresource of this name.
    pub fn subresource(&self, name: &str) -> Option<&'static Subresource> {
        self.subresources.iter().find(|subresource| subresource.name == name)
    }

    /// Tells whether the main resource has this verb.
    pub fn has_verb(&self, verb: &str) -> bool {
        self.verbs.contains(&verb)
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.api_version(), self.kind)
    }
}

impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        (self.group, self.version, self.kind) == (other.group, other.version, other.kind)
    }
}

impl Eq for Kind {}

impl Subresource {
    /// Returns `group/version` of the kind that is sent and answered.
    pub fn api_version(&self) -> String {
        api_version(self.group, self.version)
    }

    /// Returns the schema of what is sent and answered, when it is an object.
    pub fn ty(&self) -> Option<&'static Type> {
        schema::lookup(self.group, self.version, self.kind)
    }
}

/// Returns the kind behind a path: by group (`""` for core), version and plural.
pub fn by_resource(group: &str, version: &str, plural: &str) -> Option<&'static Kind> {
    kinds()
        .iter()
        .find(|kind| kind.plural == plural && kind.group == group && kind.version == version)
}

/// Returns the kind by group (`""` for core), version and CamelCase name.
pub fn by_kind(group: &str, version: &str, name: &str) -> Option<&'static Kind> {
    kinds().iter().find(|kind| kind.kind == name && kind.group == group && kind.version == version)
}

/// Returns the groups and versions that are served, each once, in the order of discovery.
pub fn group_versions() -> Vec<(&'static str, &'static str)> {
    let mut found: Vec<(&str, &str)> = Vec::new();
    for kind in kinds() {
        if !found.contains(&(kind.group, kind.version)) {
            found.push((kind.group, kind.version));
        }
    }
    found
}

fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

#[cfg(test)]
mod tests;
