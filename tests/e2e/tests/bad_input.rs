//! Bad input: each is refused or contained, with a message that says what, where and how to mend
//! it, and neighbours go on serving.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::fs;

use coracle_e2e::{Answer, Cluster, Output, build_guests, eventually, get};
use serde_json::{Value, json};

#[test]
fn manifests_are_refused_with_the_field_and_the_cure() {
    let cluster = Cluster::start();
    unknown_fields(&cluster);
    wrong_values(&cluster);
    too_large(&cluster);
    wrong_token(&cluster);
}

fn refused(cluster: &Cluster, manifest: &Value, words: &[&str]) {
    let output = cluster.kubectl_with(&["create", "-f", "-"], &manifest.to_string());
    assert!(!output.ok, "{manifest} was accepted");
    for word in words {
        assert!(output.stderr.contains(word), "'{word}' is not in {}", output.stderr);
    }
}

fn pod(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})
}

fn unknown_fields(cluster: &Cluster) {
    let manifest =
        pod("x", &json!({"containers": [{"name": "c", "image": "i", "imagee": "typo"}]}));
    refused(
        cluster,
        &manifest,
        &["strict decoding error", "unknown field \"spec.containers[0].imagee\""],
    );
    let warned = cluster.kubectl_with(
        &["create", "--validate=warn", "--dry-run=server", "-f", "-"],
        &manifest.to_string(),
    );
    assert!(warned.ok, "{warned:?}");
    assert!(
        warned.stderr.contains("Warning: unknown field \"spec.containers[0].imagee\""),
        "{warned:?}"
    );
}

fn wrong_values(cluster: &Cluster) {
    let container = json!([{"name": "c", "image": "i"}]);
    let typed = pod("x", &json!({"containers": [{"name": "c", "image": "i", "args": [5]}]}));
    refused(cluster, &typed, &["args"]);
    refused(
        cluster,
        &pod("Not_A_Name", &json!({"containers": container})),
        &["metadata.name", "lowercase RFC 1123"],
    );
    refused(cluster, &pod("x", &json!({"containers": []})), &["spec.containers", "Required value"]);
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"},
        "spec": {"selector": {"matchLabels": {"app": "a"}},
            "template": {"metadata": {"labels": {"app": "b"}}, "spec": {"containers": container}}},
    });
    refused(
        cluster,
        &deployment,
        &["spec.template.metadata.labels", "`selector` does not match template `labels`"],
    );
    let bad_selector = cluster.kubectl(&["get", "pods", "-l", "a in b"]);
    assert!(!bad_selector.ok && bad_selector.stderr.contains("a in b"), "{bad_selector:?}");
    let causes =
        cluster.kubectl_with(&["create", "-f", "-", "-o", "json"], &deployment.to_string());
    assert!(!causes.ok);
}

fn too_large(cluster: &Cluster) {
    let manifest = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "large"},
        "data": {"value": "x".repeat(4 << 20)}});
    refused(cluster, &manifest, &["RequestEntityTooLarge", "limit is 3145728"]);
    assert!(
        cluster
            .run(&["get", "configmaps", "-o", "name"])
            .lines()
            .all(|name| !name.contains("large"))
    );
}

fn wrong_token(cluster: &Cluster) {
    let server = cluster.run(&["config", "view", "-o", "jsonpath={.clusters[0].cluster.server}"]);
    let as_token = |token: &str| {
        let arguments = [
            "--kubeconfig=/dev/null",
            "--server",
            &server,
            "--insecure-skip-tls-verify",
            "--token",
            token,
            "get",
            "pods",
        ];
        cluster.kubectl(&arguments)
    };
    let output = as_token("wrong");
    assert!(!output.ok && output.stderr.contains("Unauthorized"), "{output:?}");
}

