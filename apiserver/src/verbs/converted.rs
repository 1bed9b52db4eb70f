//! Requests on users' kinds whose definition's webhook converts them: what is kept is brought into the version of the
//! path and back around the work of all other requests.
//!
//! `managedFields` stay as they are when an object is converted: what a manager owns is said in the version in which it
//! wrote.

use bytes::Bytes;
use coracle_api::decode::Decoded;
use coracle_api::meta;
use coracle_api::status::{Reason, Status};
use http::StatusCode;
use serde_json::Value;

use crate::body::Body;
use crate::context::Context;
use crate::crd::{convert, is_converted};
use crate::metadata;
use crate::options::WriteOptions;
use crate::respond::{self, Answer};
use crate::server::Core;
use crate::verbs::apply::{Applied, is_apply};
use crate::verbs::ownership::Ownership;
use crate::verbs::patch::Patch;
use crate::verbs::update::check_name;
use crate::verbs::write::{Change, Part, json_of};

/// How often a patch is applied anew when the object changed meanwhile. *Source:* `MaxRetryWhenPatchConflicts`.
const TRIES_MAX: usize = 5;

/// What a patch wants.
enum Wish {
    Patch(Patch),
    Apply(Applied),
}

impl Core {
    /// Answers with one object as it is kept, in the version and form that were asked for.
    ///
    /// # Errors
    /// 500 when it cannot be converted.
    pub(crate) async fn answer_stored(
        &self,
        context: &Context,
        code: StatusCode,
        json: Bytes,
    ) -> Result<Answer, Status> {
        if !is_converted(context.served) {
            return Ok(context.answer_object(code, json));
        }
        let object: Value = serde_json::from_slice(&json).map_err(Status::internal)?;
        let object = self.in_version_of_path(context, object).await?;
        Ok(context.answer_object(code, json_of(&object)))
    }

    /// Brings an object from the version of the path into that in which it is kept.
    ///
    /// # Errors
    /// 400 when the kept form cannot hold it, 500 when it cannot be converted.
    pub(crate) async fn stored_form(
        &self,
        context: &Context,
        object: Value,
    ) -> Result<Value, Status> {
        if !is_converted(context.served) {
            return context.stored_form(object);
        }
        let converted = convert(&self.webhooks, context.kind, vec![object]).await?;
        let converted = converted.into_iter().next().unwrap_or_default();
        context.stored_form(converted)
    }

    async fn in_version_of_path(&self, context: &Context, object: Value) -> Result<Value, Status> {
        let converted = convert(&self.webhooks, context.served, vec![object]).await?;
        Ok(converted.into_iter().next().unwrap_or_default())
    }

    /// Changes an object by a patch that speaks of the version of the path.
    pub(crate) async fn patch_converted(
        &self,
        context: &Context,
        part: Part,
        body: Body,
    ) -> Result<Answer, Status> {
        let (wish, options) = if is_apply(context) {
            let options = WriteOptions::parse_apply(&context.query)?;
            (
                Wish::Apply(Applied::read(context, body, context.body_type(), options).await?),
                options,
            )
        } else {
            let options = WriteOptions::parse(&context.query, "PatchOptions")?;
            (Wish::Patch(Patch::read(context, body).await?), options)
        };
        let in_path = context.in_served_version();
        let ownership = match wish {
            Wish::Patch(_) => Ownership::Taken,
            Wish::Apply(_) => Ownership::Applied,
        };
        let change = Change { part, dry_run: options.dry_run, needs_version: true, ownership };
        for tries_left in (0..TRIES_MAX).rev() {
            let current = match self.current(context) {
                Ok(current) => current,
                Err(status) if status.reason == Reason::NotFound && part == Part::Main => {
                    let Wish::Apply(applied) = &wish else { return Err(status) };
                    return self.apply_new(&in_path, context, applied, options).await;
                }
                Err(status) => return Err(status),
            };
            let old = self.in_version_of_path(context, current.value()).await?;
            let mut decoded = match &wish {
                Wish::Apply(applied) => applied.apply(&in_path, Some(&old))?,
                Wish::Patch(patch) => {
                    patch.apply(&old, context.body_type(), options.field_validation)?
                }
            };
            metadata::settle_type(&mut decoded.value, context.served, &context.path.namespace)?;
            check_name(&decoded.value, &context.path.name)?;
            let insists = meta::resource_version(&decoded.value) != meta::resource_version(&old);
            let Decoded { value, warnings } = decoded;
            let value = self.stored_form(context, value).await?;
            let made = Decoded { value, warnings };
            match self.change(context, change, &|_old| Ok(made.clone())).await {
                Err(status) if status.reason == Reason::Conflict && !insists && tries_left > 0 => {}
                Err(status) => return Err(status),
                Ok(changed) => {
                    let mut answer =
                        self.answer_stored(context, StatusCode::OK, changed.json).await?;
                    respond::warn(&mut answer, &changed.warnings);
                    return Ok(answer);
                }
            }
        }
        Err(Status::modified(&context.kind.group_resource(), &context.path.name))
    }
}
