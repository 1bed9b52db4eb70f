//! The table of Services alone: a pick among 5,000 endpoints, and one endpoint's change.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use coracle_network::cidr::Cidr;
use coracle_network::endpoints::Slice;
use coracle_network::network::Network;
use coracle_network::switch::Ranges;
use coracle_network::table::ServiceKey;
use coracle_vnet::Protocol;
use serde_json::{Value, json};

/// Endpoints of the large Service, and of the small one beside it.
const LARGE: usize = 5_000;
const SMALL: usize = 5;
/// Endpoints of one slice, as the EndpointSlice controller makes them.
const SLICE_ENDPOINTS: usize = 100;
/// The node port of the Service.
const PORT: u16 = 30_080;
const PICKS: u32 = 2_000_000;
const CHANGES: u32 = 2_000;

pub(crate) fn measure() -> anyhow::Result<Vec<String>> {
    let (small, large) = (Scene::new(SMALL)?, Scene::new(LARGE)?);
    let (of_5, of_5000) = (small.pick()?, large.pick()?);
    let (change_5, change_5000) = (small.change()?, large.change()?);
    Ok(vec![
        format!(
            "pick of {LARGE} endpoints: {of_5000:.0} ns (promised 200), of {SMALL}: {of_5:.0} ns; the lock and the look for the port included"
        ),
        format!(
            "one endpoint's change: {:.1} us among {LARGE}, {:.1} us among {SMALL}, {:.1} x (promised the same)",
            change_5000 * 1e6,
            change_5 * 1e6,
            change_5000 / change_5,
        ),
    ])
}

/// A host's network with one Service.
struct Scene {
    network: Arc<Network>,
    /// One of its slices, with its first endpoint ready and not ready.
    states: [Slice; 2],
}

impl Scene {
    fn new(endpoints: usize) -> anyhow::Result<Self> {
        let ranges = Ranges {
            pods: Cidr::parse_families("10.128.0.0/9").context("the range of the pods")?,
            services: Cidr::parse_families("10.96.0.0/12").context("the range of Services")?,
            host: [].into(),
        };
        let (network, _refusals) = Network::new(ranges);
        let key = ServiceKey { namespace: "default".to_owned(), name: "web".to_owned() };
        let service = json!({"metadata": {"name": "web", "namespace": "default"}, "spec": {"type": "NodePort",
            "clusterIP": "10.96.0.20", "ports": [{"port": 80, "targetPort": 8080, "nodePort": PORT}]}});
        let service = serde_json::from_value(service)?;
        network.change(|table| table.set_service(&key, &service));
        for first in (0..endpoints).step_by(SLICE_ENDPOINTS) {
            let count = SLICE_ENDPOINTS.min(endpoints - first);
            let object = serde_json::from_value(slice(first, count, true))?;
            network.change(|table| table.set_slice("default", &format!("web-{first}"), &object));
        }
        let count = SLICE_ENDPOINTS.min(endpoints);
        let first = (endpoints / SLICE_ENDPOINTS / 2) * SLICE_ENDPOINTS;
        let states = [false, true].map(|ready| serde_json::from_value(slice(first, count, ready)));
        let [down, up] = states;
        Ok(Self { network, states: [down?, up?] })
    }

    /// Nanoseconds of a pick.
    fn pick(&self) -> anyhow::Result<f64> {
        let client = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        let pick = || self.network.pick_node_port(PORT, Protocol::Tcp, client, &[]);
        pick().context("the Service has no endpoint")?;
        let took = timed(PICKS, |_| {
            black_box(pick());
        });
        Ok(took.as_secs_f64() * 1e9 / f64::from(PICKS))
    }

    /// Seconds of a change.
    fn change(&self) -> anyhow::Result<f64> {
        let name = self.states[0].metadata.name.clone().context("the slice has a name")?;
        let took = timed(CHANGES, |turn| {
            let state = &self.states[usize::from(turn % 2 == 1)];
            self.network.change(|table| table.set_slice("default", &name, state));
        });
        Ok(took.as_secs_f64() / f64::from(CHANGES))
    }
}

/// A slice of the Service, whose first endpoint may not be ready.
fn slice(first: usize, count: usize, ready: bool) -> Value {
    let endpoint = |number: usize| {
        let ip = Ipv4Addr::from_bits(Ipv4Addr::new(10, 129, 0, 0).to_bits() + number as u32);
        json!({"addresses": [ip.to_string()], "nodeName": format!("host-{}", number % 20),
            "conditions": {"ready": ready || number != first, "serving": true, "terminating": false},
            "targetRef": {"kind": "Pod", "namespace": "default", "name": format!("web-{number}")}})
    };
    let endpoints: Vec<Value> = (first..first + count).map(endpoint).collect();
    json!({"metadata": {"name": format!("web-{first}"), "namespace": "default",
            "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4", "endpoints": endpoints, "ports": [{"port": 8080, "protocol": "TCP", "name": ""}]})
}

fn timed(count: u32, mut run: impl FnMut(u32)) -> Duration {
    // The first tenth finds the caches cold.
    (0..count / 10).for_each(&mut run);
    let start = Instant::now();
    (0..count).for_each(run);
    start.elapsed()
}
