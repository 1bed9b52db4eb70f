//! APIServices: one object for each group and version, served by this server or by a Service of the cluster.
//!
//! `local` says which objects there should be for what this server serves itself, `settled` what their status says.
//! For the others, `follow` looks after their servers and publishes what they serve, and `proxy` passes requests on to
//! them in the name of their senders, as `front_proxy` vouches for.
//! *Source:* `kube-aggregator` of Kubernetes in behaviour: the `autoregister` controller and `Available` conditions.

mod follow;
mod front_proxy;
mod proxy;
mod remote;

pub(crate) use follow::follow;
pub use front_proxy::FrontProxy;
pub(crate) use remote::Remotes;

use coracle_api::registry::{self, Kind};
use serde_json::{Value, json};

/// Marks the objects that the server keeps itself.
const AUTOMANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";

/// Priorities of users' groups. *Source:* the CRD registration controller of kube-apiserver.
const CUSTOM_PRIORITY: (i64, i64) = (1000, 100);

/// Gives the APIServices of the built-in groups and of users' kinds, in the order of discovery.
pub(crate) fn local(custom: &[&'static Kind]) -> Vec<Value> {
    let built_in = registry::group_versions();
    let mut all: Vec<Value> = Vec::new();
    for (index, (group, version)) in built_in.iter().enumerate() {
        // Earlier groups go first; the numbers themselves mean nothing more.
        let place = i64::try_from(index).unwrap_or_default();
        all.push(service(group, version, (18_000 - 100 * place, 15), "onstart"));
    }
    for kind in custom {
        let made = service(kind.group, kind.version, CUSTOM_PRIORITY, "true");
        if !all.contains(&made) {
            all.push(made);
        }
    }
    all
}

fn service(group: &str, version: &str, (priority, own): (i64, i64), managed: &str) -> Value {
    json!({
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": format!("{version}.{group}"), "labels": {AUTOMANAGED: managed}},
        "spec": {
            "group": group, "version": version,
            "groupPriorityMinimum": priority, "versionPriority": own,
        },
    })
}

/// Whether the server keeps an APIService because of users' kinds, so that it goes with them.
pub(crate) fn follows_definitions(service: &Value) -> bool {
    service["metadata"]["labels"][AUTOMANAGED] == "true"
}

/// Gives the status of an APIService that this server serves itself; `None` when it says so already, and for others.
pub(crate) fn settled(service: &Value, now: &str) -> Option<Value> {
    if service["spec"]["service"].is_object() {
        return None;
    }
    available(service, ("True", "Local", "Local APIServices are always available"), now)
}

/// Gives the status of an APIService with this condition `Available`; `None` when it says so already.
fn available(
    service: &Value,
    (status, reason, message): (&str, &str, &str),
    now: &str,
) -> Option<Value> {
    let conditions = service["status"]["conditions"].as_array().into_iter().flatten();
    let known = conditions.into_iter().find(|found| found["type"] == "Available");
    let is_same = |known: &&Value| {
        known["status"] == status && known["reason"] == reason && known["message"] == message
    };
    if known.as_ref().is_some_and(is_same) {
        return None;
    }
    let since = known.filter(|known| known["status"] == status);
    let since = since.map_or(json!(now), |known| known["lastTransitionTime"].clone());
    Some(json!({"conditions": [{
        "type": "Available", "status": status, "reason": reason, "message": message,
        "lastTransitionTime": since,
    }]}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_version_has_one() {
        let all = local(&[]);
        assert_eq!(all.len(), registry::group_versions().len());
        let names: Vec<&str> =
            all.iter().filter_map(|service| service["metadata"]["name"].as_str()).collect();
        assert!(names.starts_with(&["v1.", "v1.apiregistration.k8s.io", "v1.apps"]), "{names:?}");
        assert!(all.iter().all(|service| !follows_definitions(service)));
    }

    #[test]
    fn local_ones_are_available_and_others_are_looked_after() {
        let mut own = service("apps", "v1", (1, 1), "onstart");
        let status = settled(&own, "t").unwrap();
        assert_eq!(status["conditions"][0]["status"], "True");
        own["status"] = status;
        assert_eq!(settled(&own, "later"), None);
        own["spec"]["service"] = json!({"name": "a", "namespace": "b"});
        assert_eq!(settled(&own, "t"), None);
        let status = available(&own, ("False", "ServiceNotFound", "gone"), "later").unwrap();
        assert_eq!(status["conditions"][0]["lastTransitionTime"], "later");
        own["status"] = status;
        let status = available(&own, ("False", "MissingEndpoints", "none"), "last").unwrap();
        assert_eq!(status["conditions"][0]["lastTransitionTime"], "later");
    }
}
