//! Environments as containers get them: pod and objects in, lines out.

use std::sync::Arc;

use expect_test::{Expect, expect};
use k8s_openapi::api::core::v1::{Pod, Service};
use serde_json::{Value, json};

use super::env::{Sources, environment};
use super::fields::Facts;
use super::objects::{Data, ObjectKind, ObjectRef, Objects, references};
use crate::pods::plan;

/// The objects of every case: a ConfigMap `cfg` and a Secret `key`.
fn objects(pod: &Pod) -> Objects {
    let data = |pairs: &[(&str, &str)]| {
        let values = pairs.iter().map(|(k, v)| ((*k).to_owned(), v.as_bytes().to_vec())).collect();
        Some(Arc::new(Data { values, ..Data::default() }))
    };
    let known = |object: &ObjectRef| match (object.kind, object.name.as_str()) {
        (ObjectKind::ConfigMap, "cfg") => data(&[("a", "1"), ("b.c-d", "2"), ("no=name", "3")]),
        (ObjectKind::Secret, "key") => data(&[("pw", "hunter2")]),
        _ => None,
    };
    references(pod).into_iter().map(|object| (object.clone(), known(&object))).collect()
}

fn shown(container: Value) -> String {
    let mut spec = json!({"nodeName": "h1", "serviceAccountName": "sa", "containers": [
        {"name": "a", "image": "a", "resources": {"requests": {"cpu": "250m"}, "limits": {"memory": "64Mi"}}}]});
    let first = spec["containers"][0].as_object_mut().unwrap();
    first.extend(container.as_object().unwrap().clone());
    let pod = json!({"metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {"x": "y"},
        "annotations": {"q": "say \"hi\""}}, "spec": spec});
    let pod: Pod = serde_json::from_value(pod).unwrap();
    let facts = Facts {
        pod_ips: vec!["10.128.0.2".into(), "fd63:6f72:a80::a80:2".into()],
        host_ip: "192.0.2.1".into(),
        allocatable: [("cpu".to_owned(), "2".to_owned())].into(),
    };
    let objects = objects(&pod);
    let sources = Sources {
        pod: &pod,
        container: plan::container(&pod, 0).unwrap(),
        facts: &facts,
        objects: &objects,
        services: &services(),
        hostname: "p",
        image: &[("FROM_IMAGE".into(), "i".into())],
    };
    match environment(&sources) {
        Ok(env) => env.0.iter().map(|(name, value)| format!("{name}={value}\n")).collect(),
        Err(fault) => format!("{}: {}\n", fault.reason, fault.message),
    }
}

#[track_caller]
fn check(container: Value, expected: Expect) {
    expected.assert_eq(&shown(container));
}

/// Checks what a container's own variables add to those that every one has.
#[track_caller]
fn check_added(container: Value, expected: Expect) {
    let (all, common) = (shown(container), shown(json!({})));
    expected.assert_eq(all.strip_prefix(&common).unwrap_or(&all));
}

fn services() -> Vec<Arc<Service>> {
    let service = json!({"metadata": {"name": "my-db", "namespace": "n"}, "spec": {"clusterIP": "10.96.0.7",
        "ports": [{"name": "sql", "port": 5432}, {"name": "dns", "port": 53, "protocol": "UDP"}]}});
    let headless =
        json!({"metadata": {"name": "none", "namespace": "n"}, "spec": {"clusterIP": "None"}});
    [service, headless].into_iter().map(|s| Arc::new(serde_json::from_value(s).unwrap())).collect()
}

#[test]
fn services_are_variables_and_later_sources_win() {
    check(
        json!({"env": [{"name": "FROM_IMAGE", "value": "pod"}, {"name": "URL", "value": "$(MY_DB_SERVICE_HOST):$(PORT)"}]}),
        expect![[r#"
            FROM_IMAGE=pod
            HOSTNAME=p
            MY_DB_SERVICE_HOST=10.96.0.7
            MY_DB_SERVICE_PORT=5432
            MY_DB_SERVICE_PORT_SQL=5432
            MY_DB_SERVICE_PORT_DNS=53
            MY_DB_PORT=tcp://10.96.0.7:5432
            MY_DB_PORT_5432_TCP=tcp://10.96.0.7:5432
            MY_DB_PORT_5432_TCP_PROTO=tcp
            MY_DB_PORT_5432_TCP_PORT=5432
            MY_DB_PORT_5432_TCP_ADDR=10.96.0.7
            MY_DB_PORT_53_UDP=udp://10.96.0.7:53
            MY_DB_PORT_53_UDP_PROTO=udp
            MY_DB_PORT_53_UDP_PORT=53
            MY_DB_PORT_53_UDP_ADDR=10.96.0.7
            URL=10.96.0.7:$(PORT)
        "#]],
    );
}

#[test]
fn a_whole_object_is_taken_with_its_prefix_and_odd_names() {
    check_added(
        json!({"envFrom": [{"prefix": "pre_", "configMapRef": {"name": "cfg"}}, {"secretRef": {"name": "key"}}]}),
        expect![[r#"
            pre_a=1
            pre_b.c-d=2
            pw=hunter2
        "#]],
    );
}

#[test]
fn keys_fields_and_resources_are_looked_up() {
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let amount = |name: &str, resource: &str, divisor: &str| json!({"name": name, "valueFrom": {"resourceFieldRef": {"resource": resource, "divisor": divisor}}});
    let key = json!({"name": "PW", "valueFrom": {"secretKeyRef": {"name": "key", "key": "pw"}}});
    let optional = json!({"name": "NONE", "valueFrom": {"configMapKeyRef": {"name": "none", "key": "x", "optional": true}}});
    let env = json!([
        key,
        optional,
        field("NAME", "metadata.name"),
        field("NS", "metadata.namespace"),
        field("IP", "status.podIP"),
        field("IPS", "status.podIPs"),
        field("HOST", "status.hostIP"),
        field("NODE", "spec.nodeName"),
        field("SA", "spec.serviceAccountName"),
        field("LABEL", "metadata.labels['x']"),
        field("NOTE", "metadata.annotations['q']"),
        amount("CPU", "requests.cpu", "1m"),
        amount("CORES", "limits.cpu", "1"),
        amount("MIB", "limits.memory", "1Mi"),
    ]);
    check_added(
        json!({ "env": env }),
        expect![[r#"
            PW=hunter2
            NAME=p
            NS=n
            IP=10.128.0.2
            IPS=10.128.0.2,fd63:6f72:a80::a80:2
            HOST=192.0.2.1
            NODE=h1
            SA=sa
            LABEL=y
            NOTE=say "hi"
            CPU=250
            CORES=2
            MIB=64
        "#]],
    );
}

#[test]
fn what_is_missing_is_named() {
    let from = |source: Value| json!({"env": [{"name": "X", "valueFrom": source}]});
    check(
        from(json!({"configMapKeyRef": {"name": "none", "key": "x"}})),
        expect![[r#"
            CreateContainerConfigError: configmap "none" not found
        "#]],
    );
    check(
        from(json!({"secretKeyRef": {"name": "key", "key": "x"}})),
        expect![[r#"
            CreateContainerConfigError: couldn't find key x in Secret n/key
        "#]],
    );
    check(
        json!({"envFrom": [{"secretRef": {"name": "none"}}]}),
        expect![[r#"
            CreateContainerConfigError: secret "none" not found
        "#]],
    );
    check_added(
        json!({"envFrom": [{"secretRef": {"name": "none", "optional": true}}]}),
        expect![""],
    );
}
