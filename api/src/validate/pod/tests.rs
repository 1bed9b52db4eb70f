//! Pods that break one rule each.

use super::super::testing::check;
use super::*;
use serde_json::json;

/// A Pod as it stands after defaulting, with the spec's fields replaced by `change`.
fn pod(change: Value) -> Value {
    let mut pod = json!({
        "metadata": {"name": "a", "namespace": "b"},
        "spec": {
            "terminationGracePeriodSeconds": 30,
            "restartPolicy": "Always",
            "dnsPolicy": "ClusterFirst",
            "containers": [container(json!({}))],
        },
    });
    for (field, value) in change.as_object().unwrap() {
        pod["spec"][field] = value.clone();
    }
    pod
}

fn container(change: Value) -> Value {
    let mut container = json!({
        "name": "c",
        "image": "i",
        "imagePullPolicy": "IfNotPresent",
        "terminationMessagePolicy": "File",
    });
    for (field, value) in change.as_object().unwrap() {
        container[field] = value.clone();
    }
    container
}

fn with_container(change: Value) -> Value {
    pod(json!({"containers": [container(change)]}))
}

#[test]
fn a_plain_pod_is_fine() {
    check(validate(&pod(json!({}))), &[]);
}

#[test]
fn containers() {
    check(validate(&pod(json!({"containers": []}))), &["spec.containers: Required value"]);
    check(
        validate(&pod(
            json!({"containers": [container(json!({})), container(json!({"image": ""}))]}),
        )),
        &[
            "spec.containers[1].name: Duplicate value: \"c\"",
            "spec.containers[1].image: Required value",
        ],
    );
    check(
        validate(&with_container(json!({"image": " i"}))),
        &[
            "spec.containers[0].image: Invalid value: \" i\": must not have leading or trailing whitespace",
        ],
    );
    check(
        validate(&pod(json!({"restartPolicy": "Sometimes"}))),
        &[
            "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"OnFailure\", \"Never\"",
        ],
    );
}

#[test]
fn ports() {
    check(
        validate(&with_container(json!({"ports": [
            {"containerPort": 80, "protocol": "TCP", "name": "http"},
            {"containerPort": 70000, "protocol": "TCP", "name": "http"},
            {"containerPort": 1, "protocol": "HTTP", "hostPort": -1},
        ]}))),
        &[
            "spec.containers[0].ports[1].name: Duplicate value: \"http\"",
            "spec.containers[0].ports[1].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
            "spec.containers[0].ports[2].hostPort: Invalid value: -1: must be between 1 and 65535, inclusive",
            "spec.containers[0].ports[2].protocol: Unsupported value: \"HTTP\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
        ],
    );
}

#[test]
fn environment() {
    check(
        validate(&with_container(json!({
            "env": [
                {"name": "A=B", "value": "x"},
                {"name": "C", "valueFrom": {}},
                {"name": "D", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "spec.x"}}},
                {"name": "E", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.labels['app']"}}},
                {"name": "F", "valueFrom": {"configMapKeyRef": {"name": "m"}}},
            ],
            "envFrom": [{"configMapRef": {}}],
        }))),
        &[
            "spec.containers[0].env[0].name: Invalid value: \"A=B\": a valid environment variable name must consist only of printable ASCII characters other than '='",
            "spec.containers[0].env[1].valueFrom: Invalid value: \"\": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
            "spec.containers[0].env[2].valueFrom.fieldRef.fieldPath: Unsupported value: \"spec.x\": supported values: \"metadata.name\", \"metadata.namespace\", \"metadata.uid\", \"spec.nodeName\", \"spec.serviceAccountName\", \"status.hostIP\", \"status.hostIPs\", \"status.podIP\", \"status.podIPs\"",
            "spec.containers[0].env[4].valueFrom.configMapKeyRef.key: Required value",
            "spec.containers[0].envFrom[0].configMapRef.name: Required value",
        ],
    );
}

#[test]
fn volumes_and_mounts() {
    let mut object = with_container(json!({"volumeMounts": [
        {"name": "v", "mountPath": "/a", "subPath": "../x"},
        {"name": "w", "mountPath": "/a"},
    ]}));
    object["spec"]["volumes"] = json!([
        {"name": "v", "emptyDir": {}, "configMap": {"name": "m"}},
        {"name": "v", "secret": {"items": [{"key": "k", "path": "/etc"}], "defaultMode": 1000}},
        {"name": "u"},
    ]);
    check(
        validate(&object),
        &[
            "spec.volumes[0].emptyDir: Forbidden: may not specify more than 1 volume type",
            "spec.volumes[1].secret.secretName: Required value",
            "spec.volumes[1].secret.defaultMode: Invalid value: 1000: must be a number between 0 and 0777 (octal), both inclusive",
            "spec.volumes[1].secret.items[0].path: Invalid value: \"/etc\": must be a relative path",
            "spec.volumes[1].name: Duplicate value: \"v\"",
            "spec.volumes[2]: Required value: must specify a volume type",
            "spec.containers[0].volumeMounts[0].subPath: Invalid value: \"../x\": must not contain '..'",
            "spec.containers[0].volumeMounts[1].name: Not found: \"w\"",
            "spec.containers[0].volumeMounts[1].mountPath: Invalid value: \"/a\": must be unique",
        ],
    );
}

