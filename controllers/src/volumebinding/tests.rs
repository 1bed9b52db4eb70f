//! Claims and volumes as a small world, one line per object in, one line per action out.

use std::sync::Arc;

use expect_test::{Expect, expect};
use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod};
use serde_json::{Value, json};

use super::{Action, claim, default_class, volume};

fn of<K: serde::de::DeserializeOwned>(value: Value) -> Arc<K> {
    Arc::new(serde_json::from_value(value).unwrap())
}

fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more,
    }
}

fn claim(more: Value) -> Value {
    let mut claim = json!({
        "metadata": {"name": "data", "namespace": "n", "uid": "u1", "resourceVersion": "7",
            "finalizers": ["kubernetes.io/pvc-protection"]},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "coracle-local",
            "resources": {"requests": {"storage": "1Gi"}}},
        "status": {"phase": "Pending"},
    });
    merge(&mut claim, more);
    claim
}

fn static_volume(name: &str, size: &str, more: Value) -> Value {
    let mut volume = json!({
        "metadata": {"name": name, "finalizers": ["kubernetes.io/pv-protection"]},
        "spec": {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"],
            "storageClassName": "", "hostPath": {"path": "/srv"},
            "persistentVolumeReclaimPolicy": "Retain"},
        "status": {"phase": "Available"},
    });
    merge(&mut volume, more);
    volume
}

fn consumer(node: &str) -> Value {
    json!({"metadata": {"name": "web", "namespace": "n"}, "spec": {"nodeName": node, "containers": [],
        "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]}})
}

fn node(name: &str) -> Arc<Node> {
    of(json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}}))
}

fn shown(actions: &[Action]) -> String {
    let line = |action: &Action| match action {
        Action::PatchClaim(patch) => format!("claim {patch}"),
        Action::SetClaimStatus(status) => format!("claim status {}", json!(status)),
        Action::CreateVolume(volume) => format!(
            "create {} on {}",
            volume.metadata.name.as_ref().unwrap(),
            json!(volume.spec.as_ref().unwrap().node_affinity)
                .pointer("/required/nodeSelectorTerms/0/matchExpressions/0/values/0")
                .unwrap()
        ),
        Action::PatchVolume(name, patch) => format!("volume {name} {patch}"),
        Action::SetVolumePhase(name, phase, message) => {
            format!("volume {name} is {phase} {}", message.as_deref().unwrap_or_default())
        }
        Action::DeleteVolume => "delete".into(),
        Action::Note(warning, reason, text) => {
            format!("{} {reason}: {text}", if *warning { "Warning" } else { "Normal" })
        }
    };
    actions.iter().map(line).collect::<Vec<_>>().join("\n")
}

struct World {
    claim: Value,
    volumes: Vec<Value>,
    pods: Vec<Value>,
}

#[track_caller]
fn check(world: World, expected: Expect) {
    let observed = claim::Observed {
        claim: of::<PersistentVolumeClaim>(world.claim),
        volumes: world.volumes.into_iter().map(of::<PersistentVolume>).collect(),
        classes: vec![Arc::new(default_class(true))],
        pods: world.pods.into_iter().map(of::<Pod>).collect(),
        nodes: vec![node("h2"), node("h1")],
    };
    expected.assert_eq(&shown(&claim::reconcile(&observed)));
}

#[track_caller]
fn check_volume(volume: Value, claim: Option<Value>, expected: Expect) {
    let observed = volume::Observed {
        volume: of::<PersistentVolume>(volume),
        claim: claim.map(of::<PersistentVolumeClaim>),
        nodes: vec![node("h1")],
    };
    expected.assert_eq(&shown(&volume::reconcile(&observed)));
}

