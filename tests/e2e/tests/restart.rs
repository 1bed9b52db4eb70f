//! Parts that meet only at the API, and come back with what they missed.
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use coracle_e2e::{Cluster, HELLO, build_guests, container, eventually, get, pod, sh};
use serde_json::{Value, json};

const PROBE: &str = "registry.coracle.internal/net-probe:1";

const AUDIT: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: Metadata\n";

fn answers(port: u16) -> Result<(), String> {
    let answer = get(port, "/")?;
    if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) }
}

/// What a probe that serves says to one connection.
fn ask(port: u16) -> Result<String, String> {
    let said = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(said)?;
    // An answer that comes too late counts as an end of the container, whose next start is put off.
    stream.set_read_timeout(Some(Duration::from_secs(30))).map_err(said)?;
    stream.write_all(b"hello\n").map_err(said)?;
    let _half = stream.shutdown(std::net::Shutdown::Write);
    let mut text = String::new();
    stream.read_to_string(&mut text).map_err(said)?;
    if text.contains("hello") { Ok(text) } else { Err(format!("{text:?}")) }
}

fn node_port(name: &str, target: u16, port: u16) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"type": "NodePort", "selector": {"app": name}, "publishNotReadyAddresses": true,
            "ports": [{"port": 80, "targetPort": target, "nodePort": port}]}})
}

fn restarts(cluster: &Cluster, name: &str) -> u64 {
    let pod = cluster.get(&["pod", name]);
    pod["status"]["containerStatuses"][0]["restartCount"].as_u64().unwrap()
}

/// Rows `cp.one-api`, `cp.down-recover`, `cp.down-crash`.
#[test]
fn parts_meet_at_the_api_and_come_back_with_what_they_missed() {
    let guests = build_guests("tests/guests");
    let mut cluster = Cluster::start_flags(|folder| {
        let policy = folder.join("audit-policy.yaml");
        std::fs::write(&policy, AUDIT).unwrap();
        vec!["--audit-policy-file".to_owned(), policy.to_str().unwrap().to_owned()]
    });
    cluster.wait_ready();
    cluster.push_guests(&guests);
    cluster.push("net-probe:1", &guests.join("net-probe.wasm"));
    defaults_are_there(&cluster);
    a_scheduler_from_outside_binds(&cluster);
    let (web, once) = (cluster.node_port(0), cluster.node_port(1));
    let probe = json!({"args": ["serve 0.0.0.0:7000 1"], "ports": [{"containerPort": 7000}]});
    let hello = json!({"ports": [{"containerPort": 8080}]});
    cluster.make(&[
        pod("web", &json!({"containers": [container("c", HELLO, &hello)]})),
        node_port("web", 8080, web),
        pod("once", &json!({"containers": [container("c", PROBE, &probe)]})),
        node_port("once", 7000, once),
    ]);
    let before = cluster.ready("web")["metadata"]["uid"].clone();
    cluster.ready("once");
    eventually("web answers", || answers(web));
    all_writes_are_in_the_audit_log(&cluster);
    down_and_up(&mut cluster, web, once);
    assert_eq!(cluster.ready("web")["metadata"]["uid"], before);
    cluster.run(&["create", "configmap", "after"]);
}

fn defaults_are_there(cluster: &Cluster) {
    eventually("a default storage class", || {
        let classes = cluster.get(&["storageclasses"]);
        let is_default = |class: &Value| {
            let annotations = &class["metadata"]["annotations"];
            annotations["storageclass.kubernetes.io/is-default-class"] == "true"
        };
        let found = classes["items"].as_array().unwrap().iter().any(is_default);
        if found { Ok(()) } else { Err(classes) }
    });
    let classes = cluster.get(&["ingressclasses"]);
    assert!(!classes["items"].as_array().unwrap().is_empty(), "{classes}");
    let script = "nslookup kubernetes.default.svc.cluster.local";
    let names = json!({"restartPolicy": "Never", "containers": [sh("c", script, &json!({}))]});
    cluster.make(&[pod("names", &names)]);
    assert!(cluster.printed("names").contains("10.96.0.1"));
    eventually("metrics of the node", || {
        let top = cluster.kubectl(&["top", "node"]);
        if top.ok { Ok(()) } else { Err(top) }
    });
}

