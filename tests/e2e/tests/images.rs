//! Images: what is shown of them, and when they are asked for anew.

use coracle_e2e::{Cluster, build_guests, eventually};
use serde_json::{Value, json};

fn pod(name: &str, container: &Value) -> String {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [container]}})
        .to_string()
}

#[test]
fn imports_and_exports_are_on_view() {
    let guests = build_guests("tests/guests");
    let cluster = Cluster::start();
    cluster.push("hello:1", &guests.join("hello_http.wasm"));
    cluster.push("hello:2", &guests.join("behave.wasm"));
    let container = json!({"name": "c", "image": "registry.coracle.internal/hello:1"});
    cluster.apply(&pod("web", &container));
    eventually("describe shows them", || {
        let described = cluster.run(&["describe", "pod", "web"]);
        let shown = described.contains("exports.coracle.dev/c: wasi:http/incoming-handler@0.2")
            && described.contains("imports.coracle.dev/c:")
            && described.contains("wasi-io.imports.coracle.dev/c: error@0.2");
        if shown { Ok(()) } else { Err(described) }
    });
    let inspected = cluster.coracle(&["inspect", "hello:1"]);
    assert!(inspected.ok, "{inspected:?}");
    assert!(inspected.stdout.contains("Kind:    http"), "{inspected:?}");
    assert!(inspected.stdout.contains("  wasi:http/incoming-handler@0.2"), "{inspected:?}");
    let diff = cluster.coracle(&["inspect", "--diff", "hello:1", "hello:2"]);
    assert!(diff.stdout.contains("- kind http\n+ kind command"), "{diff:?}");
    assert!(diff.stdout.contains("+ export wasi:cli/run@0.2"), "{diff:?}");
    let file = cluster.coracle(&["inspect", guests.join("behave.wasm").to_str().unwrap()]);
    assert!(file.stdout.contains("Kind:    command"), "{file:?}");
    let none = cluster.coracle(&["inspect", "nosuch:1"]);
    assert!(!none.ok && none.stderr.contains("not found"), "{none:?}");
}

#[test]
fn a_moved_tag_runs_at_the_next_start_and_a_missing_image_says_so() {
    let guests = build_guests("tests/guests");
    let cluster = Cluster::start();
    cluster.push("moving:1", &guests.join("behave.wasm"));
    let image = "registry.coracle.internal/moving:1";
    let container = json!({"name": "c", "image": image, "imagePullPolicy": "Always", "args": ["sleep", "1500"]});
    cluster.apply(&pod("mover", &container));
    let running = || {
        let shown = cluster.get(&["pod", "mover"]);
        shown["status"]["containerStatuses"][0]["imageID"].as_str().unwrap_or_default().to_owned()
    };
    let first = eventually("it runs", || {
        let id = running();
        if id.contains("@sha256:") { Ok(id) } else { Err(id) }
    });
    cluster.push("moving:1", &guests.join("fs-probe.wasm"));
    eventually("the new image runs", || {
        let id = running();
        if id.contains("@sha256:") && id != first { Ok(()) } else { Err(id) }
    });
    let never = json!({"name": "c", "image": "registry.coracle.internal/absent:1", "imagePullPolicy": "Never"});
    cluster.apply(&pod("never", &never));
    eventually("STATUS says it", || {
        let row = cluster.run(&["get", "pod", "never", "--no-headers"]);
        if row.contains("ErrImageNeverPull") { Ok(()) } else { Err(row) }
    });
    let nodes = cluster.get(&["nodes"]);
    let shown = nodes["items"][0]["status"]["allocatable"].as_object().unwrap();
    assert!(shown.contains_key("ephemeral-storage") && shown.contains_key("pods"), "{shown:?}");
}
