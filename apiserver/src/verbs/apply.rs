//! `PATCH` with `application/apply-patch+yaml`: server-side apply.
//!
//! *Source:* KEP-555; Kubernetes docs "Server-Side Apply".

use bytes::Bytes;
use coracle_api::apply::{self, Builtin, Configuration, Manager};
use coracle_api::decode::{self, Decoded, FieldValidation};
use coracle_api::meta;
use coracle_api::schema::Type;
use coracle_api::status::{Reason, Status};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde_json::Value;

use crate::body::{self, Body};
use crate::context::Context;
use crate::metadata;
use crate::negotiate::header;
use crate::options::WriteOptions;
use crate::request_info::{RequestInfo, Verb};
use crate::respond::{self, Answer};
use crate::server::Core;
use crate::verbs::ownership::{Ownership, excluded};
use crate::verbs::update::check_name;
use crate::verbs::write::{Change, Part};

/// Tells whether a patch is a configuration for server-side apply.
pub(crate) fn is_apply(context: &Context) -> bool {
    let text = header(&context.headers, CONTENT_TYPE);
    text.split(';').next().unwrap_or_default().trim() == coracle_api::patch::APPLY_PATCH
}

/// A configuration as it was sent, its types checked.
pub(crate) struct Applied {
    config: Value,
    force: bool,
    warnings: Vec<String>,
}

impl Applied {
    /// Reads a configuration for an object of type `ty` from a request.
    ///
    /// # Errors
    /// 400 when it is no YAML or JSON object, has values of a wrong type, unknown fields or
    /// `managedFields`, and with strict validation for duplicate keys.
    pub(crate) async fn read(
        context: &Context,
        request: Body,
        ty: &Type,
        options: WriteOptions,
    ) -> Result<Applied, Status> {
        let bytes = body::read(request).await?;
        let (mut config, duplicates) = parse(&bytes)?;
        let warnings = check_duplicates(&bytes, &duplicates, options.field_validation)?;
        if !config.is_object() {
            return Err(Status::bad_request(
                "error decoding YAML: an apply configuration must be an object",
            ));
        }
        if config.pointer("/metadata/managedFields").is_some_and(|managed| !managed.is_null()) {
            return Err(Status::bad_request("metadata.managedFields must be nil"));
        }
        check_type(&config)?;
        let unknown = decode::configuration(&mut config, ty)?;
        if !unknown.is_empty() {
            return Err(undeclared(&described(context, &config), &unknown));
        }
        Ok(Applied { config, force: options.force, warnings })
    }

    /// The configuration.
    pub(crate) fn config(&self) -> &Value {
        &self.config
    }

    /// The same wish in other words, as a subresource says it of its object.
    pub(crate) fn with_config(self, config: Value) -> Applied {
        Applied { config, ..self }
    }

    /// Applies the configuration to an object of the request's kind.
    ///
    /// # Errors
    /// 409 with a cause for each field that others own, 400 when an item of a list has no identity.
    pub(crate) fn apply(&self, context: &Context, old: Option<&Value>) -> Result<Decoded, Status> {
        let kind = context.kind;
        let name = context.field_manager();
        let api_version = kind.api_version();
        let subresource = context.path.subresource.as_str();
        let wish = Configuration {
            object: &self.config,
            manager: Manager { name: &name, api_version: &api_version, subresource },
            force: self.force,
            excluded: excluded(kind, subresource),
            now: &metadata::time(context.now),
        };
        let applied = apply::apply(Builtin::Object(kind.ty()), old, &wish)
            .map_err(|refused| refused.to_status(&described(context, &self.config)))?;
        let mut decoded = decode::conform(applied, kind.ty(), FieldValidation::Ignore)?;
        metadata::settle_type(&mut decoded.value, kind, &context.path.namespace)?;
        check_name(&decoded.value, &context.path.name)?;
        decoded.warnings.clone_from(&self.warnings);
        Ok(decoded)
    }
}

