//! Users' kinds while the server runs: which are served, and how a definition becomes one.
//!
//! `establish` decides, purely, what a definition's status says; `run` follows the definitions, writes their status,
//! makes and forgets caches and documents, and removes the objects of a definition that goes. What is done to objects
//! is `coracle_api::custom`'s; requests take the way of all others.
//! *Source:* Kubernetes documentation, "CustomResourceDefinitions"; `apiextensions-apiserver` in behaviour.

mod convert;
mod establish;
mod run;
mod services;

use coracle_api::registry::{self, Kind};
use coracle_api::status::Status;
use parking_lot::RwLock;
use std::collections::HashSet;
use std::sync::Arc;

use crate::request_info::{ResourcePath, Verb};

pub(crate) use convert::{convert, is_converted};
pub(crate) use run::follow;

/// Whether objects of a kind say what the API consists of: definitions and APIServices.
pub(crate) fn is_definition(kind: &Kind) -> bool {
    let shaping = [
        ("apiextensions.k8s.io", "CustomResourceDefinition"),
        ("apiregistration.k8s.io", "APIService"),
    ];
    shaping.contains(&(kind.group, kind.kind))
}

/// The users' kinds that are served.
#[derive(Default)]
pub(crate) struct Definitions {
    served: RwLock<Arc<Served>>,
    /// One round at a time.
    round: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Served {
    /// Every served version, groups in order of their names.
    kinds: Vec<&'static Kind>,
    /// Groups and plurals of definitions that are being deleted.
    going: HashSet<(&'static str, &'static str)>,
}

impl Definitions {
    /// The kind behind a path, built-in or a user's.
    pub(crate) fn by_resource(&self, path: &ResourcePath) -> Option<&'static Kind> {
        registry::by_resource(&path.group, &path.version, &path.resource).or_else(|| {
            let served = self.served.read();
            let same = |kind: &&&'static Kind| {
                kind.plural == path.resource
                    && kind.group == path.group
                    && kind.version == path.version
            };
            served.kinds.iter().find(same).copied()
        })
    }

    /// Every user's kind that is served.
    pub(crate) fn kinds(&self) -> Vec<&'static Kind> {
        self.served.read().kinds.clone()
    }

    /// Refuses to make objects of a kind that is being deleted.
    ///
    /// # Errors
    /// 405 in that case.
    pub(crate) fn check_alive(&self, kind: &Kind, verb: Verb) -> Result<(), Status> {
        let makes = matches!(verb, Verb::Create);
        if kind.custom.is_none() || !makes {
            return Ok(());
        }
        if !self.served.read().going.contains(&(kind.group, kind.plural)) {
            return Ok(());
        }
        let mut status = Status::method_not_allowed();
        status.message = format!(
            "{} not allowed while custom resource definition is terminating",
            verb.as_str()
        );
        Err(status)
    }
}
