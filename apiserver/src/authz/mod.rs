//! Who may do what: `system:masters` everything, a node what its pods need, everyone what roles give them.
//!
//! In: a user and the attributes of a request. Out: a [`Decision`]. It looks at objects in the caches, never at the
//! request's body; what a node may write into an object is admission's. The authorizers are asked in upstream's order,
//! Node before RBAC, and the first that allows decides.

mod escalation;
mod front;
mod node;
pub(crate) mod policy;
pub(crate) mod rbac;
pub mod rule;

use crate::authn::{MASTERS, UserInfo};
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
    /// It may, and why; empty when there is nothing more to say.
    Allow(String),
    /// It may not, and why; empty when there is nothing more to say.
    Deny(String),
}

/// Decides who may do what.
#[derive(Clone)]
pub struct Authorizer {
    caches: Arc<Caches>,
    pub(crate) rbac: Arc<rbac::Rbac>,
}

impl Authorizer {
    /// An authorizer that looks up objects in the caches.
    pub fn new(caches: Arc<Caches>) -> Authorizer {
        let rbac = Arc::new(rbac::Rbac::new(Arc::clone(&caches)));
        Authorizer { caches, rbac }
    }

    /// Decides.
    pub fn authorize(&self, user: &UserInfo, attributes: &Attributes<'_>) -> Decision {
        if user.is_in(MASTERS) {
            return Decision::Allow(String::new());
        }
        let by_node = user.node().map(|node| node::authorize(&self.caches, node, attributes));
        let first = match by_node {
            Some(Decision::Allow(why)) => return Decision::Allow(why),
            Some(Decision::Deny(why)) => why,
            None => String::new(),
        };
        match self.rbac.authorize(user, attributes) {
            Decision::Deny(second) if first.is_empty() => Decision::Deny(second),
            Decision::Deny(second) if second.is_empty() => Decision::Deny(first),
            Decision::Deny(second) => Decision::Deny(format!("{first}\n{second}")),
            Decision::Allow(why) => Decision::Allow(why),
        }
    }

    /// Decides, and says no as kube-apiserver does.
    ///
    /// # Errors
    /// 403 with who, what and where.
    pub fn check(&self, user: &UserInfo, attributes: &Attributes<'_>) -> Result<(), Status> {
        attributes.checked(user, self.authorize(user, attributes))
    }
}

impl Attributes<'_> {
    /// Says no as kube-apiserver does, if that is the decision.
    ///
    /// # Errors
    /// 403 with who, what and where.
    pub(crate) fn checked(&self, user: &UserInfo, decision: Decision) -> Result<(), Status> {
        match decision {
            Decision::Allow(_) => Ok(()),
            Decision::Deny(why) => Err(self.forbidden(user, &why)),
        }
    }

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
