//! The examples that are controllers: components that speak to the API with their pod's own token.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use coracle_e2e::{Cluster, HELLO, build_guests, eventually, get, javascript, root};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::runtime::{Controller, watcher};
use kube::{Api, Client, Config, Resource as _, ResourceExt as _};
use serde_json::{Value, json};

/// Pushes what an example's coracle.toml names.
fn push(cluster: &Cluster, example: &str, images: &[(&str, &str)]) {
    let built = build_example(example);
    for (name, file) in images {
        cluster.push(name, &built.join(file));
    }
}

/// Builds an example; they share one folder.
fn build_example(example: &str) -> std::path::PathBuf {
    build_guests(example);
    root().join("examples/target/wasm32-wasip2/release")
}

fn apply_file(cluster: &Cluster, file: &str) {
    let path = root().join(file);
    cluster.run(&["apply", "-f", path.to_str().unwrap()]);
}

/// Makes an object, as soon as its kind is served.
fn create(cluster: &Cluster, object: &Value) {
    eventually("the kind is served", || {
        let output = cluster.kubectl_with(&["apply", "-f", "-"], &object.to_string());
        if output.ok { Ok(()) } else { Err(output) }
    });
}

#[test]
fn controllers_are_components() {
    let guests = build_guests("tests/guests");
    let cluster = Cluster::start();
    cluster.push("hello:1", &guests.join("hello_http.wasm"));
    cluster.push("hello:2", &guests.join("hello_http.wasm"));
    let script = javascript("command", "examples/controller-js/controller.js");
    cluster.push("roster-controller:1", &script);
    apply_file(&cluster, "examples/controller-js/controller.yaml");
    websites(&cluster);
    rosters(&cluster);
    generators(&cluster);
    limits(&cluster);
    rollouts(&cluster);
    cluster.push("git:1", &guests.join("nginx.wasm"));
    repository(&cluster);
}

/// `examples/controller-rust`: a kind of its own, children that follow it and go with it.
fn websites(cluster: &Cluster) {
    let images = [
        ("website/controller:1", "website-controller.wasm"),
        ("website/page:1", "website-page.wasm"),
    ];
    push(cluster, "examples/controller-rust", &images);
    apply_file(cluster, "examples/controller-rust/controller.yaml");
    let website = |page: &str| {
        json!({"apiVersion": "example.coracle.dev/v1", "kind": "Website",
            "metadata": {"name": "site"}, "spec": {"page": page, "replicas": 2}})
    };
    create(cluster, &website("first"));
    eventually("the operator has applied it", || {
        let output = cluster.kubectl(&["get", "website", "site", "--no-headers"]);
        let words: Vec<&str> = output.stdout.split_whitespace().collect();
        let log = cluster.kubectl(&["logs", "deploy/website-controller"]);
        if words == ["site", "2", "applied"] { Ok(()) } else { Err((output, log)) }
    });
    cluster.run(&["rollout", "status", "deployment/site", "--timeout=180s"]);
    let port = cluster.node_port(0);
    let outside = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "outside"},
        "spec": {"type": "NodePort", "selector": {"website": "site"},
            "ports": [{"port": 80, "targetPort": "http", "nodePort": port}]}});
    cluster.apply(&outside.to_string());
    says(port, "first");
    let leader = || {
        let path = "jsonpath={.spec.holderIdentity}";
        cluster.run(&["get", "lease", "website-controller", "-o", path])
    };
    let first = leader();
    cluster.run(&["delete", "pod", &first, "--now", "--wait=false"]);
    cluster.apply(&website("second").to_string());
    says(port, "second");
    eventually("another leads", || if leader() == first { Err(first.clone()) } else { Ok(()) });
    cluster.run(&["delete", "website", "site"]);
    eventually("the children are gone", || {
        let left = cluster.run(&["get", "cm,deploy,svc,pods", "-l", "website=site", "-o", "name"]);
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
}

/// The greetings that there are for a Roster, by their names.
fn greetings(cluster: &Cluster) -> String {
    let path = r"jsonpath={range .items[*]}{.metadata.name}={.data.greeting};{end}";
    cluster.kubectl(&["get", "configmaps", "-l", "roster=crew", "-o", path]).stdout
}

fn greets(cluster: &Cluster, wanted: &str) {
    eventually(wanted, || {
        let log = || cluster.kubectl(&["logs", "deploy/roster-controller", "--tail=5"]);
        let there = greetings(cluster);
        if there == wanted { Ok(()) } else { Err((there, log())) }
    });
}

/// `examples/controller-js`: an operator in JavaScript, whose children follow its object and go with it.
fn rosters(cluster: &Cluster) {
    let roster = |names: &[&str]| {
        json!({"apiVersion": "example.coracle.dev/v1", "kind": "Roster",
            "metadata": {"name": "crew"}, "spec": {"greeting": "ahoy", "names": names}})
    };
    create(cluster, &roster(&["ada", "grace"]));
    greets(cluster, "crew-ada=ahoy, ada;crew-grace=ahoy, grace;");
    cluster.apply(&roster(&["ada", "radia"]).to_string());
    greets(cluster, "crew-ada=ahoy, ada;crew-radia=ahoy, radia;");
    eventually("the status says so", || {
        let roster = cluster.get(&["roster", "crew"]);
        let done = roster["status"]["observedGeneration"] == roster["metadata"]["generation"];
        if done && roster["status"]["greeted"] == 2 { Ok(()) } else { Err(roster) }
    });
    let uid = || {
        let path = "jsonpath={.metadata.uid}";
        cluster.kubectl(&["get", "configmap", "crew-ada", "-o", path]).stdout
    };
    let before = uid();
    // Not waited for, here and below: kubectl watches for the end of a name, and misses it when the name is taken again
    // at once.
    cluster.run(&["delete", "configmap", "crew-ada", "--wait=false"]);
    eventually("what somebody removed comes back", || {
        let now = uid();
        if !now.is_empty() && now != before { Ok(()) } else { Err(now) }
    });
    cluster.run(&["delete", "roster", "crew"]);
    greets(cluster, "");
}

/// What the example controller of kube-rs calls its kind.
fn generator_kind() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("nullable.se", "v1", "ConfigMapGenerator"))
}