/// A configuration says what it is of.
fn check_type(config: &Value) -> Result<(), Status> {
    let text = |field: &str| config[field].as_str().unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    if !api_version.is_empty() && !kind.is_empty() {
        return Ok(());
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    Err(Status::bad_request(format!("invalid object type: {group}/{version}, Kind={kind}")))
}

/// JSON is YAML, but reading it as JSON costs a tenth; most clients send it.
fn parse(bytes: &Bytes) -> Result<(Value, Vec<String>), Status> {
    if bytes.first() == Some(&b'{')
        && let Ok(parsed) = decode::decode_json(bytes)
    {
        return Ok(parsed);
    }
    decode::decode_yaml(bytes)
        .map_err(|error| Status::bad_request(format!("error decoding YAML: {}", error.message)))
}

/// *Source:* strict YAML of kube-apiserver, which says the line of a key that comes again.
fn check_duplicates(
    body: &[u8],
    duplicates: &[String],
    validation: FieldValidation,
) -> Result<Vec<String>, Status> {
    let found: Vec<String> =
        duplicates.iter().map(|path| format!("duplicate field \"{path}\"")).collect();
    match validation {
        FieldValidation::Strict if !found.is_empty() => {
            let problem = match decode::repeated_yaml_key(body) {
                Some(line) => {
                    format!("error converting YAML to JSON: yaml: unmarshal errors:\n  {line}")
                }
                None => found.join(", "),
            };
            Err(Status::bad_request(format!("error strict decoding YAML: {problem}")))
        }
        FieldValidation::Strict | FieldValidation::Ignore => Ok(Vec::new()),
        FieldValidation::Warn => Ok(found),
    }
}

/// The object as errors of its configuration name it: `default/web; apps/v1, Kind=Deployment`.
fn described(context: &Context, config: &Value) -> String {
    let kind = context.kind;
    let namespace = meta::namespace(config);
    format!("{namespace}/{}; {}, Kind={}", meta::name(config), kind.api_version(), kind.kind)
}

fn undeclared(object: &str, unknown: &[String]) -> Status {
    let lines: Vec<String> =
        unknown.iter().map(|path| format!(".{path}: field not declared in schema")).collect();
    let said = match lines.as_slice() {
        [one] => one.clone(),
        _ => format!("errors:\n  {}", lines.join("\n  ")),
    };
    Status::bad_request(format!("failed to create typed patch object ({object}): {said}"))
}

impl Core {
    /// Applies a configuration to an object, or to a part of it; makes the object when there is none.
    pub(crate) async fn apply(
        &self,
        context: &Context,
        part: Part,
        body: Body,
    ) -> Result<Answer, Status> {
        let options = WriteOptions::parse_apply(&context.query)?;
        let mut applied = Applied::read(context, body, context.body_type(), options).await?;
        if let Some(stored) = context.served.stored {
            metadata::check_type(&mut applied.config, context.served)?;
            stored.to.apply(&mut applied.config);
        }
        let change = Change {
            part,
            dry_run: options.dry_run,
            needs_version: false,
            ownership: Ownership::Applied,
        };
        let make = |old: &Value| applied.apply(context, Some(old));
        let changed = match self.change(context, change, &make).await {
            Err(status) if status.reason == Reason::NotFound && part == Part::Main => {
                match self.apply_new(context, context, &applied, options).await {
                    // Somebody else was faster.
                    Err(status) if status.reason == Reason::AlreadyExists => {
                        self.change(context, change, &make).await?
                    }
                    outcome => return outcome,
                }
            }
            outcome => outcome?,
        };
        let mut answer = context.answer_object(StatusCode::OK, changed.json);
        respond::warn(&mut answer, &changed.warnings);
        Ok(answer)
    }

    /// Makes the object that a configuration wants; `in_path` is the context in whose version it speaks.
    pub(crate) async fn apply_new(
        &self,
        in_path: &Context,
        context: &Context,
        applied: &Applied,
        options: WriteOptions,
    ) -> Result<Answer, Status> {
        let info = RequestInfo {
            path: String::new(),
            verb: Verb::Create,
            resource: Some(context.path.clone()),
        };
        self.authorize(&context.user, &info, &context.query, &context.notes)?;
        let uid = meta::uid(&applied.config);
        if !uid.is_empty() {
            let why = format!(
                "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
            );
            let resource = context.kind.group_resource();
            return Err(Status::conflict(&resource, &context.path.name, why));
        }
        let Decoded { value, mut warnings } = applied.apply(in_path, None)?;
        let value = self.stored_form(context, value).await?;
        let json = self.insert(context, value, Ownership::Applied, options, &mut warnings).await?;
        let mut answer = self.answer_stored(context, StatusCode::CREATED, json).await?;
        respond::warn(&mut answer, &warnings);
        Ok(answer)
    }
}
