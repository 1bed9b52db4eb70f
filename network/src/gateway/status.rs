//! What the statuses of GatewayClasses, Gateways and routes say. Pure.
//!
//! *Source:* Gateway API: conditions and reasons of `GatewayClass`, `Gateway`, `Listener` and
//! `RouteParentStatus`; the API conventions for conditions.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use super::attach::{NotAttached, attach, is_parent, kinds};
use super::compile::{backend, certificates, matches, rule};
use super::objects::{CONTROLLER, GROUP, Gateway, GatewayClass, ListenerSpec, ParentRef};
use super::world::{Route, World};
use crate::front::routes::SecretKey;

/// What hosts can do of the Gateway API, in its own words.
const FEATURES: [&str; 23] = [
    "GRPCRoute",
    "Gateway",
    "GatewayPort8080",
    "HTTPRoute",
    "HTTPRouteBackendProtocolH2C",
    "HTTPRouteBackendProtocolWebSocket",
    "HTTPRouteBackendRequestHeaderModification",
    "HTTPRouteBackendTimeout",
    "HTTPRouteHostRewrite",
    "HTTPRouteMethodMatching",
    "HTTPRouteParentRefPort",
    "HTTPRoutePathRedirect",
    "HTTPRoutePathRewrite",
    "HTTPRoutePortRedirect",
    "HTTPRouteQueryParamMatching",
    "HTTPRouteRequestMirror",
    "HTTPRouteRequestMultipleMirrors",
    "HTTPRouteRequestPercentageMirror",
    "HTTPRouteRequestTimeout",
    "HTTPRouteResponseHeaderModification",
    "HTTPRouteSchemeRedirect",
    "ReferenceGrant",
    "TLSRoute",
];

/// What else a status needs to know.
pub struct Surroundings<'a> {
    /// The addresses at which hosts serve Gateways.
    pub addresses: &'a [String],
    /// Whether a Secret holds a certificate and its key.
    pub is_certificate: &'a dyn Fn(&SecretKey) -> bool,
    /// The time, for conditions that change.
    pub now: &'a str,
}

/// A condition to be.
struct Condition {
    kind: &'static str,
    holds: bool,
    reason: &'static str,
    message: String,
}

fn condition(kind: &'static str, holds: bool, reason: &'static str, message: &str) -> Condition {
    Condition { kind, holds, reason, message: message.to_owned() }
}

/// The conditions as the API has them; one whose status stays keeps its time.
fn written(all: Vec<Condition>, before: &Value, metadata: &ObjectMeta, now: &str) -> Value {
    let old = |kind: &str| {
        let list = before.as_array()?;
        list.iter().find(|one| one["type"] == kind)
    };
    let one = |condition: Condition| {
        let status = if condition.holds { "True" } else { "False" };
        let kept = old(condition.kind).filter(|old| old["status"] == status);
        let since = kept.and_then(|old| old["lastTransitionTime"].as_str()).unwrap_or(now);
        json!({
            "type": condition.kind, "status": status, "reason": condition.reason,
            "message": condition.message, "lastTransitionTime": since,
            "observedGeneration": metadata.generation.unwrap_or_default(),
        })
    };
    all.into_iter().map(one).collect()
}

/// The status of a GatewayClass of ours.
#[must_use]
pub fn of_class(class: &GatewayClass, now: &str) -> Value {
    let accepted = condition("Accepted", true, "Accepted", "hosts serve Gateways of this class");
    let before = &class.status["conditions"];
    let features: Vec<Value> = FEATURES.iter().map(|name| json!({"name": name})).collect();
    json!({
        "conditions": written(vec![accepted], before, &class.metadata, now),
        "supportedFeatures": features,
    })
}

/// The status of a Gateway of ours.
#[must_use]
pub fn of_gateway(world: &World<'_>, gateway: &Gateway, with: &Surroundings<'_>) -> Value {
    let listeners: Vec<(Value, bool)> =
        gateway.spec.listeners.iter().map(|spec| of_listener(world, gateway, spec, with)).collect();
    let all_good = listeners.iter().all(|(_, good)| *good);
    let any_good = listeners.iter().any(|(_, good)| *good);
    let accepted = match (all_good, any_good) {
        (true, _) => condition("Accepted", true, "Accepted", "all listeners are served"),
        (false, true) => {
            condition("Accepted", true, "ListenersNotValid", "some listeners are not served")
        }
        (false, false) => {
            condition("Accepted", false, "ListenersNotValid", "no listener is served")
        }
    };
    let programmed = if with.addresses.is_empty() {
        condition("Programmed", false, "AddressNotAssigned", "no host is ready")
    } else if any_good {
        condition("Programmed", true, "Programmed", "hosts serve it")
    } else {
        condition("Programmed", false, "Invalid", "no listener is served")
    };
    let address = |ip: &String| json!({"type": "IPAddress", "value": ip});
    let before = &gateway.status["conditions"];
    json!({
        "addresses": with.addresses.iter().map(address).collect::<Vec<_>>(),
        "conditions": written(vec![accepted, programmed], before, &gateway.metadata, with.now),
        "listeners": listeners.into_iter().map(|(status, _)| status).collect::<Vec<_>>(),
    })
}

