//! `metav1.Status`: the answer that says why a request failed, or that it succeeded.
//!
//! A `Status` is the error type of the whole server side. Each constructor words and codes its
//! case as kube-apiserver does, because clients compare both.
//! *Source:* `k8s.io/apimachinery/pkg/api/errors`, API conventions "Response status kind".

mod details;

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Map, Value, json};

use crate::field_error::FieldError;
use crate::key::{GroupKind, GroupResource};

use details::details_of;
pub use details::{Details, StatusCause};

/// Why a request failed, as a closed set of machine-readable words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// 400, the request cannot be understood.
    BadRequest,
    /// 401, who asks is not known.
    Unauthorized,
    /// 403, who asks may not.
    Forbidden,
    /// 404, no such object or path.
    NotFound,
    /// 405, the resource does not take this verb.
    MethodNotAllowed,
    /// 406, none of the accepted media types can be given.
    NotAcceptable,
    /// 409, an object of that name exists.
    AlreadyExists,
    /// 409, the object has changed meanwhile or its state forbids the change.
    Conflict,
    /// 410, the revision asked for is no longer kept.
    Expired,
    /// 410, the thing is gone for good.
    Gone,
    /// 413, the body is over the limit.
    RequestEntityTooLarge,
    /// 415, the body has a media type that is not taken here.
    UnsupportedMediaType,
    /// 422, the object breaks the rules of its kind.
    Invalid,
    /// 429, come back later.
    TooManyRequests,
    /// 500, the server failed.
    InternalError,
    /// 500, the server could not complete in time; try again.
    ServerTimeout,
    /// 503, a part that is needed is not there.
    ServiceUnavailable,
    /// 504, no answer within the request's time.
    Timeout,
}

impl Reason {
    /// Gives the word used on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::BadRequest => "BadRequest",
            Reason::Unauthorized => "Unauthorized",
            Reason::Forbidden => "Forbidden",
            Reason::NotFound => "NotFound",
            Reason::MethodNotAllowed => "MethodNotAllowed",
            Reason::NotAcceptable => "NotAcceptable",
            Reason::AlreadyExists => "AlreadyExists",
            Reason::Conflict => "Conflict",
            Reason::Expired => "Expired",
            Reason::Gone => "Gone",
            Reason::RequestEntityTooLarge => "RequestEntityTooLarge",
            Reason::UnsupportedMediaType => "UnsupportedMediaType",
            Reason::Invalid => "Invalid",
            Reason::TooManyRequests => "TooManyRequests",
            Reason::InternalError => "InternalError",
            Reason::ServerTimeout => "ServerTimeout",
            Reason::ServiceUnavailable => "ServiceUnavailable",
            Reason::Timeout => "Timeout",
        }
    }

    fn code(self) -> u16 {
        match self {
            Reason::BadRequest => 400,
            Reason::Unauthorized => 401,
            Reason::Forbidden => 403,
            Reason::NotFound => 404,
            Reason::MethodNotAllowed => 405,
            Reason::NotAcceptable => 406,
            Reason::AlreadyExists | Reason::Conflict => 409,
            Reason::Expired | Reason::Gone => 410,
            Reason::RequestEntityTooLarge => 413,
            Reason::UnsupportedMediaType => 415,
            Reason::Invalid => 422,
            Reason::TooManyRequests => 429,
            Reason::InternalError | Reason::ServerTimeout => 500,
            Reason::ServiceUnavailable => 503,
            Reason::Timeout => 504,
        }
    }
}

/// A failed request, ready for the wire.
///
/// `Display` gives the message alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Why, machine readable.
    pub reason: Reason,
    /// What and where, for people.
    pub message: String,
    /// What it is about; `None` writes no `details`.
    pub details: Option<Box<Details>>,
    /// `metadata.continue`: where an expired list may go on; empty for none.
    pub continue_token: String,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Status {}

