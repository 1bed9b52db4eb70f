//! Ways that are open and ways that are not, each as `coracle trace` tells them.

use std::fmt::Write as _;
use std::sync::Arc;

use coracle_vnet::{Fabric, NetNs, NetNsSpec, NsTag};
use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;
use crate::cidr::Cidr;
use crate::network::{Answers, Network};
use crate::switch::Ranges;
use crate::topology::Place;

/// A host with two pods of namespace `default`: `client`, and `web`, which listens at 8080.
struct World {
    network: Arc<Network>,
    fabric: Arc<Fabric>,
    client: Arc<NetNs>,
}

const WEB: &str = "10.128.0.5";

fn world() -> World {
    let ranges = Ranges {
        pods: Cidr::parse_families("10.128.0.0/9").unwrap(),
        services: Cidr::parse_families("10.96.0.0/12").unwrap(),
        host: ["192.0.2.10".parse().unwrap()].into(),
    };
    let (network, _told) = Network::new(ranges);
    let answers = Arc::new(Answers(Arc::clone(&network)));
    let fabric = Fabric::new(Arc::clone(&answers) as _, answers);
    network.change(|table| {
        table.set_place(Place { node: "here".to_owned(), zone: None });
    });
    network.guard.follow(&fabric, true);
    let client = pod(&fabric, "client", "10.128.0.9");
    let web = pod(&fabric, "web", WEB);
    let listener = web.bind_tcp(format!("{WEB}:8080").parse().unwrap()).unwrap();
    let listener = listener.listen(8, None).unwrap();
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    World { network, fabric, client }
}

fn pod(fabric: &Arc<Fabric>, name: &str, ip: &str) -> Arc<NetNs> {
    let tag = NsTag::new(&format!("uid-{name}"), &format!("default/{name}"));
    fabric.add(NetNsSpec::new(tag, vec![ip.parse().unwrap()])).unwrap()
}

