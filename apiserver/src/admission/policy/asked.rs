//! The `authorizer` variable of expressions, answered by this server's authorizer.

use coracle_api::cel::{Answer, Authorize, Query, Scope};
use std::sync::Arc;

use crate::admission::matching::Written;
use crate::authn::{UserInfo, groups_of};
use crate::authz::{Attributes, Authorizer, Decision};

/// Asks in the name of the one who writes.
struct Asker {
    authorizer: Authorizer,
    user: UserInfo,
}

impl Authorize for Asker {
    fn answer(&self, query: &Query) -> Answer {
        let account = query.account.as_ref().map(|(namespace, name)| {
            let user = format!("system:serviceaccount:{namespace}:{name}");
            let groups = groups_of(namespace);
            UserInfo::new(&user, groups.iter().map(String::as_str))
        });
        let attributes = Attributes {
            verb: &query.verb,
            group: &query.group,
            resource: &query.resource,
            subresource: &query.subresource,
            namespace: &query.namespace,
            name: &query.name,
            path: &query.path,
            node_name: None,
        };
        match self.authorizer.authorize(account.as_ref().unwrap_or(&self.user), &attributes) {
            Decision::Allow(reason) => Answer { allowed: true, reason },
            Decision::Deny(reason) => Answer { allowed: false, reason },
        }
    }
}

/// Binds the variable, and `authorizer.requestResource`.
pub(super) fn bind(scope: &mut Scope, written: &Written<'_>, authorizer: &Authorizer) {
    let request = written.request;
    let asker = Asker { authorizer: authorizer.clone(), user: request.user.clone() };
    let resource = Query {
        group: request.kind.group.to_owned(),
        resource: request.kind.plural.to_owned(),
        subresource: request.subresource.to_owned(),
        namespace: request.namespace.to_owned(),
        name: request.name.to_owned(),
        ..Query::default()
    };
    scope.bind_authorizer(Arc::new(asker), resource);
}
