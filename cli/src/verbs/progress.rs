//! How far a rollout is.
//!
//! *Source:* `kubectl rollout status`: a Deployment is done when all replicas are updated, available
//! and no old one is left; a DaemonSet and StatefulSet by the same counts of theirs.

use anyhow::bail;
use serde_json::Value;

/// A line for the user, and whether the rollout is done.
///
/// # Errors
/// When the rollout has failed: a Deployment beyond its progress deadline.
pub(crate) fn progress(object: &Value) -> anyhow::Result<(String, bool)> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let kind = object["kind"].as_str().unwrap_or_default().to_lowercase();
    let generation = object["metadata"]["generation"].as_i64().unwrap_or(0);
    if object["status"]["observedGeneration"].as_i64().unwrap_or(0) < generation {
        return Ok((format!("Waiting for {kind} \"{name}\" to be observed..."), false));
    }
    let waiting = match kind.as_str() {
        "deployment" => deployment(object)?,
        "daemonset" => daemon_set(object),
        _ => stateful_set(object),
    };
    Ok(match waiting {
        Some(what) => {
            (format!("Waiting for {kind} \"{name}\" rollout to finish: {what}..."), false)
        }
        None => (format!("{kind} \"{name}\" successfully rolled out"), true),
    })
}

fn count(object: &Value, field: &str) -> i64 {
    object["status"][field].as_i64().unwrap_or(0)
}

fn wanted(object: &Value) -> i64 {
    object["spec"]["replicas"].as_i64().unwrap_or(1)
}

fn deployment(object: &Value) -> anyhow::Result<Option<String>> {
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    let late = conditions
        .filter(|condition| condition["type"] == "Progressing")
        .any(|condition| condition["reason"] == "ProgressDeadlineExceeded");
    if late {
        bail!("deployment {} exceeded its progress deadline", object["metadata"]["name"]);
    }
    let (wanted, updated) = (wanted(object), count(object, "updatedReplicas"));
    let (all, available) = (count(object, "replicas"), count(object, "availableReplicas"));
    Ok(if updated < wanted {
        Some(format!("{updated} out of {wanted} new replicas have been updated"))
    } else if all > updated {
        Some(format!("{} old replicas are pending termination", all - updated))
    } else if available < updated {
        Some(format!("{available} of {updated} updated replicas are available"))
    } else {
        None
    })
}

fn daemon_set(object: &Value) -> Option<String> {
    let wanted = count(object, "desiredNumberScheduled");
    let updated = count(object, "updatedNumberScheduled");
    let available = count(object, "numberAvailable");
    if updated < wanted {
        Some(format!("{updated} out of {wanted} new pods have been updated"))
    } else if available < wanted {
        Some(format!("{available} of {wanted} updated pods are available"))
    } else {
        None
    }
}

fn stateful_set(object: &Value) -> Option<String> {
    let wanted = wanted(object);
    let partition =
        object["spec"]["updateStrategy"]["rollingUpdate"]["partition"].as_i64().unwrap_or(0);
    let ready = count(object, "readyReplicas");
    let status = &object["status"];
    let done = count(object, "updatedReplicas") >= wanted - partition
        && (partition > 0 || status["updateRevision"] == status["currentRevision"]);
    if ready < wanted {
        Some(format!("{ready} of {wanted} pods are ready"))
    } else if !done {
        let updated = count(object, "updatedReplicas");
        Some(format!("{updated} of {} pods have been updated", wanted - partition))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(kind: &str, status: Value, expected: &str) {
        let mut object = json!({"kind": kind, "metadata": {"name": "x", "generation": 2},
            "spec": {"replicas": 3}, "status": {"observedGeneration": 2}});
        for (name, value) in status.as_object().unwrap() {
            object["status"][name] = value.clone();
        }
        let told = match progress(&object) {
            Ok((line, _)) => line,
            Err(error) => format!("error: {error}"),
        };
        assert!(told.contains(expected), "{told}");
    }

    #[test]
    fn what_is_still_missing() {
        check("Deployment", json!({"observedGeneration": 1}), "to be observed");
        check("Deployment", json!({"updatedReplicas": 1}), "1 out of 3 new");
        check("Deployment", json!({"updatedReplicas": 3, "replicas": 4}), "1 old");
        let all = json!({"updatedReplicas": 3, "replicas": 3, "availableReplicas": 3});
        check("Deployment", all, "\"x\" successfully rolled out");
        let late = json!({"conditions": [{"type": "Progressing", "status": "False",
            "reason": "ProgressDeadlineExceeded"}]});
        check("Deployment", late, "error: deployment \"x\" exceeded");
        check("DaemonSet", json!({"desiredNumberScheduled": 2}), "0 out of 2");
        check("StatefulSet", json!({"readyReplicas": 1}), "1 of 3 pods are ready");
        let done = json!({"readyReplicas": 3, "updatedReplicas": 3});
        check("StatefulSet", done, "successfully");
    }
}
