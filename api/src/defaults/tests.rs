//! Defaults of each kind, from YAML to YAML; doing it twice changes nothing.

mod workloads;

use expect_test::{Expect, expect};
use serde_json::Value;

use crate::decode::{self, FieldValidation, MediaType};
use crate::registry;

/// Decodes, fills, and compares the part below `pointer`, one JSON member a line.
fn check(kind: &str, pointer: &str, yaml: &str, expected: Expect) {
    let kind = registry::kinds().iter().find(|candidate| candidate.kind == kind).unwrap();
    let decoded =
        decode::decode(yaml.as_bytes(), MediaType::Yaml, kind.ty(), FieldValidation::Strict);
    let mut object = decoded.unwrap().value;
    (kind.rules.default)(&mut object);
    let once = object.clone();
    (kind.rules.default)(&mut object);
    assert_eq!(object, once, "defaulting twice changes nothing");
    let conformed =
        decode::conform(object.clone(), kind.ty(), FieldValidation::Strict).unwrap().value;
    assert_eq!(object, conformed, "defaults fit the schema");
    expected.assert_eq(&lines(object.pointer(pointer).unwrap()));
}

fn lines(value: &Value) -> String {
    let mut text = String::new();
    for (name, member) in value.as_object().unwrap() {
        text.push_str(&format!("{name}: {member}\n"));
    }
    text
}