/// Makes the ConfigMap of a generator, which owns it.
async fn generate(
    generator: Arc<DynamicObject>,
    client: Arc<Client>,
) -> Result<Action, kube::Error> {
    let maps: Api<ConfigMap> = Api::default_namespaced((*client).clone());
    let owner = generator.controller_owner_ref(&generator_kind());
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": generator.name_any(), "ownerReferences": [owner]},
        "data": {"content": generator.data["spec"]["content"]}});
    let apply = PatchParams::apply("configmapgenerator.kube-rt.nullable.se").force();
    maps.patch(&generator.name_any(), &apply, &Patch::Apply(map)).await?;
    Ok(Action::await_change())
}

/// A controller on kube-rs outside of the cluster, as its example is: a kind of its own, whose objects become ConfigMaps.
fn generators(cluster: &Cluster) {
    let version = json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
        "type": "object", "properties": {"spec": {"type": "object",
            "properties": {"content": {"type": "string"}}}}}}});
    let kind = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "configmapgenerators.nullable.se"},
        "spec": {"group": "nullable.se", "scope": "Namespaced", "versions": [version],
            "names": {"kind": "ConfigMapGenerator", "plural": "configmapgenerators", "singular": "configmapgenerator"}}});
    cluster.apply(&kind.to_string());
    let generator = |content: &str| {
        json!({"apiVersion": "nullable.se/v1", "kind": "ConfigMapGenerator",
            "metadata": {"name": "generated"}, "spec": {"content": content}})
    };
    create(cluster, &generator("one"));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let config = kube::config::Kubeconfig::read_from(cluster.kubeconfig()).unwrap();
    runtime.spawn(async move {
        let config = Config::from_custom_kubeconfig(config, &Default::default()).await.unwrap();
        let client = Client::try_from(config).unwrap();
        let generators = Api::default_namespaced_with(client.clone(), &generator_kind());
        let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
        Controller::new_with(generators, watcher::Config::default(), generator_kind())
            .owns(maps, watcher::Config::default())
            .run(generate, |_, _, _| Action::requeue(Duration::from_millis(200)), Arc::new(client))
            .for_each(|_| std::future::ready(()))
            .await;
    });
    let map = || {
        let path = "jsonpath={.data.content} {.metadata.ownerReferences[0].kind} {.metadata.uid}";
        let get = ["get", "configmap", "generated", "--ignore-not-found", "-o", path];
        cluster.kubectl(&get).stdout
    };
    let becomes = |wanted: &str| {
        eventually(wanted, || {
            let map = map();
            if map.starts_with(&format!("{wanted} ConfigMapGenerator ")) {
                Ok(map)
            } else {
                Err(map)
            }
        })
    };
    becomes("one");
    cluster.apply(&generator("two").to_string());
    let before = becomes("two");
    cluster.run(&["delete", "configmap", "generated", "--wait=false"]);
    eventually("what somebody removed comes back", || {
        let now = map();
        if now.starts_with("two ") && now != before { Ok(()) } else { Err(now) }
    });
    cluster.run(&["delete", "configmapgenerator", "generated"]);
    eventually("the ConfigMap goes with its owner", || {
        let left = map();
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
}

/// A git repository of a test, and where its archive is served in the cluster.
struct Repository<'a> {
    cluster: &'a Cluster,
    folder: std::path::PathBuf,
}