/// The status of a listener, and whether it is served.
fn of_listener(
    world: &World<'_>,
    gateway: &Gateway,
    spec: &ListenerSpec,
    with: &Surroundings<'_>,
) -> (Value, bool) {
    let (taken, odd) = kinds(spec);
    let none = taken.is_empty();
    let conflicted = conflict(gateway, spec);
    let accepted = match conflicted {
        Some(reason) => {
            condition("Accepted", false, reason, "another listener of the port stands in the way")
        }
        None if none && !odd => condition(
            "Accepted",
            false,
            "UnsupportedProtocol",
            "hosts serve HTTP, HTTPS that ends there, and TLS that passes through",
        ),
        None => condition("Accepted", true, "Accepted", "the listener is served"),
    };
    let resolved = references(world, gateway, spec, with, odd);
    let good = accepted.holds && resolved.holds;
    let programmed = if good {
        condition("Programmed", true, "Programmed", "hosts listen for it")
    } else {
        condition("Programmed", false, "Invalid", "its other conditions say why not")
    };
    let conflicted = match conflicted {
        Some(reason) => {
            condition("Conflicted", true, reason, "another listener of the port differs")
        }
        None => {
            condition("Conflicted", false, "NoConflicts", "no other listener stands in the way")
        }
    };
    let all = gateway.status["listeners"].as_array();
    let before = all.and_then(|all| all.iter().find(|one| one["name"] == spec.name.as_str()));
    let before = before.map(|before| before["conditions"].clone()).unwrap_or_default();
    let kind = |kind: &super::world::RouteKind| json!({"group": GROUP, "kind": kind.name()});
    let conditions = vec![accepted, programmed, resolved, conflicted];
    let status = json!({
        "name": spec.name,
        "supportedKinds": taken.iter().map(kind).collect::<Vec<_>>(),
        "attachedRoutes": attached(world, gateway, spec),
        "conditions": written(conditions, &before, &gateway.metadata, with.now),
    });
    (status, good)
}

/// How another listener of the Gateway stands in the way at the same port.
fn conflict(gateway: &Gateway, spec: &ListenerSpec) -> Option<&'static str> {
    let others = gateway.spec.listeners.iter();
    let others = others.filter(|other| other.name != spec.name && other.port == spec.port);
    let plain = |listener: &ListenerSpec| listener.protocol == "HTTP";
    for other in others {
        if plain(other) != plain(spec) {
            return Some("ProtocolConflict");
        }
        if other.hostname == spec.hostname {
            return Some("HostnameConflict");
        }
    }
    None
}

fn references(
    world: &World<'_>,
    gateway: &Gateway,
    spec: &ListenerSpec,
    with: &Surroundings<'_>,
    odd: bool,
) -> Condition {
    let kind = "ResolvedRefs";
    if odd {
        let why = "a kind of `allowedRoutes.kinds` does not fit the protocol";
        return condition(kind, false, "InvalidRouteKinds", why);
    }
    let own = gateway.metadata.namespace.as_deref().unwrap_or_default();
    let asked = spec.tls.iter().flat_map(|tls| &tls.certificate_refs);
    for one in asked {
        let namespace = one.namespace.as_deref().unwrap_or(own);
        let is_secret = one.group.as_deref().is_none_or(str::is_empty)
            && one.kind.as_deref().is_none_or(|kind| kind == "Secret");
        if !is_secret {
            let why = format!("certificate '{}' must be a Secret", one.name);
            return condition(kind, false, "InvalidCertificateRef", &why);
        }
        if !world.may_refer(("Gateway", own), ("Secret", namespace, &one.name)) {
            let why = format!(
                "no ReferenceGrant in namespace '{namespace}' allows Secret '{}'",
                one.name
            );
            return condition(kind, false, "RefNotPermitted", &why);
        }
        if !(with.is_certificate)(&(namespace.to_owned(), one.name.clone())) {
            let why =
                format!("Secret '{}' is not there or holds no certificate with its key", one.name);
            return condition(kind, false, "InvalidCertificateRef", &why);
        }
    }
    if spec.protocol == "HTTPS" && certificates(world, gateway, spec).is_empty() {
        let why = "a listener of HTTPS must have a certificate";
        return condition(kind, false, "InvalidCertificateRef", why);
    }
    condition(kind, true, "ResolvedRefs", "all references lead somewhere")
}

