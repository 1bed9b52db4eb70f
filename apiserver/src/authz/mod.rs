//! Who may do what, from the first day: `system:masters` everything, a node what its pods need, everyone who is known
//! the discovery of the API, and nothing else.
//!
//! In: a user and the attributes of a request. Out: a [`Decision`]. It looks at objects in the caches, never at the
//! request's body; what a node may write into an object is admission's. RBAC takes the place of "nothing else".

mod node;

use crate::authn::{AUTHENTICATED, MASTERS, UserInfo};
use crate::cache::Caches;
use coracle_api::key::GroupResource;
use coracle_api::status::Status;
use std::sync::Arc;

/// What a request is about, as far as the right to do it is concerned.
#[derive(Debug, Clone, Copy, Default)]
pub struct Attributes<'a> {
    /// The verb in lower case: `get`, `list`, `create`…
    pub verb: &'a str,
    /// The API group, empty for core.
    pub group: &'a str,
    /// The plural; empty for a request that is not about a resource.
    pub resource: &'a str,
    /// The subresource, or empty.
    pub subresource: &'a str,
    /// The namespace, empty at cluster scope.
    pub namespace: &'a str,
    /// The object's name, or the one that a field selector fixes; empty for collections.
    pub name: &'a str,
    /// The path, for requests that are not about a resource.
    pub path: &'a str,
    /// The value that the field selector demands of `spec.nodeName`, for lists and watches.
    pub node_name: Option<&'a str>,
}

/// Whether a request may go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It may.
    Allow,
    /// It may not, and why; empty when there is nothing more to say.
    Deny(String),
}

/// Decides who may do what.
#[derive(Clone)]
pub struct Authorizer {
    caches: Arc<Caches>,
}

/// Paths that every known user may read. *Source:* the bootstrap roles `system:discovery` and
/// `system:public-info-viewer`. Those with a closing slash stand for all below them.
const DISCOVERY_PATHS: [&str; 13] = [
    "/api",
    "/api/",
    "/apis",
    "/apis/",
    "/openapi",
    "/openapi/",
    "/version",
    "/healthz",
    "/livez",
    "/readyz",
    "/healthz/",
    "/livez/",
    "/readyz/",
];

impl Authorizer {
    /// An authorizer that looks up objects in the caches.
    pub fn new(caches: Arc<Caches>) -> Authorizer {
        Authorizer { caches }
    }

    /// Decides.
    pub fn authorize(&self, user: &UserInfo, attributes: &Attributes<'_>) -> Decision {
        if user.is_in(MASTERS) || is_discovery(user, attributes) {
            return Decision::Allow;
        }
        match user.node() {
            Some(node) => node::authorize(&self.caches, node, attributes),
            None => Decision::Deny(String::new()),
        }
    }

    /// Decides, and says no as kube-apiserver does.
    ///
    /// # Errors
    /// 403 with who, what and where.
    pub fn check(&self, user: &UserInfo, attributes: &Attributes<'_>) -> Result<(), Status> {
        match self.authorize(user, attributes) {
            Decision::Allow => Ok(()),
            Decision::Deny(why) => Err(attributes.forbidden(user, &why)),
        }
    }
}

fn is_discovery(user: &UserInfo, attributes: &Attributes<'_>) -> bool {
    let reads = matches!(attributes.verb, "get" | "head");
    let path = attributes.path;
    let listed = |known: &str| path == known || (known.ends_with('/') && path.starts_with(known));
    attributes.resource.is_empty()
        && reads
        && user.is_in(AUTHENTICATED)
        && DISCOVERY_PATHS.into_iter().any(listed)
}

impl Attributes<'_> {
    fn forbidden(&self, user: &UserInfo, why: &str) -> Status {
        if self.resource.is_empty() {
            return Status::forbidden_path(&user.name, self.verb, self.path, why);
        }
        let resource = match self.subresource {
            "" => self.resource.to_owned(),
            subresource => format!("{}/{subresource}", self.resource),
        };
        let resource = GroupResource::new(self.group.to_owned(), resource);
        let namespace = Some(self.namespace).filter(|namespace| !namespace.is_empty());
        Status::forbidden(&user.name, self.verb, &resource, namespace, self.name, why)
    }
}

#[cfg(test)]
mod tests;
