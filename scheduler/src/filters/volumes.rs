//! A pod goes where its claims' volumes are.

use std::borrow::Cow;

use k8s_openapi::api::core::v1::PersistentVolume;

use super::{Cause, Refusal, term_matches};
use crate::cycle::Cycle;
use crate::node_info::NodeInfo;
use crate::volumes::{Standing, claims_of};

const ELSEWHERE: &str = "node(s) didn't match PersistentVolume's node affinity";
const UNBOUND: &str = "pod has unbound immediate PersistentVolumeClaims";
const VANISHED: &str = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)";
const EXCLUSIVE: &str = "node has pod using PersistentVolumeClaim with the same name and \
                         ReadWriteOncePod access mode";

pub(super) fn check(cycle: &Cycle<'_>, node: &NodeInfo) -> Option<Refusal> {
    let pod = &cycle.pod.pod;
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    claims_of(pod).find_map(|claim| {
        let volumes = &cycle.snapshot.volumes;
        let reason: Cow<'static, str> = match volumes.standing(namespace, &claim) {
            Standing::Missing => format!("persistentvolumeclaim \"{claim}\" not found").into(),
            Standing::Deleting => {
                format!("persistentvolumeclaim \"{claim}\" is being deleted").into()
            }
            Standing::Unbound => UNBOUND.into(),
            Standing::Late(Some(promised)) if promised != node.name() => ELSEWHERE.into(),
            Standing::Bound(None) => VANISHED.into(),
            Standing::Bound(Some(volume)) if !reaches(volume, node) => ELSEWHERE.into(),
            Standing::Late(_) | Standing::Bound(_) => {
                let taken =
                    volumes.is_exclusive(namespace, &claim) && in_use(cycle, namespace, &claim);
                return taken.then(|| Refusal {
                    cause: Cause::Volumes,
                    reasons: vec![EXCLUSIVE.into()],
                    preemption_may_help: true,
                });
            }
        };
        let reasons = vec![reason];
        Some(Refusal { cause: Cause::Volumes, reasons, preemption_may_help: false })
    })
}

fn reaches(volume: &PersistentVolume, node: &NodeInfo) -> bool {
    let spec = volume.spec.as_ref();
    let required = spec.and_then(|spec| spec.node_affinity.as_ref()?.required.as_ref());
    required.is_none_or(|required| {
        required.node_selector_terms.iter().any(|term| term_matches(term, node))
    })
}

fn in_use(cycle: &Cycle<'_>, namespace: &str, claim: &str) -> bool {
    let placed = cycle.snapshot.nodes().flat_map(|node| node.pods.values());
    placed.filter(|other| other.uid() != cycle.pod.uid()).any(|other| {
        other.pod.metadata.namespace.as_deref() == Some(namespace)
            && claims_of(&other.pod).any(|used| used == claim)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::pod_info::PodInfo;
    use crate::snapshot::Snapshot;

    fn snapshot(claim: Value, volume: Value) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for name in ["h1", "h2"] {
            let labels = json!({"kubernetes.io/hostname": name});
            let node = json!({"metadata": {"name": name, "labels": labels}});
            snapshot.set_node(Arc::new(serde_json::from_value(node).unwrap()));
        }
        let late = json!({"metadata": {"name": "late"}, "provisioner": "x",
            "volumeBindingMode": "WaitForFirstConsumer"});
        let volumes = &mut snapshot.volumes;
        volumes.class("late".into(), Some(&serde_json::from_value(late).unwrap()));
        let key = ("n".to_owned(), "data".to_owned());
        volumes.claim(key, serde_json::from_value::<Option<_>>(claim).unwrap().map(Arc::new));
        let volume = serde_json::from_value::<Option<_>>(volume).unwrap();
        volumes.volume("v".into(), volume.map(Arc::new));
        snapshot
    }

    fn pod(name: &str) -> Arc<PodInfo> {
        let volume = json!({"name": "v", "persistentVolumeClaim": {"claimName": "data"}});
        let pod = json!({"metadata": {"name": name, "namespace": "n", "uid": name},
            "spec": {"containers": [], "volumes": [volume]}});
        Arc::new(PodInfo::new(Arc::new(serde_json::from_value(pod).unwrap())))
    }

    #[track_caller]
    fn check_on(snapshot: &Snapshot, node: &str, expected: Option<&str>) {
        let pod = pod("web");
        let found = check(&Cycle::new(snapshot, &pod), snapshot.node(node).unwrap());
        assert_eq!(found.map(|refusal| refusal.reasons.join(",")).as_deref(), expected);
    }

    #[test]
    fn a_pod_goes_where_its_volume_is() {
        let bound = |modes: Value| {
            json!({"metadata": {"name": "data", "namespace": "n"}, "status": {"phase": "Bound"},
                "spec": {"volumeName": "v", "accessModes": modes}})
        };
        let on = |node: &str| {
            json!({"metadata": {"name": "v"}, "spec": {"nodeAffinity": {"required": {"nodeSelectorTerms": [
                {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}]}}}})
        };
        let once = || bound(json!(["ReadWriteOnce"]));
        let here = snapshot(once(), on("h1"));
        check_on(&here, "h1", None);
        check_on(&here, "h2", Some(ELSEWHERE));
        check_on(&snapshot(once(), Value::Null), "h1", Some(VANISHED));
        let missing = "persistentvolumeclaim \"data\" not found";
        check_on(&snapshot(Value::Null, Value::Null), "h1", Some(missing));
        let mut alone = snapshot(bound(json!(["ReadWriteOncePod"])), on("h1"));
        check_on(&alone, "h1", None);
        alone.place(&pod("other"), "h1");
        check_on(&alone, "h1", Some(EXCLUSIVE));
    }

    #[test]
    fn a_claim_that_waits_goes_anywhere_until_it_is_promised() {
        let unbound = |class: &str, notes: Value| {
            json!({"metadata": {"name": "data", "namespace": "n", "annotations": notes},
                "status": {"phase": "Pending"}, "spec": {"storageClassName": class}})
        };
        check_on(&snapshot(unbound("late", json!({})), Value::Null), "h2", None);
        check_on(&snapshot(unbound("other", json!({})), Value::Null), "h2", Some(UNBOUND));
        let promised = unbound("late", json!({"volume.kubernetes.io/selected-node": "h1"}));
        let promised = snapshot(promised, Value::Null);
        check_on(&promised, "h1", None);
        check_on(&promised, "h2", Some(ELSEWHERE));
    }
}
