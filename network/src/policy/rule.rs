//! One policy, read once into what can be asked quickly. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use coracle_vnet::Protocol;
use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::core::{Selector, SelectorExt as _};

use super::Direction;
use super::pod::Face;
use crate::cidr::Cidr;
use crate::endpoints::protocol;

/// What a rule is asked about: the other side, and the port.
#[derive(Debug)]
pub(super) struct Subject<'a> {
    /// The pod on the other side, if it is one.
    pub(super) pod: Option<&'a Face>,
    /// The labels of its namespace.
    pub(super) namespace: Option<&'a BTreeMap<String, String>>,
    /// The other side's address.
    pub(super) ip: IpAddr,
    /// The namespace of the policy.
    pub(super) own_namespace: &'a str,
    /// The pod that is connected to, if it is one: names of ports are its.
    pub(super) target: Option<&'a Face>,
    /// The port that is connected to.
    pub(super) port: u16,
    /// The transport.
    pub(super) protocol: Protocol,
}

/// A policy.
#[derive(Debug)]
pub(super) struct Policy {
    selector: Labels,
    /// `None`: it says nothing about this direction.
    ingress: Option<Vec<Rule>>,
    egress: Option<Vec<Rule>>,
    /// It closes nothing yet: its owner wants to know what it would.
    pub(super) dry_run: bool,
}

impl Policy {
    pub(super) fn of(policy: &NetworkPolicy) -> Self {
        let spec = policy.spec.clone().unwrap_or_default();
        let egress_given = spec.egress.as_ref().is_some_and(|rules| !rules.is_empty());
        let types = spec.policy_types.unwrap_or_default();
        let named = |name: &str| types.iter().any(|own| own == name);
        // Without types it is about ingress, and about egress if it has rules for that.
        let has_ingress = types.is_empty() || named("Ingress");
        let has_egress = if types.is_empty() { egress_given } else { named("Egress") };
        let ingress =
            spec.ingress.into_iter().flatten().map(|rule| Rule::of(rule.from, rule.ports));
        let egress = spec.egress.into_iter().flatten().map(|rule| Rule::of(rule.to, rule.ports));
        let annotations = policy.metadata.annotations.as_ref();
        let dry_run = annotations.and_then(|all| all.get(super::DRY_RUN));
        Self {
            dry_run: dry_run.is_some_and(|value| value == "true"),
            selector: Labels::of(spec.pod_selector.unwrap_or_default()),
            ingress: has_ingress.then(|| ingress.collect()),
            egress: has_egress.then(|| egress.collect()),
        }
    }

    pub(super) fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.selector.takes(labels)
    }

    pub(super) fn rules(&self, direction: Direction) -> Option<&[Rule]> {
        match direction {
            Direction::Ingress => self.ingress.as_deref(),
            Direction::Egress => self.egress.as_deref(),
        }
    }
}

/// A rule: any of the peers, on any of the ports. An empty list is everybody and everything.
#[derive(Debug)]
pub(super) struct Rule {
    peers: Vec<Peer>,
    ports: Vec<PortRule>,
}

impl Rule {
    fn of(peers: Option<Vec<NetworkPolicyPeer>>, ports: Option<Vec<NetworkPolicyPort>>) -> Self {
        Self {
            peers: peers.into_iter().flatten().map(Peer::of).collect(),
            ports: ports.into_iter().flatten().map(PortRule::of).collect(),
        }
    }

    pub(super) fn allows(&self, subject: &Subject<'_>) -> bool {
        (self.ports.is_empty() || self.ports.iter().any(|port| port.takes(subject)))
            && (self.peers.is_empty() || self.peers.iter().any(|peer| peer.takes(subject)))
    }
}

/// Whom a rule lets through.
#[derive(Debug)]
enum Peer {
    Block { range: Option<Cidr>, except: Vec<Cidr> },
    Pods { namespaces: Option<Labels>, pods: Option<Labels> },
}

impl Peer {
    fn of(peer: NetworkPolicyPeer) -> Self {
        match peer.ip_block {
            Some(IPBlock { cidr, except }) => Peer::Block {
                range: Cidr::parse(&cidr),
                except: except.iter().flatten().filter_map(|text| Cidr::parse(text)).collect(),
            },
            None => Peer::Pods {
                namespaces: peer.namespace_selector.map(Labels::of),
                pods: peer.pod_selector.map(Labels::of),
            },
        }
    }

    fn takes(&self, subject: &Subject<'_>) -> bool {
        match self {
            Peer::Block { range, except } => {
                range.is_some_and(|range| range.contains(subject.ip))
                    && !except.iter().any(|range| range.contains(subject.ip))
            }
            Peer::Pods { namespaces, pods } => subject.pod.is_some_and(|pod| {
                let near = match namespaces {
                    None => pod.namespace == subject.own_namespace,
                    Some(labels) => subject.namespace.is_some_and(|own| labels.takes(own)),
                };
                near && pods.as_ref().is_none_or(|labels| labels.takes(&pod.labels))
            }),
        }
    }
}

/// The ports that a rule is about.
#[derive(Debug)]
struct PortRule {
    /// `None`: a protocol that pods do not speak.
    protocol: Option<Protocol>,
    numbers: Numbers,
}

#[derive(Debug)]
enum Numbers {
    All,
    Range(i32, i32),
    Named(String),
}

impl PortRule {
    fn of(port: NetworkPolicyPort) -> Self {
        let numbers = match port.port {
            None => Numbers::All,
            Some(IntOrString::Int(first)) => Numbers::Range(first, port.end_port.unwrap_or(first)),
            Some(IntOrString::String(name)) => Numbers::Named(name),
        };
        Self { protocol: protocol(port.protocol.as_deref()), numbers }
    }

    fn takes(&self, subject: &Subject<'_>) -> bool {
        if self.protocol != Some(subject.protocol) {
            return false;
        }
        match &self.numbers {
            Numbers::All => true,
            Numbers::Range(first, last) => (*first..=*last).contains(&i32::from(subject.port)),
            Numbers::Named(name) => subject.target.is_some_and(|target| {
                target.ports_named(name, subject.protocol).any(|port| port == subject.port)
            }),
        }
    }
}

/// A label selector; an empty one takes everything, an unreadable one nothing.
#[derive(Debug)]
struct Labels(Option<Selector>);

impl Labels {
    fn of(selector: LabelSelector) -> Self {
        Self(Selector::try_from(selector).ok())
    }

    fn takes(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.as_ref().is_some_and(|selector| selector.matches(labels))
    }
}