impl World {
    fn service(&self, name: &str, spec: Value, endpoints: Value) {
        let key = ServiceKey { namespace: "default".to_owned(), name: name.to_owned() };
        let slice = json!({
            "metadata": {"labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4", "endpoints": endpoints, "ports": [{"name": "http", "port": 8080}],
        });
        self.network.change(|table| {
            let service = json!({"spec": spec});
            table.set_service(&key, &serde_json::from_value(service).unwrap());
            table.set_slice("default", name, &serde_json::from_value(slice).unwrap());
        });
    }

    /// A Service of the pod `web` and of one that is not ready.
    fn web(&self) {
        self.service(
            "web",
            json!({"clusterIP": "10.96.0.20", "ports": [{"name": "http", "port": 80}]}),
            json!([
                {"addresses": [WEB], "nodeName": "here"},
                {"addresses": ["10.128.0.6"], "nodeName": "there", "conditions": {"ready": false}},
            ]),
        );
    }

    fn policy(&self, name: &str, spec: Value) {
        let policy = serde_json::from_value(json!({"spec": spec})).unwrap();
        self.network.guard.change(|policies| {
            for (pod, ip) in [("client", "10.128.0.9"), ("web", WEB)] {
                let face = json!({"namespace": "default", "name": pod, "uid": format!("uid-{pod}"),
                    "labels": {"app": pod}, "ips": [ip], "node": "here", "ports": []});
                policies.set_pod(serde_json::from_value(face).unwrap());
            }
            policies.set_policy("default", name, &policy);
        });
    }

    async fn check(&self, query: &str, through: bool, expected: Expect) {
        let question = Question::parse(query).unwrap();
        let trace = trace(&self.network, &self.fabric, &self.client, &question).await;
        assert_eq!(trace.is_through(), through, "{trace:?}");
        let mut shown = String::new();
        for step in trace.steps {
            // How long it took is another time each time.
            let said = step.said.split(" after ").next().unwrap().to_owned();
            writeln!(shown, "{:?} {}: {said}", step.stage, step.ok).unwrap();
            step.details.iter().for_each(|detail| writeln!(shown, "  {detail}").unwrap());
        }
        expected.assert_eq(&shown);
    }
}

#[tokio::test]
async fn a_service_is_followed_to_its_pod() {
    let world = world();
    world.web();
    world
        .check(
            "service=default/web",
            true,
            expect![[r#"
        Names true: web means 10.96.0.20
        Service true: 10.96.0.20:80/TCP is port (http) of Service default/web
        Endpoints true: 1 of 2 are given connections
          10.128.0.5:8080 on node here: ready
          10.128.0.6:8080 on node there: not ready
        Policy true: open
          10.128.0.5:8080: egress open: no NetworkPolicy selects this pod
          10.128.0.5:8080: ingress open: no NetworkPolicy selects it
        Hop true: 10.128.0.5:8080: on this host, default/web
        Connect true: taken
    "#]],
        )
        .await;
}

#[tokio::test]
async fn what_stops_it_is_the_last_that_is_told() {
    let world = world();
    world.web();
    world
        .check(
            "service=default/absent",
            false,
            expect![[r#"
        Service false: there is no Service default/absent
    "#]],
        )
        .await;
    world
        .check(
            "service=default/web&port=81",
            false,
            expect![[r#"
        Service false: Service default/web has no such port; it has: http 80/TCP
    "#]],
        )
        .await;
    world
        .check(
            "host=nowhere&port=80",
            false,
            expect![[r#"
        Names false: nowhere: no such name 'nowhere'
    "#]],
        )
        .await;
    world.check("host=198.51.100.7&port=443", false, expect![[r#"
        Names true: 198.51.100.7 is an address: no name is looked up
        Service true: 198.51.100.7:443 is outside of the cluster: no Service stands before it
        Policy false: closed: a connection is refused
          198.51.100.7:443: pod default/client may not reach 198.51.100.7:443: grant it with the annotation coracle.dev/egress: "198.51.100.7:443" on the Pod or its Namespace
    "#]]).await;
    world
        .check(
            "host=10.96.0.20&port=9",
            false,
            expect![[r#"
        Names true: 10.96.0.20 is an address: no name is looked up
        Service false: Service default/web has no TCP port 9
    "#]],
        )
        .await;
    // Ready, says the API; nobody listens.
    world
        .check(
            "host=10.128.0.5&port=81",
            false,
            expect![[r#"
        Names true: 10.128.0.5 is an address: no name is looked up
        Service true: 10.128.0.5:81 is a pod's: no Service picks another one
        Policy true: open
          10.128.0.5:81: egress open: no NetworkPolicy selects this pod
          10.128.0.5:81: ingress open: no NetworkPolicy selects it
        Hop true: 10.128.0.5:81: on this host, default/web
        Connect false: not taken: connection refused
    "#]],
        )
        .await;
}

#[tokio::test]
async fn endpoints_and_ports_that_do_not_fit_are_told_apart() {
    let world = world();
    let none =
        json!([{"addresses": ["10.128.0.6"], "conditions": {"ready": false, "terminating": true}}]);
    let spec = json!({"clusterIP": "10.96.0.21", "internalTrafficPolicy": "Local",
        "ports": [{"name": "http", "port": 80}, {"name": "other", "port": 81}]});
    world.service("local", spec, none);
    world
        .check(
            "service=default/local&port=http",
            false,
            expect![[r#"
        Names true: local means 10.96.0.21
        Service true: 10.96.0.21:80/TCP is port (http) of Service default/local
          internalTrafficPolicy Local: only endpoints of this node
        Endpoints false: none of 1 endpoints is given connections: they are refused
          10.128.0.6:8080: on another node, where the traffic policy Local does not lead
    "#]],
        )
        .await;
    world.check("service=default/local", false, expect![[r#"
        Service false: Service default/local has several ports; name one of: http 80/TCP, other 81/TCP
    "#]]).await;
}

#[tokio::test]
async fn policies_are_named() {
    let world = world();
    world.web();
    world.policy("closed", json!({"podSelector": {"matchLabels": {"app": "web"}}, "ingress": []}));
    world.check("service=default/web", false, expect![[r#"
        Names true: web means 10.96.0.20
        Service true: 10.96.0.20:80/TCP is port (http) of Service default/web
        Endpoints true: 1 of 2 are given connections
          10.128.0.5:8080 on node here: ready
          10.128.0.6:8080 on node there: not ready
        Policy false: closed: a connection is refused
          10.128.0.5:8080: egress open: no NetworkPolicy selects this pod
          10.128.0.5:8080: NetworkPolicy closed isolates ingress to pod default/web, and no rule allows default/client (10.128.0.9) to default/web (10.128.0.5) on TCP port 8080
    "#]]).await;
    let from = json!([{"from": [{"podSelector": {"matchLabels": {"app": "client"}}}]}]);
    world.policy("friends", json!({"podSelector": {}, "ingress": from}));
    world
        .check(
            "service=default/web&port=http",
            true,
            expect![[r#"
        Names true: web means 10.96.0.20
        Service true: 10.96.0.20:80/TCP is port (http) of Service default/web
        Endpoints true: 1 of 2 are given connections
          10.128.0.5:8080 on node here: ready
          10.128.0.6:8080 on node there: not ready
        Policy true: open
          10.128.0.5:8080: egress open: no NetworkPolicy selects this pod
          10.128.0.5:8080: ingress allowed by a rule of NetworkPolicy closed or friends
        Hop true: 10.128.0.5:8080: on this host, default/web
        Connect true: taken
    "#]],
        )
        .await;
}

#[tokio::test]
async fn a_headless_service_is_its_pods() {
    let world = world();
    let spec = json!({"clusterIP": "None", "ports": [{"name": "http", "port": 80}]});
    world.service("pods", spec, json!([{"addresses": [WEB]}]));
    world
        .check(
            "service=default/pods",
            true,
            expect![[r#"
        Names true: pods means 10.128.0.5
        Service true: 10.128.0.5:8080 is a pod's: no Service picks another one
        Policy true: open
          10.128.0.5:8080: egress open: no NetworkPolicy selects this pod
          10.128.0.5:8080: ingress open: no NetworkPolicy selects it
        Hop true: 10.128.0.5:8080: on this host, default/web
        Connect true: taken
    "#]],
        )
        .await;
}

#[test]
fn a_query_says_where_to() {
    let read = |query: &str| {
        let question = Question::parse(query)?;
        Ok::<_, String>((question.name("a"), question.port))
    };
    assert_eq!(read("service=a/web"), Ok(("web".to_owned(), None)));
    let named = ("web.b".to_owned(), Some("http".to_owned()));
    assert_eq!(read("service=b%2Fweb&port=http"), Ok(named));
    let host = ("example.org".to_owned(), Some("443".to_owned()));
    assert_eq!(read("port=443&host=example.org"), Ok(host));
    for query in ["", "port=80", "service=web", "host=", "other=1"] {
        assert!(read(query).is_err(), "{query}");
    }
}

#[test]
fn a_trace_is_through_only_with_its_connection() {
    let step = |stage| Step::ok(stage, "");
    let mut trace = Trace { steps: vec![step(Stage::Names)] };
    assert!(!trace.is_through());
    trace.steps.push(step(Stage::Connect));
    assert!(trace.is_through());
    trace.steps.insert(1, Step::stopped(Stage::Policy, "closed"));
    assert!(!trace.is_through());
    assert!(!Trace::not_begun("no such pod").is_through());
}
