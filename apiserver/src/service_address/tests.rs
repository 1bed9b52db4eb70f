//! Addresses and ports that are asked for, given, kept and taken back.

use super::*;

fn addresses() -> ServiceAddresses {
    ServiceAddresses::new(ServiceRanges {
        network: Ipv4Addr::new(10, 96, 0, 0),
        prefix: 28,
        second: Some(("fd00::".parse().unwrap(), 120)),
        node_ports: 30000..=30001,
    })
}

fn service(kind: &str, ports: Value) -> Value {
    json!({"spec": {"type": kind, "ports": ports}})
}

fn errors(result: Result<Claim, Vec<FieldError>>) -> Vec<String> {
    result.unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn gives_free_addresses_and_takes_them_back() {
    let addresses = addresses();
    let mut first = service("ClusterIP", json!([]));
    drop(addresses.assign(&mut first, None, 3).unwrap());
    let mut second = service("ClusterIP", json!([]));
    addresses.assign(&mut second, None, 3).unwrap().commit(&second, None);
    assert_eq!(first["spec"]["clusterIP"], second["spec"]["clusterIP"]);
    let mut third = service("ClusterIP", json!([]));
    addresses.assign(&mut third, None, 3).unwrap().commit(&third, None);
    assert_ne!(second["spec"]["clusterIP"], third["spec"]["clusterIP"]);
    assert_eq!(third["spec"]["ipFamilies"], json!(["IPv4"]));
}

#[test]
fn a_load_balancer_for_local_endpoints_gets_a_health_check_port() {
    let addresses = addresses();
    let spec = json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local",
        "ports": [{"port": 80}]});
    let mut new = json!({"spec": spec});
    addresses.assign(&mut new, None, 0).unwrap().commit(&new, None);
    let (node, health) =
        (new["spec"]["ports"][0]["nodePort"].clone(), new["spec"]["healthCheckNodePort"].clone());
    assert_eq!([node.as_u64(), health.as_u64()], [Some(30000), Some(30001)]);
    // An update that leaves it out keeps it; another policy gives it back.
    let mut same = json!({"spec": spec});
    same["spec"]["ports"][0]["nodePort"] = node.clone();
    addresses.assign(&mut same, Some(&new), 0).unwrap().commit(&same, Some(&new));
    assert_eq!(same["spec"]["healthCheckNodePort"], health);
    let mut other = same.clone();
    other["spec"]["externalTrafficPolicy"] = json!("Cluster");
    other["spec"].as_object_mut().unwrap().remove("healthCheckNodePort");
    addresses.assign(&mut other, Some(&same), 0).unwrap().commit(&other, Some(&same));
    let mut second = service("NodePort", json!([{"port": 1, "nodePort": health}]));
    assert!(addresses.assign(&mut second, None, 0).is_ok());
}

#[test]
fn a_service_of_both_families_has_two_addresses_and_gives_one_back() {
    let addresses = addresses();
    let mut new = json!({"spec": {"type": "ClusterIP", "ipFamilyPolicy": "PreferDualStack",
        "clusterIPs": ["10.96.0.9"]}});
    addresses.assign(&mut new, None, 0).unwrap().commit(&new, None);
    let ips = new["spec"]["clusterIPs"].clone();
    assert_eq!(ips, json!(["10.96.0.9", "fd00::f"]));
    let second = || json!({"spec": {"type": "ClusterIP", "clusterIP": "fd00::f"}});
    let taken = "spec.clusterIPs: Invalid value: [\"fd00::f\"]: failed to allocate IP fd00::f: provided IP is already allocated";
    assert_eq!(errors(addresses.assign(&mut second(), None, 0)), [taken]);
    let mut single = new.clone();
    single["spec"]["ipFamilyPolicy"] = json!("SingleStack");
    addresses.assign(&mut single, Some(&new), 0).unwrap().commit(&single, Some(&new));
    assert_eq!(single["spec"]["clusterIPs"], json!(["10.96.0.9"]));
    addresses.assign(&mut second(), None, 0).unwrap().commit(&second(), None);
    let outside = json!({"spec": {"type": "ClusterIP", "clusterIP": "fd01::1"}});
    let said = errors(addresses.assign(&mut outside.clone(), None, 0));
    assert!(said[0].ends_with("The range of valid IPs is fd00::/120"), "{said:?}");
}

