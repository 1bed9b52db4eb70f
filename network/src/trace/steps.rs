//! The decisions as sentences. Pure: what they are about was decided by whoever decides for connections.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use coracle_vnet::{Hop, Protocol, Route};

use super::{Question, Stage, Step, Target};
use crate::ejection::Cause;
use crate::policy::guard::Judgement;
use crate::policy::{Direction, Verdict};
use crate::switch::View;
use crate::table::{ServicePort, Table};
use crate::topology::TrafficPolicy;

/// Endpoints that are shown of a Service, and backends of which ways are shown: what fits on a screen.
pub(super) const SHOWN_MAX: usize = 16;

/// Which port is dialled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Door {
    /// The Service port's name; empty without one.
    pub(super) name: String,
    /// The number that is dialled; for a headless Service each pod may have another one.
    pub(super) number: u16,
    /// Its transport.
    pub(super) protocol: Protocol,
    /// Whether the Service's name means its pods.
    pub(super) headless: bool,
}

/// Finds the port that a question means.
///
/// # Errors
/// A sentence: there is no such Service or port, or there are several and none is named.
pub(super) fn door(table: &Table, question: &Question) -> Result<Door, String> {
    let port = question.port.as_deref();
    let plain = |number: u16| Door {
        name: String::new(),
        number,
        protocol: Protocol::Tcp,
        headless: false,
    };
    let number = || port.and_then(|text| text.parse::<u16>().ok()).filter(|number| *number > 0);
    let Target::Service(key) = &question.target else {
        return number()
            .map(plain)
            .ok_or_else(|| "say the port by its number: HOST:PORT".to_owned());
    };
    let Some(service) = table.described(key) else {
        return Err(format!("there is no Service {key}"));
    };
    if service.alias.is_some()
        && let Some(number) = number()
    {
        return Ok(plain(number));
    }
    let is_meant = |(name, number, _): &&(&str, u16, Protocol)| match port {
        None => true,
        Some(port) => *name == port || port.parse() == Ok(*number),
    };
    let found: Vec<_> = service.ports.iter().filter(is_meant).collect();
    let listed = || {
        let ports = service.ports.iter().map(|(name, number, protocol)| {
            let name = if name.is_empty() { String::new() } else { format!("{name} ") };
            format!("{name}{number}/{}", spelled(*protocol))
        });
        ports.collect::<Vec<_>>().join(", ")
    };
    match found.as_slice() {
        [(name, number, protocol)] => Ok(Door {
            name: (*name).to_owned(),
            number: *number,
            protocol: *protocol,
            headless: service.headless,
        }),
        [] => Err(format!("Service {key} has no such port; it has: {}", listed())),
        [_, _, ..] => Err(format!("Service {key} has several ports; name one of: {}", listed())),
    }
}

/// The address that is dialled, of those that a name means.
pub(super) fn destination(
    table: &Table,
    question: &Question,
    door: &Door,
    addresses: &[IpAddr],
) -> Option<SocketAddr> {
    let first = *addresses.first()?;
    let Target::Service(key) = &question.target else { return Some((first, door.number).into()) };
    let of_pod = || {
        let mut pods = table.endpoints(key).filter(|endpoint| endpoint.ip == first);
        pods.find_map(|endpoint| endpoint.port(&door.name, door.protocol))
    };
    let own = if door.headless { of_pod() } else { None };
    Some((first, own.unwrap_or(door.number)).into())
}

/// What the name means.
pub(super) fn names(name: &str, question: &Question, table: &Table, addresses: &[IpAddr]) -> Step {
    let all: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
    if name.parse::<IpAddr>().is_ok() {
        return Step::ok(Stage::Names, format!("{name} is an address: no name is looked up"));
    }
    let alias = match &question.target {
        Target::Service(key) => table.described(key).and_then(|service| service.alias),
        Target::Host(_) => None,
    };
    let details = alias.map(|alias| format!("an ExternalName: CNAME {alias}"));
    let step = match all.as_slice() {
        [] => Step::stopped(Stage::Names, format!("{name} exists and means no address now")),
        [_, ..] => Step::ok(Stage::Names, format!("{name} means {}", all.join(", "))),
    };
    step.with(details.into_iter().collect())
}

