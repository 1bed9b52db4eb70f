//! The stand-ins of the conformance suite's images, as images of their own.

use coracle_e2e::{Cluster, build_guests, eventually};
use serde_json::{Value, json};

/// A pod of one container of the image that is pushed as `agnhost:1`.
fn agnhost(name: &str, args: &[&str]) -> String {
    let container =
        json!({"name": "c", "image": "registry.coracle.internal/agnhost:1", "args": args});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"restartPolicy": "Never", "containers": [container]}})
    .to_string()
}

fn ended(cluster: &Cluster, name: &str) -> Result<(), Value> {
    let pod = cluster.get(&["pod", name]);
    if pod["status"]["phase"] == "Succeeded" { Ok(()) } else { Err(pod["status"].clone()) }
}

#[test]
fn agnhost_does_what_its_first_argument_says() {
    let standins = build_guests("tests/guests");
    let cluster = Cluster::start();
    cluster.push("agnhost:1", &standins.join("agnhost.wasm"));
    cluster.apply(&agnhost("tester", &["entrypoint-tester", "a", "b c"]));
    cluster.apply(&agnhost(
        "mounts",
        &["mounttest", "--new_file_0644=/tmp/x", "--file_content=/tmp/x"],
    ));
    cluster.apply(&agnhost("server", &["netexec", "--http-port=8080"]));
    let address = eventually("the server has an address", || {
        let pod = cluster.get(&["pod", "server"]);
        let ready = pod["status"]["containerStatuses"][0]["ready"] == true;
        let ip = pod["status"]["podIP"].as_str().filter(|_| ready).map(str::to_owned);
        ip.ok_or(pod["status"].clone())
    });
    let dial = format!("dial?host={address}&port=8080&request=hostname&tries=2");
    let path = format!("/api/v1/namespaces/default/pods/server:8080/proxy/{dial}");
    // A container is ready as soon as it runs; it may listen a moment later.
    eventually("the server answers", || {
        let said = cluster.kubectl(&["get", "--raw", &path]);
        if said.stdout == r#"{"responses":["server","server"]}"# { Ok(()) } else { Err(said) }
    });
    for name in ["tester", "mounts"] {
        eventually(name, || ended(&cluster, name));
    }
    assert_eq!(cluster.run(&["logs", "tester"]), "[/agnhost entrypoint-tester a b c]\n");
    let content = "content of file \"/tmp/x\": mount-tester new file\n\n";
    assert_eq!(cluster.run(&["logs", "mounts"]), content.repeat(2));
}