impl Repository<'_> {
    fn git(&self, arguments: &[&str]) -> Vec<u8> {
        let output = Command::new("git")
            .args(["-c", "user.name=test", "-c", "user.email=test@example.com"])
            .args(arguments)
            .current_dir(&self.folder)
            .output()
            .unwrap();
        assert!(output.status.success(), "git {arguments:?}: {output:?}");
        output.stdout
    }

    /// Commits the folder, and serves what is committed.
    fn push(&self) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "-q", "-m", "as it is now"]);
        let archive = STANDARD.encode(self.git(&["archive", "--format=tar.gz", "HEAD"]));
        let files = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "git-files"},
            "binaryData": {"main.tar.gz": archive}});
        self.cluster.apply(&files.to_string());
    }

    fn write(&self, name: &str, value: &str) {
        let text = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{value: {value}}}\n"
        );
        std::fs::write(self.folder.join(format!("{name}.yaml")), text).unwrap();
    }
}

/// `examples/git-apply`: a commit changes the cluster, drift is put back, what is removed goes.
fn repository(cluster: &Cluster) {
    push(cluster, "examples/git-apply", &[("git-apply:1", "git-apply.wasm")]);
    let folder = cluster.folder().join("repository");
    std::fs::create_dir_all(&folder).unwrap();
    let repository = Repository { cluster, folder };
    repository.git(&["init", "-q"]);
    repository.write("colour", "red");
    repository.write("old", "there");
    repository.push();
    let server = json!({"name": "git", "image": "registry.coracle.internal/git:1",
        "volumeMounts": [{"name": "files", "mountPath": "/usr/share/nginx/html/files"}]});
    let pod = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "git", "labels": {"app": "git"}},
        "spec": {"containers": [server], "volumes": [{"name": "files", "configMap": {"name": "git-files"}}]}});
    cluster.apply(&pod.to_string());
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "git"},
        "spec": {"selector": {"app": "git"}, "ports": [{"port": 80}]}});
    cluster.apply(&service.to_string());
    let file = std::fs::read_to_string(root().join("examples/git-apply/git-apply.yaml")).unwrap();
    let file = file.replace("every-seconds: \"30\"", "every-seconds: \"1\"");
    cluster.apply(&file.replace("http://git/", "http://git/files/"));
    let value = |name: &str| {
        let path = "jsonpath={.data.value}";
        cluster.kubectl(&["get", "configmap", name, "-o", path, "--ignore-not-found"]).stdout
    };
    let becomes = |name: &str, wanted: &str| {
        eventually(&format!("{name} is '{wanted}'"), || {
            let log = || cluster.kubectl(&["logs", "deploy/git-apply", "--tail=5"]);
            if value(name) == wanted { Ok(()) } else { Err(log()) }
        });
    };
    becomes("colour", "red");
    becomes("old", "there");
    let drift = r#"{"data":{"value":"by hand"}}"#;
    cluster.run(&["patch", "configmap", "colour", "--type=merge", "-p", drift]);
    becomes("colour", "red");
    repository.write("colour", "green");
    std::fs::remove_file(repository.folder.join("old.yaml")).unwrap();
    repository.push();
    becomes("colour", "green");
    becomes("old", "");
    assert!(!cluster.run(&["get", "configmap", "git-files", "-o", "name"]).is_empty());
}

fn says(port: u16, text: &str) {
    eventually(text, || match get(port, "/") {
        Ok(answer) if answer.body == text => Ok(()),
        other => Err(other),
    });
}

