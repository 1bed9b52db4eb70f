//! Routing on a real fabric: Services, refusals, names, node ports.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use coracle_network::cidr::Cidr;
use coracle_network::egress::Egress;
use coracle_network::ipam::{Companions, Pool};
use coracle_network::network::{Answers, Network, Refusal};
use coracle_network::switch::Ranges;
use coracle_network::table::ServiceKey;
use coracle_vnet::{
    Fabric, Flow, NetNs, NetNsSpec, NsTag, Protocol, Resolver as _, Route, Router as _,
};
use serde_json::json;
use tokio::sync::mpsc::Receiver;

fn network() -> (Arc<Network>, Answers, Receiver<Refusal>) {
    let ranges = Ranges {
        pods: Cidr::parse_families("10.128.0.0/9,fd63:6f72::/32").unwrap(),
        services: Cidr::parse_families("10.96.0.0/12,fd63:6f73::/108").unwrap(),
        host: ["192.0.2.10".parse().unwrap()].into(),
    };
    let (network, refusals) = Network::new(ranges);
    let service = |namespace: &str,
                   name: &str,
                   ip: &str,
                   port: u16,
                   endpoint: &str,
                   target: u16| {
        let key = ServiceKey { namespace: namespace.into(), name: name.into() };
        let object = json!({"spec": {"clusterIP": ip, "ports": [{"port": port}]}});
        let slice = json!({
            "metadata": {"labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4", "endpoints": [{"addresses": [endpoint]}], "ports": [{"port": target}],
        });
        network.change(|table| {
            table.set_service(&key, &serde_json::from_value(object).unwrap());
            table.set_slice(namespace, name, &serde_json::from_value(slice).unwrap());
        });
    };
    service("default", "kubernetes", "10.96.0.1", 443, "127.0.0.1", 6443);
    service("default", "web", "10.96.0.20", 80, "10.128.0.5", 8080);
    service("default", "outer", "10.96.0.21", 80, "198.51.100.7", 80);
    (Arc::clone(&network), Answers(network), refusals)
}

fn pod() -> NsTag {
    NsTag::new("uid-1", "default/client")
}

fn route(answers: &Answers, destination: &str) -> String {
    let flow = Flow {
        from: Some(pod()),
        source: "10.128.0.9:40000".parse().unwrap(),
        destination: destination.parse().unwrap(),
        protocol: Protocol::Tcp,
    };
    match answers.route(&flow) {
        Route::Pod(address) => format!("pod {address}"),
        Route::Real(address) => format!("real {address}"),
        Route::Refused(why) => format!("refused: {why}"),
    }
}

#[test]
fn services_and_pods_are_reached_and_nothing_else() {
    let (_, answers, mut refusals) = network();
    assert_eq!(route(&answers, "10.96.0.20:80"), "pod 10.128.0.5:8080");
    assert_eq!(route(&answers, "10.128.3.4:9"), "pod 10.128.3.4:9");
    assert_eq!(route(&answers, "10.96.0.1:443"), "real 127.0.0.1:6443");
    for (destination, why) in [
        ("10.96.0.20:81", "Service default/web has no TCP port 81"),
        ("10.96.9.9:80", "no Service has the address 10.96.9.9"),
        ("198.51.100.7:443", "annotation coracle.dev/egress: \"198.51.100.7:443\""),
        ("10.96.0.21:80", "pod default/client may not reach 198.51.100.7:80"),
        ("127.0.0.1:6443", "belongs to the host"),
        ("192.0.2.10:22", "belongs to the host"),
        ("169.254.169.254:80", "belongs to the host"),
    ] {
        let answer = route(&answers, destination);
        assert!(answer.starts_with("refused: ") && answer.contains(why), "{destination}: {answer}");
        let told = refusals.try_recv().unwrap();
        assert_eq!((told.from, told.destination), (pod(), destination.parse().unwrap()));
    }
}

#[test]
fn a_grant_opens_what_it_names_and_never_the_host() {
    let (network, answers, _refusals) = network();
    network.grant(&pod(), Egress::parse("*").unwrap());
    assert_eq!(route(&answers, "198.51.100.7:443"), "real 198.51.100.7:443");
    assert_eq!(route(&answers, "10.96.0.21:80"), "real 198.51.100.7:80");
    for destination in ["127.0.0.1:6443", "192.0.2.10:22", "169.254.169.254:80", "[::1]:1"] {
        assert!(route(&answers, destination).contains("belongs to the host"), "{destination}");
    }
    network.forget(&pod());
    assert!(route(&answers, "198.51.100.7:443").starts_with("refused"));
}

/// Row `cni.role`: to add a pod to the network gives it addresses, to take it out gives them back.
#[test]
fn ten_thousand_pods_come_and_go_and_leave_no_address() {
    const ADDRESSES: usize = 13;
    let (network, answers, _refusals) = network();
    let answers = Arc::new(answers);
    let fabric = Fabric::new(answers.clone(), answers);
    let mut pool = Pool::new("10.128.0.0/28").unwrap();
    let companions = Companions::new("fd63:6f72:a80::/64").unwrap();
    let mut held: VecDeque<Arc<NetNs>> = VecDeque::new();
    let remove = |pool: &mut Pool, netns: &Arc<NetNs>| {
        fabric.remove(netns);
        network.forget(netns.tag());
        assert!(netns.ips().iter().all(|ip| fabric.get(*ip).is_none()));
        pool.release(netns.ips()[0]);
    };
    for number in 0..10_000 {
        if held.len() == ADDRESSES {
            assert!(pool.allocate().is_err(), "all are taken");
            remove(&mut pool, &held.pop_front().unwrap());
        }
        let ip = pool.allocate().unwrap();
        let ips = vec![ip, companions.of(ip).unwrap()];
        let tag = NsTag::new(&format!("uid-{number}"), "default/pod");
        let netns = fabric.add(NetNsSpec::new(tag.clone(), ips.clone())).unwrap();
        network.grant(&tag, Egress::default());
        assert!(ips.iter().all(|ip| Arc::ptr_eq(&fabric.get(*ip).unwrap(), &netns)));
        assert!(fabric.add(NetNsSpec::new(tag, ips)).is_err(), "an address is one pod's");
        held.push_back(netns);
    }
    held.iter().for_each(|netns| remove(&mut pool, netns));
    assert_eq!(format!("{fabric:?}"), "Fabric(0 addresses)");
    let again: std::collections::BTreeSet<IpAddr> =
        (0..ADDRESSES).map(|_| pool.allocate().unwrap()).collect();
    assert_eq!(again.len(), ADDRESSES);
}

#[test]
fn the_hosts_address_leads_to_pods_with_its_network_and_not_to_the_host() {
    let (network, answers, _refusals) = network();
    network.set_machine(&["192.0.2.10".parse().unwrap()]);
    assert_eq!(route(&answers, "192.0.2.10:8080"), "pod 192.0.2.10:8080");
    // The API server is the host's own, and stays reached as such.
    assert_eq!(route(&answers, "10.96.0.1:443"), "real 127.0.0.1:6443");
    assert!(route(&answers, "127.0.0.1:22").contains("belongs to the host"));
    network.set_machine(&[]);
    assert!(route(&answers, "192.0.2.10:8080").contains("belongs to the host"));
}

#[test]
fn the_api_server_is_reached_at_its_own_address_and_port() {
    let (network, answers, _refusals) = network();
    assert!(route(&answers, "192.0.2.10:6443").starts_with("refused"));
    let slice = json!({
        "metadata": {"labels": {"kubernetes.io/service-name": "kubernetes"}}, "addressType": "IPv4",
        "endpoints": [{"addresses": ["192.0.2.10"]}], "ports": [{"port": 6443}],
    });
    let slice = serde_json::from_value(slice).unwrap();
    network.change(|table| table.set_slice("default", "kubernetes", &slice));
    assert_eq!(route(&answers, "192.0.2.10:6443"), "real 192.0.2.10:6443");
    assert!(route(&answers, "192.0.2.10:6444").starts_with("refused"));
    assert!(route(&answers, "127.0.0.1:6443").starts_with("refused"));
}

#[test]
fn a_pod_finds_node_ports_at_every_nodes_address_and_nothing_else_there() {
    let (network, answers, _refusals) = network();
    let set = |policy: &str| {
        let key = ServiceKey { namespace: "default".into(), name: "web".into() };
        let object = json!({"spec": {"clusterIP": "10.96.0.20", "externalTrafficPolicy": policy,
            "ports": [{"port": 80, "nodePort": 30080}]}});
        network.change(|table| table.set_service(&key, &serde_json::from_value(object).unwrap()));
    };
    let at = |node: &str, addresses: &[&str]| {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        network.change(|table| table.set_node(node, addresses))
    };
    set("Cluster");
    let refused = |at: &str| route(&answers, at).starts_with("refused");
    assert!(refused("192.0.2.10:30080") && refused("192.0.2.11:30080"), "no node is there");
    assert!(at("own", &["192.0.2.10"]) && at("other", &["192.0.2.11"]));
    assert!(!at("other", &["192.0.2.11"]), "nothing new");
    for policy in ["Cluster", "Local"] {
        set(policy);
        assert_eq!(route(&answers, "192.0.2.10:30080"), "pod 10.128.0.5:8080", "{policy}");
        assert_eq!(route(&answers, "192.0.2.11:30080"), "pod 10.128.0.5:8080", "{policy}");
    }
    assert!(refused("192.0.2.10:30081") && refused("192.0.2.10:80") && refused("192.0.2.12:30080"));
    assert!(at("other", &[]));
    assert!(refused("192.0.2.11:30080"), "the node is gone");
}

/// One of two endpoints is ready, says the API, and takes no connection: it is found out by the first that
/// comes to it, and left out for those that follow. No client notices.
#[tokio::test]
async fn a_backend_that_takes_no_connection_is_left_out() {
    let (network, answers, _refusals) = network();
    let key = ServiceKey { namespace: "default".into(), name: "pair".into() };
    let service = json!({"spec": {"clusterIP": "10.96.0.30", "ports": [{"port": 80}]}});
    let endpoints = json!([{"addresses": ["10.128.0.5"]}, {"addresses": ["10.128.0.6"]}]);
    let slice = json!({"metadata": {"labels": {"kubernetes.io/service-name": "pair"}},
        "addressType": "IPv4", "endpoints": endpoints, "ports": [{"port": 8080}]});
    network.change(|table| {
        table.set_service(&key, &serde_json::from_value(service).unwrap());
        table.set_slice("default", "pair", &serde_json::from_value(slice).unwrap());
    });
    let answers = Arc::new(answers);
    let fabric = Fabric::new(answers.clone(), answers);
    let pod = |name: &str, ip: &str| {
        let tag = NsTag::new(name, &format!("default/{name}"));
        fabric.add(NetNsSpec::new(tag, vec![ip.parse().unwrap()])).unwrap()
    };
    let (good, _deaf) = (pod("good", "10.128.0.5"), pod("deaf", "10.128.0.6"));
    let client = pod("client", "10.128.0.9");
    let listener = good.bind_tcp("10.128.0.5:8080".parse().unwrap()).unwrap();
    let listener = listener.listen(8, None).unwrap();
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    for _ in 0..400 {
        client.connect_tcp("10.96.0.30:80".parse().unwrap(), None).await.unwrap();
        tokio::task::yield_now().await;
    }
    let page = network.metrics();
    let count = |name: &str| {
        let line = page.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().trim().parse::<u32>().unwrap()
    };
    // Half of them came there if it were not remembered. It is asked again after a while.
    let failures = count("coracle_network_connect_failures_total");
    assert!((1..40).contains(&failures), "{page}");
}

/// What takes no connection may take datagrams all the same.
#[test]
fn a_backend_that_takes_no_connection_still_gets_datagrams() {
    let (network, answers, _refusals) = network();
    let key = ServiceKey { namespace: "default".into(), name: "both".into() };
    let service = json!({"spec": {"clusterIP": "10.96.0.31", "ports": [
        {"name": "t", "port": 53}, {"name": "u", "port": 53, "protocol": "UDP"}]}});
    let slice = json!({"metadata": {"labels": {"kubernetes.io/service-name": "both"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.128.0.5"]}, {"addresses": ["10.128.0.6"]}],
        "ports": [{"name": "t", "port": 53}, {"name": "u", "port": 53, "protocol": "UDP"}]});
    network.change(|table| {
        table.set_service(&key, &serde_json::from_value(service).unwrap());
        table.set_slice("default", "both", &serde_json::from_value(slice).unwrap());
    });
    let deaf = "10.128.0.6:53".parse().unwrap();
    answers.not_taken(deaf, &std::io::ErrorKind::ConnectionRefused.into());
    let flow = Flow {
        from: Some(pod()),
        source: "10.128.0.9:40000".parse().unwrap(),
        destination: "10.96.0.31:53".parse().unwrap(),
        protocol: Protocol::Udp,
    };
    let is_picked = (0..200).any(|_| matches!(answers.route(&flow), Route::Pod(at) if at == deaf));
    assert!(is_picked, "it is one of two");
}

#[tokio::test]
async fn names_of_the_cluster_need_no_grant_and_others_do() {
    let (network, answers, _refusals) = network();
    let web = answers.resolve(&pod(), "web").await.unwrap();
    assert_eq!(web, ["10.96.0.20".parse::<IpAddr>().unwrap()]);
    assert!(answers.resolve(&pod(), "nosuch").await.unwrap_err().to_string().contains("nosuch"));
    let refused = answers.resolve(&pod(), "example.com").await.unwrap_err().to_string();
    assert!(refused.contains("coracle.dev/egress: \"example.com\""), "{refused}");
    network.grant(&pod(), Egress::parse("localhost.localdomain").unwrap());
    // Granted names go to the machine's resolver; loopback stays out of reach even then.
    let found = answers.resolve(&pod(), "localhost.localdomain").await;
    for address in found.unwrap_or_default() {
        let address = SocketAddr::new(address, 80).to_string();
        assert!(route(&answers, &address).contains("belongs to the host"));
    }
}
