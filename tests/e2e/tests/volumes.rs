//! Volumes as guests see them, with kubectl, scheduler, controllers and host for real.

use coracle_e2e::{Cluster, build_guests, eventually};
use serde_json::{Value, json};

const PROBE: &str = "registry.coracle.internal/fs-probe:1";

fn cluster() -> Cluster {
    let guests = build_guests("tests/guests");
    let cluster = Cluster::start();
    cluster.push("fs-probe:1", &guests.join("fs-probe.wasm"));
    cluster.push("behave:1", &guests.join("behave.wasm"));
    cluster
}

fn pod(name: &str, container: &Value, volumes: &Value) -> String {
    let spec = json!({"restartPolicy": "Never", "containers": [container], "volumes": volumes});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}).to_string()
}

fn probe(commands: &[&str], mounts: &Value) -> Value {
    json!({"name": "c", "image": PROBE, "args": commands, "volumeMounts": mounts})
}

/// Runs a pod to its end and gives what it printed.
fn ran(cluster: &Cluster, name: &str, manifest: &str) -> String {
    cluster.apply(manifest);
    eventually("the pod has ended", || {
        let phase = phase(cluster, name);
        if phase == "Succeeded" {
            return Ok(());
        }
        Err(cluster.run(&["describe", "pod", name]))
    });
    cluster.run(&["logs", name])
}

fn phase(cluster: &Cluster, name: &str) -> String {
    cluster.run(&["get", "pod", name, "-o", "jsonpath={.status.phase}"])
}

fn claim(size: &str) -> String {
    json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}})
    .to_string()
}

#[test]
fn a_claim_is_provisioned_where_its_pod_runs_outlives_it_grows_and_is_reclaimed() {
    let cluster = cluster();
    let classes = cluster.run(&["get", "sc", "--no-headers"]);
    assert!(classes.starts_with("coracle-local (default)"), "{classes}");
    assert!(classes.contains("WaitForFirstConsumer"), "{classes}");
    cluster.apply(&claim("1Mi"));
    eventually("it waits for its first consumer", || {
        let described = cluster.run(&["describe", "pvc", "data"]);
        if described.contains("WaitForFirstConsumer") { Ok(()) } else { Err(described) }
    });
    let volumes = json!([{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}]);
    let mounts = json!([{"name": "d", "mountPath": "/data"}]);
    let writes =
        ["write /data/kept precious", "fill /data/large 900000", "fill /data/large 200000"];
    let said = ran(&cluster, "writer", &pod("writer", &probe(&writes, &mounts), &volumes));
    assert!(said.contains("write /data/kept precious => ok"), "{said}");
    // The claim's size holds against what the pod writes.
    assert!(said.contains("fill /data/large 900000 => ok"), "{said}");
    assert!(!said.contains("fill /data/large 200000 => ok"), "{said}");
    let bound = cluster.shows("pvc/data", "/status/phase", "Bound");
    assert_eq!(bound["status"]["capacity"]["storage"], "1Mi");
    let volume = bound["spec"]["volumeName"].as_str().unwrap().to_owned();
    let folder = cluster.data().join("host/persistent").join(&volume);
    assert_eq!(std::fs::read_to_string(folder.join("kept")).unwrap(), "precious");

    cluster.run(&["delete", "pod", "writer"]);
    cluster.apply(&claim("4Mi"));
    eventually("it has grown", || {
        let pvc = cluster.get(&["pvc", "data"]);
        if pvc["status"]["capacity"]["storage"] == "4Mi" { Ok(()) } else { Err(pvc) }
    });
    let reads = ["cat /data/kept", "fill /data/large 200000"];
    let said = ran(&cluster, "reader", &pod("reader", &probe(&reads, &mounts), &volumes));
    assert!(said.contains("cat /data/kept => precious"), "{said}");
    assert!(said.contains("fill /data/large 200000 => ok"), "{said}");

    cluster.run(&["delete", "pod", "reader"]);
    cluster.run(&["delete", "pvc", "data"]);
    eventually("volume and files are gone", || {
        let left = cluster.run(&["get", "pv", "-o", "name"]);
        if left.trim().is_empty() && !folder.exists() { Ok(()) } else { Err(left) }
    });
}

#[test]
fn a_claim_of_a_static_volume_with_retain_keeps_the_volume() {
    let cluster = cluster();
    let volume = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "hand-made"}, "spec": {
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "manual",
        "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": "/srv/hand-made"}}});
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "static"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "storageClassName": "manual", "resources": {"requests": {"storage": "1Gi"}}}});
    cluster.apply(&claim.to_string());
    cluster.apply(&volume.to_string());
    let wait = |what: &str, object: &str, phase: &str| {
        eventually(what, || {
            let found = cluster.run(&["get", object, "-o", "jsonpath={.status.phase}"]);
            if found == phase { Ok(()) } else { Err(found) }
        });
    };
    wait("the claim is bound", "pvc/static", "Bound");
    wait("the volume is bound", "pv/hand-made", "Bound");
    // This host allows no host paths, and says how it would.
    let volumes = json!([{"name": "d", "persistentVolumeClaim": {"claimName": "static"}}]);
    let mounts = json!([{"name": "d", "mountPath": "/data"}]);
    cluster.apply(&pod("user", &probe(&["ls /data"], &mounts), &volumes));
    eventually("the pod says why it waits", || {
        let described = cluster.run(&["describe", "pod", "user"]);
        if described.contains("--allow-host-path /srv/hand-made") { Ok(()) } else { Err(described) }
    });
    cluster.run(&["delete", "pod", "user"]);
    cluster.run(&["delete", "pvc", "static"]);
    wait("the volume stays", "pv/hand-made", "Released");
}