/// A pod that asks for another scheduler is left alone by ours, and runs when somebody else binds it.
fn a_scheduler_from_outside_binds(cluster: &Cluster) {
    let script = "while true; do sleep 1; done";
    let outside = json!({"schedulerName": "outside", "containers": [sh("c", script, &json!({}))]});
    let ours = json!({"containers": [sh("c", script, &json!({}))]});
    cluster.make(&[pod("outside", &outside), pod("ours", &ours)]);
    cluster.ready("ours");
    let left = cluster.get(&["pod", "outside"]);
    assert!(left["spec"]["nodeName"].is_null(), "{left}");
    let node = cluster.get(&["nodes"])["items"][0]["metadata"]["name"].clone();
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "outside"},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node}});
    let path = "/api/v1/namespaces/default/pods/outside/binding";
    let bound = cluster.kubectl_with(&["create", "--raw", path, "-f", "-"], &binding.to_string());
    assert!(bound.ok, "{bound:?}");
    cluster.ready("outside");
}

/// Who did what to what, by the audit log.
fn audited(cluster: &Cluster) -> BTreeSet<(String, String, String)> {
    let text = std::fs::read_to_string(cluster.data().join("audit.log")).unwrap();
    let mut found = BTreeSet::new();
    for line in text.lines() {
        let Ok(entry) = serde_json::from_str::<Value>(line) else { continue };
        if entry["stage"] != "ResponseComplete" {
            continue;
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let object = &entry["objectRef"];
        let mut what = format!("{}/{}", text(&object["resource"]), text(&object["name"]));
        if let Some(part) = object["subresource"].as_str() {
            what = format!("{what}/{part}");
        }
        found.insert((text(&entry["user"]["username"]), text(&entry["verb"]), what));
    }
    found
}

/// Every part's writes went through the API under its own name.
fn all_writes_are_in_the_audit_log(cluster: &Cluster) {
    let node = cluster.get(&["nodes"])["items"][0]["metadata"]["name"].as_str().unwrap().to_owned();
    let host = format!("system:node:{node}");
    let slices = cluster.get(&["endpointslices", "-l", "kubernetes.io/service-name=web"]);
    let slice = slices["items"][0]["metadata"]["name"].as_str().unwrap().to_owned();
    eventually("the audit log has it all", || {
        let found = audited(cluster);
        let did = |user: &str, verbs: &[&str], what: &str| {
            let is = |(u, v, w): &(String, String, String)| {
                u.as_str() == user && verbs.contains(&v.as_str()) && w.as_str() == what
            };
            found.iter().any(is)
        };
        let writes = ["create", "update", "patch"];
        let missing: Vec<&str> = [
            ("a user's pod", did("coracle-admin", &["create"], "pods/web")),
            ("its status", did(&host, &writes, "pods/web/status")),
            ("the node", did(&host, &writes, &format!("nodes/{node}/status"))),
            ("the heartbeat", did(&host, &writes, &format!("leases/{node}"))),
            (
                "the scheduler's Lease",
                did("system:kube-scheduler", &writes, "leases/kube-scheduler"),
            ),
            ("the binding from outside", did("coracle-admin", &writes, "pods/outside/binding")),
        ]
        .into_iter()
        .filter_map(|(what, there)| (!there).then_some(what))
        .collect();
        // Of what is bound and sliced, some part of the server is the author.
        let by_parts = |what: &str| {
            let is = |(user, verb, w): &(String, String, String)| {
                user.starts_with("system:kube-") && writes.contains(&verb.as_str()) && w == what
            };
            found.iter().any(is)
        };
        let sliced = found.iter().any(|(user, verb, what)| {
            user.starts_with("system:kube-")
                && verb == "create"
                && (what == "endpointslices/" || *what == format!("endpointslices/{slice}"))
        });
        let well = missing.is_empty() && by_parts("pods/web/binding") && sliced;
        if well { Ok(()) } else { Err((missing, sliced)) }
    });
}

/// The server is gone for a while: pods serve, a container that ends and a host that is killed come back; then the API
/// shows it.
fn down_and_up(cluster: &mut Cluster, web: u16, once: u16) {
    let (web_before, once_before) = (restarts(cluster, "web"), restarts(cluster, "once"));
    let ip =
        |name: &str| cluster.get(&["pod", name])["status"]["podIP"].as_str().unwrap().to_owned();
    cluster.saved_as_ready(&[ip("web"), ip("once")]);
    cluster.kill_server();
    assert!(!cluster.kubectl(&["get", "pods"]).ok, "nobody answers");
    let (going, failed) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU32::new(0)));
    let asker = thread::spawn({
        let (going, failed) = (Arc::clone(&going), Arc::clone(&failed));
        move || {
            while going.load(Ordering::Relaxed) {
                failed.fetch_add(u32::from(answers(web).is_err()), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(10));
            }
        }
    });
    // The container ends after one connection; that it answers again says that it was started anew.
    eventually("the container answers", || ask(once));
    eventually("the container is back", || ask(once));
    going.store(false, Ordering::Relaxed);
    asker.join().unwrap();
    assert_eq!(failed.load(Ordering::Relaxed), 0, "requests failed while there was no server");
    // What a host keeps of its pods is on the disk a moment later; what is not there ends with it.
    eventually("the host has kept that the container was started anew", || {
        let pods = std::fs::read_dir(cluster.data().join("host/checkpoint/pods")).unwrap();
        let kept = pods.filter_map(|pod| std::fs::read(pod.unwrap().path()).ok());
        let kept: Vec<Value> = kept.filter_map(|pod| serde_json::from_slice(&pod).ok()).collect();
        let once = kept.iter().find(|kept| kept["pod"]["metadata"]["name"] == "once").cloned();
        let count = once.map(|once| once["containers"][0]["restart_count"].as_u64());
        if count.flatten() > Some(once_before) { Ok(()) } else { Err(count) }
    });
    cluster.kill_host();
    eventually("the host brings its pods back", || answers(web));
    cluster.start_server();
    cluster.wait_ready();
    eventually("the API shows the restarts of that time", || {
        let now = (restarts(cluster, "web"), restarts(cluster, "once"));
        // One by the host's end; of the other also the end after the first connection.
        if now.0 > web_before && now.1 >= once_before + 2 { Ok(()) } else { Err(now) }
    });
}

