//! Generated policies against a model that reads the objects as the API's documentation does.

use super::guard::{Arrival, Guard};
use super::*;
use coracle_vnet::{Fabric, Flow, NetNsSpec, NsTag, ResolveError, Resolver, Route, Router};
use proptest::prelude::*;
use serde_json::{Value, json};

const OUTSIDE: &str = "203.0.113.9";

/// A pod of the little world: namespace, name, address, labels.
fn world() -> Vec<Value> {
    let mut pods = Vec::new();
    for (n, namespace) in ["a", "b", "c"].into_iter().enumerate() {
        for (p, (app, tier)) in
            [("web", "1"), ("web", "2"), ("db", "1"), ("", "")].iter().enumerate()
        {
            let labels = if app.is_empty() { json!({}) } else { json!({"app": app, "tier": tier}) };
            let name = format!("p{p}");
            pods.push(json!({
                "metadata": {"namespace": namespace, "name": name, "uid": format!("{namespace}-{name}"), "labels": labels},
                "spec": {"nodeName": "n1", "containers": [{"ports": [
                    {"name": "http", "containerPort": if *tier == "2" { 81 } else { 80 }},
                    {"name": "dns", "containerPort": 53, "protocol": "UDP"},
                ]}]},
                "status": {"phase": "Running", "podIP": format!("10.128.{n}.{}", p + 2)},
            }));
        }
    }
    pods
}

fn namespace_labels(name: &str) -> Value {
    match name {
        "a" => json!({"team": "x"}),
        "b" => json!({"team": "y"}),
        _ => json!({}),
    }
}

fn policies_of(objects: &[Value]) -> Policies {
    let mut policies = Policies::default();
    for name in ["a", "b", "c"] {
        policies.set_namespace(name, serde_json::from_value(namespace_labels(name)).ok());
    }
    for pod in world() {
        policies.set_pod(serde_json::from_value::<PodFace>(pod).unwrap().face());
    }
    for object in objects {
        let policy = serde_json::from_value(object.clone()).unwrap();
        let text = |field: &str| object["metadata"][field].as_str().unwrap();
        policies.set_policy(text("namespace"), text("name"), &policy);
    }
    policies
}

/// The model: slow, and written from the words of the documentation alone.
mod model {
    use super::*;

