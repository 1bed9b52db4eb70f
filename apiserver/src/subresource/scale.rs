//! `scale`: the number of replicas of a workload, whatever its kind.
//!
//! *Source:* `autoscaling/v1 Scale`; the kind's `ScalePaths` say where the numbers are.

use coracle_api::decode::Decoded;
use coracle_api::field_error::FieldError;
use coracle_api::key::GroupKind;
use coracle_api::meta;
use coracle_api::registry::{Kind, ScalePaths};
use coracle_api::schema::{self, Type};
use coracle_api::selector::LabelSelector;
use coracle_api::status::Status;
use coracle_api::table::unkept;
use http::StatusCode;
use serde_json::{Value, json};

use crate::body::Body;
use crate::context::Context;
use crate::negotiate::Form;
use crate::options::WriteOptions;
use crate::respond::{self, Answer};
use crate::server::Core;
use crate::table;
use crate::verbs::apply::{Applied, is_apply};
use crate::verbs::ownership::Ownership;
use crate::verbs::patch::Patch;
use crate::verbs::update::check_name;
use crate::verbs::write::{Change, Part};

impl Core {
    /// Answers with an object's scale.
    pub(super) fn get_scale(&self, context: &Context) -> Result<Answer, Status> {
        let object = self.current(context)?.value();
        Ok(shown(context, &scale_of(&object, paths(context)?)))
    }

    /// Replaces an object's scale.
    pub(super) async fn update_scale(
        &self,
        context: &Context,
        body: Body,
    ) -> Result<Answer, Status> {
        let options = WriteOptions::parse(&context.query, "UpdateOptions")?;
        let decoded = context.decode(body, scale_type()?, options.field_validation).await?;
        check_kind(&decoded.value)?;
        check_name(&decoded.value, &context.path.name)?;
        self.set_scale(context, options, &|_| Ok(decoded.clone())).await
    }

    /// Changes an object's scale by a patch.
    pub(super) async fn patch_scale(
        &self,
        context: &Context,
        body: Body,
    ) -> Result<Answer, Status> {
        if is_apply(context) {
            return self.apply_scale(context, body).await;
        }
        let options = WriteOptions::parse(&context.query, "PatchOptions")?;
        let patch = Patch::read(context, body).await?;
        let ty = scale_type()?;
        self.set_scale(context, options, &|scale| patch.apply(scale, ty, options.field_validation))
            .await
    }

    async fn set_scale(
        &self,
        context: &Context,
        options: WriteOptions,
        make: &(dyn Fn(&Value) -> Result<Decoded, Status> + Send + Sync),
    ) -> Result<Answer, Status> {
        let paths = paths(context)?;
        let make = |old: &Value| apply(make(&scale_of(old, paths))?, old, paths);
        self.change_scale(context, options, Ownership::Taken, &make).await
    }

    /// Applies a scale by server-side apply: the number of replicas, owned where the object has it.
    async fn apply_scale(&self, context: &Context, body: Body) -> Result<Answer, Status> {
        let options = WriteOptions::parse_apply(&context.query)?;
        let applied = Applied::read(context, body, scale_type()?, options).await?;
        check_name(applied.config(), &context.path.name)?;
        let config = config_of(context.kind, applied.config(), paths(context)?);
        let applied = applied.with_config(config);
        let make = |old: &Value| applied.apply(context, Some(old));
        self.change_scale(context, options, Ownership::Applied, &make).await
    }

    async fn change_scale(
        &self,
        context: &Context,
        options: WriteOptions,
        ownership: Ownership,
        make: &(dyn Fn(&Value) -> Result<Decoded, Status> + Send + Sync),
    ) -> Result<Answer, Status> {
        let paths = paths(context)?;
        let (part, dry_run) = (Part::Main, options.dry_run);
        let change = Change { part, dry_run, needs_version: false, ownership };
        let changed = self.change(context, change, make).await?;
        let object: Value = serde_json::from_slice(&changed.json).unwrap_or_default();
        let mut answer = shown(context, &scale_of(&object, paths));
        respond::warn(&mut answer, &changed.warnings);
        Ok(answer)
    }
}

/// A scale in the form that was asked for.
fn shown(context: &Context, scale: &Value) -> Answer {
    match context.negotiated.form {
        Form::Table(version) => {
            let cells = unkept::scale_row(scale, context.now);
            let table = table::of_one(version, unkept::scale_columns(), cells, scale);
            respond::value(StatusCode::OK, &table, context.negotiated)
        }
        Form::Object | Form::PartialMetadata(_) | Form::PartialMetadataList(_) => {
            respond::value(StatusCode::OK, scale, context.plain())
        }
    }
}

