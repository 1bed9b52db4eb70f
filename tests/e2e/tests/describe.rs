//! Row `obs.describe`: whatever goes wrong, `kubectl describe` is where its cause is named. One cluster, in which all that
//! can go wrong does.

use coracle_e2e::{BEHAVE, Cluster, HTTP, build_guests, container, eventually, pod, sh};
use serde_json::{Value, json};

/// A registry that nobody serves: nothing listens there.
const NOWHERE: &str = "127.0.0.1:9/app:1";

/// A key that has signed nothing.
const KEY: &str = "-----BEGIN PUBLIC KEY-----\n\
    MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt\n\
    6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==\n-----END PUBLIC KEY-----\n";

/// One thing that goes wrong: what is applied, of what `kubectl describe` is asked, and what that must say.
struct Case {
    made: Value,
    of: String,
    says: Vec<&'static str>,
}

fn case(name: &str, spec: Value, says: &[&'static str]) -> Case {
    Case { made: pod(name, &spec), of: format!("pod/{name}"), says: says.to_vec() }
}

/// A pod whose container sleeps, with this besides in the container.
fn sleeper(more: &Value) -> Value {
    json!({"terminationGracePeriodSeconds": 0, "containers": [sh("c", "sleep 3600", more)]})
}

/// A sleeping pod with this besides in its spec.
fn with(mut spec: Value, more: Value) -> Value {
    if let (Some(spec), Value::Object(more)) = (spec.as_object_mut(), more) {
        spec.extend(more);
    }
    spec
}

fn image(name: &str, more: Value) -> Value {
    with(json!({"containers": [container("c", name, &json!({}))]}), more)
}

fn volume(of: Value) -> Value {
    let mounts = json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}]});
    let mut named = json!({"name": "v"});
    if let (Some(named), Value::Object(of)) = (named.as_object_mut(), of) {
        named.extend(of);
    }
    with(sleeper(&mounts), json!({"volumes": [named]}))
}

/// What is wrong with images.
fn images() -> Vec<Case> {
    vec![
        case(
            "missing",
            image("registry.coracle.internal/missing:1", json!({})),
            &[
                "ImagePullBackOff",
                "Failed to pull image \"registry.coracle.internal/missing:1\"",
                "not found",
            ],
        ),
        case(
            "nowhere",
            image(NOWHERE, json!({"imagePullSecrets": [{"name": "no-such-login"}]})),
            &[
                "ImagePullBackOff",
                "127.0.0.1:9",
                "FailedToRetrieveImagePullSecret",
                "no-such-login",
            ],
        ),
        case("misspelt", image("Not An Image", json!({})), &["InvalidImageName", "Not An Image"]),
        case(
            "never",
            json!({"containers": [container("c", "registry.coracle.internal/missing:1",
            &json!({"imagePullPolicy": "Never"}))]}),
            &["ErrImageNeverPull", "missing:1"],
        ),
        case(
            "imports",
            image("registry.coracle.internal/greeter:1", json!({})),
            &["ErrImportsUnsatisfied", "names"],
        ),
    ]
}

/// What is wrong with what a container needs.
fn needs() -> Vec<Case> {
    let of_env = |source: Value| sleeper(&json!({"env": [{"name": "X", "valueFrom": source}]}));
    vec![
        case(
            "no-config",
            of_env(json!({"configMapKeyRef": {"name": "no-such-config", "key": "k"}})),
            &["CreateContainerConfigError", "configmap \"no-such-config\" not found"],
        ),
        case(
            "no-secret",
            of_env(json!({"secretKeyRef": {"name": "no-such-secret", "key": "k"}})),
            &["CreateContainerConfigError", "secret \"no-such-secret\" not found"],
        ),
        case(
            "no-key",
            of_env(json!({"configMapKeyRef": {"name": "kube-root-ca.crt", "key": "no-such-key"}})),
            &["CreateContainerConfigError", "no-such-key"],
        ),
        case(
            "no-volume",
            volume(json!({"secret": {"secretName": "no-such-files"}})),
            &["FailedMount", "secret \"no-such-files\" not found"],
        ),
        case(
            "no-folder",
            volume(json!({"hostPath": {"path": "/no/such/folder", "type": "Directory"}})),
            &[
                "FailedMount",
                "/no/such/folder",
                "is not allowed on this host",
                "--allow-host-path /no/such/folder",
            ],
        ),
        case(
            "no-claim",
            volume(json!({"persistentVolumeClaim": {"claimName": "no-such-claim"}})),
            &["FailedScheduling", "persistentvolumeclaim \"no-such-claim\" not found"],
        ),
        Case {
            made: json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "classless"},
                "spec": {"storageClassName": "no-such-class", "accessModes": ["ReadWriteOnce"],
                    "resources": {"requests": {"storage": "1Mi"}}}}),
            of: "pvc/classless".to_owned(),
            says: vec![
                "ProvisioningFailed",
                "storageclass.storage.k8s.io \"no-such-class\" not found",
            ],
        },
    ]
}

