//! Follows a connection on its way: looks the name up, asks for each decision, and connects.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use coracle_vnet::{Fabric, Flow, NetNs, Protocol};
use tokio::time::timeout;

use super::steps::{self, Door, SHOWN_MAX, Way};
use super::{Question, Stage, Step, Trace};
use crate::network::Network;
use crate::switch::decide;

/// How long the name and the connection may take, each: the longest that a Service on demand is held.
const STEP_MAX: Duration = crate::demand::HOLD_MAX;

/// Traces a connection from a pod of this host: every decision that it meets, and whether it is taken.
///
/// The connection is a real one, and closed as soon as it is made. It counts as use of a Service on
/// demand, and what refuses it is told to the pod's owner as for the pod's own.
pub async fn trace(
    network: &Arc<Network>,
    fabric: &Arc<Fabric>,
    pod: &Arc<NetNs>,
    question: &Question,
) -> Trace {
    let mut trace = Trace::default();
    let door = match network.read(|table| steps::door(table, question)) {
        Ok(door) => door,
        Err(why) => return Trace { steps: vec![Step::stopped(Stage::Service, why)] },
    };
    let name = question.name(pod.tag().namespace());
    let addresses = match look_up(pod, &name).await {
        Ok(addresses) => addresses,
        Err(why) => return Trace::not_begun(&format!("{name}: {why}")),
    };
    trace.steps.push(network.read(|table| steps::names(&name, question, table, &addresses)));
    let to = network.read(|table| steps::destination(table, question, &door, &addresses));
    let Some(to) = to else { return trace };
    if pod.ips().contains(&to.ip()) {
        trace.steps.push(Step::ok(Stage::Service, format!("{to} is the pod's own address")));
    } else {
        trace.steps.extend(decisions(network, fabric, pod, (&door, to)));
    }
    if trace.goes_on() {
        trace.steps.push(connect(pod, to, door.protocol).await);
    }
    trace
}

async fn look_up(pod: &Arc<NetNs>, name: &str) -> Result<Vec<IpAddr>, String> {
    if let Ok(ip) = name.parse() {
        return Ok(vec![ip]);
    }
    match timeout(STEP_MAX, pod.resolve(name)).await {
        Ok(found) => found.map_err(|error| error.to_string()),
        Err(_elapsed) => Err("no name server answered in time".to_owned()),
    }
}

/// What is decided between the name and the connection, as far as a connection goes on.
fn decisions(
    network: &Network,
    fabric: &Fabric,
    pod: &NetNs,
    (door, to): (&Door, SocketAddr),
) -> Vec<Step> {
    let mut made = vec![network.view(|view| steps::service(view, to, door.protocol))];
    let port = network.read(|table| table.port_at(to, door.protocol));
    let mut backends = vec![to];
    if let Some(port) = &port {
        let is_tcp = door.protocol == Protocol::Tcp;
        let left_out = |backend| network.left_out(backend).filter(|_| is_tcp);
        made.push(network.read(|table| steps::endpoints(table, port, door.protocol, left_out)));
        backends = port.backends.iter().take(SHOWN_MAX).copied().collect();
    }
    let is_lookup = network.read(|table| table.is_dns(to.ip()));
    if is_lookup || backends.is_empty() || made.iter().any(|step| !step.ok) {
        return made;
    }
    let own = pod.ips().iter().find(|ip| ip.is_ipv4() == to.is_ipv4());
    let source = SocketAddr::new(own.copied().unwrap_or(to.ip()), 0);
    let from = Some(pod.tag().clone());
    let flow = Flow { from, source, destination: to, protocol: door.protocol };
    let ways: Vec<Way> = backends
        .into_iter()
        .map(|backend| {
            let route = network.view(|view| decide(view, &flow, |_port| Some(backend)));
            let mut way = Way { backend, route, judged: Err("") };
            way.judged = network.guard.judge(&flow, way.lands().unwrap_or(backend));
            way
        })
        .collect();
    made.push(steps::policy(&ways));
    if ways.iter().any(Way::is_open) {
        made.push(steps::hop(&ways, |at| fabric.hop(at)));
    }
    made
}

#[expect(clippy::disallowed_methods, reason = "says how long a connection took")]
async fn connect(pod: &Arc<NetNs>, to: SocketAddr, protocol: Protocol) -> Step {
    if protocol == Protocol::Udp {
        return Step::ok(Stage::Connect, "UDP knows no connections: nothing was sent");
    }
    let began = Instant::now();
    match timeout(STEP_MAX, pod.connect_tcp(to, None)).await {
        Ok(Ok(_stream)) => {
            let millis = began.elapsed().as_secs_f64() * 1000.0;
            Step::ok(Stage::Connect, format!("taken after {millis:.1} ms"))
        }
        Ok(Err(error)) => Step::stopped(Stage::Connect, format!("not taken: {error}")),
        Err(_elapsed) => Step::stopped(Stage::Connect, "nobody answered in time"),
    }
}
