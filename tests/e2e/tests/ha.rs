//! Three servers on one etcd: any of them may be killed, stopped or added while clients write and pods serve.
#![expect(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "a test")]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use coracle_e2e::{Servers, build_guests, eventually, get};
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, Config};
use serde_json::{Value, json};

const NODE: &str = "node-a";

async fn client(servers: &Servers, index: usize) -> Client {
    let kubeconfig = kube::config::Kubeconfig::read_from(servers.kubeconfig(index)).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

/// The servers that run, by the endpoints of the `kubernetes` Service.
fn endpoints(servers: &Servers, at: usize) -> BTreeSet<String> {
    let slices =
        servers.get(at, &["endpointslices", "-l", "kubernetes.io/service-name=kubernetes"]);
    let mut found = BTreeSet::new();
    for slice in slices["items"].as_array().unwrap() {
        for endpoint in slice["endpoints"].as_array().unwrap() {
            let port = &slice["ports"][0]["port"];
            found.insert(format!("https://{}:{port}", endpoint["addresses"][0].as_str().unwrap()));
        }
    }
    found
}

fn expect_endpoints(servers: &Servers, at: usize, running: &[usize]) {
    let expected: BTreeSet<String> = running.iter().map(|index| servers.url(*index)).collect();
    eventually("the endpoints are the servers that run", || {
        let found = endpoints(servers, at);
        if found == expected { Ok(()) } else { Err((found, expected.clone(), servers.logs())) }
    });
}

fn lease(servers: &Servers, at: usize, name: &str) -> Value {
    servers.get(at, &["lease", name, "-n", "kube-system"])["spec"].clone()
}

/// Which server holds a Lease, by the files in which servers keep who they are.
fn leader(servers: &Servers, at: usize, name: &str) -> usize {
    let holder = lease(servers, at, name)["holderIdentity"].as_str().unwrap().to_owned();
    let is = |index: &usize| {
        let id = servers.kubeconfig(*index).with_file_name("server-id");
        holder.ends_with(std::fs::read_to_string(id).unwrap().trim())
    };
    (0..servers.count()).find(is).unwrap_or_else(|| panic!("{holder} is no server"))
}

fn serve_hello(servers: &Servers) -> u16 {
    servers.push("hello:1", &build_guests("tests/guests").join("hello_http.wasm"));
    let port = servers.node_port();
    let template = json!({"metadata": {"labels": {"app": "hello"}}, "spec": {"containers": [
        {"name": "hello", "image": "registry.coracle.internal/hello:1", "ports": [{"containerPort": 8080}]}]}});
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "hello"},
            "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "hello"}}, "template": template}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "hello"}, "spec": {"type": "NodePort",
            "selector": {"app": "hello"}, "ports": [{"port": 80, "targetPort": 8080, "nodePort": port}]}}]});
    let applied = servers.kubectl_with(1, &["apply", "-f", "-"], &list.to_string());
    assert!(applied.ok, "{applied:?}");
    servers.run(2, &["rollout", "status", "deployment/hello", "--timeout=180s"]);
    eventually("hello answers", || answers(port));
    port
}

fn answers(port: u16) -> Result<(), String> {
    let answer = get(port, "/")?;
    if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) }
}

/// Asks a port all along; tells how often it was asked, and how often in vain.
struct Asker {
    going: Arc<AtomicBool>,
    task: thread::JoinHandle<(u32, u32)>,
}

impl Asker {
    fn start(port: u16) -> Asker {
        let going = Arc::new(AtomicBool::new(true));
        let task = thread::spawn({
            let going = Arc::clone(&going);
            move || {
                let (mut asked, mut failed) = (0, 0);
                while going.load(Ordering::Relaxed) {
                    asked += 1;
                    failed += u32::from(answers(port).is_err());
                    thread::sleep(Duration::from_millis(20));
                }
                (asked, failed)
            }
        });
        Asker { going, task }
    }

    fn stop(self) -> (u32, u32) {
        self.going.store(false, Ordering::Relaxed);
        self.task.join().unwrap()
    }
}

