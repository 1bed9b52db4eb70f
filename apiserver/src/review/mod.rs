//! Questions that look like objects: who am I, may I, whose token is this. Nothing of them is stored.
//!
//! *Source:* `authentication.k8s.io/v1` and `authorization.k8s.io/v1`. An edge: the body is read.

mod access;
mod identity;

use coracle_api::registry::Kind;
use coracle_api::status::Status;
use http::StatusCode;
use serde_json::{Value, json};

use crate::authn::UserInfo;
use crate::body::Body;
use crate::context::Context;
use crate::metadata;
use crate::options::WriteOptions;
use crate::respond::{self, Answer};
use crate::server::Core;

/// Whether objects of a kind are questions.
pub(crate) fn is_review(kind: &Kind) -> bool {
    kind.group == "authentication.k8s.io" || kind.group == "authorization.k8s.io"
}

impl Core {
    /// Answers a question: the object that was sent, with its `status`.
    pub(crate) async fn review(&self, context: &Context, body: Body) -> Result<Answer, Status> {
        let options = WriteOptions::parse(&context.query, "CreateOptions")?;
        let decoded = context.decode(body, context.kind.ty(), options.field_validation).await?;
        let mut review = decoded.value;
        metadata::settle_type(&mut review, context.kind, &context.path.namespace)?;
        let status = match context.kind.kind {
            "TokenReview" => self.review_token(&review, context.now).await?,
            "SelfSubjectReview" => {
                review["metadata"]["creationTimestamp"] = json!(metadata::time(context.now));
                identity::whoami(&context.user)
            }
            "SelfSubjectRulesReview" => self.review_rules(&context.user, &review)?,
            "SelfSubjectAccessReview" => self.review_access(context, &context.user, &review)?,
            "SubjectAccessReview" | "LocalSubjectAccessReview" => {
                let user = access::subject(context.kind, &review)?;
                self.review_access(context, &user, &review)?
            }
            _ => return Err(Status::unknown_path()),
        };
        review["status"] = status;
        let mut answer = respond::value(StatusCode::CREATED, &review, context.plain());
        respond::warn(&mut answer, &decoded.warnings);
        Ok(answer)
    }
}

/// A user as `UserInfo` of the API, without what is empty.
pub(crate) fn user_value(user: &UserInfo) -> Value {
    let mut out = json!({"username": user.name, "groups": user.groups});
    if !user.uid.is_empty() {
        out["uid"] = json!(user.uid);
    }
    if !user.extra.is_empty() {
        out["extra"] = json!(user.extra);
    }
    out
}