/// How many routes are attached to a listener.
fn attached(world: &World<'_>, gateway: &Gateway, spec: &ListenerSpec) -> usize {
    let place = gateway.spec.listeners.iter().position(|other| other.name == spec.name);
    let is_attached = |route: &Route<'_>| {
        let parents = route.spec.parent_refs.iter();
        let mut parents = parents.filter(|parent| is_parent(route, parent, gateway));
        parents.any(|parent| {
            let attached = attach(world, route, parent, gateway).unwrap_or_default();
            attached.iter().any(|one| Some(one.listener) == place)
        })
    };
    world.routes().filter(is_attached).count()
}

/// The status of a route; `None` if it names no Gateway of ours and never did.
#[must_use]
pub fn of_route(world: &World<'_>, route: &Route<'_>, now: &str) -> Option<Value> {
    let said = route.status["parents"].as_array().cloned().unwrap_or_default();
    let (own, foreign): (Vec<Value>, Vec<Value>) =
        said.into_iter().partition(|one| one["controllerName"] == CONTROLLER);
    let gateways: Vec<&Gateway> = world.gateways().collect();
    let mut parents = Vec::new();
    for parent in &route.spec.parent_refs {
        let Some(gateway) = gateways.iter().find(|one| is_parent(route, parent, one)) else {
            continue;
        };
        let reference = reference(parent);
        let before = own.iter().find(|one| one["parentRef"] == reference);
        let before = before.map(|before| before["conditions"].clone()).unwrap_or_default();
        let attached = attach(world, route, parent, gateway).map(drop);
        let conditions = vec![accepted(world, route, attached), resolved(world, route)];
        parents.push(json!({
            "parentRef": reference,
            "controllerName": CONTROLLER,
            "conditions": written(conditions, &before, route.metadata, now),
        }));
    }
    if parents.is_empty() && own.is_empty() {
        return None;
    }
    Some(json!({"parents": foreign.into_iter().chain(parents).collect::<Vec<_>>()}))
}

/// The reference as the route has it, with the defaults that the API fills in.
fn reference(parent: &ParentRef) -> Value {
    let mut reference = json!({
        "group": parent.group.as_deref().unwrap_or(GROUP),
        "kind": parent.kind.as_deref().unwrap_or("Gateway"),
        "name": parent.name,
    });
    let more = [
        ("namespace", parent.namespace.as_ref().map(|one| json!(one))),
        ("sectionName", parent.section_name.as_ref().map(|one| json!(one))),
        ("port", parent.port.map(|one| json!(one))),
    ];
    for (name, value) in more {
        if let Some(value) = value {
            reference[name] = value;
        }
    }
    reference
}

fn accepted(world: &World<'_>, route: &Route<'_>, attached: Result<(), NotAttached>) -> Condition {
    if let Err(why) = attached {
        return condition("Accepted", false, why.reason(), why.message());
    }
    let mut unsupported = BTreeSet::new();
    for spec in &route.spec.rules {
        unsupported.extend(matches(spec).err().map(|error| error.to_string()));
        unsupported.extend(rule(world, route, spec).err().map(|error| error.to_string()));
    }
    if unsupported.is_empty() {
        return condition("Accepted", true, "Accepted", "the route is attached");
    }
    let why: Vec<String> = unsupported.into_iter().collect();
    condition("Accepted", false, "UnsupportedValue", &why.join("; "))
}

fn resolved(world: &World<'_>, route: &Route<'_>) -> Condition {
    for spec in &route.spec.rules {
        let inner = spec.backend_refs.iter().flat_map(|one| &one.filters);
        let mirrors =
            spec.filters.iter().chain(inner).filter_map(|one| one.request_mirror.as_ref());
        let all = spec.backend_refs.iter().chain(mirrors.map(|mirror| &mirror.backend_ref));
        for one in all {
            if let Err(error) = backend(world, route, one) {
                return condition("ResolvedRefs", false, error.reason(), &error.to_string());
            }
        }
    }
    condition("ResolvedRefs", true, "ResolvedRefs", "all references lead somewhere")
}
