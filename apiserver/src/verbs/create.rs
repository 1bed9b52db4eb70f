//! `POST` on a collection: make an object.

use std::time::Duration;

use bytes::Bytes;
use coracle_api::meta;
use coracle_api::status::Status;
use coracle_store::{CommitError, Guard, Write};
use http::StatusCode;
use serde_json::Value;

use crate::admission::Operation;
use crate::admit::CHARGE_TRIES_MAX;
use crate::body::Body;
use crate::cache;
use crate::clock;
use crate::context::Context;
use crate::metadata;
use crate::options::WriteOptions;
use crate::pod_profile;
use crate::respond::{self, Answer};
use crate::server::Core;
use crate::verbs::ownership::{Ownership, Sent};
use crate::verbs::write;

/// How often a generated name that is taken is made anew. *Source:* KEP-4420.
const GENERATE_NAME_TRIES_MAX: usize = 8;

/// How often a Service is tried again because another server gave out addresses meanwhile: each time, one got its own.
const TURN_TRIES_MAX: usize = 200;
/// The longest pause before that, in milliseconds: some commits of etcd.
const TURN_PAUSE_MS: u32 = 20;

impl Core {
    /// Makes an object from a request body.
    pub(crate) async fn create(&self, context: &Context, body: Body) -> Result<Answer, Status> {
        let options = WriteOptions::parse(&context.query, "CreateOptions")?;
        let ty = context.body_type();
        let decoded = context.decode(body, ty, options.field_validation).await?;
        let mut object = decoded.value;
        metadata::settle_type(&mut object, context.served, &context.path.namespace)?;
        let object = self.stored_form(context, object).await?;
        let mut warnings = decoded.warnings;
        let json = self.insert(context, object, Ownership::Taken, options, &mut warnings).await?;
        let mut answer = self.answer_stored(context, StatusCode::CREATED, json).await?;
        respond::warn(&mut answer, &warnings);
        Ok(answer)
    }

    /// Takes a decoded object through defaulting, admission and validation into the store; gives it as stored.
    pub(crate) async fn insert(
        &self,
        context: &Context,
        mut object: Value,
        ownership: Ownership,
        options: WriteOptions,
        warnings: &mut Vec<String>,
    ) -> Result<Bytes, Status> {
        let kind = context.kind;
        let sent = Sent::take(&mut object);
        metadata::prepare_create(&mut object, &clock::stamp())?;
        kind.fill(&mut object);
        context.settle_owners(ownership, sent, &mut object, None);
        let generated = meta::name(&object).is_empty() && !meta::generate_name(&object).is_empty();
        for tries_left in (0..GENERATE_NAME_TRIES_MAX).rev() {
            let mut candidate =
                if generated { object.clone() } else { std::mem::take(&mut object) };
            if generated {
                let name =
                    meta::generated_name(meta::generate_name(&candidate), clock::name_suffix());
                meta::set(&mut candidate, "name", name);
            }
            let result = self.insert_named(context, candidate, options, warnings).await;
            match result {
                Err(Refused::Exists(name)) if generated && tries_left > 0 => {
                    tracing::debug!(name, "generated name is taken");
                }
                Err(Refused::Exists(name)) if generated => {
                    return Err(Status::generate_name_conflict(&kind.group_resource(), &name));
                }
                Err(Refused::Exists(name)) => {
                    return Err(Status::already_exists(&kind.group_resource(), &name));
                }
                Err(Refused::Turn) => {
                    let resource = kind.group_resource();
                    return Err(Status::server_timeout(&resource, "create", 1));
                }
                Err(Refused::Other(status)) => return Err(status),
                Ok(json) => return Ok(json),
            }
        }
        Err(Status::internal("no try to create the object was made"))
    }

    /// Makes an object; a Service again when another server gave out addresses meanwhile.
    async fn insert_named(
        &self,
        context: &Context,
        object: Value,
        options: WriteOptions,
        warnings: &mut Vec<String>,
    ) -> Result<Bytes, Refused> {
        context.notes.name(meta::name(&object));
        if !(write::is_service(context.kind) && self.store.is_shared()) {
            return self.insert_once(context, object, options, warnings).await;
        }
        for _ in 0..TURN_TRIES_MAX {
            let untold = warnings.len();
            match self.insert_once(context, object.clone(), options, warnings).await {
                Err(Refused::Turn) => {
                    warnings.truncate(untold);
                    let pause = Duration::from_millis(u64::from(clock::random() % TURN_PAUSE_MS));
                    tokio::time::sleep(pause).await;
                }
                made => return made,
            }
        }
        Err(Refused::Turn)
    }

    async fn insert_once(
        &self,
        context: &Context,
        mut object: Value,
        options: WriteOptions,
        warnings: &mut Vec<String>,
    ) -> Result<Bytes, Refused> {
        let kind = context.kind;
        self.admit(context, Operation::Create, &mut object, None, warnings).await?;
        (kind.rules.prepare_create)(&mut object);
        let turn = self.address_turn(kind).await?;
        let claim = self.assign_addresses(kind, &mut object, None)?;
        let errors = kind.validate(&object);
        if !errors.is_empty() {
            return Err(Status::invalid(&kind.group_kind(), meta::name(&object), errors).into());
        }
        warnings.extend(pod_profile::warnings(kind, &object));
        warnings.extend(crate::warnings::warnings(kind, &object, None));
        self.approve(context, Operation::Create, &object, None, warnings).await?;
        let key = cache::object_key(kind, meta::namespace(&object), meta::name(&object));
        if options.dry_run {
            self.charge(context, Operation::Create, &object, None).await?;
            if self.objects(kind)?.get(meta::namespace(&object), meta::name(&object)).is_some() {
                return Err(Refused::Exists(meta::name(&object).to_owned()));
            }
            return Ok(write::json_of(&object));
        }
        let put = Write::put(key, cache::encode(kind, &object), Guard::Absent);
        for _ in 0..CHARGE_TRIES_MAX {
            let charge = self.charge(context, Operation::Create, &object, None).await?;
            let mut writes = vec![put.clone()];
            writes.extend(charge.writes);
            writes.extend(write::address_objects(kind, None, Some(&object)));
            let taking = turn.and_then(|turn| turn.write(claim.as_ref(), false));
            let turn_at = taking.is_some().then_some(writes.len());
            writes.extend(taking);
            match self.store.commit(writes).await {
                Ok(committed) => {
                    if let Some(claim) = claim {
                        claim.commit(&object, None);
                    }
                    self.turn_done(turn, &committed);
                    return Ok(write::committed_json(&committed)?);
                }
                Err(CommitError::Conflict { index: 0, .. }) => {
                    return Err(Refused::Exists(meta::name(&object).to_owned()));
                }
                Err(CommitError::Conflict { index, .. }) if Some(index) == turn_at => {
                    return Err(Refused::Turn);
                }
                // A quota was counted anew meanwhile.
                Err(CommitError::Conflict { .. }) => {}
                Err(error) => return Err(write::store_failed(&error).into()),
            }
        }
        Err(Status::conflict(
            &kind.group_resource(),
            meta::name(&object),
            "the quotas of the namespace change too often; try again",
        )
        .into())
    }
}

/// Why an object was not made.
enum Refused {
    /// There is one of that name.
    Exists(String),
    /// Another server gave out addresses of Services meanwhile.
    Turn,
    /// Anything else.
    Other(Status),
}

impl From<Status> for Refused {
    fn from(status: Status) -> Refused {
        Refused::Other(status)
    }
}