/// What keeps a pod from having a node.
fn places() -> Vec<Case> {
    let affinity = json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "nobody"}}}]}}});
    vec![
        case(
            "greedy",
            sleeper(&json!({"resources": {"requests": {"cpu": "9999"}}})),
            &["FailedScheduling", "Insufficient cpu"],
        ),
        case(
            "picky",
            with(sleeper(&json!({})), json!({"nodeSelector": {"disk": "gold"}})),
            &["FailedScheduling", "didn't match Pod's node affinity/selector"],
        ),
        case(
            "lonely",
            with(sleeper(&json!({})), affinity),
            &["FailedScheduling", "didn't match pod affinity rules"],
        ),
    ]
}

/// How containers end, or are not well.
fn ends() -> Vec<Case> {
    let once = |script: &str| json!({"restartPolicy": "Never", "containers": [sh("c", script, &json!({}))]});
    let behave = |args: Value, more: Value| json!({"restartPolicy": "Never", "containers": [with(container("c", BEHAVE, &more), json!({"args": args}))]});
    let probed = |probe: Value| json!({"containers": [container("c", HTTP, &with(json!({"ports": [{"containerPort": 8080}]}), probe))]});
    let http = json!({"httpGet": {"path": "/no-such-path", "port": 8080}, "periodSeconds": 1, "failureThreshold": 1});
    let exec =
        json!({"exec": {"command": ["sh", "-c", "echo not yet; exit 4"]}, "periodSeconds": 1});
    vec![
        case("exits", once("exit 7"), &["Terminated", "Error", "Exit Code:    7"]),
        case(
            "panics",
            behave(json!(["panic"]), json!({})),
            &["Exit Code:    134", "wasm trap: wasm `unreachable` instruction executed"],
        ),
        case(
            "hungry",
            behave(json!(["allocate", "64"]), json!({"resources": {"limits": {"memory": "16Mi"}}})),
            &["OOMKilled", "Exit Code:    137"],
        ),
        case(
            "loops",
            json!({"containers": [sh("c", "exit 3", &json!({}))]}),
            &["CrashLoopBackOff", "Exit Code:    3", "Back-off restarting failed container c"],
        ),
        case(
            "no-program",
            json!({"restartPolicy": "Never", "containers": [
            sh("c", "", &json!({"command": ["no-such-program", "x"]}))]}),
            &["no-such-program"],
        ),
        case(
            "ailing",
            probed(json!({"livenessProbe": http})),
            &[
                "Unhealthy",
                "Liveness probe failed: HTTP probe failed with statuscode: 404",
                "Killing",
            ],
        ),
        case(
            "unready",
            sleeper(&json!({"readinessProbe": exec})),
            &["Readiness probe failed", "not yet"],
        ),
        case(
            "slow",
            probed(json!({"startupProbe": http})),
            &["Startup probe failed: HTTP probe failed with statuscode: 404"],
        ),
        case(
            "overdue",
            with(sleeper(&json!({})), json!({"activeDeadlineSeconds": 1})),
            &["DeadlineExceeded", "Pod was active on the node longer than the specified deadline"],
        ),
        case(
            "no-start",
            json!({"initContainers": [sh("first", "exit 5", &json!({}))],
            "containers": [sh("c", "sleep 3600", &json!({}))]}),
            &["Init", "Exit Code:    5", "first"],
        ),
    ]
}

fn of_template(kind: &str, name: &str, namespace: &str, more: Value) -> Value {
    let (labels, limits) =
        (json!({"app": name}), json!({"resources": {"limits": {"cpu": "2", "memory": "9Mi"}}}));
    let spec = json!({"template": {"metadata": {"labels": labels}, "spec": sleeper(&limits)}});
    json!({"apiVersion": if kind == "Job" { "batch/v1" } else { "apps/v1" }, "kind": kind,
        "metadata": {"name": name, "namespace": namespace}, "spec": with(spec, more)})
}

