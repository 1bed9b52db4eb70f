//! Which routes attach to which listeners, and why others do not. Pure.
//!
//! *Source:* Gateway API `ParentReference`, `AllowedRoutes`, and the reasons of `RouteConditionAccepted`.

use super::objects::{GROUP, Gateway, KindRef, ListenerSpec, ParentRef};
use super::world::{Route, RouteKind, World, selects};
use crate::front::hostname::{HostPattern, Star};

/// Why a route does not attach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAttached {
    /// No listener has the name and port that it asks for.
    NoMatchingParent,
    /// None of those takes it: its kind or its namespace is not allowed there.
    NotAllowedByListeners,
    /// None of those takes any of its host names.
    NoMatchingListenerHostname,
}

impl NotAttached {
    /// The condition's reason.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::NoMatchingParent => "NoMatchingParent",
            Self::NotAllowedByListeners => "NotAllowedByListeners",
            Self::NoMatchingListenerHostname => "NoMatchingListenerHostname",
        }
    }

    /// The condition's message.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::NoMatchingParent => {
                "no listener of the Gateway has the section name and port of this reference"
            }
            Self::NotAllowedByListeners => {
                "no such listener allows routes of this kind and namespace"
            }
            Self::NoMatchingListenerHostname => {
                "no such listener takes any of the route's host names"
            }
        }
    }
}

/// A route at a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The listener's place in the Gateway.
    pub listener: usize,
    /// The host names for which the route has a say there.
    pub hosts: Vec<HostPattern>,
}

/// The kinds of routes that a listener takes, and whether it asked for others.
#[must_use]
pub fn kinds(listener: &ListenerSpec) -> (Vec<RouteKind>, bool) {
    let passes = listener.tls.as_ref().and_then(|tls| tls.mode.as_deref()) == Some("Passthrough");
    let by_protocol: &[RouteKind] = match listener.protocol.as_str() {
        "HTTP" | "HTTPS" => &[RouteKind::Http, RouteKind::Grpc],
        "TLS" if passes => &[RouteKind::Tls],
        _ => &[],
    };
    let asked: &[KindRef] = listener.allowed_routes.as_ref().map_or(&[], |allowed| &allowed.kinds);
    if asked.is_empty() {
        return (by_protocol.to_vec(), false);
    }
    let of = |asked: &KindRef| {
        let ours = asked.group.as_deref().is_none_or(|group| group == GROUP);
        by_protocol.iter().copied().find(|kind| ours && kind.name() == asked.kind)
    };
    let found: Vec<RouteKind> = asked.iter().filter_map(of).collect();
    let odd = found.len() < asked.len();
    (found, odd)
}

/// Whether a reference is to this Gateway.
#[must_use]
pub fn is_parent(route: &Route<'_>, parent: &ParentRef, gateway: &Gateway) -> bool {
    let metadata = &gateway.metadata;
    parent.group.as_deref().is_none_or(|group| group == GROUP)
        && parent.kind.as_deref().is_none_or(|kind| kind == "Gateway")
        && metadata.name.as_deref() == Some(parent.name.as_str())
        && metadata.namespace.as_deref()
            == Some(parent.namespace.as_deref().unwrap_or(route.namespace()))
}

/// Attaches a route to the listeners of a Gateway that a reference means.
///
/// # Errors
/// Why it attaches to none.
pub fn attach(
    world: &World<'_>,
    route: &Route<'_>,
    parent: &ParentRef,
    gateway: &Gateway,
) -> Result<Vec<Attachment>, NotAttached> {
    let all = gateway.spec.listeners.iter().enumerate();
    let meant: Vec<(usize, &ListenerSpec)> = all
        .filter(|(_, listener)| {
            parent.section_name.as_ref().is_none_or(|name| *name == listener.name)
                && parent.port.is_none_or(|port| port == listener.port)
        })
        .collect();
    if meant.is_empty() {
        return Err(NotAttached::NoMatchingParent);
    }
    let allowing: Vec<_> =
        meant.into_iter().filter(|(_, listener)| allows(world, route, gateway, listener)).collect();
    if allowing.is_empty() {
        return Err(NotAttached::NotAllowedByListeners);
    }
    let attached: Vec<Attachment> = allowing
        .into_iter()
        .map(|(index, listener)| Attachment { listener: index, hosts: hosts(route, listener) })
        .filter(|attachment| !attachment.hosts.is_empty())
        .collect();
    if attached.is_empty() {
        return Err(NotAttached::NoMatchingListenerHostname);
    }
    Ok(attached)
}

fn allows(
    world: &World<'_>,
    route: &Route<'_>,
    gateway: &Gateway,
    listener: &ListenerSpec,
) -> bool {
    if !kinds(listener).0.contains(&route.kind) {
        return false;
    }
    let allowed = listener.allowed_routes.as_ref().and_then(|allowed| allowed.namespaces.as_ref());
    let same = gateway.metadata.namespace.as_deref() == Some(route.namespace());
    match allowed.and_then(|namespaces| namespaces.from.as_deref()) {
        None | Some("Same") => same,
        Some("All") => true,
        Some("Selector") => {
            let selector = allowed.and_then(|namespaces| namespaces.selector.as_ref());
            selector.is_some_and(|one| selects(one, &(world.labels)(route.namespace())))
        }
        Some(_) => false,
    }
}

/// The names for which the route has a say at the listener; none if they have none in common.
fn hosts(route: &Route<'_>, listener: &ListenerSpec) -> Vec<HostPattern> {
    let own = HostPattern::parse(listener.hostname.as_deref(), Star::Labels);
    if route.spec.hostnames.is_empty() {
        return vec![own];
    }
    let asked = route.spec.hostnames.iter();
    let asked = asked.map(|name| HostPattern::parse(Some(name), Star::Labels));
    asked.filter_map(|name| own.intersection(&name)).collect()
}
