//! `pods/eviction`: deletes a pod if the budgets of its application bear it.
//!
//! *Source:* `policy/v1 Eviction`; Kubernetes docs, "API-initiated Eviction"; the words are upstream's.

use coracle_api::condition::{self, Condition};
use coracle_api::decode::Decoded;
use coracle_api::key::GroupResource;
use coracle_api::meta;
use coracle_api::selector::{FieldSelector, LabelSelector};
use coracle_api::status::Status;
use coracle_store::{CommitError, Guard, Write};
use http::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;

use crate::body::Body;
use crate::cache::{self, Object, ResourceCache, Selection};
use crate::context::Context;
use crate::metadata;
use crate::options::{DeleteOptions, WriteOptions};
use crate::respond::{self, Answer};
use crate::server::Core;
use crate::verbs::ownership::Ownership;
use crate::verbs::write::{self, Change, Part};

/// How often a grant is tried anew when the budget changed meanwhile: each lost race is another grant or count.
const CONFLICT_TRIES_MAX: usize = 20;

/// Most grants that a budget remembers until its controller has seen them. *Source:* `MaxDisruptedPodSize`.
const GRANTS_MAX: usize = 2000;

/// When a client may ask again that was refused for what the server has still to do. *Source:* kube-apiserver.
const RETRY_SECONDS: u32 = 10;

/// Nobody knows when a budget bears more: a client that repeats requests by itself must not wait for it, as its caller
/// has its own idea of patience. *Source:* kube-apiserver.
const RETRY_UNKNOWN: u32 = 0;

/// What every refusal of a budget says first. *Source:* kube-apiserver.
const VIOLATED: &str = "Cannot evict pod as it would violate the pod's disruption budget.";

impl Core {
    /// Evicts a pod.
    ///
    /// # Errors
    /// 404 when there is no such pod, 429 when a budget does not bear it now, 403 when its budget is out of bounds, 500
    /// when several budgets select it.
    pub(super) async fn evict(&self, context: &Context, body: Body) -> Result<Answer, Status> {
        let options = WriteOptions::parse(&context.query, "CreateOptions")?;
        let ty = coracle_api::schema::lookup("policy", "v1", "Eviction")
            .ok_or_else(|| Status::internal("no schema of Eviction"))?;
        let eviction = context.decode(body, ty, options.field_validation).await?.value;
        check_name(&eviction, context)?;
        let given = eviction.get("deleteOptions").filter(|given| given.is_object());
        let mut delete = DeleteOptions::parse(Some(given.unwrap_or(&json!({}))), &context.query)?;
        delete.dry_run |= options.dry_run;
        let pod = self.current(context)?.value();
        let kind = context.kind.group_kind();
        let expected = (delete.uid.as_deref(), delete.resource_version.as_deref());
        metadata::check_delete_preconditions(&pod, &kind, expected.0, expected.1)?;
        if !ends_by_itself(&pod) {
            self.ask_budget(context, &pod, delete.dry_run).await?;
        }
        if !delete.dry_run && meta::deletion_timestamp(&pod).is_none() {
            self.mark_evicted(context).await?;
            // The mark has given the pod another revision.
            delete.resource_version = None;
        }
        self.delete_named(context, &context.path.namespace, &context.path.name, &delete).await?;
        let mut success =
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"});
        success["code"] = json!(StatusCode::CREATED.as_u16());
        Ok(respond::value(StatusCode::CREATED, &success, context.plain()))
    }

    /// Takes a grant from the budget of a pod, if it has one.
    async fn ask_budget(&self, context: &Context, pod: &Value, dry: bool) -> Result<(), Status> {
        let Some(cache) = self.caches.by_resource("policy", "poddisruptionbudgets") else {
            return Ok(());
        };
        for _ in 0..CONFLICT_TRIES_MAX {
            let budgets = budgets_of(cache, &context.path.namespace, pod)?;
            let (stored, budget) = match budgets.as_slice() {
                [] => return Ok(()),
                [one] => one,
                [_, _, ..] => {
                    return Err(Status::internal(
                        "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
                    ));
                }
            };
            let granted = match grant(budget, pod, &metadata::time(context.now))? {
                Some(granted) if !dry => granted,
                Some(_) | None => return Ok(()),
            };
            let value = cache::encode(cache.kind(), &granted);
            let put = Write::put(stored.key.clone(), value, Guard::At(stored.revision));
            match self.store.commit(vec![put]).await {
                Ok(_) => return Ok(()),
                Err(CommitError::Conflict { .. }) => {}
                Err(error) => return Err(write::store_failed(&error)),
            }
        }
        Err(refused(
            "couldn't update PodDisruptionBudget due to conflicts",
            "too many evictions at once",
            RETRY_SECONDS,
        ))
    }