fn everything(cluster: &Cluster) -> BTreeSet<(String, String, String)> {
    let kinds = "namespaces,nodes,deployments,replicasets,pods,services,endpointslices,cronjobs,configmaps,secrets,\
                 customresourcedefinitions,clusterroles,serviceaccounts";
    let all = cluster.get(&[kinds, "-A"]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let items = all["items"].as_array().unwrap().iter();
    items
        .map(|item| {
            let metadata = &item["metadata"];
            let name = format!("{}/{}", text(&metadata["namespace"]), text(&metadata["name"]));
            (text(&item["kind"]), name, text(&metadata["uid"]))
        })
        .collect()
}

/// Row `cp.single-store`: with the store's file and the keys, and nothing else, everything is there again.
#[test]
fn a_server_is_rebuilt_from_its_store_alone() {
    let mut cluster = Cluster::start_flags(|_| vec!["--no-host".to_owned()]);
    eventually("the API answers", || {
        let got = cluster.kubectl(&["get", "namespace", "default"]);
        if got.ok { Ok(()) } else { Err(got) }
    });
    cluster.run(&["create", "deployment", "web", "--image=web:1", "--replicas=2"]);
    cluster.run(&["expose", "deployment", "web", "--port=80"]);
    cluster.run(&["create", "cronjob", "tick", "--image=tick:1", "--schedule=0 0 1 1 *"]);
    cluster.run(&["create", "secret", "generic", "kept", "--from-literal=word=open"]);
    cluster.apply("{apiVersion: v1, kind: Node, metadata: {name: elsewhere}}");
    eventually("pods and slices are there", || {
        let pods = cluster.run(&["get", "pods", "-o", "name"]);
        let slices = cluster.run(&["get", "endpointslices", "-o", "name"]);
        let well = pods.lines().count() == 2 && slices.contains("/web-");
        if well { Ok(()) } else { Err((pods, slices)) }
    });
    let before = everything(&cluster);
    cluster.kill_server();
    let former = cluster.folder().join("former");
    std::fs::rename(cluster.data(), &former).unwrap();
    std::fs::create_dir(cluster.data()).unwrap();
    for kept in ["store.redb", "pki"] {
        std::fs::rename(former.join(kept), cluster.data().join(kept)).unwrap();
    }
    cluster.start_server();
    eventually("everything is there again", || {
        let got = cluster.kubectl(&["get", "namespace", "default"]);
        if !got.ok {
            return Err((got.stderr, BTreeSet::new()));
        }
        let now = everything(&cluster);
        if before.is_subset(&now) {
            Ok(())
        } else {
            Err((String::new(), before.difference(&now).cloned().collect()))
        }
    });
    let secret = cluster.run(&["get", "secret", "kept", "-o", "jsonpath={.data.word}"]);
    assert_eq!(secret, "b3Blbg==");
}

/// What the same files have to make the same: kind, name, and what was asked for. Addresses that are drawn, times and
/// names that end at random are not in the files.
fn asked_for(cluster: &Cluster) -> BTreeSet<String> {
    let kinds = "deployments,replicasets,services,configmaps,namespaces,roles,rolebindings,quota,limits,netpol,pdb,\
        priorityclasses,storageclasses,ingressclasses,customresourcedefinitions,cronjobs";
    let all = cluster.get(&[kinds, "-A"]);
    let mut found = BTreeSet::new();
    for item in all["items"].as_array().unwrap() {
        let mut item = item.clone();
        let name = format!("{}/{}", item["metadata"]["namespace"], item["metadata"]["name"]);
        // The first Service is the servers' own, and its authorities are each cluster's own.
        let own = [
            "\"kubernetes\"",
            "kube-root-ca.crt",
            "cluster-info",
            "extension-apiserver-authentication",
        ];
        if own.iter().any(|own| name.contains(own)) {
            continue;
        }
        for drawn in ["clusterIP", "clusterIPs"] {
            if let Some(spec) = item.get_mut("spec").and_then(Value::as_object_mut) {
                spec.remove(drawn);
            }
        }
        let labels = &item["metadata"]["labels"];
        let parts = ["spec", "data", "rules", "roleRef", "value", "provisioner"];
        let parts: Vec<String> = parts.iter().map(|part| item[*part].to_string()).collect();
        found.insert(format!("{} {name} {labels} {}", item["kind"], parts.join(" ")));
    }
    found
}

const FILES: [(&str, &str); 3] = [
    ("audit.yaml", AUDIT),
    (
        "scheduler.yaml",
        "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\nprofiles:\n\
         - schedulerName: default-scheduler\n- schedulerName: packer\n",
    ),
    ("shop.yaml", SHOP),
];

const SHOP: &str = "apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: a}}
---
apiVersion: v1
kind: ResourceQuota
metadata: {name: quota, namespace: shop}
spec: {hard: {pods: '5'}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: shop}
data: {colour: green}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {schedulerName: packer, containers: [{name: c, image: 'web:1'}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gadgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {kind: Gadget, plural: gadgets}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
";

/// Row `os.iac`: files describe the cluster, its settings and all that is in it; read twice, they make the same.
#[test]
fn the_same_files_make_the_same_cluster() {
    let make = || {
        let cluster = Cluster::start_flags(|folder| {
            for (name, text) in FILES {
                std::fs::write(folder.join(name), text).unwrap();
            }
            let flag = |name: &str, file: &str| format!("--{name}={}", folder.join(file).display());
            vec![
                "--no-host".to_owned(),
                flag("audit-policy-file", "audit.yaml"),
                flag("scheduler-config", "scheduler.yaml"),
            ]
        });
        eventually("the API answers", || {
            let got = cluster.kubectl(&["get", "namespace", "default"]);
            if got.ok { Ok(()) } else { Err(got) }
        });
        let file = cluster.folder().join("shop.yaml");
        cluster.run(&["apply", "-f", file.to_str().unwrap()]);
        cluster
    };
    let (one, two) = (make(), make());
    eventually("both clusters are the same", || {
        let (one, two) = (asked_for(&one), asked_for(&two));
        let shop = one.iter().filter(|line| line.contains("\"shop\"")).count();
        if one == two && shop >= 6 {
            return Ok(());
        }
        Err(one.symmetric_difference(&two).cloned().collect::<Vec<_>>())
    });
    // The profile is honoured, and the files say no more than there is.
    for cluster in [&one, &two] {
        let path = "jsonpath={.items[*].spec.schedulerName}";
        eventually("the pods are there, with their scheduler", || {
            let names = cluster.run(&["get", "pods", "-n", "shop", "-o", path]);
            if names == "packer packer" { Ok(()) } else { Err(names) }
        });
        let events = ["get", "events", "-n", "shop", "-o", "jsonpath={.items[*].message}"];
        eventually("the scheduler looks after them", || {
            let said = cluster.run(&events);
            if said.contains("no nodes available") { Ok(()) } else { Err(said) }
        });
        let file = cluster.folder().join("shop.yaml");
        let again = cluster.run(&["apply", "-f", file.to_str().unwrap()]);
        assert!(again.lines().all(|line| line.ends_with(" unchanged")), "{again}");
    }
}
