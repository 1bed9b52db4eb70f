//! The table from Services and EndpointSlices in, to routes and names out.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use coracle_network::backends::Backends;
use coracle_network::dns::zone::{self, Data, Found, Kind};
use coracle_network::names::{self, Answer, Search};
use coracle_network::picker::Picker;
use coracle_network::table::{ServiceKey, Table};
use coracle_network::topology::Place;
use coracle_vnet::Protocol;
use serde_json::{Value, json};

fn key(name: &str) -> ServiceKey {
    ServiceKey { namespace: "default".into(), name: name.into() }
}

fn set_service(table: &mut Table, name: &str, spec: &Value) {
    let service = serde_json::from_value(json!({"spec": spec})).unwrap();
    table.set_service(&key(name), &service);
}

/// `endpoints`: address and conditions, such as `10.128.0.5` or `10.128.0.6 ready=false`.
fn set_slice(table: &mut Table, service: &str, slice: &str, endpoints: &[&str], port: u16) {
    let endpoints: Vec<Value> = endpoints
        .iter()
        .map(|line| {
            let mut words = line.split(' ');
            let mut endpoint = json!({"addresses": [words.next().unwrap()], "conditions": {}});
            for word in words {
                let (name, value) = word.split_once('=').unwrap();
                match name {
                    "hostname" => endpoint["hostname"] = json!(value),
                    "node" => endpoint["nodeName"] = json!(value),
                    "forZone" => endpoint["hints"]["forZones"] = json!([{"name": value}]),
                    "forNode" => endpoint["hints"]["forNodes"] = json!([{"name": value}]),
                    _ => endpoint["conditions"][name] = json!(value == "true"),
                }
            }
            endpoint
        })
        .collect();
    let object = serde_json::from_value(json!({
        "metadata": {"labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
    }))
    .unwrap();
    table.set_slice("default", slice, &object);
}

fn web() -> Value {
    json!({"type": "NodePort", "clusterIP": "10.96.0.20", "clusterIPs": ["10.96.0.20"],
        "ports": [{"name": "http", "port": 80, "targetPort": 8080, "nodePort": 30080}]})
}

fn backends(table: &Table, address: &str) -> Option<Vec<String>> {
    let address: SocketAddr = address.parse().unwrap();
    let port = table.virtual_port(address, Protocol::Tcp)?;
    Some(port.backends.iter().map(SocketAddr::to_string).collect())
}

#[test]
fn a_service_routes_to_its_ready_endpoints_in_whatever_order_they_arrive() {
    let mut table = Table::default();
    set_slice(&mut table, "web", "web-a", &["10.128.0.5", "10.128.0.6 ready=false"], 8080);
    assert_eq!(backends(&table, "10.96.0.20:80"), None);
    set_service(&mut table, "web", &web());
    assert_eq!(backends(&table, "10.96.0.20:80").unwrap(), ["10.128.0.5:8080"]);
    set_slice(&mut table, "web", "web-b", &["10.128.0.7"], 8080);
    assert_eq!(backends(&table, "10.96.0.20:80").unwrap(), ["10.128.0.5:8080", "10.128.0.7:8080"]);
    assert_eq!(table.node_port(30080, Protocol::Tcp).unwrap().backends.len(), 2);
    table.remove_slice("default", "web-a");
    assert_eq!(backends(&table, "10.96.0.20:80").unwrap(), ["10.128.0.7:8080"]);
    table.remove_service(&key("web"));
    assert_eq!(backends(&table, "10.96.0.20:80"), None);
    assert!(
        table.node_ports().is_empty() && table.virtual_ip("10.96.0.20".parse().unwrap()).is_none()
    );
}

#[test]
fn terminating_endpoints_serve_only_while_no_other_is_ready() {
    let mut table = Table::default();
    set_service(&mut table, "web", &web());
    let leaving = "10.128.0.5 ready=false serving=true terminating=true";
    set_slice(&mut table, "web", "web-a", &[leaving, "10.128.0.6"], 8080);
    assert_eq!(backends(&table, "10.96.0.20:80").unwrap(), ["10.128.0.6:8080"]);
    set_slice(&mut table, "web", "web-a", &[leaving, "10.128.0.6 ready=false"], 8080);
    assert_eq!(backends(&table, "10.96.0.20:80").unwrap(), ["10.128.0.5:8080"]);
}

/// What a Service with these fields has behind its address and behind its node port on node `n1` of
/// zone `z1`, as the last parts of addresses.
fn check_place(fields: &Value, endpoints: &[&str], inside: &str, outside: &str) {
    let mut table = Table::default();
    let mut spec = web();
    for (field, value) in fields.as_object().unwrap() {
        spec[field] = value.clone();
    }
    set_service(&mut table, "web", &spec);
    set_slice(&mut table, "web", "web-a", endpoints, 8080);
    table.set_place(Place { node: "n1".into(), zone: Some("z1".into()) });
    let show = |list: &Backends| {
        let last = |a: &SocketAddr| a.ip().to_string().rsplit('.').next().unwrap().to_owned();
        list.iter().map(last).collect::<Vec<_>>().join(" ")
    };
    let address = "10.96.0.20:80".parse().unwrap();
    let inner = table.virtual_port(address, Protocol::Tcp).unwrap().clone();
    let outer = table.node_port(30080, Protocol::Tcp).unwrap();
    assert_eq!((show(&inner.backends), show(&outer.backends)), (inside.into(), outside.into()));
    let open = table.node_ports().contains(&(30080, Protocol::Tcp));
    assert_eq!(open, !outside.is_empty() || fields["externalTrafficPolicy"] != "Local");
}

#[test]
fn traffic_policies_and_hints_choose_among_endpoints() {
    let two = ["10.128.0.5 node=n1", "10.128.0.6 node=n2"];
    check_place(&json!({}), &two, "5 6", "5 6");
    check_place(&json!({"internalTrafficPolicy": "Local"}), &two, "5", "5 6");
    check_place(&json!({"externalTrafficPolicy": "Local"}), &two, "5 6", "5");
    check_place(&json!({"externalTrafficPolicy": "Local"}), &two[1..], "6", "");
    // One that ends still serves its own node when no other there does.
    let ending = ["10.128.0.5 node=n1 ready=false serving=true terminating=true", two[1]];
    check_place(&json!({"externalTrafficPolicy": "Local"}), &ending, "6", "5");

    // Hints hold when every endpoint has one and one is for here; a node's before a zone's.
    let zones = ["10.128.0.5 forZone=z1", "10.128.0.6 forZone=z2", "10.128.0.7 forZone=z1"];
    check_place(&json!({}), &zones, "5 7", "5 7");
    check_place(&json!({}), &["10.128.0.5 forZone=z1", "10.128.0.6"], "5 6", "5 6");
    check_place(&json!({}), &zones[1..2], "6", "6");
    let nodes = ["10.128.0.5 forZone=z1 forNode=n1", "10.128.0.6 forZone=z1 forNode=n2"];
    check_place(&json!({}), &nodes, "5", "5");
    check_place(&json!({}), &nodes[1..], "6", "6");
    let other = ["10.128.0.6 forZone=z1 forNode=n2", "10.128.0.7 forZone=z2 forNode=n3"];
    check_place(&json!({}), &other, "6", "6");
    // Hints are not asked where a policy already says Local.
    check_place(&json!({"internalTrafficPolicy": "Local"}), &other, "", "6");
}

#[test]
fn a_health_check_counts_the_ready_endpoints_of_its_node() {
    let mut table = Table::default();
    table.set_place(Place { node: "n1".into(), zone: None });
    let mut spec = web();
    spec["externalTrafficPolicy"] = json!("Local");
    spec["healthCheckNodePort"] = json!(31000);
    set_service(&mut table, "web", &spec);
    let count = |table: &Table| table.health(31000).map(|(service, n)| (service.to_string(), n));
    assert_eq!(count(&table), Some(("default/web".into(), 0)));
    let all = ["10.128.0.5 node=n1", "10.128.0.6 node=n2", "10.128.0.7 node=n1 ready=false"];
    set_slice(&mut table, "web", "web-a", &all, 8080);
    assert_eq!(count(&table), Some(("default/web".into(), 1)));
    assert_eq!(table.health_ports(), [31000].into());
    set_service(&mut table, "web", &web());
    assert!(table.health_ports().is_empty() && count(&table).is_none());
}

#[test]
fn a_change_of_ports_leaves_nothing_of_the_old_ones() {
    let mut table = Table::default();
    set_service(&mut table, "web", &web());
    set_service(
        &mut table,
        "web",
        &json!({"clusterIP": "10.96.0.20", "ports": [{"name": "http", "port": 81}]}),
    );
    assert_eq!(backends(&table, "10.96.0.20:80"), None);
    assert_eq!(backends(&table, "10.96.0.20:81").unwrap(), Vec::<String>::new());
    assert!(table.node_ports().is_empty());
}

#[test]
fn each_address_of_a_service_leads_to_endpoints_of_its_family() {
    let mut table = Table::default();
    let mut spec = web();
    spec["clusterIPs"] = json!(["10.96.0.20", "fd63:6f73::20"]);
    set_service(&mut table, "web", &spec);
    set_slice(&mut table, "web", "web-4", &["10.128.0.5"], 8080);
    set_slice(&mut table, "web", "web-6", &["fd63:6f72:a80::a80:5"], 8080);
    assert_eq!(backends(&table, "10.96.0.20:80").unwrap(), ["10.128.0.5:8080"]);
    let six = backends(&table, "[fd63:6f73::20]:80").unwrap();
    assert_eq!(six, ["[fd63:6f72:a80::a80:5]:8080"]);
    assert_eq!(
        table.node_port(30080, Protocol::Tcp).unwrap().backends,
        ["10.128.0.5:8080".parse().unwrap()]
    );
    assert_eq!(resolve(&table, "web"), addresses(&["10.96.0.20", "fd63:6f73::20"]));
    table.remove_slice("default", "web-4");
    assert!(backends(&table, "10.96.0.20:80").unwrap().is_empty());
    set_service(&mut table, "web", &web());
    assert_eq!(backends(&table, "[fd63:6f73::20]:80"), None);
}

fn resolve(table: &Table, name: &str) -> Answer {
    names::resolve(table, &Search::of("default"), name)
}

fn addresses(list: &[&str]) -> Answer {
    Answer::Addresses(list.iter().map(|ip| ip.parse().unwrap()).collect())
}

fn table_of_names() -> Table {
    let mut table = Table::default();
    set_service(&mut table, "web", &web());
    set_service(&mut table, "peers", &json!({"clusterIP": "None", "ports": []}));
    set_slice(
        &mut table,
        "peers",
        "peers-a",
        &["10.128.0.9 hostname=peer-0", "10.128.0.8 ready=false"],
        1,
    );
    set_service(
        &mut table,
        "inner",
        &json!({"type": "ExternalName", "externalName": "web.default.svc.cluster.local"}),
    );
    set_service(
        &mut table,
        "outer",
        &json!({"type": "ExternalName", "externalName": "api.example.com"}),
    );
    set_service(
        &mut table,
        "loop",
        &json!({"type": "ExternalName", "externalName": "loop.default.svc.cluster.local"}),
    );
    table
}

#[test]
fn names_resolve_as_the_dns_specification_says() {
    let table = table_of_names();
    for name in [
        "web",
        "WEB",
        "web.default",
        "web.default.svc",
        "web.default.svc.cluster.local",
        "web.default.svc.cluster.local.",
        "inner",
    ] {
        assert_eq!(resolve(&table, name), addresses(&["10.96.0.20"]), "{name}");
    }
    assert_eq!(resolve(&table, "peers"), addresses(&["10.128.0.9"]));
    assert_eq!(resolve(&table, "peer-0.peers"), addresses(&["10.128.0.9"]));
    assert_eq!(resolve(&table, "10-128-0-9.default.pod"), addresses(&["10.128.0.9"]));
    assert_eq!(resolve(&table, "outer"), Answer::Outside(vec!["api.example.com".into()]));
    assert_eq!(resolve(&table, "example.org"), Answer::Outside(vec!["example.org".into()]));
    for name in ["nosuch", "nosuch.default.svc.cluster.local", "web.", "loop", "peer-9.peers"] {
        assert!(!matches!(resolve(&table, name), Answer::Addresses(_)), "{name}");
    }
    let other = Search::of("other");
    assert_eq!(names::resolve(&table, &other, "web"), Answer::Missing);
    assert_eq!(names::resolve(&table, &other, "web.default"), addresses(&["10.96.0.20"]));
    let own = Search {
        domains: vec!["example.org".into(), "default.svc.cluster.local".into()],
        ndots: 1,
    };
    assert_eq!(names::resolve(&table, &own, "web"), addresses(&["10.96.0.20"]));
    let outside = Answer::Outside(vec!["a.b".into(), "a.b.example.org".into()]);
    assert_eq!(names::resolve(&table, &own, "a.b"), outside);
}

/// Records as `dig` would print them, without times.
fn check_zone(table: &Table, name: &str, kind: Kind, expected: &str) {
    let line = |record: &zone::Record| match &record.data {
        Data::Address(ip) => format!("{} {ip}", record.name),
        Data::Alias(target) => format!("{} CNAME {target}", record.name),
        Data::Port { weight, port, target } => format!("SRV 0 {weight} {port} {target}"),
        Data::Name(name) => format!("PTR {name}"),
        Data::Text(text) => format!("TXT {text}"),
    };
    let ours = |ip: std::net::IpAddr| ip.to_string().starts_with("10.");
    let found = match zone::look_up(table, name, kind, ours) {
        Found::Records { answers, extra, beyond } => {
            let extra = extra.iter().map(|record| format!("+ {}", line(record)));
            let lines = answers.iter().map(line).chain(extra);
            lines.chain(beyond.map(|name| format!("> {name}"))).collect::<Vec<_>>().join("\n")
        }
        other @ (Found::NoData | Found::NoName | Found::Outside) => format!("{other:?}"),
    };
    assert_eq!(found, expected, "{name} {kind:?}");
}

#[test]
fn every_record_of_the_dns_specification_is_there() {
    let mut table = table_of_names();
    let both = json!({"clusterIP": "10.96.0.30", "clusterIPs": ["10.96.0.30", "fd00::30"],
        "ports": [{"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}]});
    set_service(&mut table, "both", &both);
    let headless = json!({"clusterIP": "None", "ports": [{"name": "http", "port": 80}]});
    set_service(&mut table, "set", &headless);
    let pods = ["10.128.0.5 hostname=set-0", "10.128.0.6", "10.128.0.7 ready=false"];
    set_slice(&mut table, "set", "set-a", &pods, 8080);
    let all = json!({"clusterIP": "None", "publishNotReadyAddresses": true, "ports": []});
    set_service(&mut table, "unready", &all);
    set_slice(&mut table, "unready", "unready-a", &["10.128.0.8 ready=false"], 1);
    let zone = "default.svc.cluster.local";
    let check = |name: &str, kind, expected: &str| {
        check_zone(&table, &name.replace('$', zone), kind, &expected.replace('$', zone));
    };
    check("both.$.", Kind::A, "both.$ 10.96.0.30");
    check("BOTH.$", Kind::Aaaa, "both.$ fd00::30");
    check("both.$", Kind::Cname, "NoData");
    let addresses = "+ both.$ 10.96.0.30\n+ both.$ fd00::30";
    check("_http._tcp.both.$", Kind::Srv, &format!("SRV 0 100 80 both.$\n{addresses}"));
    check("_dns._udp.both.$", Kind::Srv, &format!("SRV 0 100 53 both.$\n{addresses}"));
    check("_dns._tcp.both.$", Kind::Srv, "NoName");
    check("_http._tcp.both.$", Kind::A, "NoData");
    check("30.0.96.10.in-addr.arpa", Kind::Ptr, "PTR both.$");
    let nibbles = "0.3.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa";
    check(nibbles, Kind::Ptr, "PTR both.$");

    check("set.$", Kind::A, "set.$ 10.128.0.5\nset.$ 10.128.0.6");
    check("set.$", Kind::Aaaa, "NoData");
    check("set-0.set.$", Kind::A, "set-0.set.$ 10.128.0.5");
    check("10-128-0-6.set.$", Kind::A, "10-128-0-6.set.$ 10.128.0.6");
    check("set-7.set.$", Kind::A, "NoName");
    check(
        "_http._tcp.set.$",
        Kind::Srv,
        "SRV 0 50 8080 10-128-0-6.set.$\nSRV 0 50 8080 set-0.set.$\n\
         + 10-128-0-6.set.$ 10.128.0.6\n+ set-0.set.$ 10.128.0.5",
    );
    check("5.0.128.10.in-addr.arpa", Kind::Ptr, "PTR set-0.set.$");
    check("7.0.128.10.in-addr.arpa", Kind::Ptr, "NoName");
    check("7.2.0.192.in-addr.arpa", Kind::Ptr, "Outside");
    check("unready.$", Kind::A, "unready.$ 10.128.0.8");

    check("outer.$", Kind::A, "outer.$ CNAME api.example.com\n> api.example.com");
    check("outer.$", Kind::Cname, "outer.$ CNAME api.example.com");
    check("inner.$", Kind::A, "inner.$ CNAME web.$\nweb.$ 10.96.0.20");
    let alias = "loop.$ CNAME loop.$";
    check("loop.$", Kind::A, &[alias; 8].join("\n"));

    check(
        "10-128-0-9.default.pod.cluster.local",
        Kind::A,
        "10-128-0-9.default.pod.cluster.local 10.128.0.9",
    );
    check("x.default.pod.cluster.local", Kind::A, "NoName");
    check("dns-version.cluster.local", Kind::Txt, "TXT 1.1.0");
    check("$", Kind::A, "NoData");
    check("nosuch.svc.cluster.local", Kind::A, "NoName");
    check("nosuch.$", Kind::A, "NoName");
    check("a.b.c.d.e.$", Kind::A, "NoName");
    check("example.com", Kind::A, "Outside");
    check("notcluster.local", Kind::A, "Outside");
}

#[test]
fn connections_spread_evenly_and_a_sticky_client_stays() {
    let mut table = Table::default();
    set_service(&mut table, "web", &web());
    set_slice(
        &mut table,
        "web",
        "web-a",
        &["10.128.0.5", "10.128.0.6", "10.128.0.7", "10.128.0.8"],
        80,
    );
    let port = table.virtual_port("10.96.0.20:80".parse().unwrap(), Protocol::Tcp).unwrap().clone();
    let (mut picker, now) = (Picker::default(), start());
    let client = "10.128.0.99".parse().unwrap();
    let mut counts = std::collections::BTreeMap::new();
    for step in 0..10_000_u64 {
        let random = step.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        *counts.entry(picker.pick(&port, client, now, random).unwrap()).or_insert(0_u32) += 1;
    }
    assert!(
        counts.len() == 4 && counts.values().all(|count| (2_200..=2_800).contains(count)),
        "{counts:?}"
    );

    let mut sticky = (*port).clone();
    sticky.affinity = Some(Duration::from_secs(60));
    let first = picker.pick(&sticky, client, now, 0).unwrap();
    assert_eq!(picker.pick(&sticky, client, now + Duration::from_secs(59), u64::MAX), Some(first));
    let later = now + Duration::from_secs(59 + 61);
    assert_ne!(picker.pick(&sticky, client, later, u64::MAX), Some(first));
    sticky.backends = Backends::default();
    assert_eq!(picker.pick(&sticky, client, now, 0), None);
}

/// Any moment will do; only differences count.
#[expect(clippy::disallowed_methods, reason = "an `Instant` can't be made otherwise")]
fn start() -> Instant {
    Instant::now()
}
