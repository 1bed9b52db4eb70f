//! APIServices: one object for each group and version that this server serves itself.
//!
//! Pure: `local` says which objects there should be, `settled` what the status of any APIService says. Groups that a
//! Service in the cluster would serve are not passed on to it yet; their status says so.
//! *Source:* `kube-aggregator` of Kubernetes in behaviour: the `autoregister` controller and `Available` conditions.

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

/// Gives the status of an APIService; `None` when it says so already.
pub(crate) fn settled(service: &Value, now: &str) -> Option<Value> {
    let (status, reason, message) = if service["spec"]["service"].is_object() {
        let why = "this server does not pass requests on to Services yet";
        ("False", "AggregationUnavailable", why)
    } else {
        ("True", "Local", "Local APIServices are always available")
    };
    let conditions = service["status"]["conditions"].as_array().into_iter().flatten();
    let known = conditions.into_iter().find(|found| found["type"] == "Available");
    if known.is_some_and(|known| known["status"] == status && known["reason"] == reason) {
        return None;
    }
    Some(json!({"conditions": [{
        "type": "Available", "status": status, "reason": reason, "message": message,
        "lastTransitionTime": now,
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
    fn local_ones_are_available_and_others_are_not() {
        let mut own = service("apps", "v1", (1, 1), "onstart");
        let status = settled(&own, "t").unwrap();
        assert_eq!(status["conditions"][0]["status"], "True");
        own["status"] = status;
        assert_eq!(settled(&own, "later"), None);
        own["spec"]["service"] = json!({"name": "a", "namespace": "b"});
        let status = settled(&own, "t").unwrap();
        assert_eq!(status["conditions"][0]["reason"], "AggregationUnavailable");
    }
}