#[test]
fn probes_and_hooks() {
    check(
        validate(&with_container(json!({
            "livenessProbe": {"httpGet": {"path": "/", "port": 0, "scheme": "HTTP"}, "successThreshold": 2},
            "readinessProbe": {"tcpSocket": {"port": "http"}, "exec": {"command": ["x"]}},
            "lifecycle": {"preStop": {"sleep": {"seconds": 60}}},
        }))),
        &[
            "spec.containers[0].lifecycle.preStop.sleep: Invalid value: 60: must be non-negative and less than terminationGracePeriodSeconds (30)",
            "spec.containers[0].livenessProbe.httpGet.port: Invalid value: 0: must be between 1 and 65535, inclusive",
            "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1",
            "spec.containers[0].readinessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type",
        ],
    );
    let init = container(json!({"name": "i", "livenessProbe": {"exec": {"command": ["x"]}}}));
    check(
        validate(&pod(json!({"initContainers": [init]}))),
        &[
            "spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
        ],
    );
}

#[test]
fn scheduling_fields() {
    check(
        validate(&pod(json!({
            "tolerations": [{"operator": "Equal"}, {"key": "a", "operator": "Exists", "value": "x"}],
            "topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "", "whenUnsatisfiable": "Maybe"}],
            "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}},
            "nodeSelector": {"a": "-"},
        }))),
        &[
            "spec.nodeSelector: Invalid value: \"-\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
            "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: must have at least one node selector term",
            "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
            "spec.topologySpreadConstraints[0].topologyKey: Required value: can not be empty",
            "spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: \"Maybe\": supported values: \"DoNotSchedule\", \"ScheduleAnyway\"",
            "spec.tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
            "spec.tolerations[1].operator: Invalid value: \"x\": value must be empty when `operator` is 'Exists'",
        ],
    );
}

#[test]
fn what_may_change() {
    let old = pod(json!({"tolerations": [{"key": "a", "operator": "Exists"}]}));
    let mut new = old.clone();
    new["spec"]["containers"][0]["image"] = json!("other");
    new["spec"]["activeDeadlineSeconds"] = json!(5);
    new["spec"]["tolerations"] =
        json!([{"key": "a", "operator": "Exists"}, {"key": "b", "operator": "Exists"}]);
    check(validate_update(&new, &old), &[]);
}

#[test]
fn what_may_not_change() {
    let old = pod(json!({"nodeName": "n"}));
    let mut new = old.clone();
    new["spec"]["nodeName"] = json!("m");
    new["spec"]["containers"][0]["command"] = json!(["x"]);
    let errors = validate_update(&new, &old);
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].field, "spec");
    assert!(
        errors[0].message.ends_with(
            "\nspec.containers[0].command: was null, must not become [\"x\"]\n\
             spec.nodeName: was \"n\", must not become \"m\""
        ),
        "{}",
        errors[0].message
    );
    let mut more = old.clone();
    more["spec"]["containers"] = json!([container(json!({})), container(json!({"name": "d"}))]);
    check(
        validate_update(&more, &old),
        &["spec.containers: Forbidden: pod updates may not add or remove containers"],
    );
}

#[test]
fn a_container_that_ended_stays_ended() {
    let with_state = |state: Value| {
        let mut pod = pod(json!({"restartPolicy": "Never"}));
        pod["status"] = json!({"containerStatuses": [{"name": "c", "state": state}]});
        pod
    };
    let ended = with_state(json!({"terminated": {"exitCode": 0}}));
    check(validate_status_update(&ended, &ended), &[]);
    check(
        validate_status_update(&with_state(json!({"running": {}})), &ended),
        &[
            "status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state",
        ],
    );
}

#[test]
fn kernel_parameters_have_names_of_words() {
    let sysctls = |names: &[&str]| {
        let list: Vec<Value> =
            names.iter().map(|name| json!({"name": name, "value": "1"})).collect();
        pod(json!({"securityContext": {"sysctls": list}}))
    };
    check(validate(&sysctls(&["kernel.shmmax", "safe-and-unsafe", "net/ipv4/ip_forward"])), &[]);
    let words = "must have at most 253 characters and match regex ([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?";
    check(
        validate(&sysctls(&["foo-", "bar..", "", "net.a/b", "net/a.b"])),
        &[
            &format!("spec.securityContext.sysctls[0].name: Invalid value: \"foo-\": {words}"),
            &format!("spec.securityContext.sysctls[1].name: Invalid value: \"bar..\": {words}"),
            "spec.securityContext.sysctls[2].name: Required value",
            "spec.securityContext.sysctls[4].name: Duplicate value: \"net/a.b\"",
        ],
    );
}