/// What the address belongs to.
pub(super) fn service(view: &View<'_>, at: SocketAddr, protocol: Protocol) -> Step {
    let ip = at.ip();
    if view.table.is_dns(ip) {
        return Step::ok(
            Stage::Service,
            format!("{ip} is the cluster's DNS, answered on this host"),
        );
    }
    if let Some(port) = view.table.port_at(at, protocol) {
        let name = if port.name.is_empty() { String::new() } else { format!(" ({})", port.name) };
        let said = format!("{at}/{} is port{name} of Service {}", spelled(protocol), port.service);
        return Step::ok(Stage::Service, said).with(rules(&port));
    }
    if let Some(service) = view.table.virtual_ip(ip) {
        let said = format!("Service {service} has no {} port {}", spelled(protocol), at.port());
        return Step::stopped(Stage::Service, said);
    }
    if view.ranges.is_pod(ip) {
        return Step::ok(Stage::Service, format!("{at} is a pod's: no Service picks another one"));
    }
    if view.ranges.is_service(ip) {
        return Step::stopped(Stage::Service, format!("no Service has the address {ip}"));
    }
    Step::ok(Stage::Service, format!("{at} is outside of the cluster: no Service stands before it"))
}

/// What a Service port says of its connections.
fn rules(port: &ServicePort) -> Vec<String> {
    let mut rules = Vec::new();
    if port.policy == TrafficPolicy::Local {
        rules.push("internalTrafficPolicy Local: only endpoints of this node".to_owned());
    }
    if let Some(kept) = port.affinity {
        rules.push(format!(
            "sessionAffinity ClientIP: a pod keeps its endpoint for {} s",
            kept.as_secs()
        ));
    }
    if port.on_demand {
        rules.push("on demand: its pods run only while it is used".to_owned());
    }
    rules
}

/// Which endpoints are given connections.
pub(super) fn endpoints(
    table: &Table,
    port: &ServicePort,
    protocol: Protocol,
    left_out: impl Fn(SocketAddr) -> Option<(Duration, Cause)>,
) -> Step {
    let (mut lines, mut all, mut resting) = (Vec::new(), 0, 0);
    for endpoint in table.endpoints(&port.service) {
        let Some(number) = endpoint.port(&port.name, protocol) else { continue };
        let address = SocketAddr::new(endpoint.ip, number);
        let used = port.backends.contains(&address);
        let why = table.place().reason(port.policy, endpoint, used);
        let rest = left_out(address).filter(|_| used);
        let rest = rest.map(|(rest, cause)| {
            resting += 1;
            let why = match cause {
                Cause::Connection => "it took no connection",
                Cause::Answers => "it failed one request after another",
            };
            format!(", but left out for {:.1} s: {why}", rest.as_secs_f32())
        });
        let node = endpoint.node.as_deref().map(|node| format!(" on node {node}"));
        all += 1;
        if lines.len() < SHOWN_MAX {
            let (node, rest) = (node.unwrap_or_default(), rest.unwrap_or_default());
            lines.push(format!("{address}{node}: {why}{rest}"));
        }
    }
    if all > lines.len() {
        lines.push(format!("and {} more", all - lines.len()));
    }
    let used = port.backends.len();
    let step = match (used, port.on_demand) {
        (0, true) => Step::ok(Stage::Endpoints, "no pod runs now: a connection starts one"),
        (0, false) => {
            let said = format!("none of {all} endpoints is given connections: they are refused");
            Step::stopped(Stage::Endpoints, said)
        }
        (_, _) => {
            let rest =
                if resting == 0 { String::new() } else { format!(", {resting} left out now") };
            Step::ok(Stage::Endpoints, format!("{used} of {all} are given connections{rest}"))
        }
    };
    step.with(lines)
}