#[test]
fn pods_fail_alone_and_say_why() {
    let guests = build_guests("tests/guests");
    let cluster = Cluster::start();
    cluster.push("hello:1", &guests.join("hello_http.wasm"));
    cluster.push("http-behave:1", &guests.join("http_behave.wasm"));
    cluster.push("behave:1", &guests.join("behave.wasm"));
    let neighbour = neighbour(&cluster);
    missing_references(&cluster);
    images_that_are_none(&cluster, &guests);
    ends_of_containers(&cluster);
    port_in_use(&cluster);
    requests_that_misbehave(&cluster);
    assert_eq!(get(neighbour, "/").unwrap(), Answer { status: 200, body: "hello\n".into() });
    let restarts = cluster.run(&[
        "get",
        "pod",
        "neighbour",
        "-o",
        "jsonpath={.status.containerStatuses[0].restartCount}",
    ]);
    assert_eq!(restarts, "0");
}

/// A pod that serves all along; its node port.
fn neighbour(cluster: &Cluster) -> u16 {
    expose(cluster, "neighbour", "hello:1", cluster.node_port(0))
}

fn expose(cluster: &Cluster, name: &str, image: &str, port: u16) -> u16 {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": [{"name": "c", "image": format!("registry.coracle.internal/{image}"),
            "ports": [{"containerPort": 8080}], "resources": {"limits": {"memory": "64Mi"}}}]}});
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"type": "NodePort", "selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080, "nodePort": port}]}});
    cluster
        .apply(&json!({"apiVersion": "v1", "kind": "List", "items": [pod, service]}).to_string());
    eventually("the pod answers", || get(port, "/"));
    port
}

fn run_pod(cluster: &Cluster, name: &str, container: &Value) {
    let mut container = container.clone();
    container["name"] = json!("c");
    cluster.apply(
        &pod(name, &json!({"containers": [container], "restartPolicy": "Never"})).to_string(),
    );
}

/// Waits until the container waits for this reason, and gives its message.
fn waiting(cluster: &Cluster, name: &str, reason: &str) -> String {
    eventually(&format!("{name} waits with {reason}"), || {
        let pod = cluster.get(&["pod", name]);
        let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
        if waiting["reason"] == reason {
            Ok(waiting["message"].as_str().unwrap_or_default().to_owned())
        } else {
            Err(pod["status"].clone())
        }
    })
}

/// Waits until the container has ended, and gives how.
fn terminated(cluster: &Cluster, name: &str) -> Value {
    eventually(&format!("{name} ends"), || {
        let pod = cluster.get(&["pod", name]);
        let terminated = pod["status"]["containerStatuses"][0]["state"]["terminated"].clone();
        if terminated.is_object() { Ok(terminated) } else { Err(pod["status"].clone()) }
    })
}

fn missing_references(cluster: &Cluster) {
    let image = "registry.coracle.internal/behave:1";
    run_pod(
        cluster,
        "no-key",
        &json!({"image": image, "env": [
        {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "colour"}}}]}),
    );
    let message = waiting(cluster, "no-key", "CreateContainerConfigError");
    assert!(message.contains("configmap \"settings\" not found"), "{message}");
    cluster
        .apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {other: x}\n");
    eventually("the key is named", || {
        let message = waiting(cluster, "no-key", "CreateContainerConfigError");
        if message.contains("couldn't find key colour in ConfigMap default/settings") {
            Ok(())
        } else {
            Err(message)
        }
    });
    run_pod(cluster, "no-image", &json!({"image": "registry.coracle.internal/nosuch:7"}));
    eventually("the image is named", || {
        let pod = cluster.get(&["pod", "no-image"]);
        let waiting = pod["status"]["containerStatuses"][0]["state"]["waiting"].clone();
        let reason = waiting["reason"].as_str().unwrap_or_default();
        let named = waiting["message"].as_str().is_some_and(|message| message.contains("nosuch:7"));
        if ["ErrImagePull", "ImagePullBackOff"].contains(&reason) && named {
            Ok(())
        } else {
            Err(waiting)
        }
    });
}

