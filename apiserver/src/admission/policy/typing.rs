//! What ValidatingAdmissionPolicies get wrong about the types of the objects that they are about: their
//! `status.typeChecking`.
//!
//! `checked` decides, purely; `follow` watches and writes, once for each generation of a policy. Types that rules name by
//! `*`, subresources and kinds that are not served are left out.
//! *Source:* Kubernetes, "Validating Admission Policy", "Type checking".

use std::sync::Weak;

use coracle_api::cel::{Expression, Known};
use coracle_api::registry::{self, Kind};
use coracle_store::{Guard, Write};
use serde_json::{Value, json};

use super::{GROUP, VARIABLES};
use crate::cache::{self, Selection, WatchFrom};
use crate::crd::Definitions;
use crate::request_info::ResourcePath;
use crate::server::Core;

/// Most types that a policy is checked against. *Source:* `maxTypesToCheck` upstream.
const TYPES_MAX: usize = 10;

/// Follows the policies until the server ends.
pub(crate) async fn follow(core: Weak<Core>) {
    let Some(kind) = registry::by_kind(GROUP, "v1", "ValidatingAdmissionPolicy") else { return };
    loop {
        let Some((shutdown, cache)) = core
            .upgrade()
            .and_then(|core| Some((core.shutdown.clone(), core.caches.resource(kind).cloned()?)))
        else {
            return;
        };
        let Ok(mut watch) = cache.watch(Selection::all(kind), WatchFrom::Now) else { return };
        drop(cache);
        loop {
            match core.upgrade() {
                Some(core) => core.check_policies(kind).await,
                None => return,
            }
            tokio::select! {
                events = watch.next() => if events.is_none() { break },
                () = shutdown.cancelled() => return,
            }
        }
    }
}

impl Core {
    async fn check_policies(&self, kind: &'static Kind) {
        let Ok(cache) = self.objects(kind) else { return };
        for object in cache.select(&Selection::all(kind)) {
            let mut policy = object.value();
            let generation = policy["metadata"]["generation"].clone();
            if policy["status"]["observedGeneration"] == generation {
                continue;
            }
            policy["status"]["observedGeneration"] = generation;
            policy["status"]["typeChecking"] = checked(&policy["spec"], &self.definitions);
            let guard = Guard::At(object.revision);
            let write = Write::put(object.key.clone(), cache::encode(kind, &policy), guard);
            // A lost race is left to the round that the other write brings about.
            if let Err(error) = self.store.commit(vec![write]).await {
                tracing::debug!(%error, "a policy changed while it was checked");
            }
        }
    }
}

/// The outcome for a policy's spec.
fn checked(spec: &Value, definitions: &Definitions) -> Value {
    let kinds = kinds_of(&spec["matchConstraints"]["resourceRules"], definitions);
    let mut warnings = Vec::new();
    let validations = spec["validations"].as_array().into_iter().flatten();
    for (index, validation) in validations.enumerate() {
        for field in ["expression", "messageExpression"] {
            let Some(text) = validation[field].as_str() else { continue };
            let Ok(expression) = Expression::compile(text, &VARIABLES) else { continue };
            let lines: Vec<String> = kinds
                .iter()
                .flat_map(|kind| {
                    let known = Known::of_type(kind.ty());
                    let found = expression.mistakes(&[("object", known), ("oldObject", known)]);
                    found.into_iter().map(|mistake| {
                        let version = kind.api_version();
                        format!(
                            "{version}, Kind={}: ERROR: <input>: {mistake}\n | {text}",
                            kind.kind
                        )
                    })
                })
                .collect();
            if !lines.is_empty() {
                let place = format!("spec.validations[{index}].{field}");
                warnings.push(json!({"fieldRef": place, "warning": lines.join("\n")}));
            }
        }
    }
    if warnings.is_empty() { json!({}) } else { json!({"expressionWarnings": warnings}) }
}

/// The kinds that rules name.
fn kinds_of(rules: &Value, definitions: &Definitions) -> Vec<&'static Kind> {
    let list = |rule: &Value, field: &str| -> Vec<String> {
        let items = rule[field].as_array().into_iter().flatten().filter_map(Value::as_str);
        items.map(str::to_owned).collect()
    };
    let mut kinds: Vec<&'static Kind> = Vec::new();
    for rule in rules.as_array().into_iter().flatten() {
        for group in list(rule, "apiGroups") {
            for version in list(rule, "apiVersions") {
                for resource in list(rule, "resources") {
                    let path = ResourcePath {
                        group: group.clone(),
                        version: version.clone(),
                        resource,
                        ..ResourcePath::default()
                    };
                    let found = definitions.by_resource(&path);
                    kinds.extend(found.filter(|kind| !kinds.contains(kind)));
                }
            }
        }
    }
    kinds.truncate(TYPES_MAX);
    kinds
}