    pub(super) struct Side<'a> {
        pub(super) ip: &'a str,
        pub(super) pod: Option<&'a Value>,
    }

    fn selected(selector: &Value, labels: &Value) -> bool {
        let equal = selector["matchLabels"].as_object().into_iter().flatten();
        let expressions = selector["matchExpressions"].as_array().into_iter().flatten();
        equal.into_iter().all(|(key, value)| labels.get(key) == Some(value))
            && expressions.into_iter().all(|e| {
                let own = labels.get(e["key"].as_str().unwrap());
                let among = || own.is_some_and(|own| e["values"].as_array().unwrap().contains(own));
                match e["operator"].as_str().unwrap() {
                    "In" => among(),
                    "NotIn" => !among(),
                    "Exists" => own.is_some(),
                    _ => own.is_none(),
                }
            })
    }

    fn in_block(cidr: &str, ip: &str) -> bool {
        let (start, bits) = cidr.split_once('/').unwrap();
        let number = |text: &str| u64::from(u32::from(text.parse::<std::net::Ipv4Addr>().unwrap()));
        let size = 1_u64 << (32 - bits.parse::<u32>().unwrap());
        number(ip) / size == number(start) / size
    }

    fn peer(peer: &Value, side: &Side<'_>, own_namespace: &str) -> bool {
        let block = &peer["ipBlock"];
        if !block.is_null() {
            let mut except = block["except"].as_array().into_iter().flatten();
            return in_block(block["cidr"].as_str().unwrap(), side.ip)
                && !except.any(|cidr| in_block(cidr.as_str().unwrap(), side.ip));
        }
        let Some(pod) = side.pod else { return false };
        let namespace = pod["metadata"]["namespace"].as_str().unwrap();
        let near = if peer["namespaceSelector"].is_null() {
            namespace == own_namespace
        } else {
            selected(&peer["namespaceSelector"], &namespace_labels(namespace))
        };
        near && (peer["podSelector"].is_null()
            || selected(&peer["podSelector"], &pod["metadata"]["labels"]))
    }

    fn port(rule: &Value, to: &Side<'_>, protocol: &str, number: u16) -> bool {
        if rule["protocol"].as_str().unwrap_or("TCP") != protocol {
            return false;
        }
        if let Some(name) = rule["port"].as_str() {
            let ports = to.pod.map(|pod| &pod["spec"]["containers"][0]["ports"]);
            let mut ports = ports.and_then(Value::as_array).into_iter().flatten();
            return ports.any(|own| {
                own["name"] == name
                    && own["containerPort"] == number
                    && own["protocol"].as_str().unwrap_or("TCP") == protocol
            });
        }
        let Some(first) = rule["port"].as_u64() else { return true };
        let last = rule["endPort"].as_u64().unwrap_or(first);
        (first..=last).contains(&u64::from(number))
    }

    pub(super) fn allows(
        objects: &[Value],
        ingress: bool,
        (from, to): (&Side<'_>, &Side<'_>),
        (protocol, number): (&str, u16),
    ) -> bool {
        let (own, other) = if ingress { (to, from) } else { (from, to) };
        let Some(pod) = own.pod else { return true };
        if other.ip == own.ip {
            return true;
        }
        let namespace = pod["metadata"]["namespace"].as_str().unwrap();
        let (kind, rules, peers) =
            if ingress { ("Ingress", "ingress", "from") } else { ("Egress", "egress", "to") };
        let concerns = |object: &&Value| {
            let spec = &object["spec"];
            let is_kind = match spec["policyTypes"].as_array() {
                Some(kinds) => kinds.iter().any(|own| own == kind),
                None => ingress || spec["egress"].as_array().is_some_and(|all| !all.is_empty()),
            };
            object["metadata"]["namespace"] == namespace
                && is_kind
                && selected(&spec["podSelector"], &pod["metadata"]["labels"])
        };
        let mut isolating = objects.iter().filter(concerns).peekable();
        if isolating.peek().is_none() {
            return true;
        }
        isolating.any(|object| {
            object["spec"][rules].as_array().into_iter().flatten().any(|rule| {
                let list = |name: &str| rule[name].as_array().cloned().unwrap_or_default();
                let (peers, ports) = (list(peers), list("ports"));
                (peers.is_empty() || peers.iter().any(|p| peer(p, other, namespace)))
                    && (ports.is_empty() || ports.iter().any(|p| port(p, to, protocol, number)))
            })
        })
    }
}

fn selector() -> impl Strategy<Value = Value> {
    prop_oneof![
        2 => Just(json!({})),
        2 => Just(json!({"matchLabels": {"app": "web"}})),
        1 => Just(json!({"matchLabels": {"app": "db", "tier": "1"}})),
        1 => Just(json!({"matchExpressions": [{"key": "tier", "operator": "In", "values": ["2", "3"]}]})),
        1 => Just(json!({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]})),
        1 => Just(json!({"matchExpressions": [{"key": "app", "operator": "Exists"}]})),
        1 => Just(json!({"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]})),
    ]
}

fn namespaces() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({})),
        Just(json!({"matchLabels": {"team": "x"}})),
        Just(json!({"matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]})),
    ]
}

fn peer() -> impl Strategy<Value = Value> {
    prop_oneof![
        selector().prop_map(|pods| json!({"podSelector": pods})),
        namespaces().prop_map(|namespaces| json!({"namespaceSelector": namespaces})),
        (selector(), namespaces()).prop_map(|(pods, namespaces)| {
            json!({"podSelector": pods, "namespaceSelector": namespaces})
        }),
        Just(json!({"ipBlock": {"cidr": "203.0.113.0/24"}})),
        Just(
            json!({"ipBlock": {"cidr": "10.128.0.0/16", "except": ["10.128.1.0/24", "10.128.0.3/32"]}})
        ),
        Just(json!({"ipBlock": {"cidr": "0.0.0.0/0", "except": ["203.0.113.9/32"]}})),
    ]
}

fn port() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({})),
        Just(json!({"port": 80})),
        Just(json!({"protocol": "UDP", "port": 53})),
        Just(json!({"protocol": "UDP"})),
        Just(json!({"protocol": "SCTP", "port": 80})),
        Just(json!({"port": "http"})),
        Just(json!({"protocol": "UDP", "port": "dns"})),
        Just(json!({"port": 50, "endPort": 80})),
    ]
}

fn rules(peers: &'static str) -> impl Strategy<Value = Value> {
    let rule = (prop::collection::vec(peer(), 0..3), prop::collection::vec(port(), 0..3));
    let rule = rule.prop_map(move |(sides, ports)| json!({peers: sides, "ports": ports}));
    prop::collection::vec(rule, 0..3).prop_map(Value::Array)
}

