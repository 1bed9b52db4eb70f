//! One resource request while it is worked on: who, what, and in which form the answer goes out.

use std::sync::Arc;

use bytes::Bytes;
use coracle_api::decode::{self, Decoded, FieldValidation, MediaType};
use coracle_api::registry::Kind;
use coracle_api::schema::Type;
use coracle_api::status::Status;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode, Uri};
use hyper::upgrade::OnUpgrade;
use jiff::Timestamp;
use serde_json::Value;

use crate::audit::Notes;
use crate::authn::UserInfo;
use crate::body::{self, Body};
use crate::negotiate::{Form, Negotiated, header};
use crate::options::ListOptions;
use crate::query::Query;
use crate::request_info::{ResourcePath, Verb};
use crate::respond::{self, Answer};
use crate::table::{self, IncludeObject, Tables};

/// A request on a resource.
pub(crate) struct Context {
    /// The kind behind the path, in the form in which its objects are kept.
    pub(crate) kind: &'static Kind,
    /// The kind as the path names it: another version of `kind` where that is served, too.
    pub(crate) served: &'static Kind,
    /// The path.
    pub(crate) path: ResourcePath,
    /// The verb.
    pub(crate) verb: Verb,
    /// The query.
    pub(crate) query: Query,
    /// The request's headers.
    pub(crate) headers: HeaderMap,
    /// The path and query as they were sent.
    pub(crate) uri: Uri,
    /// The client's connection, when it may change its protocol.
    pub(crate) upgrade: Option<OnUpgrade>,
    /// Who asks.
    pub(crate) user: Arc<UserInfo>,
    /// How the answer goes out.
    pub(crate) negotiated: Negotiated,
    /// When the request came.
    pub(crate) now: Timestamp,
    /// What the audit log is to know.
    pub(crate) notes: Notes,
}

/// Brings an object from the form in which it is kept into that of a kind that is served.
pub(crate) fn to_served(served: &Kind, mut object: Value) -> Value {
    let Some(stored) = served.stored else { return object };
    stored.from.apply(&mut object);
    // What was stored fits; if it does not, it is served as it is.
    match decode::conform(object.clone(), served.ty(), FieldValidation::Ignore) {
        Ok(decoded) => decoded.value,
        Err(_) => object,
    }
}

/// Media types of bodies, as a 415 answer lists them.
const SUPPORTED: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";

impl Context {
    /// The media type of the request's body; JSON when nothing is said.
    ///
    /// # Errors
    /// 415 for other types.
    pub(crate) fn media_type(&self) -> Result<MediaType, Status> {
        let text = header(&self.headers, CONTENT_TYPE);
        match text.split(';').next().unwrap_or("").trim() {
            "" | "application/json" => Ok(MediaType::Json),
            "application/yaml" => Ok(MediaType::Yaml),
            "application/vnd.kubernetes.protobuf" => Ok(MediaType::Protobuf),
            _ => Err(Status::unsupported_media_type(format!(
                "the body of the request was in an unknown format - accepted media types include: {SUPPORTED}"
            ))),
        }
    }

    /// Reads the request's body as an object of a type.
    ///
    /// # Errors
    /// 413, 415, and what decoding says.
    pub(crate) async fn decode(
        &self,
        request: Body,
        ty: &'static Type,
        validation: FieldValidation,
    ) -> Result<Decoded, Status> {
        let media_type = self.media_type()?;
        let bytes = body::read(request).await?;
        decode::decode(&bytes, media_type, ty, validation)
    }

    /// The same request, as if objects were kept in the version of its path.
    pub(crate) fn in_served_version(&self) -> Context {
        Context {
            kind: self.served,
            served: self.served,
            path: self.path.clone(),
            verb: self.verb,
            query: self.query.clone(),
            headers: self.headers.clone(),
            uri: self.uri.clone(),
            upgrade: self.upgrade.clone(),
            user: Arc::clone(&self.user),
            negotiated: self.negotiated,
            now: self.now,
            notes: self.notes.clone(),
        }
    }

    /// The type of bodies of the request's kind.
    pub(crate) fn body_type(&self) -> &'static Type {
        self.served.ty()
    }

    /// Brings an object from the form in which it is served into that in which it is kept.
    ///
    /// # Errors
    /// 400 when the kept form cannot hold it.
    pub(crate) fn stored_form(&self, mut object: Value) -> Result<Value, Status> {
        let Some(stored) = self.served.stored else { return Ok(object) };
        stored.to.apply(&mut object);
        let decoded = decode::conform(object, self.kind.ty(), FieldValidation::Ignore)?;
        Ok(decoded.value)
    }

    /// Brings an object from the form in which it is kept into that in which it is served.
    pub(crate) fn to_served(&self, object: Value) -> Value {
        to_served(self.served, object)
    }

    /// The options of a list or watch, with the field selector in the words of the kept form.
    ///
    /// # Errors
    /// As [`ListOptions::parse`].
    pub(crate) fn list_options(&self, watch: bool) -> Result<ListOptions, Status> {
        let selector = self.query.get("fieldSelector").filter(|_| self.served.stored.is_some());
        let Some(selector) = selector else { return ListOptions::parse(&self.query, watch) };
        let words =
            [("regarding.", "involvedObject."), ("reportingController", "reportingComponent")];
        let words = words.iter().filter(|_| self.served.group == "events.k8s.io");
        let kept = words.fold(selector.to_owned(), |text, (from, to)| text.replace(from, to));
        ListOptions::parse(&self.query.with("fieldSelector", &kept), watch)
    }

    /// What the rows of a table carry.
    pub(crate) fn include_object(&self) -> IncludeObject {
        IncludeObject::parse(self.query.get("includeObject"))
    }

    /// How an answer goes out that has one form only.
    pub(crate) fn plain(&self) -> Negotiated {
        Negotiated { form: Form::Object, ..self.negotiated }
    }

    /// Answers with one object of the request's kind, in the form that was asked for.
    pub(crate) fn answer_object(&self, code: StatusCode, json: Bytes) -> Answer {
        let parsed = || -> Value { serde_json::from_slice(&json).unwrap_or_default() };
        match self.negotiated.form {
            Form::Object if self.served.stored.is_some() => {
                respond::value(code, &self.to_served(parsed()), self.negotiated)
            }
            Form::Object => respond::json(code, json, self.negotiated),
            Form::Table(version) => {
                let tables = Tables {
                    kind: self.kind,
                    version,
                    include: self.include_object(),
                    now: self.now,
                };
                respond::value(code, &tables.single(&parsed()), self.negotiated)
            }
            Form::PartialMetadata(version) | Form::PartialMetadataList(version) => {
                respond::value(code, &table::partial_metadata(&parsed(), version), self.negotiated)
            }
        }
    }
}