    /// Says in the pod's status why it goes.
    async fn mark_evicted(&self, context: &Context) -> Result<(), Status> {
        let change = Change {
            part: Part::Internal,
            dry_run: false,
            needs_version: false,
            ownership: Ownership::Kept,
        };
        let time = metadata::time(context.now);
        self.change(context, change, &|pod| Ok(marked(pod, &time))).await.map(drop)
    }
}

fn check_name(eviction: &Value, context: &Context) -> Result<(), Status> {
    let named = meta::name(eviction);
    if named.is_empty() || named == context.path.name {
        return Ok(());
    }
    Err(Status::bad_request("name in URL does not match name in Eviction object"))
}

/// Pods that have ended, not begun, or are being deleted take nothing from their application.
fn ends_by_itself(pod: &Value) -> bool {
    let phase = pod["status"]["phase"].as_str().unwrap_or_default();
    matches!(phase, "Succeeded" | "Failed" | "Pending") || meta::deletion_timestamp(pod).is_some()
}

/// The budgets whose selector takes a pod. An empty selector takes every pod of the namespace.
fn budgets_of(
    cache: &ResourceCache,
    namespace: &str,
    pod: &Value,
) -> Result<Vec<(Arc<Object>, Value)>, Status> {
    let (labels, fields) = (LabelSelector::everything(), FieldSelector::default());
    let selection = Selection::new(cache.kind(), Some(namespace), labels, fields)?;
    let empty = serde_json::Map::new();
    let own = pod["metadata"]["labels"].as_object().unwrap_or(&empty);
    let mut found = Vec::new();
    for stored in cache.select(&selection) {
        let budget = stored.value();
        let selector = budget["spec"].get("selector").map(LabelSelector::from_value);
        if selector.and_then(Result::ok).is_some_and(|selector| selector.matches(own)) {
            found.push((stored, budget));
        }
    }
    Ok(found)
}

/// Gives the budget after one more disruption; `None` when this pod's going does not touch it.
///
/// # Errors
/// 429 and 403, see [`Core::evict`].
fn grant(budget: &Value, pod: &Value, now: &str) -> Result<Option<Value>, Status> {
    let status = &budget["status"];
    let number = |field: &str| status[field].as_i64().unwrap_or(0);
    let (healthy, desired) = (number("currentHealthy"), number("desiredHealthy"));
    if !is_ready(pod) {
        let policy = budget["spec"]["unhealthyPodEvictionPolicy"].as_str();
        if policy == Some("AlwaysAllow") || (healthy >= desired && desired > 0) {
            return Ok(None);
        }
    }
    let name = meta::name(budget);
    if number("observedGeneration") < budget["metadata"]["generation"].as_i64().unwrap_or(0) {
        let why = format!("The disruption budget {name} is still being processed by the server.");
        return Err(refused(VIOLATED, &why, RETRY_SECONDS));
    }
    let resource = GroupResource::new("policy", "poddisruptionbudgets");
    let allowed = number("disruptionsAllowed");
    if allowed < 0 {
        let why = "pdb disruptions allowed is negative";
        return Err(Status::forbidden_because(&resource, name, why));
    }
    let grants = status["disruptedPods"].as_object().map_or(0, serde_json::Map::len);
    if grants > GRANTS_MAX {
        let why = "DisruptedPods map too big - too many evictions not confirmed by PDB controller";
        return Err(Status::forbidden_because(&resource, name, why));
    }
    if allowed == 0 {
        return Err(refused(VIOLATED, &why_not(budget), RETRY_UNKNOWN));
    }
    Ok(Some(counted_down(budget, meta::name(pod), allowed - 1, now)))
}