#[test]
fn pod() {
    check(
        "Pod",
        "/spec",
        "
spec:
  serviceAccount: web
  containers:
  - name: a
    image: reg:5000/app
    ports: [{containerPort: 80}]
    resources: {limits: {cpu: 500m, memory: 64Mi}, requests: {cpu: 100m}}
",
        expect![[r#"
            containers: [{"image":"reg:5000/app","imagePullPolicy":"Always","name":"a","ports":[{"containerPort":80,"protocol":"TCP"}],"resources":{"limits":{"cpu":"500m","memory":"64Mi"},"requests":{"cpu":"100m","memory":"64Mi"}},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File"}]
            dnsPolicy: "ClusterFirst"
            enableServiceLinks: true
            restartPolicy: "Always"
            schedulerName: "default-scheduler"
            securityContext: {}
            serviceAccount: "web"
            serviceAccountName: "web"
            terminationGracePeriodSeconds: 30
        "#]],
    );
}

#[test]
fn pod_on_the_host_network() {
    check(
        "Pod",
        "/spec/containers/0/ports/0",
        "
spec:
  hostNetwork: true
  containers: [{name: a, image: 'a:1', ports: [{containerPort: 80}]}]
",
        expect![[r#"
            containerPort: 80
            hostPort: 80
            protocol: "TCP"
        "#]],
    );
}

#[test]
fn probes_and_hooks() {
    check(
        "Pod",
        "/spec/containers/0",
        "
spec:
  containers:
  - name: a
    image: a@sha256:0
    livenessProbe: {httpGet: {port: 80}}
    readinessProbe: {tcpSocket: {port: http}, periodSeconds: 3}
    lifecycle: {preStop: {httpGet: {port: 1, path: /x}}}
    env:
    - {name: A, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
",
        expect![[r#"
            env: [{"name":"A","valueFrom":{"fieldRef":{"apiVersion":"v1","fieldPath":"metadata.name"}}}]
            image: "a@sha256:0"
            imagePullPolicy: "IfNotPresent"
            lifecycle: {"preStop":{"httpGet":{"path":"/x","port":1,"scheme":"HTTP"}}}
            livenessProbe: {"failureThreshold":3,"httpGet":{"path":"/","port":80,"scheme":"HTTP"},"periodSeconds":10,"successThreshold":1,"timeoutSeconds":1}
            name: "a"
            readinessProbe: {"failureThreshold":3,"periodSeconds":3,"successThreshold":1,"tcpSocket":{"port":"http"},"timeoutSeconds":1}
            resources: {}
            terminationMessagePath: "/dev/termination-log"
            terminationMessagePolicy: "File"
        "#]],
    );
}

#[test]
fn volumes() {
    check(
        "Pod",
        "/spec",
        "
spec:
  containers: []
  volumes:
  - {name: empty}
  - {name: secret, secret: {secretName: s}}
  - {name: mode, configMap: {name: c, defaultMode: 0400}}
  - name: projected
    projected:
      sources:
      - serviceAccountToken: {path: token}
      - downwardAPI: {items: [{path: p, fieldRef: {fieldPath: metadata.labels}}]}
  - {name: host, hostPath: {path: /tmp}}
",
        expect![[r#"
            containers: []
            dnsPolicy: "ClusterFirst"
            enableServiceLinks: true
            restartPolicy: "Always"
            schedulerName: "default-scheduler"
            securityContext: {}
            terminationGracePeriodSeconds: 30
            volumes: [{"emptyDir":{},"name":"empty"},{"name":"secret","secret":{"defaultMode":420,"secretName":"s"}},{"configMap":{"defaultMode":256,"name":"c"},"name":"mode"},{"name":"projected","projected":{"defaultMode":420,"sources":[{"serviceAccountToken":{"expirationSeconds":3600,"path":"token"}},{"downwardAPI":{"items":[{"fieldRef":{"apiVersion":"v1","fieldPath":"metadata.labels"},"path":"p"}]}}]}},{"hostPath":{"path":"/tmp","type":""},"name":"host"}]
        "#]],
    );
}

#[test]
fn deployment() {
    check(
        "Deployment",
        "/spec",
        "spec: {template: {spec: {containers: []}}}",
        expect![[r#"
        progressDeadlineSeconds: 600
        replicas: 1
        revisionHistoryLimit: 10
        strategy: {"rollingUpdate":{"maxSurge":"25%","maxUnavailable":"25%"},"type":"RollingUpdate"}
        template: {"metadata":{},"spec":{"containers":[],"dnsPolicy":"ClusterFirst","restartPolicy":"Always","schedulerName":"default-scheduler","securityContext":{},"terminationGracePeriodSeconds":30}}
    "#]],
    );
    check(
        "Deployment",
        "/spec/strategy",
        "spec: {replicas: 0, strategy: {type: Recreate}, template: {}}",
        expect![[r#"
            type: "Recreate"
        "#]],
    );
}

#[test]
fn service() {
    check(
        "Service",
        "/spec",
        "spec: {ports: [{port: 80}, {port: 53, targetPort: dns, protocol: UDP}]}",
        expect![[r#"
        internalTrafficPolicy: "Cluster"
        ports: [{"port":80,"protocol":"TCP","targetPort":80},{"port":53,"protocol":"UDP","targetPort":"dns"}]
        sessionAffinity: "None"
        type: "ClusterIP"
    "#]],
    );
    check(
        "Service",
        "/spec",
        "spec: {type: NodePort, sessionAffinity: ClientIP, ports: []}",
        expect![[r#"
        externalTrafficPolicy: "Cluster"
        internalTrafficPolicy: "Cluster"
        sessionAffinity: "ClientIP"
        sessionAffinityConfig: {"clientIP":{"timeoutSeconds":10800}}
        type: "NodePort"
    "#]],
    );
    check(
        "Service",
        "/spec",
        "spec: {type: ExternalName, externalName: a.b}",
        expect![[r#"
        externalName: "a.b"
        sessionAffinity: "None"
        type: "ExternalName"
    "#]],
    );
}

#[test]
fn small_kinds() {
    check(
        "Namespace",
        "/metadata",
        "metadata: {name: a}",
        expect![[r#"
        labels: {"kubernetes.io/metadata.name":"a"}
        name: "a"
    "#]],
    );
    check(
        "Secret",
        "",
        "{data: {a: eA==, b: eA==}, stringData: {b: hello}}",
        expect![[r#"
        data: {"a":"eA==","b":"aGVsbG8="}
        metadata: {}
        type: "Opaque"
    "#]],
    );
    check(
        "PriorityClass",
        "",
        "value: 5",
        expect![[r#"
        metadata: {}
        preemptionPolicy: "PreemptLowerPriority"
        value: 5
    "#]],
    );
    check(
        "EndpointSlice",
        "",
        "{addressType: IPv4, endpoints: [], ports: [{port: 80}]}",
        expect![[r#"
        addressType: "IPv4"
        endpoints: []
        metadata: {}
        ports: [{"name":"","port":80,"protocol":"TCP"}]
    "#]],
    );
    check(
        "Node",
        "/status",
        "status: {capacity: {cpu: 2}}",
        expect![[r#"
        allocatable: {"cpu":"2"}
        capacity: {"cpu":"2"}
        daemonEndpoints: {"kubeletEndpoint":{"Port":0}}
        nodeInfo: {"architecture":"","bootID":"","containerRuntimeVersion":"","kernelVersion":"","kubeProxyVersion":"","kubeletVersion":"","machineID":"","operatingSystem":"","osImage":"","systemUUID":""}
    "#]],
    );
}

#[test]
fn a_pod_asks_for_as_much_as_its_containers_or_its_own_limit() {
    let resources = |own: &str, expected: Expect| {
        let yaml = format!(
            "{{metadata: {{name: p}}, spec: {{resources: {own}, containers: [{{name: c, image: i, \
             resources: {{requests: {{cpu: 100m}}}}}}, {{name: d, image: i, resources: {{limits: {{cpu: 50m}}}}}}]}}}}"
        );
        check("Pod", "/spec/resources", &yaml, expected);
    };
    resources(
        "{limits: {cpu: 1, memory: 50Mi}}",
        expect![[r#"
            limits: {"cpu":"1","memory":"50Mi"}
            requests: {"cpu":"150m","memory":"50Mi"}
        "#]],
    );
    resources(
        "{limits: {cpu: 1}, requests: {cpu: 500m}}",
        expect![[r#"
            limits: {"cpu":"1"}
            requests: {"cpu":"500m"}
        "#]],
    );
    resources(
        "{requests: {memory: 1Gi}}",
        expect![[r#"
            requests: {"memory":"1Gi"}
        "#]],
    );
}

#[test]
fn pull_policy_follows_the_tag() {
    for (image, policy) in [
        ("app", "Always"),
        ("app:latest", "Always"),
        ("app:1", "IfNotPresent"),
        ("reg:5000/app", "Always"),
        ("reg:5000/app:1", "IfNotPresent"),
        ("app@sha256:0", "IfNotPresent"),
    ] {
        assert_eq!(super::container::pull_policy(image), policy, "{image}");
    }
}
