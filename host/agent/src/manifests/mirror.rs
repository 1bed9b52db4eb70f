//! What the API shows of a static pod: pure.
//!
//! *Source:* kubelet's `tryReconcileMirrorPods`.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::{CONFIG_MIRROR, annotation};

/// What there is under one full name.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    /// The static pod that the folder asks for.
    pub(crate) wanted: Option<Arc<Pod>>,
    /// A pod of another file, or of an older one, has still to end.
    pub(crate) other_ends: bool,
    /// The object of the API.
    pub(crate) mirror: Option<Arc<Pod>>,
}

/// What to do about the mirror.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    /// It is as it is to be.
    Nothing,
    /// Make it, of this pod.
    Create(Arc<Pod>),
    /// Delete the one with this uid.
    Delete(String),
}

/// Decides about the mirror of one name.
///
/// A mirror that shows something else, or that somebody deletes, goes at once and is made anew; one
/// of a file that is gone shows how its pod ends and goes after it.
pub(crate) fn decide(observed: &Observed) -> Action {
    let Some(mirror) = &observed.mirror else {
        return match &observed.wanted {
            Some(pod) if !observed.other_ends => Action::Create(pod.clone()),
            Some(_) | None => Action::Nothing,
        };
    };
    let shown = annotation(mirror, CONFIG_MIRROR);
    let wanted = observed.wanted.as_ref().and_then(|pod| pod.metadata.uid.as_deref());
    let going = mirror.metadata.deletion_timestamp.is_some();
    let delete = Action::Delete(mirror.metadata.uid.clone().unwrap_or_default());
    match wanted {
        _ if going => delete,
        Some(wanted) if shown == Some(wanted) => Action::Nothing,
        Some(_) | None if observed.other_ends => Action::Nothing,
        Some(_) | None => delete,
    }
}

/// Makes the mirror of a static pod; `node_uid` names the Node that owns it.
pub(crate) fn object(pod: &Pod, node_uid: &str) -> Value {
    let meta = &pod.metadata;
    let mut annotations = meta.annotations.clone().unwrap_or_default();
    annotations.insert(CONFIG_MIRROR.into(), meta.uid.clone().unwrap_or_default());
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": meta.name,
            "namespace": meta.namespace,
            "labels": meta.labels,
            "annotations": annotations,
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Node", "name": node, "uid": node_uid, "controller": true},
            ],
        },
        "spec": pod.spec,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(uid: &str, mirror_of: Option<&str>, going: bool) -> Arc<Pod> {
        let mut pod = json!({"metadata": {"name": "web-h1", "namespace": "default", "uid": uid}});
        if let Some(hash) = mirror_of {
            pod["metadata"]["annotations"] = json!({(CONFIG_MIRROR): hash});
        }
        if going {
            pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    /// `wanted mirror ends`: hashes, `-` for none, `!` for a mirror that is being deleted.
    fn check(case: &str, expected: &str) {
        let parts: Vec<&str> = case.split(' ').collect();
        let mirror = parts[1].trim_end_matches('!');
        let observed = Observed {
            wanted: (parts[0] != "-").then(|| pod(parts[0], None, false)),
            mirror: (mirror != "-").then(|| pod("m", Some(mirror), parts[1].ends_with('!'))),
            other_ends: parts[2] == "ends",
        };
        let shown = match decide(&observed) {
            Action::Nothing => "nothing".to_owned(),
            Action::Create(pod) => format!("create {}", pod.metadata.uid.clone().unwrap()),
            Action::Delete(uid) => format!("delete {uid}"),
        };
        assert_eq!(shown, expected, "{case}");
    }

    #[test]
    fn the_mirror_follows_the_file() {
        check("a - .", "create a");
        check("a a .", "nothing");
        check("a a! .", "delete m");
        check("a b .", "delete m");
        check("a b ends", "nothing");
        check("a - ends", "nothing");
        check("- a ends", "nothing");
        check("- a .", "delete m");
        check("- a! ends", "delete m");
        check("- - .", "nothing");
    }

    #[test]
    fn a_mirror_belongs_to_its_node_and_says_what_it_shows() {
        let pod = json!({"metadata": {"name": "web-h1", "namespace": "ns", "uid": "hash"},
            "spec": {"nodeName": "h1", "containers": []}});
        let made = object(&serde_json::from_value(pod).unwrap(), "n");
        assert_eq!(made["metadata"]["annotations"][CONFIG_MIRROR], "hash");
        assert_eq!(made["metadata"]["ownerReferences"][0]["uid"], "n");
        assert!(made["metadata"].get("uid").is_none());
    }
}
