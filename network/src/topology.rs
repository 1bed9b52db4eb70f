//! Which of a Service's endpoints this host uses: traffic policies, topology hints, and what is left
//! while pods end. Pure.
//!
//! *Source:* KEP-1669 (terminating endpoints), KEP-2086 (`internalTrafficPolicy`), KEP-2433 and
//! KEP-3015 (hints for zones and nodes).

use crate::endpoints::Endpoint;

/// Where this host is. The default knows neither: then no endpoint is on this node, and hints say
/// nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// The name of the host's Node.
    pub node: String,
    /// Its zone, from the Node's label `topology.kubernetes.io/zone`.
    pub zone: Option<String>,
}

/// How far a connection may go: `internalTrafficPolicy` and `externalTrafficPolicy`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TrafficPolicy {
    /// To any endpoint of the cluster.
    #[default]
    Cluster,
    /// Only to endpoints of the node that it starts or comes in at.
    Local,
}

impl TrafficPolicy {
    /// The policy in the API's spelling; anything but `Local` is the default.
    #[must_use]
    pub fn of(text: Option<&str>) -> Self {
        if text == Some("Local") { Self::Local } else { Self::Cluster }
    }
}

impl Place {
    /// Whether an endpoint is on this node.
    #[must_use]
    pub fn has(&self, endpoint: &Endpoint) -> bool {
        !self.node.is_empty() && endpoint.node.as_deref() == Some(self.node.as_str())
    }

    /// Whether hints give an endpoint to this node.
    #[must_use]
    pub fn is_hinted_node(&self, endpoint: &Endpoint) -> bool {
        !self.node.is_empty() && endpoint.for_nodes().contains(&self.node)
    }

    /// Whether hints give an endpoint to this host's zone.
    #[must_use]
    pub fn is_hinted_zone(&self, endpoint: &Endpoint) -> bool {
        self.zone.as_ref().is_some_and(|zone| endpoint.for_zones().contains(zone))
    }

    /// The endpoints that may be given new connections: those that are ready, where hints lead, and
    /// if there are none of them, those that are serving while they end.
    #[must_use]
    pub fn usable<'a>(&self, policy: TrafficPolicy, all: &[&'a Endpoint]) -> Vec<&'a Endpoint> {
        let reach: Vec<&Endpoint> = match policy {
            TrafficPolicy::Cluster => all.to_vec(),
            TrafficPolicy::Local => all.iter().copied().filter(|e| self.has(e)).collect(),
        };
        let ready: Vec<&Endpoint> = reach.iter().copied().filter(|e| e.ready).collect();
        if ready.is_empty() {
            return reach.into_iter().filter(|e| e.serving && e.terminating).collect();
        }
        match policy {
            TrafficPolicy::Cluster => self.hinted(ready),
            TrafficPolicy::Local => ready,
        }
    }

    /// Why an endpoint is given new connections or is not, for people; `used`: what [`Place::usable`]
    /// decided about it.
    #[must_use]
    pub fn reason(&self, policy: TrafficPolicy, endpoint: &Endpoint, used: bool) -> &'static str {
        match (used, endpoint.ready) {
            (true, true) => "ready",
            (true, false) => "ending, but no other one is ready",
            (false, _) if policy == TrafficPolicy::Local && !self.has(endpoint) => {
                "on another node, where the traffic policy Local does not lead"
            }
            (false, false) if endpoint.terminating => "ending",
            (false, false) => "not ready",
            (false, true) => "ready, but topology hints lead elsewhere",
        }
    }

    /// Those that hints give to this node, else to its zone, else all. Hints count only when every
    /// endpoint has one and one is for here, so that no half-written set of hints loses traffic.
    fn hinted<'a>(&self, ready: Vec<&'a Endpoint>) -> Vec<&'a Endpoint> {
        let of_node = |e: &&&Endpoint| self.is_hinted_node(e);
        let of_zone = |e: &&&Endpoint| self.is_hinted_zone(e);
        if ready.iter().all(|e| !e.for_nodes().is_empty()) && ready.iter().any(|e| of_node(&e)) {
            return ready.iter().filter(of_node).copied().collect();
        }
        if ready.iter().all(|e| !e.for_zones().is_empty()) && ready.iter().any(|e| of_zone(&e)) {
            return ready.iter().filter(of_zone).copied().collect();
        }
        ready
    }
}
