//! The list of kinds against what kube-apiserver serves, and the rules that need no server.

use expect_test::{Expect, expect, expect_file};
use serde_json::{Value, json};

use super::*;
use crate::decode::{self, FieldValidation, MediaType};

fn kind(name: &str) -> &'static Kind {
    kinds().iter().find(|kind| kind.kind == name).unwrap()
}

fn object(kind: &Kind, yaml: &str) -> Value {
    let decoded =
        decode::decode(yaml.as_bytes(), MediaType::Yaml, kind.ty(), FieldValidation::Strict);
    decoded.unwrap().value
}

#[test]
fn every_kind_is_complete() {
    for kind in kinds() {
        assert_ne!(kind.ty().name, "unknown", "{kind:?}");
        let listed = schema::lookup(kind.group, kind.version, &kind.list_kind()).is_some();
        assert_eq!(listed, kind.has_verb("list"), "{kind:?}");
        assert!(kind.verbs.is_sorted(), "{kind:?}");
        let stored = kind.has_verb("update");
        assert_eq!(stored, !kind.storage_version_hash.is_empty(), "{kind:?}");
        assert!(kind.subresources.is_sorted_by_key(|subresource| subresource.name), "{kind:?}");
        for subresource in kind.subresources {
            assert!(subresource.ty().is_some(), "{kind:?}/{}", subresource.name);
        }
        assert_eq!(by_kind(kind.group, kind.version, kind.kind), Some(kind));
        assert_eq!(by_resource(kind.group, kind.version, kind.plural), Some(kind));
        assert!(kind.rules.selectable.is_sorted(), "{kind:?}");
        for label in kind.rules.selectable {
            assert!((kind.rules.select)(&json!({}), label).is_some(), "{kind:?} {label}");
        }
        assert!((kind.rules.select)(&json!({}), "spec.other").is_none(), "{kind:?}");
        assert_eq!(kind.rules.scale.is_some(), kind.subresource("scale").is_some(), "{kind:?}");
    }
}

#[test]
fn names_of_all_kinds() {
    let line = |kind: &Kind| {
        let short = kind.short_names.join(",");
        let scope = if kind.namespaced { "namespaced" } else { "cluster" };
        let subresources: Vec<&str> = kind.subresources.iter().map(|sub| sub.name).collect();
        format!(
            "{} {} {} {short} {scope} {}",
            kind.api_version(),
            kind.kind,
            kind.plural,
            subresources.join(",")
        )
        .trim_end()
        .to_owned()
    };
    let lines: Vec<String> = kinds().iter().map(line).collect();
    expect_file!["testdata/kinds.txt"].assert_eq(&(lines.join("\n") + "\n"));
}

/// Creates an object: defaults, then preparation. Compares the part below `pointer`.
fn check_create(name: &str, yaml: &str, pointer: &str, expected: Expect) {
    let kind = kind(name);
    let mut object = object(kind, yaml);
    (kind.rules.default)(&mut object);
    (kind.rules.prepare_create)(&mut object);
    expected.assert_eq(&object.pointer(pointer).unwrap_or(&Value::Null).to_string());
}

