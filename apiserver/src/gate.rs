//! The questions before the work: who asks, on whose behalf, may they.
//!
//! An edge: the keys of an issuer may have to be fetched.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use coracle_api::selector::FieldSelector;
use coracle_api::status::Status;
use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderValue};

use crate::audit::Notes;
use crate::authn::{UserInfo, Wanted};
use crate::authz::{Attributes, Decision};
use crate::clock;
use crate::negotiate::header;
use crate::query::Query;
use crate::request_info::RequestInfo;
use crate::server::Core;

/// Where a request comes from.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    /// From this process, in the name of this user.
    Known(Arc<UserInfo>),
    /// From a connection, with the user of its client certificate if it has one.
    Connection(Option<Arc<UserInfo>>),
}

/// Who asks, and as whom the request is answered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Identity {
    /// Who asks.
    pub(crate) user: Arc<UserInfo>,
    /// As whom: the same, but for impersonation.
    pub(crate) acting_as: Arc<UserInfo>,
}

impl Core {
    /// Finds out who asks, and as whom.
    ///
    /// # Errors
    /// 401, and 403 for an impersonation that is not allowed.
    pub(crate) async fn identify(
        &self,
        headers: &HeaderMap,
        caller: Caller,
    ) -> Result<Identity, Status> {
        let user = self.authenticate(headers, caller).await?;
        let acting_as = self.impersonate(Arc::clone(&user), headers)?;
        Ok(Identity { user, acting_as })
    }

    /// Finds out who asks.
    ///
    /// # Errors
    /// 401.
    async fn authenticate(
        &self,
        headers: &HeaderMap,
        caller: Caller,
    ) -> Result<Arc<UserInfo>, Status> {
        match caller {
            Caller::Known(user) => Ok(user),
            Caller::Connection(peer) => {
                let headers = with_bearer(headers);
                let now = clock::now();
                if peer.is_none() {
                    self.authenticator.prepare_request(&headers, now).await;
                }
                self.authenticator.authenticate(peer.as_ref(), &headers, now)
            }
        }
    }

    /// Gives the user that a request is to be answered as: its sender, or whom it wants to act as.
    ///
    /// # Errors
    /// 403 when the sender may not act as that user, 400 when the headers name none.
    fn impersonate(
        &self,
        user: Arc<UserInfo>,
        headers: &HeaderMap,
    ) -> Result<Arc<UserInfo>, Status> {
        let Some(wanted) = Wanted::read(headers)? else { return Ok(user) };
        for right in wanted.rights() {
            self.authorizer.check(&user, &right)?;
        }
        Ok(Arc::new(wanted.into_user()))
    }

    /// Checks that a user may do what a request asks for, and notes why or why not.
    ///
    /// # Errors
    /// 403.
    pub(crate) fn authorize(
        &self,
        user: &UserInfo,
        info: &RequestInfo,
        query: &Query,
        notes: &Notes,
    ) -> Result<(), Status> {
        let verb = info.verb.as_str();
        let Some(path) = &info.resource else {
            let attributes = Attributes { verb, path: &info.path, ..Attributes::default() };
            return self.decide(user, &attributes, notes);
        };
        let selector = query.get("fieldSelector").and_then(|text| FieldSelector::parse(text).ok());
        let attributes = Attributes {
            verb,
            group: &path.group,
            resource: &path.resource,
            subresource: &path.subresource,
            namespace: &path.namespace,
            name: &path.name,
            path: &info.path,
            node_name: selector.as_ref().and_then(|selector| selector.equals("spec.nodeName")),
        };
        self.decide(user, &attributes, notes)
    }

    fn decide(
        &self,
        user: &UserInfo,
        attributes: &Attributes<'_>,
        notes: &Notes,
    ) -> Result<(), Status> {
        let decision = self.authorizer.authorize(user, attributes);
        let (word, reason) = match &decision {
            Decision::Allow(why) => ("allow", why),
            Decision::Deny(why) => ("forbid", why),
        };
        notes.annotate("authorization.k8s.io/decision", word);
        notes.annotate("authorization.k8s.io/reason", reason);
        attributes.checked(user, decision)
    }
}

/// Turns a password into a bearer token: image clients can only send `Basic`, and send the token as the password.
fn with_bearer(headers: &HeaderMap) -> Cow<'_, HeaderMap> {
    let token = header(headers, AUTHORIZATION)
        .strip_prefix("Basic ")
        .and_then(|encoded| STANDARD.decode(encoded.trim()).ok())
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .and_then(|pair| pair.split_once(':').map(|(_, password)| format!("Bearer {password}")))
        .and_then(|value| HeaderValue::from_str(&value).ok());
    match token {
        None => Cow::Borrowed(headers),
        Some(value) => {
            let mut changed = HeaderMap::new();
            changed.insert(AUTHORIZATION, value);
            Cow::Owned(changed)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_a_token() {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, "Basic YW55OnNlY3JldA==".parse().unwrap());
        assert_eq!(header(&with_bearer(&headers), AUTHORIZATION), "Bearer secret");
        headers.insert(AUTHORIZATION, "Bearer x".parse().unwrap());
        assert_eq!(header(&with_bearer(&headers), AUTHORIZATION), "Bearer x");
    }
}