/// One address that a connection may come to, and what was decided about it.
#[derive(Debug)]
pub(super) struct Way {
    /// The backend.
    pub(super) backend: SocketAddr,
    /// Where it is routed to.
    pub(super) route: Route,
    /// What policies say; why they cannot say it.
    pub(super) judged: Result<[Judgement; 2], &'static str>,
}

impl Way {
    /// Whether neither grant nor policy is in the way.
    pub(super) fn is_open(&self) -> bool {
        let is_allowed = |judgement: &&Judgement| judgement.verdict == Verdict::Allowed;
        self.lands().is_some()
            && self.judged.as_ref().is_ok_and(|both| both.iter().all(|one| is_allowed(&one)))
    }

    /// Where it arrives.
    pub(super) fn lands(&self) -> Option<SocketAddr> {
        match &self.route {
            Route::Pod(address) | Route::Real(address) => Some(*address),
            Route::Refused(_) => None,
        }
    }

    fn lines(&self) -> Vec<String> {
        let at = self.backend;
        if let Route::Refused(why) = &self.route {
            return vec![format!("{at}: {why}")];
        }
        let both = match &self.judged {
            Ok(both) => both,
            Err(why) => return vec![format!("{at}: {why}")],
        };
        let is_pod = matches!(self.route, Route::Pod(_));
        let told = both.iter().filter(|one| is_pod || one.direction == Direction::Egress);
        told.map(|one| format!("{at}: {}", sentence(one))).collect()
    }
}

fn sentence(one: &Judgement) -> String {
    let (way, whose) = match one.direction {
        Direction::Egress => ("egress", "this pod"),
        Direction::Ingress => ("ingress", "it"),
    };
    match &one.verdict {
        Verdict::Denied(denial) => denial.to_string(),
        Verdict::Allowed if one.policies.is_empty() => {
            format!("{way} open: no NetworkPolicy selects {whose}")
        }
        Verdict::Allowed => {
            format!("{way} allowed by a rule of NetworkPolicy {}", one.policies.join(" or "))
        }
    }
}

/// What policies and grants say.
pub(super) fn policy(ways: &[Way]) -> Step {
    let open = ways.iter().filter(|way| way.is_open()).count();
    let lines: Vec<String> = ways.iter().flat_map(Way::lines).collect();
    let step = match (open, ways.len()) {
        (0, _) => Step::stopped(Stage::Policy, "closed: a connection is refused"),
        (open, all) if open == all => Step::ok(Stage::Policy, "open"),
        (open, all) => {
            let said = format!("open to {open} of {all}: what falls on another one is refused");
            Step::ok(Stage::Policy, said)
        }
    };
    step.with(lines)
}

/// How the endpoints' hosts are reached; `hop` says it of a pod's address.
pub(super) fn hop(ways: &[Way], hop: impl Fn(SocketAddr) -> Hop) -> Step {
    let mut any = false;
    let mut lines = Vec::new();
    for way in ways.iter().filter(|way| way.is_open()) {
        let (is_way, line) = match &way.route {
            Route::Real(at) => (true, format!("{at}: by this machine's own network")),
            Route::Refused(_) => continue,
            Route::Pod(at) => match hop(*at) {
                Hop::Here(tag) => (true, format!("{at}: on this host, {}", tag.name())),
                Hop::Beyond(by) => (true, format!("{at}: by {by}")),
                Hop::Nowhere(why) => (false, format!("{at}: {why}")),
            },
        };
        any |= is_way;
        lines.push(line);
    }
    match lines.as_slice() {
        [only] => Step { ok: any, ..Step::ok(Stage::Hop, only.clone()) },
        _ if any => Step::ok(Stage::Hop, "by the endpoint's host").with(lines),
        _ => Step::stopped(Stage::Hop, "no host is reached").with(lines),
    }
}

fn spelled(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
    }
}
