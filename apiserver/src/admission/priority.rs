//! A pod's priority comes from its PriorityClass.
//!
//! *Source:* the `Priority` admission plugin.

use super::{Operation, Request, spec_mut};
use crate::cache::{Caches, Selection};
use coracle_api::meta;
use coracle_api::registry;
use coracle_api::status::Status;
use serde_json::{Map, Value};

/// The priority of pods without a class when no class is the default.
const NO_CLASS: i64 = 0;
/// The classes that every cluster has.
const SYSTEM: [&str; 2] = ["system-cluster-critical", "system-node-critical"];
/// What a pod does to others when its class does not say.
const PREEMPT: &str = "PreemptLowerPriority";

/// Resolves the class of a new pod, and keeps the default class alone.
pub(super) fn admit(
    request: &Request<'_>,
    object: &mut Value,
    caches: &Caches,
) -> Result<(), Status> {
    let (group, kind) = (request.kind.group, request.kind.kind);
    let is_delete = request.operation == Operation::Delete;
    if (group, kind) == ("scheduling.k8s.io", "PriorityClass") && !is_delete {
        return one_default(request, object, caches);
    }
    if request.is_core("Pod") && request.operation == Operation::Create {
        return resolve(request, object, caches);
    }
    Ok(())
}

/// The classes that every cluster has stay.
///
/// *Source:* the storage of PriorityClasses in kube-apiserver.
pub(super) fn admit_delete(request: &Request<'_>) -> Result<(), Status> {
    let is_class =
        (request.kind.group, request.kind.kind) == ("scheduling.k8s.io", "PriorityClass");
    if is_class && SYSTEM.contains(&request.name) {
        return Err(request.forbidden("this is a system priority class and cannot be deleted"));
    }
    Ok(())
}

/// What a class says.
struct Class {
    name: String,
    value: i64,
    policy: String,
}

impl Class {
    fn read(class: &Value) -> Class {
        Class {
            name: meta::name(class).to_owned(),
            value: class["value"].as_i64().unwrap_or(NO_CLASS),
            policy: class["preemptionPolicy"].as_str().unwrap_or(PREEMPT).to_owned(),
        }
    }
}

fn resolve(request: &Request<'_>, object: &mut Value, caches: &Caches) -> Result<(), Status> {
    let Some(spec) = spec_mut(object) else { return Ok(()) };
    let asked = spec.get("priorityClassName").and_then(Value::as_str).unwrap_or_default();
    let class = match asked {
        "" => default_class(caches),
        name => match caches.get("scheduling.k8s.io", "priorityclasses", "", name) {
            Some(class) => Some(Class::read(&class.value())),
            None => {
                let why = format!("no PriorityClass with name {name} was found");
                return Err(request.forbidden(why));
            }
        },
    };
    let (value, policy) = match &class {
        Some(class) => (class.value, class.policy.as_str()),
        None => (NO_CLASS, PREEMPT),
    };
    check(request, spec, value, policy)?;
    if let Some(class) = &class {
        spec.insert("priorityClassName".to_owned(), class.name.clone().into());
    }
    spec.insert("priority".to_owned(), value.into());
    spec.insert("preemptionPolicy".to_owned(), policy.into());
    Ok(())
}

/// A pod may say what its class says, and nothing else.
fn check(
    request: &Request<'_>,
    spec: &Map<String, Value>,
    value: i64,
    policy: &str,
) -> Result<(), Status> {
    if let Some(own) = spec.get("priority").and_then(Value::as_i64).filter(|own| *own != value) {
        return Err(request.forbidden(format!(
            "the integer value of priority ({own}) must not be provided in pod spec; priority admission controller \
             computed {value} from the given PriorityClass name"
        )));
    }
    let own = spec.get("preemptionPolicy").and_then(Value::as_str).filter(|own| *own != policy);
    if let Some(own) = own {
        return Err(request.forbidden(format!(
            "the string value of PreemptionPolicy ({own}) must not be provided in pod spec; priority admission \
             controller computed {policy} from the given PriorityClass name"
        )));
    }
    Ok(())
}

/// The default class; of several, which races can bring about, the lowest.
fn default_class(caches: &Caches) -> Option<Class> {
    defaults(caches).into_iter().map(|class| Class::read(&class)).min_by_key(|class| class.value)
}

fn defaults(caches: &Caches) -> Vec<Value> {
    let kind = registry::by_kind("scheduling.k8s.io", "v1", "PriorityClass");
    let Some(kind) = kind else { return Vec::new() };
    let Some(classes) = caches.resource(kind) else { return Vec::new() };
    let classes = classes.select(&Selection::all(kind));
    classes
        .iter()
        .map(|class| class.value())
        .filter(|class| class["globalDefault"] == Value::Bool(true))
        .collect()
}

fn one_default(request: &Request<'_>, object: &Value, caches: &Caches) -> Result<(), Status> {
    if object["globalDefault"] != Value::Bool(true) {
        return Ok(());
    }
    let other = defaults(caches).into_iter().find(|class| meta::name(class) != request.name);
    match other {
        None => Ok(()),
        Some(other) => Err(request.forbidden(format!(
            "PriorityClass {} is already marked as default. Only one default can exist",
            meta::name(&other)
        ))),
    }
}
