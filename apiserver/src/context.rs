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
use serde_json::{Value, json};

use crate::authn::UserInfo;
use crate::body::{self, Body};
use crate::negotiate::{Form, Negotiated, header};
use crate::query::Query;
use crate::request_info::{ResourcePath, Verb};
use crate::respond::{self, Answer};
use crate::table::{self, IncludeObject, Tables};

/// A request on a resource.
pub(crate) struct Context {
    /// The kind behind the path.
    pub(crate) kind: &'static Kind,
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
            Form::Object => respond::json(code, json, self.negotiated),
            Form::Table(version) => {
                let object = parsed();
                let metadata = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
                let tables = Tables {
                    kind: self.kind,
                    version,
                    include: self.include_object(),
                    now: self.now,
                };
                let table = tables.table(std::iter::once(object), metadata);
                respond::value(code, &table, self.negotiated)
            }
            Form::PartialMetadata(version) | Form::PartialMetadataList(version) => {
                respond::value(code, &table::partial_metadata(&parsed(), version), self.negotiated)
            }
        }
    }
}