/// `examples/audit-limits`: nothing without rights, an Event with them, and a refusal by policy.
fn limits(cluster: &Cluster) {
    push(cluster, "examples/audit-limits", &[("audit-limits:1", "audit-limits.wasm")]);
    apply_file(cluster, "examples/audit-limits/audit.yaml");
    cluster.run(&["delete", "clusterrolebinding", "audit-limits"]);
    cluster.run(&["-n", "audit", "delete", "pod", "-l", "app=audit-limits"]);
    eventually("without rights it is refused", || {
        let log = cluster.kubectl(&["-n", "audit", "logs", "deploy/audit-limits"]);
        if log.stdout.contains("(403)") { Ok(()) } else { Err(log) }
    });
    apply_file(cluster, "examples/audit-limits/audit.yaml");
    let pod = |name: &str, limits: Value| {
        let container = json!({"name": "main", "image": HELLO, "resources": {"limits": limits}});
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"containers": [container]}})
        .to_string()
    };
    cluster.apply(&pod("modest", json!({"memory": "32Mi"})));
    cluster.apply(&pod("greedy", json!({})));
    eventually("the pod without a limit is told", || {
        let told = cluster.run(&["get", "events", "-o", "json"]);
        let told: Value = serde_json::from_str(&told).unwrap();
        let items = told["items"].as_array().cloned().unwrap_or_default();
        let found = items.into_iter().filter(|event| event["reason"] == "NoMemoryLimit");
        let pods: Vec<Value> = found.map(|event| event["involvedObject"]["name"].clone()).collect();
        assert!(!pods.contains(&json!("modest")), "{pods:?}");
        if pods.contains(&json!("greedy")) { Ok(()) } else { Err(pods) }
    });
    cluster.run(&["create", "namespace", "strict"]);
    cluster.run(&["label", "namespace", "strict", "memory-limits=required"]);
    eventually("the policy holds", || {
        let output =
            cluster.kubectl_with(&["-n", "strict", "create", "-f", "-"], &pod("greedy", json!({})));
        let refused = output.stderr.contains("every container needs resources.limits.memory");
        if refused {
            return Ok(());
        }
        cluster.run(&["-n", "strict", "delete", "pod", "greedy", "--now", "--ignore-not-found"]);
        Err(output)
    });
    cluster.run(&["delete", "pod", "greedy", "modest", "--now", "--wait=false"]);
}

/// `examples/staged-rollout`: steps are taken in order, each held for its pause.
fn rollouts(cluster: &Cluster) {
    let images = [("rollout/controller:1", "rollout-controller.wasm")];
    push(cluster, "examples/staged-rollout", &images);
    apply_file(cluster, "examples/staged-rollout/controller.yaml");
    let rollout = |image: &str| {
        json!({"apiVersion": "example.coracle.dev/v1", "kind": "Rollout",
            "metadata": {"name": "web"},
            "spec": {"image": format!("registry.coracle.internal/{image}"), "pods": 3,
                "steps": [{"pods": 1, "pauseSeconds": 1.5}, {"pods": 2, "pauseSeconds": 0.5}]}})
    };
    create(cluster, &rollout("hello:1"));
    done(cluster, "hello:1");
    cluster.apply(&rollout("hello:2").to_string());
    done(cluster, "hello:2");
    // Each step is reached, waited for, and left behind. A write that has to be tried again is told again.
    eventually("the steps are told in order", || {
        let log = cluster.run(&["logs", "deploy/rollout-controller"]);
        let mut new: Vec<&str> = log.lines().filter(|line| line.contains("hello:2:")).collect();
        new.dedup();
        let pods: Vec<&str> = new.iter().filter_map(|line| line.split(' ').nth(1)).collect();
        if pods == ["1", "1", "2", "2", "3"] { Ok(()) } else { Err(log) }
    });
    let images = "jsonpath={.items[*].spec.template.spec.containers[0].image}";
    eventually("the old version is gone", || {
        let left = cluster.run(&["get", "deploy", "-l", "rollout=web", "-o", images]);
        if left == "registry.coracle.internal/hello:2" { Ok(()) } else { Err(left) }
    });
}

fn done(cluster: &Cluster, image: &str) {
    eventually(image, || {
        let rollout = cluster.get(&["rollout.example.coracle.dev", "web"]);
        let status = &rollout["status"];
        let image = format!("registry.coracle.internal/{image}");
        if status["phase"] == "Done" && status["image"] == image.as_str() {
            return Ok(());
        }
        Err((rollout.clone(), cluster.kubectl(&["logs", "deploy/rollout-controller"])))
    });
}

/// The steps of a rollout on a clock of their own.
#[test]
fn steps_are_decided_by_a_clock_that_is_given() {
    let folder = root().join("examples/staged-rollout");
    let place = tempfile::tempdir().unwrap();
    let tests = place.path().join("steps");
    let status = Command::new("rustc")
        .args(["--test", "--edition", "2024", "steps/src/lib.rs", "-o"])
        .arg(&tests)
        .current_dir(folder)
        .status()
        .unwrap();
    assert!(status.success());
    let output = Command::new(tests).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("3 passed"), "{said}");
}
