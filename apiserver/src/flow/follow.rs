//! Keeps the engine as FlowSchemas and PriorityLevelConfigurations say, the mandatory ones as they must be, and tells
//! schemas whose level is missing.
//!
//! An edge: it watches and writes. Level, not edge: each round looks at all objects.

use std::sync::{Arc, Weak};

use coracle_api::meta;
use coracle_api::registry::{self, Kind};
use coracle_store::{Guard, Write};
use serde_json::{Value, json};

use super::objects::{MANDATORY, defaults};
use crate::cache::{self, Object, Selection, WatchFrom};
use crate::clock;
use crate::metadata;
use crate::server::Core;

const GROUP: &str = "flowcontrol.apiserver.k8s.io";

fn kind_of(name: &str) -> Option<&'static Kind> {
    registry::by_kind(GROUP, "v1", name)
}

/// Follows the objects until the server ends.
pub(crate) async fn follow(core: Weak<Core>) {
    let Some((schemas, levels)) = kind_of("FlowSchema").zip(kind_of("PriorityLevelConfiguration"))
    else {
        return;
    };
    loop {
        let Some((shutdown, [one, other])) = core.upgrade().and_then(|core| {
            let cache = |kind| core.caches.resource(kind).cloned();
            Some((core.shutdown.clone(), [cache(schemas)?, cache(levels)?]))
        }) else {
            return;
        };
        let watches = one
            .watch(Selection::all(schemas), WatchFrom::Now)
            .and_then(|one| Ok((one, other.watch(Selection::all(levels), WatchFrom::Now)?)));
        let Ok((mut of_schemas, mut of_levels)) = watches else { return };
        drop((one, other));
        loop {
            match core.upgrade() {
                Some(core) => core.settle_flows().await,
                None => return,
            }
            let goes_on = tokio::select! {
                events = of_schemas.next() => events.is_some(),
                events = of_levels.next() => events.is_some(),
                () = shutdown.cancelled() => return,
            };
            if !goes_on {
                break;
            }
        }
    }
}

impl Core {
    /// Does one round.
    pub(crate) async fn settle_flows(&self) {
        let (schemas, levels) =
            (self.flow_objects("FlowSchema"), self.flow_objects("PriorityLevelConfiguration"));
        let value = |(object, _): &(Arc<Object>, &'static Kind)| object.value();
        let (schema_values, level_values): (Vec<Value>, Vec<Value>) =
            (schemas.iter().map(value).collect(), levels.iter().map(value).collect());
        self.flows.publish(&schema_values, &level_values);
        let now = metadata::time(clock::now());
        let mut writes = Vec::new();
        let stored = schemas.iter().zip(&schema_values).chain(levels.iter().zip(&level_values));
        for ((object, kind), value) in stored {
            let mut fresh = value.clone();
            keep_mandatory(&mut fresh);
            if kind.kind == "FlowSchema"
                && let Some(status) = status(&fresh, &level_values, &now)
            {
                fresh["status"] = status;
            }
            if fresh != *value {
                let guard = Guard::At(object.revision);
                writes.push(Write::put(object.key.clone(), cache::encode(kind, &fresh), guard));
            }
        }
        // One by one: a lost race is left to the round that the other write brings about.
        for write in writes {
            if let Err(error) = self.store.commit(vec![write]).await {
                tracing::debug!(%error, "an object of flow control changed meanwhile");
            }
        }
        self.restore_mandatory(&schema_values, &level_values).await;
    }

    fn flow_objects(&self, name: &str) -> Vec<(Arc<Object>, &'static Kind)> {
        let Some(kind) = kind_of(name) else { return Vec::new() };
        let Ok(cache) = self.objects(kind) else { return Vec::new() };
        cache.select(&Selection::all(kind)).into_iter().map(|object| (object, kind)).collect()
    }

    async fn restore_mandatory(&self, schemas: &[Value], levels: &[Value]) {
        for wanted in defaults().into_iter().filter(is_mandatory) {
            let all = if wanted["kind"] == "FlowSchema" { schemas } else { levels };
            if all.iter().any(|object| meta::name(object) == meta::name(&wanted)) {
                continue;
            }
            if let Err(status) = self.seed(wanted).await {
                tracing::warn!(%status, "a mandatory object of flow control cannot be made");
            }
        }
    }
}

fn is_mandatory(object: &Value) -> bool {
    MANDATORY.contains(&meta::name(object))
}

/// Gives a mandatory object back its spec.
fn keep_mandatory(object: &mut Value) {
    let kind = object["kind"].clone();
    let name = meta::name(object).to_owned();
    let wanted = defaults().into_iter().filter(is_mandatory);
    let mut wanted = wanted.filter(|one| one["kind"] == kind && meta::name(one) == name);
    // The exempt level's shares may be changed. *Source:* upstream's mandatory objects.
    if let Some(wanted) = wanted.find(|one| one["spec"]["type"] != "Exempt") {
        object["spec"] = wanted["spec"].clone();
    }
}

/// The status of a FlowSchema; `None` when it says so already.
fn status(schema: &Value, levels: &[Value], now: &str) -> Option<Value> {
    let level = schema["spec"]["priorityLevelConfiguration"]["name"].as_str().unwrap_or_default();
    let exists = levels.iter().any(|known| meta::name(known) == level);
    let words = "This FlowSchema references the PriorityLevelConfiguration object named";
    let (state, reason, message) = if exists {
        ("False", "Found", format!("{words} {level:?} and it exists"))
    } else {
        ("True", "NotFound", format!("{words} {level:?} but there is no such object"))
    };
    let conditions = schema["status"]["conditions"].as_array().into_iter().flatten();
    let known = conditions.into_iter().find(|found| found["type"] == "Dangling");
    if known.is_some_and(|known| known["status"] == state && known["message"] == *message) {
        return None;
    }
    Some(json!({"conditions": [{
        "type": "Dangling", "status": state, "reason": reason, "message": message,
        "lastTransitionTime": now,
    }]}))
}
