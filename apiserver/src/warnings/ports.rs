//! Ports of a pod's containers that get in each other's way.

use super::{WARNINGS_MAX, items, text};
use serde_json::Value;
use std::collections::HashMap;

/// Ports of one number and protocol that further ones are compared with. Nobody has as many, and what
/// somebody sends to keep the server busy is not compared pair by pair.
const COMPARED_MAX: usize = 64;

/// What a port is compared by.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Host<'p> {
    ip: &'p str,
    port: i64,
}

/// How a port stands to an earlier one of the same number and protocol; `None` when both can be.
fn clash(new: Host<'_>, old: Host<'_>) -> Option<&'static str> {
    if new == old {
        Some("duplicate")
    } else if new.port == 0 || old.port == 0 {
        Some("overlapping")
    } else if new.port == old.port && (new.ip.is_empty() != old.ip.is_empty()) {
        Some("dangerously ambiguous")
    } else {
        None
    }
}

/// Looks at the ports of all containers, given with their paths.
pub(super) fn add(found: &mut Vec<String>, containers: &[(String, &Value)]) {
    let mut known: HashMap<(i64, &str), Vec<(Host<'_>, String)>> = HashMap::new();
    for (path, container) in containers {
        for (index, port) in items(container, "ports") {
            let path = format!("{path}.ports[{index}]");
            let host =
                Host { ip: text(port, "hostIP"), port: port["hostPort"].as_i64().unwrap_or(0) };
            let (number, protocol) =
                (port["containerPort"].as_i64().unwrap_or(0), text(port, "protocol"));
            if !host.ip.is_empty() && host.port == 0 {
                let (name, ip) = (text(port, "name"), host.ip);
                found.push(format!(
                    "{path}: hostIP set without hostPort: {{Name:{name} HostPort:0 ContainerPort:{number} Protocol:{protocol} HostIP:{ip}}}"
                ));
            }
            let others = known.entry((number, protocol)).or_default();
            for (other, place) in others.iter() {
                if let Some(how) = clash(host, *other)
                    && found.len() < WARNINGS_MAX
                {
                    found.push(format!("{path}: {how} port definition with {place}"));
                }
            }
            if others.len() < COMPARED_MAX {
                others.push((host, path));
            }
        }
    }
    names(found, containers);
}

fn names(found: &mut Vec<String>, containers: &[(String, &Value)]) {
    let mut known: HashMap<&str, String> = HashMap::new();
    for (path, container) in containers {
        for (index, port) in items(container, "ports") {
            let (name, path) = (text(port, "name"), format!("{path}.ports[{index}]"));
            if name.is_empty() {
                continue;
            }
            match known.get(name) {
                Some(first) => found.push(format!(
                    "{path}: duplicate port name {name:?} with {first}, services and probes that select ports by name will use {first}"
                )),
                None => {
                    known.insert(name, path);
                }
            }
        }
    }
}