/// A scale says that it is one, or says nothing.
fn check_kind(scale: &Value) -> Result<(), Status> {
    let text = |field: &str| scale[field].as_str().unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    if kind.is_empty() || kind == "Scale" {
        return Ok(());
    }
    let version = api_version.rsplit('/').next().unwrap_or_default();
    Err(Status::bad_request(format!(
        "{kind} in version {version:?} cannot be handled as a Scale: converting ({version}.{kind}) to (autoscaling.Scale): unknown conversion"
    )))
}

fn paths(context: &Context) -> Result<&'static ScalePaths, Status> {
    context.kind.rules.scale.as_ref().ok_or_else(Status::unknown_path)
}

fn scale_type() -> Result<&'static Type, Status> {
    schema::lookup("autoscaling", "v1", "Scale")
        .ok_or_else(|| Status::internal("no schema of Scale"))
}

/// The scale of an object.
fn scale_of(object: &Value, paths: &ScalePaths) -> Value {
    let number = |path: &str| object.pointer(path).and_then(Value::as_i64).unwrap_or(0);
    // An empty path is none, and not the whole object.
    let selector = Some(paths.selector).filter(|path| !path.is_empty());
    let selector = selector.and_then(|path| object.pointer(path)).unwrap_or(&Value::Null);
    let selector = selector_text(selector);
    let mut metadata = json!({});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = object["metadata"].get(field) {
            metadata[field] = value.clone();
        }
    }
    let mut status = json!({"replicas": number(paths.status_replicas)});
    if !selector.is_empty() {
        status["selector"] = selector.into();
    }
    json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata,
        "spec": {"replicas": number(paths.spec_replicas)}, "status": status,
    })
}

/// The configuration of an object that a configuration of its scale means.
fn config_of(kind: &Kind, scale: &Value, paths: &ScalePaths) -> Value {
    let metadata = ["name", "namespace", "uid", "resourceVersion"];
    let metadata: serde_json::Map<String, Value> = metadata
        .into_iter()
        .filter_map(|field| Some((field.to_owned(), scale["metadata"].get(field)?.clone())))
        .collect();
    let mut config = json!({
        "apiVersion": kind.api_version(), "kind": kind.kind, "metadata": metadata,
    });
    if let Some(replicas) = scale.pointer("/spec/replicas") {
        let mut place = &mut config;
        for name in paths.spec_replicas.split('/').skip(1) {
            place = &mut place[name];
        }
        *place = replicas.clone();
    }
    config
}

/// A selector as text: workloads have an object, ReplicationControllers bare labels, users' kinds the text itself.
fn selector_text(selector: &Value) -> String {
    if let Some(text) = selector.as_str() {
        return text.to_owned();
    }
    let is_map = selector.as_object().is_some_and(|members| members.values().all(Value::is_string));
    let found = match is_map {
        true => Ok(LabelSelector::from_map(selector)),
        false => LabelSelector::from_value(selector),
    };
    match found {
        Ok(found) if !selector.is_null() => found.to_string(),
        Ok(_) | Err(_) => String::new(),
    }
}

/// Puts a value at a JSON pointer, making the objects on the way.
fn put(object: &mut Value, pointer: &str, value: Value) {
    let mut place = object;
    for name in pointer.split('/').skip(1) {
        if !place.is_object() {
            *place = json!({});
        }
        place = &mut place[name.replace("~1", "/").replace("~0", "~").as_str()];
    }
    *place = value;
}

/// Writes the number of a changed scale into its object.
fn apply(scale: Decoded, old: &Value, paths: &ScalePaths) -> Result<Decoded, Status> {
    let replicas = scale.value.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(0);
    if replicas < 0 {
        let error =
            FieldError::invalid("spec.replicas", replicas, "must be greater than or equal to 0");
        let kind = GroupKind::new("autoscaling", "Scale");
        return Err(Status::invalid(&kind, meta::name(old), vec![error]));
    }
    let mut object = old.clone();
    put(&mut object, paths.spec_replicas, json!(replicas));
    // A revision that the client names must be the object's; `change` compares them.
    match meta::resource_version(&scale.value) {
        "" => {}
        version => meta::set(&mut object, "resourceVersion", version),
    }
    if !meta::uid(&scale.value).is_empty() {
        meta::set(&mut object, "uid", meta::uid(&scale.value));
    }
    Ok(Decoded { value: object, warnings: scale.warnings })
}
