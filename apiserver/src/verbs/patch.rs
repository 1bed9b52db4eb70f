//! `PATCH`: change parts of an object, by JSON patch, merge patch or strategic merge patch; `apply` has the
//! fourth way.

use coracle_api::decode::{self, Decoded, FieldValidation};
use coracle_api::field_error::FieldError;
use coracle_api::key::GroupKind;
use coracle_api::patch::{json, merge, strategic};
use coracle_api::schema::Type;
use coracle_api::status::{Reason, Status};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde_json::Value;

use crate::body::{self, Body};
use crate::context::Context;
use crate::crd::is_converted;
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

/// The same for users' kinds, whose lists no strategy is known of.
const SUPPORTED_CUSTOM: &str =
    "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";

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
    /// What it says twice, as it is reported.
    duplicates: Vec<String>,
}

impl Patch {
    /// Reads a patch from a request.
    ///
    /// # Errors
    /// 415 for other media types, 400 for a body that is no JSON.
    pub(crate) async fn read(context: &Context, request: Body) -> Result<Patch, Status> {
        let kind = PatchType::parse(header(&context.headers, CONTENT_TYPE))?;
        if kind == PatchType::Strategic && context.kind.custom.is_some() {
            return Err(Status::unsupported_media_type(format!(
                "the body of the request was in an unknown format - accepted media types include: {SUPPORTED_CUSTOM}"
            )));
        }
        let bytes = body::read(request).await?;
        let (value, duplicates) = decode::decode_json(&bytes)?;
        let duplicates =
            duplicates.iter().map(|path| format!("duplicate field \"{path}\"")).collect();
        Ok(Patch { kind, value, duplicates })
    }

    /// Applies the patch and makes the outcome fit its schema.
    ///
    /// # Errors
    /// What the patch's own kind says, 422 for a value of a wrong type, and with strict validation for unknown and
    /// duplicate fields.
    pub(crate) fn apply(
        &self,
        old: &Value,
        ty: &Type,
        validation: FieldValidation,
    ) -> Result<Decoded, Status> {
        let patched = self.kind.apply(old, &self.value, ty)?;
        let Decoded { value, warnings: unknown } =
            decode::conform(patched, ty, FieldValidation::Warn)
                .map_err(|status| self.unfit(status))?;
        let mut found = self.duplicates.clone();
        found.extend(unknown);
        match validation {
            FieldValidation::Strict if !found.is_empty() => Err(self.refused(&found)),
            FieldValidation::Strict | FieldValidation::Ignore => {
                Ok(Decoded { value, warnings: Vec::new() })
            }
            FieldValidation::Warn => Ok(Decoded { value, warnings: found }),
        }
    }

    /// The object that the patch would make is none of its kind.
    fn unfit(&self, status: Status) -> Status {
        if status.reason != Reason::BadRequest {
            return status;
        }
        let (_, problem) = status.message.split_once(": ").unwrap_or(("", &status.message));
        self.says_wrong(problem.to_owned())
    }

    fn refused(&self, found: &[String]) -> Status {
        self.says_wrong(format!("strict decoding error: {}", found.join(", ")))
    }

    /// *Source:* `applyPatchToObject` of `k8s.io/apiserver` in behaviour; it shows the whole object, where we show the
    /// patch.
    fn says_wrong(&self, problem: String) -> Status {
        let shown = self.value.to_string();
        let error = FieldError::invalid("patch", shown.as_str(), problem);
        Status::invalid(&GroupKind::new("", ""), "", vec![error])
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
        if is_converted(context.served) {
            return self.patch_converted(context, part, body).await;
        }
        if is_apply(context) {
            return self.apply(context, part, body).await;
        }
        let options = WriteOptions::parse(&context.query, "PatchOptions")?;
        let patch = Patch::read(context, body).await?;
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
            decoded.value = context.stored_form(decoded.value)?;
            Ok(decoded)
        };
        let changed = self.change(context, change, &make).await?;
        let mut answer = context.answer_object(StatusCode::OK, changed.json);
        respond::warn(&mut answer, &changed.warnings);
        Ok(answer)
    }
}
