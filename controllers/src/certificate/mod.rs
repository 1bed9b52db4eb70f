//! Requests of hosts for certificates: which are approved without a person, and when old ones go.
//!
//! In: one request, whether its asker may ask for it, and the node that it names. Out: one
//! [`Action`]. Requests for anything but a host's two certificates are left to people.
//!
//! *Source:* the `csrapproving` and `csrcleaner` controllers of kube-controller-manager; that the
//! certificate by which a host serves is approved too is ours, since the tunnel between hosts
//! needs it.

mod asked;
pub(crate) mod run;

use std::net::IpAddr;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::Node;

pub use asked::Asked;

/// The signer of certificates by which a host speaks to the API server and to other hosts.
pub const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client-kubelet";
/// The signer of certificates by which a host is spoken to.
pub const SERVING_SIGNER: &str = "kubernetes.io/kubelet-serving";

/// What the common name of a host begins with.
const NODE_PREFIX: &str = "system:node:";
/// The organization of all hosts.
const NODES: &str = "system:nodes";

/// How long a request stays that was decided. *Source:* `csrcleaner`.
const DECIDED_KEPT: SignedDuration = SignedDuration::from_hours(1);
/// How long a request stays that nobody decided. *Source:* `csrcleaner`.
const PENDING_KEPT: SignedDuration = SignedDuration::from_hours(24);

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A host's first certificate, asked for by whoever holds a token.
    FirstClient,
    /// A host asks for its next certificate by its current one.
    NextClient,
    /// A host asks for the certificate by which it serves.
    Serving,
    /// Not a host's certificate.
    Other,
}

impl Purpose {
    /// Reads it off a request and what that asks for.
    #[must_use]
    pub fn of(request: &CertificateSigningRequest, asked: &Asked) -> Purpose {
        let is_host = asked.node().is_some() && asked.groups == [NODES] && !asked.has_other_names;
        let own = request.spec.username.as_deref() == Some(asked.name.as_str());
        let uses = |wanted: &str| {
            let all = request.spec.usages.iter().flatten();
            let allowed = ["digital signature", "key encipherment", wanted];
            let mut names = all.map(String::as_str);
            names.clone().any(|usage| usage == wanted) && names.all(|name| allowed.contains(&name))
        };
        let nameless = asked.dns.is_empty() && asked.addresses.is_empty();
        match request.spec.signer_name.as_str() {
            CLIENT_SIGNER if is_host && nameless && uses("client auth") && own => {
                Purpose::NextClient
            }
            CLIENT_SIGNER if is_host && nameless && uses("client auth") => Purpose::FirstClient,
            SERVING_SIGNER if is_host && own && uses("server auth") => Purpose::Serving,
            _ => Purpose::Other,
        }
    }

    /// The subresource of `certificatesigningrequests` that the asker must be allowed to create;
    /// `None` when nothing is to be asked.
    #[must_use]
    pub fn permission(self) -> Option<&'static str> {
        match self {
            Purpose::FirstClient => Some("nodeclient"),
            Purpose::NextClient => Some("selfnodeclient"),
            Purpose::Serving | Purpose::Other => None,
        }
    }
}

/// All that the decision looks at.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The request.
    pub request: Arc<CertificateSigningRequest>,
    /// What it asks for; `None` when it cannot be read.
    pub asked: Option<Asked>,
    /// Whether the asker has the [permission](Purpose::permission).
    pub permitted: bool,
    /// The node that is named, if there is one.
    pub node: Option<Arc<Node>>,
}

/// What is to be done with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Approve it.
    Approve(String),
    /// Deny it, with why and what to do.
    Deny(String),
    /// It is old: delete it.
    Delete,
    /// Look again later.
    RequeueAfter(SignedDuration),
}

/// Decides about one request.
#[must_use]
pub fn reconcile(observed: &Observed, now: Timestamp) -> Action {
    let request = &observed.request;
    let status = request.status.as_ref();
    let decided = status.and_then(|status| status.conditions.as_ref()).is_some_and(|conditions| {
        conditions.iter().any(|c| matches!(c.type_.as_str(), "Approved" | "Denied" | "Failed"))
    });
    if !decided && let Some(action) = decide(observed) {
        return action;
    }
    let kept = if decided { DECIDED_KEPT } else { PENDING_KEPT };
    let made = request.metadata.creation_timestamp.as_ref().map_or(now, |time| time.0);
    let age = now.duration_since(made);
    if age >= kept { Action::Delete } else { Action::RequeueAfter(kept - age) }
}

/// `None`: a person has to decide.
fn decide(observed: &Observed) -> Option<Action> {
    let asked = observed.asked.as_ref()?;
    let node = asked.node()?;
    match Purpose::of(&observed.request, asked) {
        Purpose::FirstClient if !observed.permitted => None,
        Purpose::FirstClient if observed.node.is_some() => Some(Action::Deny(format!(
            "the node name '{node}' is taken; join under another --node-name, or, if this host takes the place of the \
             other one, first delete that: kubectl delete node {node}"
        ))),
        Purpose::NextClient if !observed.permitted => None,
        Purpose::FirstClient | Purpose::NextClient => Some(Action::Approve(
            "Auto approving kubelet client certificate after SubjectAccessReview.".to_owned(),
        )),
        Purpose::Serving => Some(decide_serving(asked, node, observed.node.as_deref())),
        Purpose::Other => None,
    }
}

/// A host serves under its own name and the addresses of its Node.
fn decide_serving(asked: &Asked, node: &str, object: Option<&Node>) -> Action {
    let own: Vec<IpAddr> = object
        .and_then(|node| node.status.as_ref()?.addresses.as_ref())
        .into_iter()
        .flatten()
        .filter_map(|address| address.address.parse().ok())
        .collect();
    if let Some(name) = asked.dns.iter().find(|name| *name != node) {
        return Action::Deny(format!("node '{node}' may not serve under the name '{name}'"));
    }
    if let Some(address) = asked.addresses.iter().find(|address| !own.contains(address)) {
        return Action::Deny(format!(
            "node '{node}' may not serve under {address}, which its status.addresses do not have"
        ));
    }
    Action::Approve("Auto approving the certificate under which the node serves.".to_owned())
}

#[cfg(test)]
mod tests;
