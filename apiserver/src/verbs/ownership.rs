//! Who owns which field of what is written: `metadata.managedFields` of every write.
//!
//! The rules are `coracle_api::apply`'s; this takes manager and way of writing from the request.

use std::borrow::Cow;

use coracle_api::apply::{self, Builtin, Manager, Tracked};
use coracle_api::meta;
use coracle_api::registry::Kind;
use http::header::USER_AGENT;
use serde_json::Value;

use crate::context::Context;
use crate::metadata;
use crate::negotiate::header;
use crate::options::FIELD_MANAGER_BYTES_MAX;

/// What a write does to `managedFields`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ownership {
    /// Nothing: the server itself writes, as for a binding.
    Kept,
    /// The client takes what it changes.
    Taken,
    /// The new object has them already: server-side apply worked them out.
    Applied,
}

/// `managedFields` as a client sent it, taken off an object while it is made ready.
pub(crate) struct Sent(Option<Value>);

impl Sent {
    /// Takes `managedFields` off an object.
    pub(crate) fn take(object: &mut Value) -> Sent {
        let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
        Sent(metadata.and_then(|metadata| metadata.remove("managedFields")))
    }
}

impl Context {
    /// The name of the client for `managedFields`: what it calls itself, or its program's name.
    ///
    /// *Source:* `managerOrUserAgent` of `k8s.io/apiserver` in behaviour.
    pub(crate) fn field_manager(&self) -> Cow<'_, str> {
        if let Some(name) = self.query.get("fieldManager") {
            return Cow::Borrowed(name);
        }
        let agent = header(&self.headers, USER_AGENT);
        let program = agent.split('/').next().unwrap_or_default();
        let printable = |c: char| !c.is_control();
        if program.len() <= FIELD_MANAGER_BYTES_MAX && program.chars().all(printable) {
            return Cow::Borrowed(program);
        }
        // Header text is ASCII, so characters are bytes.
        program.chars().filter(|c| printable(*c)).take(FIELD_MANAGER_BYTES_MAX).collect()
    }

    /// Works out the owners of a new state and writes them into it.
    pub(crate) fn settle_owners(
        &self,
        ownership: Ownership,
        sent: Sent,
        new: &mut Value,
        old: Option<&Value>,
    ) {
        let known = match ownership {
            Ownership::Kept => {
                let stored = old.and_then(|old| old.pointer("/metadata/managedFields"));
                // Mostly they come back as they were, and a third of an object need not be copied.
                if sent.0.as_ref() == stored { sent.0 } else { stored.cloned() }
            }
            Ownership::Applied => sent.0,
            Ownership::Taken => return self.track(&sent, new, old),
        };
        match known {
            Some(known) => meta::set(new, "managedFields", known),
            None => meta::remove(new, "managedFields"),
        }
    }

    fn track(&self, sent: &Sent, new: &mut Value, old: Option<&Value>) {
        let name = self.field_manager();
        let api_version = self.kind.api_version();
        let subresource = self.path.subresource.as_str();
        let write = Tracked {
            old,
            sent: sent.0.as_ref(),
            manager: Manager { name: &name, api_version: &api_version, subresource },
            excluded: excluded(self.kind, subresource),
            now: &metadata::time(self.now),
        };
        apply::track(Builtin::Object(self.kind.ty()), new, &write);
    }
}

/// What a request on a subresource, or on the object itself (`""`), cannot change.
pub(crate) fn excluded(kind: &Kind, subresource: &str) -> &'static [&'static str] {
    match subresource {
        "status" => &["spec"],
        _ if kind.subresource("status").is_some() => &["status"],
        _ => &[],
    }
}