#[test]
fn a_claim_gets_its_protection_and_the_default_class_and_waits_for_its_first_consumer() {
    let bare = claim(json!({"metadata": {"finalizers": null}}));
    check(
        World { claim: bare, volumes: vec![], pods: vec![] },
        expect![[
            r#"claim {"metadata":{"finalizers":["kubernetes.io/pvc-protection"],"resourceVersion":"7"}}"#
        ]],
    );
    let classless = claim(json!({"spec": {"storageClassName": null}}));
    check(
        World { claim: classless, volumes: vec![], pods: vec![] },
        expect![[r#"claim {"spec":{"storageClassName":"coracle-local"}}"#]],
    );
    check(
        World { claim: claim(json!({})), volumes: vec![], pods: vec![] },
        expect![
            "Normal WaitForFirstConsumer: waiting for first consumer to be created before binding"
        ],
    );
}

#[test]
fn a_volume_is_made_where_the_first_consumer_is() {
    check(
        World { claim: claim(json!({})), volumes: vec![], pods: vec![consumer("h2")] },
        expect![[r#"
            claim {"metadata":{"annotations":{"volume.kubernetes.io/selected-node":"h2","volume.kubernetes.io/storage-provisioner":"local.coracle.dev"}}}
            create pvc-u1 on "h2"
            Normal ProvisioningSucceeded: Successfully provisioned volume pvc-u1"#]],
    );
    let block = claim(json!({"spec": {"volumeMode": "Block"}}));
    check(
        World { claim: block, volumes: vec![], pods: vec![consumer("h2")] },
        expect![[
            r#"Warning ProvisioningFailed: failed to provision volume with StorageClass "coracle-local": volumeMode Block is not served by local.coracle.dev, whose volumes are folders; use volumeMode Filesystem"#
        ]],
    );
    let other = claim(json!({"spec": {"storageClassName": "fast"}}));
    check(
        World { claim: other, volumes: vec![], pods: vec![] },
        expect![[r#"Warning ProvisioningFailed: storageclass.storage.k8s.io "fast" not found"#]],
    );
}

#[test]
fn the_smallest_fitting_volume_is_bound_volume_first() {
    let wanting = || claim(json!({"spec": {"storageClassName": ""}}));
    let volumes = || {
        vec![
            static_volume("small", "1Mi", json!({})),
            static_volume("large", "9Gi", json!({})),
            static_volume("right", "2Gi", json!({})),
            static_volume("classy", "1Gi", json!({"spec": {"storageClassName": "x"}})),
            static_volume("many", "1Gi", json!({"spec": {"accessModes": ["ReadOnlyMany"]}})),
        ]
    };
    check(
        World { claim: wanting(), volumes: volumes(), pods: vec![] },
        expect![[
            r#"volume right {"metadata":{"annotations":{"pv.kubernetes.io/bound-by-controller":"yes"},"resourceVersion":null},"spec":{"claimRef":{"apiVersion":"v1","kind":"PersistentVolumeClaim","name":"data","namespace":"n","resourceVersion":"7","uid":"u1"}}}"#
        ]],
    );
    let mine = json!({"spec": {"claimRef": {"name": "data", "namespace": "n", "uid": "u1"}}});
    let taken = static_volume("right", "2Gi", mine);
    check(
        World { claim: wanting(), volumes: vec![taken], pods: vec![] },
        expect![[r#"
            volume right is Bound 
            claim {"metadata":{"annotations":{"pv.kubernetes.io/bind-completed":"yes","pv.kubernetes.io/bound-by-controller":"yes"}},"spec":{"volumeName":"right"}}
            claim status {"accessModes":["ReadWriteOnce"],"capacity":{"storage":"2Gi"},"phase":"Bound"}"#]],
    );
    check(
        World { claim: wanting(), volumes: vec![], pods: vec![] },
        expect![
            "Normal FailedBinding: no persistent volumes available for this claim and no storage class is set"
        ],
    );
}

#[test]
fn a_bound_claim_grows_and_one_whose_volume_is_gone_is_lost() {
    let bound = json!({
        "metadata": {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}},
        "spec": {"volumeName": "pvc-u1", "resources": {"requests": {"storage": "3Gi"}}},
        "status": {"phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}},
    });
    let volume = static_volume(
        "pvc-u1",
        "1Gi",
        json!({"spec": {"csi": {"driver": "local.coracle.dev", "volumeHandle": "pvc-u1"}, "hostPath": null,
            "claimRef": {"name": "data", "namespace": "n", "uid": "u1"}}, "status": {"phase": "Bound"}}),
    );
    check(
        World { claim: claim(bound.clone()), volumes: vec![volume], pods: vec![] },
        expect![[r#"
            volume pvc-u1 {"spec":{"capacity":{"storage":"3Gi"}}}
            Normal VolumeResizeSuccessful: volume pvc-u1 has the size that the claim asks for"#]],
    );
    check(
        World { claim: claim(bound), volumes: vec![], pods: vec![] },
        expect![[r#"
            claim status {"phase":"Lost"}
            Warning ClaimLost: Bound claim has lost its PersistentVolume. Data on the volume is lost!"#]],
    );
}

#[test]
fn a_claim_in_use_is_kept() {
    let going = || claim(json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}));
    check(World { claim: going(), volumes: vec![], pods: vec![consumer("h1")] }, expect![""]);
    let mut ended = consumer("h1");
    ended["status"] = json!({"phase": "Succeeded"});
    check(
        World { claim: going(), volumes: vec![], pods: vec![ended] },
        expect![[r#"claim {"metadata":{"finalizers":null,"resourceVersion":"7"}}"#]],
    );
}

#[test]
fn a_released_volume_goes_or_stays_as_its_policy_says() {
    let of_claim = json!({"name": "data", "namespace": "n", "uid": "u1"});
    let with = |policy: &str, driver: Option<&str>| {
        let csi = driver.map(|driver| json!({"driver": driver, "volumeHandle": "x"}));
        let spec =
            json!({"claimRef": of_claim, "persistentVolumeReclaimPolicy": policy, "csi": csi});
        static_volume("v", "1Gi", json!({"spec": spec, "status": {"phase": "Bound"}}))
    };
    check_volume(with("Retain", None), None, expect!["volume v is Released "]);
    let ours = Some("local.coracle.dev");
    check_volume(
        with("Delete", ours),
        None,
        expect![[r#"
            volume v is Released 
            delete"#]],
    );
    check_volume(
        with("Delete", None),
        None,
        expect![[r#"
            volume v is Released 
            volume v is Failed error getting deleter volume plugin for volume "v": no deletable volume plugin matched
            Warning VolumeFailedDelete: error getting deleter volume plugin for volume "v": no deletable volume plugin matched"#]],
    );
    check_volume(with("Delete", ours), Some(claim(json!({}))), expect![""]);
    let another = claim(json!({"metadata": {"uid": "u2"}}));
    check_volume(with("Retain", None), Some(another), expect!["volume v is Released "]);
}

#[test]
fn the_folder_of_a_node_that_is_gone_holds_up_nothing() {
    let going = |node: &str| {
        let more = json!({
            "metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["local.coracle.dev/folder"]},
            "spec": {"csi": {"driver": "local.coracle.dev", "volumeHandle": "v",
                "volumeAttributes": {"local.coracle.dev/node": node}}},
        });
        static_volume("v", "1Gi", more)
    };
    check_volume(going("h1"), None, expect![""]);
    check_volume(
        going("h9"),
        None,
        expect![[r#"volume v {"metadata":{"finalizers":null,"resourceVersion":null}}"#]],
    );
}
