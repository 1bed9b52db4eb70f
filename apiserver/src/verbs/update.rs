//! `PUT`: replace an object.

use coracle_api::meta;
use coracle_api::registry::Kind;
use coracle_api::status::{Reason, Status};
use http::StatusCode;
use serde_json::Value;

use crate::body::Body;
use crate::context::Context;
use crate::metadata;
use crate::options::WriteOptions;
use crate::respond::{self, Answer};
use crate::server::Core;
use crate::verbs::ownership::Ownership;
use crate::verbs::write::{Change, Part};

impl Core {
    /// Replaces an object, or a part of it, by a request body; creates it where its kind allows that.
    pub(crate) async fn update(
        &self,
        context: &Context,
        part: Part,
        body: Body,
    ) -> Result<Answer, Status> {
        let options = WriteOptions::parse(&context.query, "UpdateOptions")?;
        let decoded = context.decode(body, context.body_type(), options.field_validation).await?;
        let mut decoded = decoded;
        metadata::settle_type(&mut decoded.value, context.served, &context.path.namespace)?;
        check_name(&decoded.value, &context.path.name)?;
        decoded.value = self.stored_form(context, decoded.value).await?;
        let ownership = Ownership::Taken;
        let change = Change { part, dry_run: options.dry_run, needs_version: true, ownership };
        let changed = self.change(context, change, &|_old| Ok(decoded.clone())).await;
        let (code, json, warnings) = match changed {
            Ok(changed) => (StatusCode::OK, changed.json, changed.warnings),
            Err(status) if may_create(context.kind, part, &status, &decoded.value) => {
                let mut warnings = decoded.warnings;
                let json =
                    self.insert(context, decoded.value, ownership, options, &mut warnings).await?;
                (StatusCode::CREATED, json, warnings)
            }
            Err(status) => return Err(status),
        };
        let mut answer = self.answer_stored(context, code, json).await?;
        respond::warn(&mut answer, &warnings);
        Ok(answer)
    }
}

fn may_create(kind: &Kind, part: Part, status: &Status, object: &Value) -> bool {
    let missing = status.reason == Reason::NotFound && part == Part::Main;
    missing && kind.rules.create_on_update && meta::resource_version(object).is_empty()
}

/// Checks that an object's name is the one in the path.
///
/// # Errors
/// 400 when it is another one or missing.
pub(crate) fn check_name(object: &Value, path_name: &str) -> Result<(), Status> {
    let name = meta::name(object);
    if name.is_empty() {
        let why = format!(
            "the name of the object (, based on URL {path_name}) was undeterminable: name must be provided"
        );
        return Err(Status::bad_request(why));
    }
    if name != path_name {
        let why = format!(
            "the name of the object ({name}) does not match the name on the URL ({path_name})"
        );
        return Err(Status::bad_request(why));
    }
    Ok(())
}
