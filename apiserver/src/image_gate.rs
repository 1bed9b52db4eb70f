//! Who may push and pull what, and by which rules: the registry's requests meet RBAC here.

use std::sync::Arc;

use coracle_api::quantity::Quantity;
use coracle_api::status::Status;
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

use crate::authn::UserInfo;
use crate::authz::Attributes;
use crate::body::Body;
use crate::oci::{Grant, Needs, Repository, Right, Rules, access};
use crate::request_info::RequestInfo;
use crate::respond::{self, Answer};
use crate::server::Core;

/// Annotation of a Namespace: bytes that its repositories may hold together, as a quantity.
const QUOTA_ANNOTATION: &str = "registry.coracle.dev/quota";

/// Annotation of a Namespace: `true` when tags of its repositories always mean the same image.
const IMMUTABLE_ANNOTATION: &str = "registry.coracle.dev/immutable-tags";

impl Core {
    /// Answers a request below `/v2/`, if the user may have it answered.
    pub(crate) async fn image_request(
        self: &Arc<Self>,
        parts: &Parts,
        body: Body,
        info: &RequestInfo,
        user: &Arc<UserInfo>,
    ) -> Answer {
        let needs = access::needs(&parts.method, &info.path);
        if let Err(status) = self.allows_images(user, info.verb.as_str(), &info.path, &needs) {
            return denied(&status);
        }
        let rules = match needs {
            Needs::Right(right) => self.registry_rules(&right.namespace),
            Needs::User | Needs::Path | Needs::Nothing => Rules::default(),
        };
        let (core, reader) = (Arc::clone(self), Arc::clone(user));
        let may_read = Arc::new(move |repository: &Repository| {
            let path = format!("/v2/{repository}");
            core.allows_images(&reader, "get", &path, &access::reading(repository)).is_ok()
        });
        self.images.handle(parts, body, Grant { may_read, rules }).await
    }

    /// A rule for the path is enough for everything; a right in the namespace is for what is in it.
    fn allows_images(
        &self,
        user: &UserInfo,
        verb: &str,
        path: &str,
        needs: &Needs,
    ) -> Result<(), Status> {
        let by_path =
            || self.authorizer.check(user, &Attributes { verb, path, ..Attributes::default() });
        match needs {
            Needs::User | Needs::Nothing => Ok(()),
            Needs::Path => by_path(),
            Needs::Right(right) => by_path().or_else(|_| self.allows_right(user, right)),
        }
    }

    fn allows_right(&self, user: &UserInfo, right: &Right) -> Result<(), Status> {
        self.authorizer.check(
            user,
            &Attributes {
                verb: right.verb,
                group: access::GROUP,
                resource: access::RESOURCE,
                namespace: &right.namespace,
                name: &right.name,
                ..Attributes::default()
            },
        )
    }

    /// What the annotations of a Namespace say; a quota that cannot be read is one of nothing, so that
    /// the mistake shows.
    fn registry_rules(&self, namespace: &str) -> Rules {
        let Some(object) = self.caches.get("", "namespaces", "", namespace) else {
            return Rules::default();
        };
        rules(&object.value())
    }
}

fn rules(namespace: &Value) -> Rules {
    let annotation = |name: &str| namespace["metadata"]["annotations"][name].as_str();
    let bytes =
        |text: &str| text.parse::<Quantity>().ok().and_then(|q| u64::try_from(q.value()).ok());
    Rules {
        immutable_tags: annotation(IMMUTABLE_ANNOTATION) == Some("true"),
        namespace_bytes_max: annotation(QUOTA_ANNOTATION).map(|text| bytes(text).unwrap_or(0)),
    }
}

/// 403 as the registry says it.
fn denied(status: &Status) -> Answer {
    let message = status.message.as_str();
    let body = json!({"errors": [{"code": "DENIED", "message": message, "detail": null}]});
    let mut answer = respond::text(StatusCode::FORBIDDEN, body.to_string());
    let json = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(http::header::CONTENT_TYPE, json);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_says_what_its_repositories_may() {
        let check = |annotations: Value, expected: Rules| {
            assert_eq!(rules(&json!({"metadata": {"annotations": annotations}})), expected);
        };
        check(Value::Null, Rules::default());
        let quota = |bytes| Rules { namespace_bytes_max: Some(bytes), ..Rules::default() };
        check(json!({QUOTA_ANNOTATION: "1Ki"}), quota(1024));
        check(json!({QUOTA_ANNOTATION: "much"}), quota(0));
        check(
            json!({IMMUTABLE_ANNOTATION: "true"}),
            Rules { immutable_tags: true, ..Rules::default() },
        );
        check(json!({IMMUTABLE_ANNOTATION: "no"}), Rules::default());
    }
}
