//! Warnings, by kind.

use super::*;
use coracle_api::registry::by_kind;
use expect_test::{Expect, expect};
use serde_json::json;

fn kind_of(text: &str) -> &'static Kind {
    let (group, kind) = text.split_once('/').unwrap_or(("", text));
    by_kind(group, "v1", kind).unwrap()
}

fn check(kind: &str, object: Value, expected: Expect) {
    expected.assert_eq(&warnings(kind_of(kind), &object, None).join("\n"));
}

fn check_pod(spec: Value, expected: Expect) {
    check("Pod", json!({"metadata": {"name": "p"}, "spec": spec}), expected);
}

#[test]
fn nothing_is_said_of_what_is_well() {
    let container = json!({"name": "c", "ports": [{"containerPort": 80, "protocol": "TCP"}],
        "env": [{"name": "A", "value": "1"}, {"name": "A", "value": "$(A)2"}],
        "resources": {"limits": {"memory": "64Mi"}}});
    check_pod(json!({"containers": [container], "terminationGracePeriodSeconds": 0}), expect![""]);
    check("Service", json!({"spec": {"type": "ClusterIP", "clusterIP": "10.0.0.1"}}), expect![""]);
    check("ConfigMap", json!({"data": {}}), expect![""]);
}

#[test]
fn pods_and_templates_of_all_kinds() {
    let spec = json!({"nodeSelector": {"beta.kubernetes.io/os": "linux"}, "containers": [],
        "terminationGracePeriodSeconds": -1,
        "topologySpreadConstraints": [{"topologyKey": "failure-domain.beta.kubernetes.io/zone"}]});
    check_pod(
        spec,
        expect![[r#"
            spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use "kubernetes.io/os" instead
            spec.topologySpreadConstraints[0].topologyKey: failure-domain.beta.kubernetes.io/zone is deprecated since v1.17; use "topology.kubernetes.io/zone" instead
            spec.topologySpreadConstraints[0].labelSelector: a null labelSelector results in matching no pod
            spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"#]],
    );
    let template =
        json!({"spec": {"containers": [], "imagePullSecrets": [{"name": "a"}, {"name": "a"}, {}]}});
    let said = |path: &str| {
        format!(
            "{path}.imagePullSecrets[1].name: duplicate name \"a\"\n{path}.imagePullSecrets[2].name: invalid empty name \"\""
        )
    };
    for kind in [
        "ReplicationController",
        "apps/Deployment",
        "apps/ReplicaSet",
        "apps/StatefulSet",
        "apps/DaemonSet",
        "batch/Job",
    ] {
        let object = json!({"metadata": {"name": "x"}, "spec": {"template": template}});
        let found = warnings(kind_of(kind), &object, None).join("\n");
        assert_eq!(found, said("spec.template.spec"), "{kind}");
        assert!(warnings(kind_of(kind), &object, Some(&object)).is_empty(), "{kind}");
    }
    let cron = json!({"metadata": {"name": "x"}, "spec": {"jobTemplate": {"spec": {"template": template}}}});
    let found = warnings(kind_of("batch/CronJob"), &cron, None).join("\n");
    assert_eq!(found, said("spec.jobTemplate.spec.template.spec"));
    let pod = json!({"spec": template["spec"]});
    assert!(warnings(kind_of("Pod"), &pod, Some(&json!({}))).is_empty());
}

#[test]
fn containers() {
    check_pod(
        json!({"initContainers": [{"name": "i", "ports": [{"name": "web", "containerPort": 80, "protocol": "TCP"}]}],
            "containers": [{"name": "c",
            "ports": [{"name": "web", "containerPort": 80, "protocol": "TCP"},
                {"containerPort": 80, "protocol": "TCP", "hostPort": 1},
                {"containerPort": 80, "protocol": "TCP", "hostPort": 1, "hostIP": "1.2.3.4"},
                {"containerPort": 9, "protocol": "UDP", "hostIP": "1.2.3.4"}],
            "env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}],
            "resources": {"limits": {"memory": "1500m"}, "requests": {"ephemeral-storage": "0.1"}}}]}),
        expect![[r#"
            spec.containers[0].resources.limits[memory]: fractional byte value "1500m" is invalid, must be an integer
            spec.containers[0].resources.requests[ephemeral-storage]: fractional byte value "0.1" is invalid, must be an integer
            spec.containers[0].env[1]: hides previous definition of "A", which may be dropped when using apply
            spec.containers[0].ports[0]: duplicate port definition with spec.initContainers[0].ports[0]
            spec.containers[0].ports[1]: overlapping port definition with spec.initContainers[0].ports[0]
            spec.containers[0].ports[1]: overlapping port definition with spec.containers[0].ports[0]
            spec.containers[0].ports[2]: overlapping port definition with spec.initContainers[0].ports[0]
            spec.containers[0].ports[2]: overlapping port definition with spec.containers[0].ports[0]
            spec.containers[0].ports[2]: dangerously ambiguous port definition with spec.containers[0].ports[1]
            spec.containers[0].ports[3]: hostIP set without hostPort: {Name: HostPort:0 ContainerPort:9 Protocol:UDP HostIP:1.2.3.4}
            spec.containers[0].ports[0]: duplicate port name "web" with spec.initContainers[0].ports[0], services and probes that select ports by name will use spec.initContainers[0].ports[0]"#]],
    );
}

#[test]
fn volumes_of_pods() {
    check_pod(
        json!({"containers": [], "volumes": [
            {"name": "g", "glusterfs": {"path": "x"}},
            {"name": "c", "configMap": {"name": "m", "items": [{"key": "a", "path": "d"}, {"key": "b", "path": "d/e"}, {"key": "c", "path": "de"}]}},
            {"name": "p", "projected": {"sources": [{}, {"secret": {"name": "s", "items": [{"key": "a", "path": "token"}]}},
                {"serviceAccountToken": {"path": "token"}}]}}]}),
        expect![[r#"
            spec.volumes[0].glusterfs: deprecated in v1.25, non-functional in v1.26+
            volume "c" (ConfigMap "m"): overlapping paths: "d/e" with "d"
            volume "p" (Projected) has no sources provided
            volume "p" (Projected): overlapping paths: "token" (ServiceAccountToken) with "token" (Secret "s")"#]],
    );
}

#[test]
fn thousands_of_equal_ports_and_paths_are_told_a_hundred_times() {
    let ports = vec![json!({"containerPort": 80}); 5_000];
    let paths = vec![json!({"key": "a", "path": "same"}); 5_000];
    let pod = json!({"spec": {"containers": [{"name": "c", "ports": ports}],
        "volumes": [{"name": "v", "configMap": {"name": "m", "items": paths}}]}});
    assert_eq!(warnings(kind_of("Pod"), &pod, None).len(), WARNINGS_MAX);
}

#[test]
fn annotations_that_do_nothing() {
    let pod = json!({"metadata": {"annotations": {
        "scheduler.alpha.kubernetes.io/critical-pod": "",
        "seccomp.security.alpha.kubernetes.io/pod": "x",
        "container.apparmor.security.beta.kubernetes.io/c": "y"}},
        "spec": {"containers": [{"name": "c"}]}});
    check(
        "Pod",
        pod,
        expect![[r#"
            metadata.annotations[scheduler.alpha.kubernetes.io/critical-pod]: non-functional in v1.16+; use the "priorityClassName" field instead
            metadata.annotations[seccomp.security.alpha.kubernetes.io/pod]: non-functional in v1.27+; use the "seccompProfile" field instead
            metadata.annotations[container.apparmor.security.beta.kubernetes.io/c]: deprecated since v1.30; use the "appArmorProfile" field instead"#]],
    );
}

#[test]
fn other_kinds() {
    check(
        "Service",
        json!({"metadata": {"annotations": {"service.kubernetes.io/topology-aware-hints": "auto"}},
            "spec": {"type": "ClusterIP", "clusterIP": "None", "externalIPs": ["1.1.1.1"], "loadBalancerIP": "1.1.1.1",
            "sessionAffinity": "ClientIP", "externalName": "x", "trafficDistribution": "PreferClose"}}),
        expect![[r#"
            annotation service.kubernetes.io/topology-aware-hints is deprecated, please use service.kubernetes.io/topology-mode instead
            spec.loadBalancerIP is ignored for headless services
            spec.externalIPs is ignored for headless services
            spec.SessionAffinity is ignored for headless services
            spec.externalName is ignored when spec.type is not "ExternalName"
            spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone""#]],
    );
    check(
        "PersistentVolume",
        json!({"spec": {"persistentVolumeReclaimPolicy": "Recycle", "rbd": {}, "nodeAffinity": {"required": {
            "nodeSelectorTerms": [{"matchExpressions": [{"key": "beta.kubernetes.io/arch"}]}]}}}}),
        expect![[r#"
            spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.
            spec.nodeAffinity.required.nodeSelectorTerms[0].matchExpressions[0].key: beta.kubernetes.io/arch is deprecated since v1.14; use "kubernetes.io/arch" instead
            spec.rbd: deprecated in v1.28, non-functional in v1.31+"#]],
    );
    check(
        "PersistentVolumeClaim",
        json!({"spec": {"resources": {"requests": {"storage": "100m"}}}}),
        expect![[
            r#"spec.resources.requests[storage]: fractional byte value "100m" is invalid, must be an integer"#
        ]],
    );
    check(
        "networking.k8s.io/Ingress",
        json!({"metadata": {"annotations": {"kubernetes.io/ingress.class": "x"}}, "spec": {}}),
        expect![[
            r#"annotation "kubernetes.io/ingress.class" is deprecated, please use 'spec.ingressClassName' instead"#
        ]],
    );
    check(
        "node.k8s.io/RuntimeClass",
        json!({"scheduling": {"nodeSelector": {"beta.kubernetes.io/os": "linux"}}}),
        expect![[
            r#"scheduling.nodeSelector: deprecated since v1.14; use "kubernetes.io/os" instead"#
        ]],
    );
    let said =
        warnings(kind_of("batch/Job"), &json!({"metadata": {"name": "a.b"}, "spec": {}}), None);
    assert!(said[0].starts_with("metadata.name: this is used in Pod names"), "{said:?}");
    check(
        "apps/StatefulSet",
        json!({"spec": {"revisionHistoryLimit": -1, "volumeClaimTemplates": [{"spec": {"resources": {"limits": {"storage": "0.5"}}}}]}}),
        expect![[r#"
            spec.volumeClaimTemplates[0].resources.limits[storage]: fractional byte value "0.5" is invalid, must be an integer
            spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended"#]],
    );
}