impl Status {
    /// 400: the request cannot be understood.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::plain(Reason::BadRequest, message)
    }

    /// 401: no credentials, or none that are known.
    pub fn unauthorized() -> Self {
        Self::plain(Reason::Unauthorized, "Unauthorized")
    }

    /// 403 of the authorizer: `user` may not `verb` the resource.
    ///
    /// `resource` may name a subresource (`pods/log`). `namespace` is `None` at cluster scope,
    /// `name` is empty for collections, `why` is empty or the authorizer's own words.
    pub fn forbidden(
        user: &str,
        verb: &str,
        resource: &GroupResource,
        namespace: Option<&str>,
        name: &str,
        why: &str,
    ) -> Self {
        let GroupResource { group, resource: plural } = resource;
        let mut said =
            format!("User {user:?} cannot {verb} resource {plural:?} in API group {group:?} ");
        match namespace {
            Some(namespace) => said.push_str(&format!("in the namespace {namespace:?}")),
            None => said.push_str("at the cluster scope"),
        }
        if !why.is_empty() {
            said.push_str(&format!(": {why}"));
        }
        let whole = GroupResource::new(group.clone(), resource.plural().to_owned());
        Self::forbidden_because(&whole, name, said)
    }

    /// 403 for a path that is no resource, as in `/healthz`.
    pub fn forbidden_path(user: &str, verb: &str, path: &str, why: &str) -> Self {
        let mut message = format!("forbidden: User {user:?} cannot {verb} path {path:?}");
        if !why.is_empty() {
            message.push_str(&format!(": {why}"));
        }
        Self::about(Reason::Forbidden, message, Details::default())
    }

    /// 403 of admission: the object may not be written because of `why`.
    pub fn forbidden_because(resource: &GroupResource, name: &str, why: impl fmt::Display) -> Self {
        let message = if name.is_empty() {
            format!("{resource} is forbidden: {why}")
        } else {
            format!("{resource} {name:?} is forbidden: {why}")
        };
        Self::about(Reason::Forbidden, message, details_of(resource, name))
    }

    /// 404: no object of that name.
    pub fn not_found(resource: &GroupResource, name: &str) -> Self {
        let message = format!("{resource} {name:?} not found");
        Self::about(Reason::NotFound, message, details_of(resource, name))
    }

    /// 404: no such path on this server.
    pub fn unknown_path() -> Self {
        let message = "the server could not find the requested resource";
        Self::about(Reason::NotFound, message, Details::default())
    }

    /// 409: an object of that name is there already.
    pub fn already_exists(resource: &GroupResource, name: &str) -> Self {
        let message = format!("{resource} {name:?} already exists");
        Self::about(Reason::AlreadyExists, message, details_of(resource, name))
    }

    /// 409: no unique name was found for `generateName` after some tries.
    pub fn generate_name_conflict(resource: &GroupResource, name: &str) -> Self {
        let message = format!(
            "{resource} {name:?} already exists, the server was not able to generate a unique \
             name for the object"
        );
        let mut details = details_of(resource, name);
        details.retry_after_seconds = 1;
        Self::about(Reason::AlreadyExists, message, details)
    }

    /// 409: the write does not fit the object as it is now.
    pub fn conflict(resource: &GroupResource, name: &str, message: impl fmt::Display) -> Self {
        let message = format!("Operation cannot be fulfilled on {resource} {name:?}: {message}");
        Self::about(Reason::Conflict, message, details_of(resource, name))
    }

    /// 409 in the words for a stale `resourceVersion`.
    pub fn modified(resource: &GroupResource, name: &str) -> Self {
        let message = "the object has been modified; please apply your changes to the latest \
                       version and try again";
        Self::conflict(resource, name, message)
    }

    /// 409 of server-side apply: others own what the configuration would change.
    pub fn apply_conflict(message: impl Into<String>, causes: Vec<StatusCause>) -> Self {
        Self::about(Reason::Conflict, message, Details { causes, ..Details::default() })
    }

    /// 410: the revision asked for is no longer kept; list anew.
    pub fn resource_expired(message: impl Into<String>) -> Self {
        Self::plain(Reason::Expired, message)
    }

    /// 410: the thing asked for is gone for good.
    pub fn gone(message: impl Into<String>) -> Self {
        Self::plain(Reason::Gone, message)
    }

    /// 422: the object breaks rules of its kind; every one is a cause.
    pub fn invalid(kind: &GroupKind, name: &str, errors: Vec<FieldError>) -> Self {
        let message = match joined(&errors) {
            Some(all) => format!("{kind} {name:?} is invalid: {all}"),
            None => format!("{kind} {name:?} is invalid"),
        };
        let causes = errors.into_iter().map(|error| StatusCause {
            reason: error.cause.reason().to_owned(),
            message: error.message,
            field: error.field,
        });
        let details = Details {
            group: kind.group.to_string(),
            kind: kind.kind.to_string(),
            name: name.to_owned(),
            causes: causes.collect(),
            ..Details::default()
        };
        Self::about(Reason::Invalid, message, details)
    }

    /// 422 in the words for a request that cannot be carried out on the object, such as a JSON
    /// patch whose path does not exist.
    pub fn unprocessable(message: impl Into<String>) -> Self {
        let details = Details { causes: vec![], ..Details::default() };
        Self::about(Reason::Invalid, message, details)
    }

    /// 405: there is such a path, but not for this method.
    pub fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::about(Reason::MethodNotAllowed, message, Details::default())
    }

    /// 406: none of the accepted media types can be given; the message lists those that can.
    pub fn not_acceptable(message: impl Into<String>) -> Self {
        Self::plain(Reason::NotAcceptable, message)
    }

    /// 415: the body's media type is not taken here; the message lists those that are.
    pub fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self::plain(Reason::UnsupportedMediaType, message)
    }

    /// 413: the body is over the limit that the message names.
    pub fn too_large(message: impl fmt::Display) -> Self {
        Self::plain(Reason::RequestEntityTooLarge, format!("Request entity too large: {message}"))
    }

    /// 429: come back after that many seconds.
    pub fn too_many_requests(message: impl Into<String>, retry_after_seconds: u32) -> Self {
        let details = Details { retry_after_seconds, ..Details::default() };
        Self::about(Reason::TooManyRequests, message, details)
    }

    /// 504: no answer within the request's time.
    pub fn timeout(message: impl fmt::Display) -> Self {
        Self::about(Reason::Timeout, format!("Timeout: {message}"), Details::default())
    }

    /// 504: the caller asks for a revision that has not happened yet.
    pub fn too_large_resource_version(asked: u64, current: u64) -> Self {
        let message = format!("Timeout: Too large resource version: {asked}, current: {current}");
        let cause = StatusCause {
            reason: "ResourceVersionTooLarge".to_owned(),
            message: "Too large resource version".to_owned(),
            field: String::new(),
        };
        let details = Details { causes: vec![cause], retry_after_seconds: 1, ..Details::default() };
        Self::about(Reason::Timeout, message, details)
    }

    /// 500: the server failed, not the caller.
    pub fn internal(message: impl fmt::Display) -> Self {
        let cause = StatusCause { message: message.to_string(), ..StatusCause::default() };
        let details = Details { causes: vec![cause], ..Details::default() };
        Self::about(Reason::InternalError, format!("Internal error occurred: {message}"), details)
    }

    /// 500: the operation may be tried again after that many seconds.
    pub fn server_timeout(
        resource: &GroupResource,
        operation: &str,
        retry_after_seconds: u32,
    ) -> Self {
        let message = format!(
            "The {operation} operation against {resource} could not be completed at this time, \
             please try again."
        );
        let mut details = details_of(resource, operation);
        details.retry_after_seconds = retry_after_seconds;
        Self::about(Reason::ServerTimeout, message, details)
    }

    /// 503: a part that is needed is not there.
    pub fn service_unavailable(message: impl Into<String>) -> Self {
        Self::plain(Reason::ServiceUnavailable, message)
    }

    /// Adds a cause, for cases beyond the fields of an object.
    pub fn with_cause(mut self, reason: &str, message: &str, field: &str) -> Self {
        let details = self.details.get_or_insert_default();
        details.causes.push(StatusCause {
            reason: reason.to_owned(),
            message: message.to_owned(),
            field: field.to_owned(),
        });
        self
    }

    /// Names the object's uid in the details.
    pub fn with_uid(mut self, uid: &str) -> Self {
        self.details.get_or_insert_default().uid = uid.to_owned();
        self
    }

    /// Lets the client go on with an expired list at this token.
    pub fn with_continue(mut self, token: impl Into<String>) -> Self {
        self.continue_token = token.into();
        self
    }

    /// Gives the HTTP status code.
    pub fn code(&self) -> u16 {
        self.reason.code()
    }

    /// Gives the seconds for a `Retry-After` header, if any.
    pub fn retry_after_seconds(&self) -> Option<u32> {
        self.details.as_ref().map(|details| details.retry_after_seconds).filter(|&s| s > 0)
    }

    /// Tells whether the object or path was not there.
    pub fn is_not_found(&self) -> bool {
        self.reason == Reason::NotFound
    }

    /// Tells whether the write lost against another.
    pub fn is_conflict(&self) -> bool {
        self.reason == Reason::Conflict
    }

    /// Gives the wire form.
    pub fn to_value(&self) -> Value {
        let mut metadata = Map::new();
        if !self.continue_token.is_empty() {
            metadata.insert("continue".to_owned(), json!(self.continue_token));
        }
        let mut value = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": metadata,
            "status": "Failure",
            "message": self.message,
            "reason": self.reason.as_str(),
            "code": self.code(),
        });
        if let Some(details) = &self.details {
            value["details"] = details.to_value();
        }
        value
    }

    /// Gives the wire form of a success, as deletes answer it.
    pub fn success(details: Details) -> Value {
        json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "details": details.to_value(),
        })
    }

    fn plain(reason: Reason, message: impl Into<String>) -> Self {
        Status { reason, message: message.into(), details: None, continue_token: String::new() }
    }

    fn about(reason: Reason, message: impl Into<String>, details: Details) -> Self {
        let mut status = Self::plain(reason, message);
        status.details = Some(Box::new(details));
        status
    }
}

/// Joins the messages as an aggregate error: each once, several in brackets.
fn joined(errors: &[FieldError]) -> Option<String> {
    let mut seen = BTreeSet::new();
    let mut texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    texts.retain(|text| seen.insert(text.clone()));
    match texts.len() {
        0 => None,
        1 => texts.pop(),
        _ => Some(format!("[{}]", texts.join(", "))),
    }
}

#[cfg(test)]
mod tests;