#[test]
fn a_full_range_says_so() {
    let addresses = addresses();
    for _ in 0..14 {
        let mut new = service("ClusterIP", json!([]));
        addresses.assign(&mut new, None, 0).unwrap().commit(&new, None);
    }
    let result = addresses.assign(&mut service("ClusterIP", json!([])), None, 0);
    assert!(errors(result)[0].contains("range is full"));
}

#[test]
fn honours_what_is_asked_for() {
    let addresses = addresses();
    let asking = || {
        json!({"spec": {"type": "NodePort", "clusterIP": "10.96.0.10", "ports": [
        {"port": 53, "protocol": "UDP", "nodePort": 30001}, {"port": 53, "protocol": "TCP", "nodePort": 30001}]}})
    };
    let mut first = asking();
    addresses.assign(&mut first, None, 0).unwrap().commit(&first, None);
    assert_eq!(
        errors(addresses.assign(&mut asking(), None, 0)),
        [
            r#"spec.clusterIPs: Invalid value: ["10.96.0.10"]: failed to allocate IP 10.96.0.10: provided IP is already allocated"#,
            "spec.ports[0].nodePort: Invalid value: 30001: provided port is already allocated",
            "spec.ports[1].nodePort: Invalid value: 30001: provided port is already allocated",
        ]
    );
    let mut outside = service("NodePort", json!([{"port": 80, "nodePort": 80}]));
    assert_eq!(
        errors(addresses.assign(&mut outside, None, 0)),
        [
            "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The range of valid ports is 30000-30001"
        ]
    );
}

#[test]
fn an_update_frees_what_it_no_longer_has() {
    let addresses = addresses();
    let mut old = service("NodePort", json!([{"port": 80, "protocol": "TCP"}]));
    addresses.assign(&mut old, None, 0).unwrap().commit(&old, None);
    let mut new = old.clone();
    new["spec"]["ports"].as_array_mut().unwrap().push(json!({"port": 81, "protocol": "TCP"}));
    addresses.assign(&mut new, Some(&old), 0).unwrap().commit(&new, Some(&old));
    assert_eq!(new["spec"]["clusterIP"], old["spec"]["clusterIP"]);
    assert_eq!(new["spec"]["ports"][0]["nodePort"], old["spec"]["ports"][0]["nodePort"]);
    let mut plain = service("ClusterIP", json!([{"port": 80, "protocol": "TCP"}]));
    addresses.assign(&mut plain, Some(&new), 0).unwrap().commit(&plain, Some(&new));
    let mut other = service("NodePort", json!([{"port": 1}, {"port": 2}]));
    assert!(addresses.assign(&mut other, None, 0).is_ok());
}

proptest::proptest! {
    #[test]
    fn no_address_is_given_twice(steps in proptest::collection::vec((0usize..4, 0u32..40, 0u8..3), 1..40)) {
        let addresses = addresses();
        let mut live: Vec<Value> = Vec::new();
        for (kind, random, what) in steps {
            let port = json!([{"port": 80, "protocol": "TCP"}]);
            match (what, live.is_empty()) {
                (0 | 1, _) | (_, true) => {
                    let mut new = service(if kind % 2 == 0 { "ClusterIP" } else { "NodePort" }, port);
                    if let Ok(claim) = addresses.assign(&mut new, None, random) {
                        // Every other claim is given back, as when its commit fails.
                        if what == 0 {
                            claim.commit(&new, None);
                            live.push(new);
                        }
                    }
                }
                (_, false) => addresses.release(&live.swap_remove(kind % live.len())),
            }
            let ips: Vec<_> = live.iter().flat_map(cluster_ips).collect();
            let ports: Vec<_> = live.iter().flat_map(node_ports).collect();
            let distinct = |count: usize, set: usize| count == set;
            proptest::prop_assert!(distinct(ips.len(), ips.iter().collect::<BTreeSet<_>>().len()));
            proptest::prop_assert!(distinct(ports.len(), ports.iter().collect::<BTreeSet<_>>().len()));
        }
    }
}