/// Writes through whichever server answers; the names that were acknowledged.
async fn write_all_along(
    clients: Vec<Client>,
    going: Arc<AtomicBool>,
    count: Arc<AtomicU32>,
) -> Vec<String> {
    let (mut acknowledged, mut at) = (Vec::new(), 0);
    for number in 0.. {
        if !going.load(Ordering::Relaxed) {
            break;
        }
        let name = format!("map-{number}");
        let map = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
        loop {
            let maps: Api<ConfigMap> =
                Api::namespaced(clients[at % clients.len()].clone(), "default");
            let parameters = PostParams::default();
            let made = maps.create(&parameters, &map);
            match tokio::time::timeout(Duration::from_secs(5), made).await {
                Ok(Ok(_)) => break,
                // An earlier try, of which no answer came, had its effect.
                Ok(Err(kube::Error::Api(status))) if status.reason == "AlreadyExists" => break,
                Ok(Err(_)) | Err(_) => at += 1,
            }
        }
        acknowledged.push(name);
        count.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    acknowledged
}

#[test]
fn servers_share_a_cluster_and_any_of_them_may_go() {
    let mut servers = Servers::start(3);
    expect_endpoints(&servers, 1, &[0, 1, 2]);
    servers.join_host(NODE);
    let port = serve_hello(&servers);
    let asker = Asker::start(port);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let going = Arc::new(AtomicBool::new(true));
    let count = Arc::new(AtomicU32::new(0));
    let clients: Vec<Client> =
        (0..3).map(|index| runtime.block_on(client(&servers, index))).collect();
    let writing = runtime.spawn(write_all_along(clients, Arc::clone(&going), Arc::clone(&count)));

    leases_tell_who_leads(&servers);
    // The leader is killed: another server answers at once, and leads soon.
    let killed = leader(&servers, 0, "kube-controller-manager");
    let other = (killed + 1) % 3;
    servers.kill(killed);
    eventually("kubectl works", || {
        let made = servers.kubectl(other, &["create", "configmap", "after-the-kill"]);
        let got = servers.kubectl(other, &["get", "configmap", "after-the-kill"]);
        if got.ok { Ok(()) } else { Err((made, got)) }
    });
    servers.run(other, &["scale", "deployment", "hello", "--replicas=3"]);
    servers.run(other, &["rollout", "status", "deployment/hello", "--timeout=180s"]);
    assert_ne!(leader(&servers, other, "kube-controller-manager"), killed);
    let left: Vec<usize> = (0..3).filter(|index| *index != killed).collect();
    expect_endpoints(&servers, other, &left);
    servers.start_server(killed);
    expect_endpoints(&servers, other, &[0, 1, 2]);

    // The server that the host asks is stopped in order; the host stays Ready, and its containers are reached.
    let before = count.load(Ordering::Relaxed);
    servers.stop(0);
    expect_endpoints(&servers, 1, &[1, 2]);
    eventually("writes go on", || {
        let now = count.load(Ordering::Relaxed);
        if now > before + 20 { Ok(()) } else { Err(now) }
    });
    host_is_reached(&servers, 1);
    host_is_reached(&servers, 2);

    going.store(false, Ordering::Relaxed);
    let acknowledged = runtime.block_on(writing).unwrap();
    let names = servers.run(2, &["get", "configmaps", "-o", "jsonpath={.items[*].metadata.name}"]);
    let there: BTreeSet<&str> = names.split(' ').collect();
    let lost: Vec<_> = acknowledged.iter().filter(|name| !there.contains(name.as_str())).collect();
    assert!(lost.is_empty(), "{} of {} are lost: {lost:?}", lost.len(), acknowledged.len());
    let (asked, failed) = asker.stop();
    assert_eq!(failed, 0, "of {asked} requests to pods");

    let clients: Vec<Client> = [1, 2].map(|index| runtime.block_on(client(&servers, index))).into();
    runtime.block_on(addresses_are_given_once(&clients));
    runtime.block_on(quotas_hold(&clients));
    runtime.block_on(no_update_is_lost(&clients));
}

/// Both Leases name their holder, since when, and until now.
fn leases_tell_who_leads(servers: &Servers) {
    for name in ["kube-scheduler", "kube-controller-manager"] {
        let before = lease(servers, 0, name);
        for field in ["holderIdentity", "acquireTime", "renewTime"] {
            assert!(before[field].is_string(), "{field}: {before}");
        }
        eventually("the Lease is renewed", || {
            let now = lease(servers, 1, name);
            let same = now["holderIdentity"] == before["holderIdentity"]
                && now["acquireTime"] == before["acquireTime"];
            let renewed = now["renewTime"].as_str() > before["renewTime"].as_str();
            if same && renewed { Ok(()) } else { Err((now, before.clone())) }
        });
    }
}

/// The node is Ready, and this server reaches its host.
fn host_is_reached(servers: &Servers, at: usize) {
    eventually("the server reaches the host", || {
        let path = "jsonpath={.status.conditions[?(@.type=='Ready')].status}";
        let ready = servers.kubectl(at, &["get", "node", NODE, "-o", path]);
        let logs = servers.kubectl(at, &["logs", "deployment/hello"]);
        let well = ready.stdout == "True" && logs.ok;
        if well { Ok(()) } else { Err(format!("{ready:?} {logs:?} {}", servers.logs())) }
    });
}

/// Services that are made through all servers at once have addresses and node ports of their own.
async fn addresses_are_given_once(clients: &[Client]) {
    let make = |number: usize| {
        let services: Api<Service> =
            Api::namespaced(clients[number % clients.len()].clone(), "default");
        let service =
            serde_json::from_value(json!({"metadata": {"name": format!("service-{number}")},
            "spec": {"type": "NodePort", "ports": [{"port": 80}]}}));
        async move { services.create(&PostParams::default(), &service.unwrap()).await.unwrap() }
    };
    let made = futures::future::join_all((0..24).map(make)).await;
    let spec = |service: &Service| service.spec.clone().unwrap();
    let ips: BTreeSet<_> = made.iter().map(|s| spec(s).cluster_ip.unwrap()).collect();
    let ports: BTreeSet<_> =
        made.iter().map(|s| spec(s).ports.unwrap()[0].node_port.unwrap()).collect();
    assert_eq!((ips.len(), ports.len()), (24, 24));
    // What one server freed, another gives out.
    let asked = spec(&made[0]).cluster_ip.unwrap();
    let services: Api<Service> = Api::namespaced(clients[0].clone(), "default");
    services.delete("service-0", &Default::default()).await.unwrap();
    let again = json!({"metadata": {"name": "again"}, "spec": {"clusterIP": asked, "ports": [{"port": 80}]}});
    let services: Api<Service> = Api::namespaced(clients[1].clone(), "default");
    services.create(&PostParams::default(), &serde_json::from_value(again).unwrap()).await.unwrap();
}

/// A quota is no wider for two servers than for one.
async fn quotas_hold(clients: &[Client]) {
    use k8s_openapi::api::core::v1::{Namespace, ResourceQuota};
    let object = json!({"metadata": {"name": "small"}});
    let namespaces: Api<Namespace> = Api::all(clients[0].clone());
    namespaces
        .create(&PostParams::default(), &serde_json::from_value(object).unwrap())
        .await
        .unwrap();
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": {"count/secrets": "7"}}});
    let quotas: Api<ResourceQuota> = Api::namespaced(clients[0].clone(), "small");
    quotas.create(&PostParams::default(), &serde_json::from_value(quota).unwrap()).await.unwrap();
    for _ in 0..1_800 {
        let status = quotas.get("q").await.unwrap().status.unwrap_or_default();
        if status.hard.is_some_and(|hard| hard.contains_key("count/secrets")) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let make = |number: usize| {
        let secrets: Api<k8s_openapi::api::core::v1::Secret> =
            Api::namespaced(clients[number % clients.len()].clone(), "small");
        let secret = serde_json::from_value(json!({"metadata": {"name": format!("s-{number}")}}));
        async move { secrets.create(&PostParams::default(), &secret.unwrap()).await.is_ok() }
    };
    let made = futures::future::join_all((0..30).map(make)).await;
    assert!(made.iter().filter(|made| **made).count() <= 7, "{made:?}");
}

/// Clients that read, change and write again on a conflict, at all servers at once, lose nothing of each other's.
async fn no_update_is_lost(clients: &[Client]) {
    const TIMES: usize = 10;
    let conflicts = Arc::new(Mutex::new(0));
    let first: Api<ConfigMap> = Api::namespaced(clients[0].clone(), "default");
    let counter = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "counter"}, "data": {"n": "0"}});
    first.patch("counter", &PatchParams::apply("test"), &Patch::Apply(counter)).await.unwrap();
    let add = |number: usize| {
        let maps: Api<ConfigMap> =
            Api::namespaced(clients[number % clients.len()].clone(), "default");
        let conflicts = Arc::clone(&conflicts);
        async move {
            for _ in 0..TIMES {
                loop {
                    let mut map = maps.get("counter").await.unwrap();
                    let data = map.data.as_mut().unwrap();
                    let next = data["n"].parse::<usize>().unwrap() + 1;
                    data.insert("n".to_owned(), next.to_string());
                    match maps.replace("counter", &PostParams::default(), &map).await {
                        Ok(_) => break,
                        Err(kube::Error::Api(status)) if status.code == 409 => {
                            *conflicts.lock().unwrap() += 1;
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        }
    };
    futures::future::join_all((0..6).map(add)).await;
    let last = first.get("counter").await.unwrap().data.unwrap()["n"].clone();
    assert_eq!(last, (6 * TIMES).to_string(), "{} conflicts", conflicts.lock().unwrap());
}