/// What is refused, as those are told who made it not by themselves.
fn refusals() -> Vec<Case> {
    let set = |name: &str, namespace: &str| {
        let more = json!({"replicas": 1, "selector": {"matchLabels": {"app": name}}});
        of_template("ReplicaSet", name, namespace, more)
    };
    let failing = json!({"restartPolicy": "Never", "containers": [sh("c", "exit 9", &json!({}))]});
    let mut job = of_template("Job", "fails", "default", json!({"backoffLimit": 0}));
    job["spec"]["template"]["spec"] = failing;
    let set_of = |name: &str, namespace: &str, says: &[&'static str]| Case {
        made: set(name, namespace),
        of: format!("-n={namespace} replicaset/{name}"),
        says: says.to_vec(),
    };
    let signed = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "unsigned", "namespace": "signed"},
        "spec": image(BEHAVE, json!({}))});
    vec![
        set_of("poor", "quota", &["FailedCreate", "exceeded quota: none", "limited: pods=0"]),
        set_of(
            "small",
            "limits",
            &["FailedCreate", "maximum cpu usage per Container is 1, but limit is 2"],
        ),
        set_of(
            "rough",
            "strict",
            &[
                "FailedCreate",
                "violates PodSecurity \"restricted:latest\"",
                "allowPrivilegeEscalation",
            ],
        ),
        set_of(
            "judged",
            "judged",
            &["FailedCreate", "ValidatingAdmissionPolicy 'nothing-here'", "nothing may run here"],
        ),
        Case {
            made: signed,
            of: "-n=signed pod/unsigned".to_owned(),
            says: vec!["SignatureValidationFailed", "behave:1"],
        },
        Case {
            made: job,
            of: "job/fails".to_owned(),
            says: vec!["BackoffLimitExceeded", "Job has reached the specified backoff limit"],
        },
    ]
}

/// The namespaces in which things are refused.
fn furnish(cluster: &Cluster) {
    let guests = build_guests("tests/guests");
    cluster.push_guests(&guests);
    cluster.push("greeter:1", &guests.join("greeter.wasm"));
    let space = |name: &str, labels: Value, annotations: Value| {
        json!({"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": name, "labels": labels, "annotations": annotations}})
    };
    let within = |kind: &str, name: &str, namespace: &str, spec: Value| json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec});
    let policy = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "nothing-here"}, "spec": {
            "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"],
                "operations": ["CREATE"], "resources": ["pods"]}]},
            "validations": [{"expression": "false", "message": "nothing may run here"}]}});
    let binding = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "nothing-here"}, "spec": {"policyName": "nothing-here", "validationActions": ["Deny"],
            "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "judged"}}}}});
    cluster.make(&[
        space("quota", json!({}), json!({})),
        space("limits", json!({}), json!({})),
        space("judged", json!({}), json!({})),
        space("strict", json!({"pod-security.kubernetes.io/enforce": "restricted"}), json!({})),
        space("signed", json!({}), json!({"coracle.dev/image-signature-keys": KEY})),
        within("ResourceQuota", "none", "quota", json!({"hard": {"pods": "0"}})),
        within(
            "LimitRange",
            "big",
            "limits",
            json!({"limits": [{"type": "Container", "max": {"cpu": "1"}}]}),
        ),
        policy,
        binding,
    ]);
}

#[test]
fn describe_names_the_cause_of_whatever_went_wrong() {
    let cluster = Cluster::start();
    furnish(&cluster);
    let cases: Vec<Case> =
        [images(), needs(), places(), ends(), refusals()].into_iter().flatten().collect();
    let made: Vec<Value> = cases.iter().map(|case| case.made.clone()).collect();
    cluster.make(&made);
    all_are_told(&cluster, &cases);
    // What has a node already stays there.
    cluster.run(&["taint", "nodes", "--all", "example.com/kept=free:NoSchedule"]);
    let tainted = case(
        "tainted",
        sleeper(&json!({})),
        &["FailedScheduling", "1 node(s) had untolerated taint(s)"],
    );
    cluster.make(std::slice::from_ref(&tainted.made));
    all_are_told(&cluster, &[tainted]);
}

/// Waits until each case is told: each by itself, since to describe all of them takes long on a busy machine.
fn all_are_told(cluster: &Cluster, cases: &[Case]) {
    for case in cases {
        let words: Vec<&str> = std::iter::once("describe").chain(case.of.split(' ')).collect();
        eventually(&format!("describe names the cause of {}", case.of), || {
            let said = cluster.run(&words);
            let missed: Vec<_> = case.says.iter().filter(|part| !said.contains(**part)).collect();
            if missed.is_empty() { Ok(()) } else { Err(format!("{missed:?}: {said}")) }
        });
    }
}