fn counted_down(budget: &Value, pod: &str, allowed: i64, now: &str) -> Value {
    let mut new = budget.clone();
    new["status"]["disruptionsAllowed"] = json!(allowed);
    if !new["status"]["disruptedPods"].is_object() {
        new["status"]["disruptedPods"] = json!({});
    }
    new["status"]["disruptedPods"][pod] = json!(now);
    if allowed == 0 {
        let mut conditions = new["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let kind = "DisruptionAllowed";
        let reason = "InsufficientPods";
        let no = Condition { kind, status: "False", reason, message: "" };
        condition::upsert(&mut conditions, no, now);
        new["status"]["conditions"] = conditions.into();
    }
    new
}

fn is_ready(pod: &Value) -> bool {
    let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions.any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// Why a budget without a grant left has none. *Source:* kube-apiserver.
fn why_not(budget: &Value) -> String {
    let (name, status) = (meta::name(budget), &budget["status"]);
    let number = |field: &str| status[field].as_i64().unwrap_or(0);
    let (healthy, desired) = (number("currentHealthy"), number("desiredHealthy"));
    let mut conditions = status["conditions"].as_array().into_iter().flatten();
    let text = |condition: &Value, field: &str| condition[field].as_str().unwrap_or("").to_owned();
    let told = conditions
        .find(|condition| {
            condition["type"] == "DisruptionAllowed" && condition["status"] == "False"
        })
        .map(|condition| (text(condition, "reason"), text(condition, "message")));
    let (reason, message) = told.unwrap_or_default();
    let does_not = format!("The disruption budget {name} does not allow evicting pods currently");
    if reason == "SyncFailed" && !message.is_empty() {
        format!("{does_not} because it failed sync: {message}")
    } else if healthy <= desired {
        format!(
            "The disruption budget {name} needs {desired} healthy pods and has {healthy} currently"
        )
    } else if message.is_empty() {
        does_not
    } else {
        format!("{does_not} ({reason}): {message}")
    }
}

fn refused(message: &str, cause: &str, retry_seconds: u32) -> Status {
    Status::too_many_requests(message, retry_seconds).with_cause("DisruptionBudget", cause, "")
}

fn marked(pod: &Value, now: &str) -> Decoded {
    let mut new = pod.clone();
    let mut conditions = new["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let target = Condition {
        kind: "DisruptionTarget",
        status: "True",
        reason: "EvictionByEvictionAPI",
        message: "Eviction API: evicting",
    };
    condition::upsert(&mut conditions, target, now);
    new["status"]["conditions"] = conditions.into();
    Decoded { value: new, warnings: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-01-01T00:00:00Z";

    fn pod(ready: &str) -> Value {
        json!({"metadata": {"name": "p"}, "status": {"phase": "Running",
            "conditions": [{"type": "Ready", "status": ready}]}})
    }

    fn budget(spec: Value, healthy: i64, desired: i64, allowed: i64, observed: i64) -> Value {
        json!({"metadata": {"name": "b", "generation": 2}, "spec": spec, "status": {
            "currentHealthy": healthy, "desiredHealthy": desired, "disruptionsAllowed": allowed,
            "observedGeneration": observed}})
    }

    fn check(budget: &Value, pod: &Value, expected: &str) {
        let text = match grant(budget, pod, NOW) {
            Ok(None) => "free".to_owned(),
            Ok(Some(new)) => format!("granted, {} left", new["status"]["disruptionsAllowed"]),
            Err(status) => {
                let causes = status.details.iter().flat_map(|details| &details.causes);
                let why: Vec<&str> = causes.map(|cause| cause.message.as_str()).collect();
                format!("{} {}", status.code(), why.join(""))
            }
        };
        assert_eq!(text, expected);
    }

    #[test]
    fn a_budget_counts_down_and_refuses_at_zero() {
        let plain = || json!({});
        check(&budget(plain(), 3, 1, 2, 2), &pod("True"), "granted, 1 left");
        check(
            &budget(plain(), 1, 1, 0, 2),
            &pod("True"),
            "429 The disruption budget b needs 1 healthy pods and has 1 currently",
        );
        check(
            &budget(plain(), 3, 1, 2, 1),
            &pod("True"),
            "429 The disruption budget b is still being processed by the server.",
        );
        check(&budget(plain(), 3, 1, -1, 2), &pod("True"), "403 ");
        let mut told = budget(plain(), 3, 1, 0, 2);
        check(
            &told,
            &pod("True"),
            "429 The disruption budget b does not allow evicting pods currently",
        );
        for (reason, expected) in [
            ("Busy", "currently (Busy): later"),
            ("SyncFailed", "currently because it failed sync: later"),
        ] {
            told["status"]["conditions"] = json!([{"type": "DisruptionAllowed", "status": "False",
                "reason": reason, "message": "later"}]);
            let expected =
                format!("429 The disruption budget b does not allow evicting pods {expected}");
            check(&told, &pod("True"), &expected);
        }
    }

    #[test]
    fn a_pod_that_is_not_ready_may_go_as_the_policy_says() {
        check(&budget(json!({}), 1, 1, 0, 2), &pod("False"), "free");
        check(
            &budget(json!({}), 0, 1, 0, 2),
            &pod("False"),
            "429 The disruption budget b needs 1 healthy pods and has 0 currently",
        );
        let always = json!({"unhealthyPodEvictionPolicy": "AlwaysAllow"});
        check(&budget(always, 0, 1, 0, 2), &pod("False"), "free");
    }

    #[test]
    fn the_last_grant_says_so_in_the_condition_and_remembers_the_pod() {
        let new = grant(&budget(json!({}), 2, 1, 1, 2), &pod("True"), NOW).unwrap().unwrap();
        assert_eq!(new["status"]["disruptedPods"], json!({"p": NOW}));
        assert_eq!(new["status"]["conditions"][0]["status"], "False");
    }

    #[test]
    fn pods_that_serve_nobody_need_no_budget() {
        for phase in ["Pending", "Failed", "Succeeded"] {
            assert!(ends_by_itself(&json!({"metadata": {}, "status": {"phase": phase}})));
        }
        assert!(!ends_by_itself(&pod("False")));
    }
}