fn policy() -> impl Strategy<Value = Value> {
    let types = prop_oneof![
        Just(Value::Null),
        Just(json!(["Ingress"])),
        Just(json!(["Egress"])),
        Just(json!(["Ingress", "Egress"])),
    ];
    let parts = (0..3_usize, selector(), types, rules("from"), rules("to"));
    parts.prop_map(|(namespace, selector, types, ingress, egress)| {
        let mut spec = json!({"podSelector": selector, "ingress": ingress, "egress": egress});
        if !types.is_null() {
            spec["policyTypes"] = types;
        }
        json!({"metadata": {"namespace": (["a", "b", "c"][namespace])}, "spec": spec})
    })
}

/// Compares every pair of pods and the client outside, on every port.
fn compare(mut objects: Vec<Value>) -> Result<(), TestCaseError> {
    for (number, object) in objects.iter_mut().enumerate() {
        object["metadata"]["name"] = json!(format!("np{number}"));
    }
    let (policies, pods) = (policies_of(&objects), world());
    let inside = pods
        .iter()
        .map(|pod| model::Side { ip: pod["status"]["podIP"].as_str().unwrap(), pod: Some(pod) });
    let sides: Vec<_> = inside.chain([model::Side { ip: OUTSIDE, pod: None }]).collect();
    for (from, to) in sides.iter().flat_map(|from| sides.iter().map(move |to| (from, to))) {
        for (protocol, number) in [("TCP", 80), ("TCP", 81), ("UDP", 53), ("TCP", 53)] {
            let attempt = Attempt {
                source: from.ip.parse().unwrap(),
                from: None,
                destination: SocketAddr::new(to.ip.parse().unwrap(), number),
                to: None,
                protocol: if protocol == "UDP" { Protocol::Udp } else { Protocol::Tcp },
            };
            for ingress in [true, false] {
                let verdict =
                    if ingress { policies.ingress(&attempt) } else { policies.egress(&attempt) };
                let expected = model::allows(&objects, ingress, (from, to), (protocol, number));
                let said = format!(
                    "{} to {} {protocol} {number} ingress {ingress}: {verdict:?} {objects:?}",
                    from.ip, to.ip
                );
                prop_assert_eq!(verdict == Verdict::Allowed, expected, "{}", said);
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn generated_policies_decide_as_the_model_does(objects in prop::collection::vec(policy(), 1..4)) {
        compare(objects)?;
    }
}

fn deny_ingress() -> Value {
    json!({"metadata": {"namespace": "a", "name": "closed"}, "spec": {
        "podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"],
        "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "db"}}}], "ports": [{"port": 80}]}]}})
}

#[test]
fn a_denial_says_who_and_why() {
    let policies = policies_of(&[deny_ingress()]);
    let attempt = Attempt {
        source: "10.128.1.2".parse().unwrap(),
        from: None,
        destination: "10.128.0.2:80".parse().unwrap(),
        to: None,
        protocol: Protocol::Tcp,
    };
    let Verdict::Denied(denial) = policies.ingress(&attempt) else { panic!("let through") };
    assert_eq!(
        denial.to_string(),
        "NetworkPolicy closed isolates ingress to pod a/p0, and no rule allows b/p0 (10.128.1.2) to a/p0 (10.128.0.2) \
         on TCP port 80"
    );
    // The pod and the policy go; what they closed is open.
    let mut policies = policies;
    policies.remove_policy("a", "closed");
    assert_eq!(policies.ingress(&attempt), Verdict::Allowed);
}

#[test]
fn a_policy_in_dry_run_closes_nothing_and_says_what_it_would() {
    let mut tried = deny_ingress();
    tried["metadata"]["annotations"] = json!({(DRY_RUN): "true"});
    let mut policies = policies_of(&[tried.clone()]);
    let attempt = |source: &str| Attempt {
        source: source.parse().unwrap(),
        from: None,
        destination: "10.128.0.2:80".parse().unwrap(),
        to: None,
        protocol: Protocol::Tcp,
    };
    let stranger = attempt("10.128.1.2");
    assert_eq!(policies.ingress(&stranger), Verdict::Allowed);
    let denial = policies.rehearse(&stranger, Direction::Ingress).unwrap();
    assert!(denial.to_string().contains("NetworkPolicy closed isolates ingress to pod a/p0"));
    assert_eq!(policies.rehearse(&stranger, Direction::Egress), None);
    // What it allows, and what is refused anyhow, is nothing new.
    assert_eq!(policies.rehearse(&attempt("10.128.0.4"), Direction::Ingress), None);
    let real = serde_json::from_value(deny_ingress()).unwrap();
    policies.set_policy("a", "real", &real);
    assert!(matches!(policies.ingress(&stranger), Verdict::Denied(_)));
    assert_eq!(policies.rehearse(&stranger, Direction::Ingress), None);
    // Without the annotation's value it is a policy as any other.
    tried["metadata"]["annotations"][DRY_RUN] = json!("no");
    assert!(!policies_of(&[tried]).has_dry_runs());
}

#[test]
fn an_address_that_changed_hands_is_the_new_pods() {
    let mut policies = policies_of(&[deny_ingress()]);
    let attempt = Attempt {
        source: "10.128.1.2".parse().unwrap(),
        from: None,
        destination: "10.128.0.2:80".parse().unwrap(),
        to: None,
        protocol: Protocol::Tcp,
    };
    let mut successor = world().remove(3);
    successor["metadata"]["name"] = json!("new");
    successor["metadata"]["uid"] = json!("new");
    successor["status"]["podIP"] = json!("10.128.0.2");
    policies.set_pod(serde_json::from_value::<PodFace>(successor).unwrap().face());
    assert_eq!(policies.ingress(&attempt), Verdict::Allowed);
    // The old one's end does not take the address from the new one.
    policies.remove_pod("a", "p0");
    assert_eq!(policies.runs_on("new", "n1"), Some(true));
    assert!(policies.by_ip.contains_key(&"10.128.0.2".parse().unwrap()));
}

struct Straight;

impl Router for Straight {
    fn route(&self, flow: &Flow) -> Route {
        Route::Pod(flow.destination)
    }
}

impl Resolver for Straight {
    fn resolve(
        &self,
        _from: &NsTag,
        name: &str,
    ) -> coracle_vnet::BoxFuture<'static, Result<Vec<IpAddr>, ResolveError>> {
        let missing = ResolveError::NotFound(name.to_owned());
        Box::pin(std::future::ready(Err(missing)))
    }
}

#[test]
fn the_guard_looks_both_ways_and_believes_no_stranger() {
    let fabric = Fabric::new(Arc::new(Straight), Arc::new(Straight));
    let spec = NetNsSpec::new(NsTag::new("a-p0", "a/p0"), vec!["10.128.0.2".parse().unwrap()]);
    let _pod = fabric.add(spec).unwrap();
    let guard = Guard::default();
    let flow = |from: &str, source: &str| Flow {
        from: Some(NsTag::new(from, from)),
        source: source.parse().unwrap(),
        destination: "10.128.0.2:80".parse().unwrap(),
        protocol: Protocol::Tcp,
    };
    let pod = Route::Pod("10.128.0.2:80".parse().unwrap());
    let stranger = flow("b-p0", "10.128.1.2:1");
    // Nobody told it of policies.
    assert_eq!(guard.limit(&stranger, pod.clone()), pod);
    guard.follow(&fabric, false);
    let Route::Refused(why) = guard.limit(&stranger, pod.clone()) else { panic!("let through") };
    assert!(why.contains("not known yet"), "{why}");
    guard.change(|policies| *policies = policies_of(&[deny_ingress()]));
    guard.set_known();
    assert!(matches!(guard.limit(&stranger, pod.clone()), Route::Refused(_)));
    assert_eq!(guard.limit(&flow("a-p2", "10.128.0.4:1"), pod.clone()), pod);
    let arrival = |from, peer, source: &str| Arrival {
        source: source.parse().unwrap(),
        from,
        peer,
        destination: "10.128.0.2:80".parse().unwrap(),
        protocol: Protocol::Tcp,
    };
    let said = |arrival: &Arrival<'_>| guard.admit(arrival).err().map(|(_, why)| why);
    assert_eq!(said(&arrival(Some("a-p2"), Some("n1"), "10.128.0.4")), None);
    let other = said(&arrival(Some("a-p2"), Some("n2"), "10.128.0.4")).unwrap();
    assert!(other.contains("does not run on that node"), "{other}");
    assert!(said(&arrival(Some("unheard"), Some("n2"), "10.128.1.2")).is_some());
    assert!(said(&arrival(None, None, OUTSIDE)).unwrap().contains("NetworkPolicy closed"));
}
