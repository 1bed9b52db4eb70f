//! A table that was changed step by step leads to the same as what is chosen among all endpoints at once.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use coracle_network::endpoints::{Endpoint, Slice};
use coracle_network::table::{ServiceKey, Table};
use coracle_network::topology::{Place, TrafficPolicy};
use coracle_vnet::Protocol;
use proptest::prelude::*;
use serde_json::{Value, json};

const FOUR: &str = "10.96.0.20";
const SIX: &str = "fd63:6f73::20";
const NODE_PORT: u16 = 30_080;

/// What happens.
#[derive(Debug, Clone)]
enum Step {
    Service { both: bool, local: bool, inside: bool },
    NoService,
    Slice { name: usize, owned: bool, port: u16, endpoints: Vec<(u8, u8)> },
    NoSlice(usize),
    Place(usize),
}

fn step() -> impl Strategy<Value = Step> {
    // Few addresses, so that slices have some in common.
    let endpoints = proptest::collection::vec((0..24_u8, any::<u8>()), 0..16);
    prop_oneof![
        1 => any::<[bool; 3]>().prop_map(|[both, local, inside]| Step::Service { both, local, inside }),
        1 => Just(Step::NoService),
        8 => (0..3_usize, prop::bool::weighted(0.9), 80..82_u16, endpoints)
            .prop_map(|(name, owned, port, endpoints)| Step::Slice { name, owned, port, endpoints }),
        1 => (0..3_usize).prop_map(Step::NoSlice),
        1 => (0..3_usize).prop_map(Step::Place),
    ]
}

fn key() -> ServiceKey {
    ServiceKey { namespace: "default".into(), name: "web".into() }
}

fn slice_name(number: usize) -> String {
    format!("web-{number}")
}

fn places(number: usize) -> Place {
    [
        Place::default(),
        Place { node: "n1".into(), zone: Some("z1".into()) },
        Place { node: "n2".into(), zone: None },
    ][number]
        .clone()
}

/// An endpoint whose conditions, node and hints the bits say.
fn endpoint((address, bits): (u8, u8)) -> Value {
    let ip = if address < 16 { format!("10.128.0.{address}") } else { format!("fd63::{address}") };
    let bit = |number: u8| bits & (1 << number) != 0;
    let mut one = json!({"addresses": [ip], "nodeName": if bit(0) { "n1" } else { "n2" },
        "conditions": {"ready": bit(1) || bit(2), "serving": bit(3), "terminating": bit(4)}});
    // Mostly all of them have hints, or none: otherwise they would never count.
    if bits & 0b1100_0000 == 0b1100_0000 {
        one["hints"]["forNodes"] = json!([{"name": if bit(0) { "n1" } else { "n2" }}]);
    }
    if bit(7) {
        one["hints"]["forZones"] = json!([{"name": if bit(5) { "z1" } else { "z2" }}]);
    }
    one
}

fn service(both: bool, local: bool, inside: bool) -> Value {
    let policy = |local| if local { "Local" } else { "Cluster" };
    let ips = if both { vec![FOUR, SIX] } else { vec![FOUR] };
    json!({"spec": {"type": "NodePort", "clusterIPs": ips, "externalTrafficPolicy": policy(local),
        "internalTrafficPolicy": policy(inside),
        "ports": [{"name": "http", "port": 80, "nodePort": NODE_PORT}]}})
}

/// All that there is.
#[derive(Default)]
struct Model {
    service: Option<(bool, bool, bool)>,
    slices: BTreeMap<usize, Slice>,
    place: Place,
}

impl Model {
    fn take(&mut self, step: &Step, table: &mut Table) {
        match step {
            Step::Service { both, local, inside } => {
                self.service = Some((*both, *local, *inside));
                let object = serde_json::from_value(service(*both, *local, *inside)).unwrap();
                table.set_service(&key(), &object);
            }
            Step::NoService => {
                self.service = None;
                table.remove_service(&key());
            }
            Step::Slice { name, owned, port, endpoints } => {
                let endpoints: Vec<Value> = endpoints.iter().map(|one| endpoint(*one)).collect();
                let owner = if *owned { "web" } else { "other" };
                let slice: Slice = serde_json::from_value(json!({
                    "metadata": {"labels": {"kubernetes.io/service-name": owner}},
                    "endpoints": endpoints, "ports": [{"name": "http", "port": port}]}))
                .unwrap();
                table.set_slice("default", &slice_name(*name), &slice);
                self.slices.insert(*name, slice);
            }
            Step::NoSlice(name) => {
                self.slices.remove(name);
                table.remove_slice("default", &slice_name(*name));
            }
            Step::Place(number) => {
                self.place = places(*number);
                table.set_place(self.place.clone());
            }
        }
    }

    /// What a way leads to: `six`: of which family alone.
    fn backends(&self, local: bool, six: Option<bool>) -> Vec<SocketAddr> {
        let own = self.slices.values().filter(|slice| slice.service.as_deref() == Some("web"));
        let all = own.flat_map(|slice| slice.endpoints.iter());
        let of_family = |e: &&Endpoint| six.is_none_or(|six| e.ip.is_ipv6() == six);
        let all: Vec<&Endpoint> = all.filter(of_family).collect();
        let policy = if local { TrafficPolicy::Local } else { TrafficPolicy::Cluster };
        let usable = self.place.usable(policy, &all).into_iter();
        let at = |e: &Endpoint| (e.ip, e.port("http", Protocol::Tcp).unwrap()).into();
        let mut found: Vec<SocketAddr> = usable.map(at).collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    fn compare(&self, table: &Table) -> Result<(), TestCaseError> {
        let at = |ip: &str| {
            let address = (ip.parse::<IpAddr>().unwrap(), 80).into();
            let port = table.virtual_port(address, Protocol::Tcp)?;
            Some(port.backends.iter().copied().collect::<Vec<_>>())
        };
        let outer = table.node_port(NODE_PORT, Protocol::Tcp);
        let outer = outer.map(|port| port.backends.iter().copied().collect::<Vec<_>>());
        let Some((both, local, inside)) = self.service else {
            prop_assert_eq!((at(FOUR), at(SIX), outer), (None, None, None));
            return Ok(());
        };
        prop_assert_eq!(at(FOUR), Some(self.backends(inside, both.then_some(false))));
        prop_assert_eq!(at(SIX), both.then(|| self.backends(inside, Some(true))));
        prop_assert_eq!(outer, Some(self.backends(local, both.then_some(false))));
        Ok(())
    }
}

proptest! {
    #[test]
    fn step_by_step_is_the_same_as_at_once(steps in proptest::collection::vec(step(), 1..40)) {
        let (mut table, mut model) = (Table::default(), Model::default());
        for step in &steps {
            model.take(step, &mut table);
            model.compare(&table)?;
        }
    }
}
