//! `PATCH`: change parts of an object, by JSON patch, merge patch or strategic merge patch; `apply` has the
//! fourth way.

use coracle_api::decode::{self, Decoded, FieldValidation};
use coracle_api::patch::{json, merge, strategic};
use coracle_api::schema::Type;
use coracle_api::status::Status;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde_json::Value;

use crate::body::{self, Body};
use crate::context::Context;
use crate::metadata;
use crate::negotiate::header;
use crate::options::WriteOptions;
use crate::respond::{self, Answer};
use crate::server::Core;
use crate::verbs::apply::is_apply;
use crate::verbs::ownership::Ownership;
use crate::verbs::update::check_name;
use crate::verbs::write::{Change, Part};

/// The ways of saying what changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PatchType {
    /// RFC 6902.
    Json,
    /// RFC 7386.
    Merge,
    /// Kubernetes' own, which knows lists by key.
    Strategic,
}

/// Media types that a 415 answer lists.
const SUPPORTED: &str = "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml";

impl PatchType {
    /// Reads the type from `Content-Type`.
    ///
    /// # Errors
    /// 415 when it is none of the three; server-side apply is not for here.
    pub(crate) fn parse(content_type: &str) -> Result<PatchType, Status> {
        match content_type.split(';').next().unwrap_or("").trim() {
            "application/json-patch+json" => Ok(PatchType::Json),
            "application/merge-patch+json" => Ok(PatchType::Merge),
            "application/strategic-merge-patch+json" => Ok(PatchType::Strategic),
            _ => Err(Status::unsupported_media_type(format!(
                "the body of the request was in an unknown format - accepted media types include: {SUPPORTED}"
            ))),
        }
    }

    /// Applies a patch.
    pub(crate) fn apply(self, target: &Value, patch: &Value, ty: &Type) -> Result<Value, Status> {
        match self {
            PatchType::Json => json::apply(target, patch),
            PatchType::Merge => merge::apply(target, patch),
            PatchType::Strategic => strategic::apply(target, patch, ty),
        }
    }
}

/// A patch as it was sent.
pub(crate) struct Patch {
    kind: PatchType,
    value: Value,
    warnings: Vec<String>,
}

impl Patch {
    /// Reads a patch from a request.
    ///
    /// # Errors
    /// 415 for other media types, 400 for a body that is no JSON, and for duplicate keys when they are to be refused.
    pub(crate) async fn read(
        context: &Context,
        request: Body,
        validation: FieldValidation,
    ) -> Result<Patch, Status> {
        let kind = PatchType::parse(header(&context.headers, CONTENT_TYPE))?;
        let bytes = body::read(request).await?;
        let (value, duplicates) = decode::decode_json(&bytes)?;
        let found: Vec<String> =
            duplicates.iter().map(|path| format!("duplicate field \"{path}\"")).collect();
        let warnings = match validation {
            FieldValidation::Strict if !found.is_empty() => {
                return Err(Status::bad_request(format!(
                    "strict decoding error: {}",
                    found.join(", ")
                )));
            }
            FieldValidation::Strict | FieldValidation::Ignore => Vec::new(),
            FieldValidation::Warn => found,
        };
        Ok(Patch { kind, value, warnings })
    }

    /// Applies the patch and makes the outcome fit its schema.
    pub(crate) fn apply(
        &self,
        old: &Value,
        ty: &Type,
        validation: FieldValidation,
    ) -> Result<Decoded, Status> {
        let patched = self.kind.apply(old, &self.value, ty)?;
        let mut decoded = decode::conform(patched, ty, validation)?;
        decoded.warnings.splice(0..0, self.warnings.iter().cloned());
        Ok(decoded)
    }
}

impl Core {
    /// Changes an object, or a part of it, by a patch.
    pub(crate) async fn patch(
        &self,
        context: &Context,
        part: Part,
        body: Body,
    ) -> Result<Answer, Status> {
        if is_apply(context) {
            return self.apply(context, part, body).await;
        }
        let options = WriteOptions::parse(&context.query, "PatchOptions")?;
        let patch = Patch::read(context, body, options.field_validation).await?;
        let change = Change {
            part,
            dry_run: options.dry_run,
            needs_version: false,
            ownership: Ownership::Taken,
        };
        let make = |old: &Value| {
            let converted = context.served.stored.map(|_| context.to_served(old.clone()));
            let old = converted.as_ref().unwrap_or(old);
            let mut decoded = patch.apply(old, context.body_type(), options.field_validation)?;
            metadata::settle_type(&mut decoded.value, context.served, &context.path.namespace)?;
            check_name(&decoded.value, &context.path.name)?;
            decoded.value = context.into_stored(decoded.value)?;
            Ok(decoded)
        };
        let changed = self.change(context, change, &make).await?;
        let mut answer = context.answer_object(StatusCode::OK, changed.json);
        respond::warn(&mut answer, &changed.warnings);
        Ok(answer)
    }
}