#[test]
fn a_pod_sees_all_kinds_of_volumes_and_nothing_else() {
    let cluster = cluster();
    cluster.run(&["create", "configmap", "cfg", "--from-literal=a=1", "--from-literal=b=2"]);
    cluster.run(&["create", "secret", "generic", "key", "--from-literal=pw=hunter2"]);
    cluster.apply(&claim("1Mi"));
    let volumes = json!([
        {"name": "empty", "emptyDir": {}},
        {"name": "cfg", "configMap": {"name": "cfg"}},
        {"name": "key", "secret": {"secretName": "key", "defaultMode": 256}},
        {"name": "info", "downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
        {"name": "claim", "persistentVolumeClaim": {"claimName": "data"}},
        {"name": "none", "configMap": {"name": "none", "optional": true}},
    ]);
    let mounts = json!([
        {"name": "empty", "mountPath": "/empty"},
        {"name": "cfg", "mountPath": "/empty/nested"},
        {"name": "cfg", "mountPath": "/etc/one.conf", "subPath": "a"},
        {"name": "key", "mountPath": "/key"},
        {"name": "info", "mountPath": "/info"},
        {"name": "claim", "mountPath": "/claim", "subPathExpr": "$(NAME)"},
        {"name": "empty", "mountPath": "/fixed", "readOnly": true},
        {"name": "none", "mountPath": "/none"},
    ]);
    let commands = [
        "write /empty/x 1",
        "cat /fixed/x",
        "write /fixed/y 1",
        "cat /empty/nested/b",
        "cat /etc/one.conf",
        "write /etc/one.conf z",
        "cat /key/pw",
        "cat /info/name",
        "write /claim/f 1",
        "ls /none",
        "cat /../../etc/shadow",
        "cat /var/run/secrets/kubernetes.io/serviceaccount/namespace",
        "cat /proc/self/environ",
    ];
    let mut container = probe(&commands, &mounts);
    container["env"] =
        json!([{"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]);
    let said = ran(&cluster, "all", &pod("all", &container, &volumes));
    for line in [
        "write /empty/x 1 => ok",
        "cat /fixed/x => 1",
        "cat /empty/nested/b => 2",
        "cat /etc/one.conf => 1",
        "cat /key/pw => hunter2",
        "cat /info/name => all",
        "write /claim/f 1 => ok",
        "cat /../../etc/shadow => NotFound",
        "cat /var/run/secrets/kubernetes.io/serviceaccount/namespace => default",
        "cat /proc/self/environ => NotFound",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    for refused in ["write /fixed/y 1 => ok", "write /etc/one.conf z => ok"] {
        assert!(!said.contains(refused), "{said}");
    }
    let volume = cluster.run(&["get", "pvc", "data", "-o", "jsonpath={.spec.volumeName}"]);
    assert!(cluster.data().join("host/persistent").join(volume).join("all/f").exists());
}

/// The first half of row `vol.emptydir`.
fn shared_by_containers_and_gone_with_the_pod(cluster: &Cluster, mounts: &Value) {
    let image = "registry.coracle.internal/behave:1";
    let sleeps = |name: &str| json!({"name": name, "image": image, "args": ["sleep", "600000"], "volumeMounts": mounts});
    let spec = json!({"containers": [sleeps("one"), sleeps("two")], "terminationGracePeriodSeconds": 0,
        "volumes": [{"name": "d", "emptyDir": {}}]});
    let pod =
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "shares"}, "spec": spec});
    cluster.apply(&pod.to_string());
    cluster.ready("shares");
    let run = |container: &str, script: &str| {
        cluster.run(&["exec", "shares", "-c", container, "--", "sh", "-c", script])
    };
    assert_eq!(run("one", "ls -a /d | grep -v '^\\.*$'; echo of one > /d/f; ls /d"), "f\n");
    assert_eq!(run("two", "cat /d/f; echo of two >> /d/f"), "of one\n");
    assert_eq!(run("one", "cat /d/f"), "of one\nof two\n");
    let uid = cluster.run(&["get", "pod", "shares", "-o", "jsonpath={.metadata.uid}"]);
    let folder = cluster.data().join("host/pods").join(uid);
    assert!(folder.join("volumes/d/f").exists());
    cluster.run(&["delete", "pod", "shares"]);
    eventually("the folder is gone", || if folder.exists() { Err(()) } else { Ok(()) });
}

/// Row `vol.emptydir`.
#[test]
fn a_pod_over_the_limit_of_its_empty_dir_is_evicted() {
    let cluster = cluster();
    let mounts = json!([{"name": "d", "mountPath": "/d"}]);
    shared_by_containers_and_gone_with_the_pod(&cluster, &mounts);
    let mut fill = probe(&["fill /d/f 1500000"], &mounts);
    fill["name"] = json!("fill");
    let sleeps = json!({"name": "c", "image": "registry.coracle.internal/behave:1", "args": ["sleep", "600000"]});
    let spec = json!({"initContainers": [fill], "containers": [sleeps],
        "volumes": [{"name": "d", "emptyDir": {"sizeLimit": "1Mi"}}]});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "big"}, "spec": spec});
    cluster.apply(&pod.to_string());
    eventually("it is evicted", || {
        let phase = phase(&cluster, "big");
        if phase == "Failed" { Ok(()) } else { Err(phase) }
    });
    let shown = cluster.get(&["pod", "big"]);
    assert_eq!(shown["status"]["phase"], "Failed");
    assert_eq!(shown["status"]["reason"], "Evicted");
    let words = "Usage of EmptyDir volume \"d\" exceeds the limit \"1Mi\". ";
    assert_eq!(shown["status"]["message"], words);
}