fn images_that_are_none(cluster: &Cluster, guests: &std::path::Path) {
    let whole = fs::read(guests.join("hello_http.wasm")).unwrap();
    let truncated = cluster.folder().join("truncated.wasm");
    fs::write(&truncated, &whole[..whole.len() / 2]).unwrap();
    cluster.push("truncated:1", &truncated);
    run_pod(cluster, "truncated", &json!({"image": "registry.coracle.internal/truncated:1"}));
    let message = waiting(cluster, "truncated", "ErrImageInvalid");
    assert!(message.contains("truncated"), "{message}");
    let elf = cluster.folder().join("elf.wasm");
    fs::write(&elf, b"\x7fELF\x02\x01\x01").unwrap();
    let pushed: Output = cluster.coracle(&["push", "elf:1", elf.to_str().unwrap()]);
    assert!(!pushed.ok && pushed.stderr.contains("not a WebAssembly binary"), "{pushed:?}");
}

fn ends_of_containers(cluster: &Cluster) {
    let image = "registry.coracle.internal/behave:1";
    let limits = json!({"limits": {"memory": "32Mi"}});
    for (name, args, code, reason, message) in [
        ("ends-well", json!(["return"]), 0, "Completed", ""),
        ("ends-badly", json!(["exit", "7"]), 7, "Error", ""),
        ("traps", json!(["panic"]), 134, "Error", "unreachable"),
        ("recurses", json!(["recurse"]), 139, "Error", "out of bounds"),
        ("bomb", json!(["allocate", "500"]), 137, "OOMKilled", ""),
    ] {
        run_pod(cluster, name, &json!({"image": image, "args": args, "resources": limits}));
        let end = terminated(cluster, name);
        assert_eq!(
            (&end["exitCode"], &end["reason"]),
            (&json!(code), &json!(reason)),
            "{name}: {end}"
        );
        let told = end["message"].as_str().unwrap_or_default();
        assert!(told.contains(message), "{name}: {end}");
    }
    let endless =
        json!({"image": image, "args": ["spin"], "resources": {"limits": {"cpu": "100m"}}});
    run_pod(cluster, "spins", &endless);
    cluster.run(&["wait", "--for=jsonpath={.status.phase}=Running", "pod/spins", "--timeout=180s"]);
    cluster.run(&["delete", "pod", "spins", "--grace-period=1"]);
}

fn port_in_use(cluster: &Cluster) {
    let listen = |name: &str| json!({"name": name, "image": "registry.coracle.internal/behave:1", "args": ["listen", "9000"]});
    let spec = json!({"containers": [listen("first"), listen("second")], "restartPolicy": "Never"});
    cluster.apply(&pod("clash", &spec).to_string());
    eventually("one of the two has ended for the port", || {
        let logs: String = ["first", "second"]
            .iter()
            .map(|c| cluster.kubectl(&["logs", "clash", "-c", c]).stdout)
            .collect();
        let pod = cluster.get(&["pod", "clash"]);
        let ended = pod["status"]["containerStatuses"]
            .as_array()
            .unwrap_or(&vec![])
            .iter()
            .filter(|c| c["state"]["terminated"]["exitCode"] == 1)
            .count();
        if ended == 1 && logs.to_lowercase().contains("in use") {
            Ok(())
        } else {
            Err((logs, pod["status"].clone()))
        }
    });
    cluster.run(&["delete", "pod", "clash", "--grace-period=0", "--force"]);
}

fn requests_that_misbehave(cluster: &Cluster) {
    let port = expose(cluster, "misbehaves", "http-behave:1", cluster.node_port(1));
    assert_eq!(get(port, "/count").unwrap().body, "1\n");
    assert_eq!(get(port, "/count").unwrap().body, "1\n", "a fresh instance for each request");
    assert_eq!(get(port, "/trap").unwrap().status, 502);
    assert_eq!(get(port, "/allocate?500").unwrap().status, 502);
    assert_eq!(get(port, "/silent").unwrap().status, 502);
    assert_eq!(get(port, "/count").unwrap().status, 200);
    let pod = cluster.get(&["pod", "misbehaves"]);
    assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 0);
}