#[test]
fn what_is_set_when_an_object_is_created() {
    check_create(
        "Pod",
        "{spec: {containers: []}, status: {phase: Running}}",
        "/status",
        expect![[r#"{"phase":"Pending","qosClass":"BestEffort"}"#]],
    );
    check_create("Pod", "{}", "/metadata", expect![[r#"{"generation":1}"#]]);
    check_create("Deployment", "{status: {replicas: 5}}", "/status", expect!["{}"]);
    check_create(
        "Namespace",
        "{metadata: {name: a}}",
        "/spec",
        expect![[r#"{"finalizers":["kubernetes"]}"#]],
    );
    check_create("Service", "{}", "/status", expect![[r#"{"loadBalancer":{}}"#]]);
    check_create("Node", "{status: {phase: Running}}", "/status/phase", expect![[r#""Running""#]]);
}

#[test]
fn quality_of_service() {
    let check = |containers: &str, expected: &str| {
        let pod = object(kind("Pod"), &format!("{{spec: {{containers: [{containers}]}}}}"));
        assert_eq!(strategy::pod::qos_class(&pod), expected, "{containers}");
    };
    let full =
        "{resources: {limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 1000m, memory: 1024Mi}}}";
    check("{}", "BestEffort");
    check(full, "Guaranteed");
    check(&format!("{full}, {{}}"), "Burstable");
    check("{resources: {requests: {cpu: 1}}}", "Burstable");
    check("{resources: {limits: {cpu: 1}, requests: {cpu: 1}}}", "Burstable");
    check("{resources: {requests: {cpu: 0}}}", "BestEffort");

    let check_own = |own: &str, expected: &str| {
        let text = format!("{{spec: {{resources: {own}, containers: [{full}]}}}}");
        let pod = object(kind("Pod"), &text);
        assert_eq!(strategy::pod::qos_class(&pod), expected, "{own}");
    };
    check_own("{limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 1, memory: 1Gi}}", "Guaranteed");
    check_own("{}", "Guaranteed");
    check_own("{limits: {}}", "Guaranteed");
    check_own("{limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 500m, memory: 1Gi}}", "Burstable");
    check_own("{limits: {cpu: 1}, requests: {cpu: 1}}", "Burstable");
    check_own("{requests: {cpu: 1}}", "Burstable");
}

/// Updates `old` by `new`; compares the part below `pointer`.
fn check_update(name: &str, old: &str, new: &str, pointer: &str, expected: Expect) {
    let kind = kind(name);
    let (old, mut new) = (object(kind, old), object(kind, new));
    (kind.rules.prepare_update)(&mut new, &old);
    expected.assert_eq(&new.pointer(pointer).unwrap_or(&Value::Null).to_string());
}

#[test]
fn generations_count_the_desired_state() {
    let old = "{metadata: {generation: 3}, spec: {replicas: 1}, status: {replicas: 1}}";
    let generation = "/metadata/generation";
    check_update(
        "Deployment",
        old,
        "{spec: {replicas: 1}, status: {replicas: 9}}",
        generation,
        expect!["3"],
    );
    check_update("Deployment", old, "{spec: {replicas: 2}}", generation, expect!["4"]);
    check_update(
        "Deployment",
        old,
        "{metadata: {annotations: {a: b}}, spec: {replicas: 1}}",
        generation,
        expect!["4"],
    );
    check_update(
        "ReplicaSet",
        old,
        "{metadata: {annotations: {a: b}}, spec: {replicas: 1}}",
        generation,
        expect!["3"],
    );
    check_update(
        "Deployment",
        old,
        "{spec: {replicas: 2}}",
        "/status",
        expect![[r#"{"replicas":1}"#]],
    );
    let slice = "{metadata: {generation: 1}, addressType: IPv4, endpoints: []}";
    check_update(
        "EndpointSlice",
        slice,
        "{metadata: {labels: {a: b}}, addressType: IPv4, endpoints: []}",
        generation,
        expect!["2"],
    );
    check_update(
        "EndpointSlice",
        slice,
        "{metadata: {annotations: {a: b}}, addressType: IPv4, endpoints: []}",
        generation,
        expect!["1"],
    );
}

#[test]
fn services_keep_what_was_allocated() {
    let old = "{spec: {type: NodePort, clusterIP: 10.96.0.7, clusterIPs: [10.96.0.7], \
               ports: [{port: 80, protocol: TCP, nodePort: 30080}]}}";
    check_update(
        "Service",
        old,
        "{spec: {type: NodePort, ports: [{port: 80, protocol: TCP}]}}",
        "/spec",
        expect![[
            r#"{"clusterIP":"10.96.0.7","clusterIPs":["10.96.0.7"],"ports":[{"nodePort":30080,"port":80,"protocol":"TCP"}],"type":"NodePort"}"#
        ]],
    );
    let to_cluster =
        "{spec: {type: ClusterIP, ports: [{port: 80, protocol: TCP, nodePort: 30080}]}}";
    check_update(
        "Service",
        old,
        to_cluster,
        "/spec",
        expect![[
            r#"{"clusterIP":"10.96.0.7","clusterIPs":["10.96.0.7"],"ports":[{"port":80,"protocol":"TCP"}],"type":"ClusterIP"}"#
        ]],
    );
    let external = "{spec: {type: ExternalName, externalName: a.b, clusterIP: 10.96.0.7}}";
    check_update(
        "Service",
        old,
        external,
        "/spec",
        expect![[r#"{"externalName":"a.b","type":"ExternalName"}"#]],
    );
}

/// Updates the status subresource.
fn check_status(name: &str, old: &str, new: &str, expected: Expect) {
    let kind = kind(name);
    let (old, mut new) = (object(kind, old), object(kind, new));
    (kind.rules.prepare_status_update)(&mut new, &old);
    expected.assert_eq(&new.to_string());
}

#[test]
fn a_status_update_changes_nothing_else() {
    check_status(
        "Deployment",
        "{metadata: {name: a, generation: 2, labels: {a: b}}, spec: {replicas: 1}}",
        "{metadata: {name: a, resourceVersion: '7'}, spec: {replicas: 5}, status: {replicas: 1}}",
        expect![[
            r#"{"metadata":{"generation":2,"labels":{"a":"b"},"name":"a","resourceVersion":"7"},"spec":{"replicas":1,"strategy":{},"template":{"metadata":{},"spec":{}}},"status":{"replicas":1}}"#
        ]],
    );
    check_status(
        "Pod",
        "{metadata: {name: a, generation: 2}, spec: {nodeName: one}, status: {qosClass: Burstable}}",
        "{metadata: {name: a, labels: {c: d}}, status: {phase: Running}}",
        expect![[
            r#"{"metadata":{"generation":2,"labels":{"c":"d"},"name":"a"},"spec":{"nodeName":"one"},"status":{"phase":"Running","qosClass":"Burstable"}}"#
        ]],
    );
}

#[test]
fn pods_that_no_node_runs_end_at_once() {
    let grace = |yaml: &str| strategy::pod::grace_period_seconds(&object(kind("Pod"), yaml));
    assert_eq!(grace("{spec: {terminationGracePeriodSeconds: 5}}"), 0);
    assert_eq!(grace("{spec: {nodeName: one, terminationGracePeriodSeconds: 5}}"), 5);
    assert_eq!(grace("{spec: {nodeName: one}, status: {phase: Succeeded}}"), 0);
}

#[test]
fn selectable_fields_are_read_as_text() {
    let check = |name: &str, yaml: &str, label: &str, expected: &str| {
        let kind = kind(name);
        assert_eq!((kind.rules.select)(&object(kind, yaml), label).as_deref(), Some(expected));
    };
    check("Pod", "{spec: {nodeName: one}}", "spec.nodeName", "one");
    check("Pod", "{}", "spec.hostNetwork", "false");
    check("Node", "{spec: {unschedulable: true}}", "spec.unschedulable", "true");
    check("Event", "{involvedObject: {kind: Pod}}", "involvedObject.kind", "Pod");
    check("Event", "{source: {component: kubelet}}", "source", "kubelet");
    check("Event", "{reportingComponent: scheduler}", "source", "scheduler");
    check("Secret", "{type: Opaque}", "type", "Opaque");
}

#[test]
fn finalizers_of_definitions_need_no_owner() {
    let complains = |name: &str, finalizer: &str| {
        let object = json!({"metadata": {"name": "a", "finalizers": [finalizer]}});
        let errors = kind(name).validate(&object);
        errors.iter().any(|error| error.field.starts_with("metadata.finalizers"))
    };
    assert!(complains("Namespace", "mine"));
    assert!(!complains("Namespace", "a.b/mine"));
    assert!(!complains("CustomResourceDefinition", DEFINITION_CLEANUP));
    assert!(!complains("APIService", "mine"));
}
