//! The way of one connection, decision by decision: what `coracle trace` shows.
//!
//! Comes in: a pod's namespace and a [`Question`]. Goes out: a [`Trace`]. Nothing is decided here: each
//! step asks what a connection asks ([`crate::names`], [`crate::table`], [`crate::switch`], the policies,
//! the fabric), and the last one is a connection. `steps` is pure; `run` looks up and connects.

mod run;
mod steps;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::table::ServiceKey;

pub use run::trace;

/// Where the connection is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// To a Service.
    Service(ServiceKey),
    /// To a name or an address, as the pod would write it.
    Host(String),
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Where it is to go.
    pub target: Target,
    /// The port: a number, or the name of a Service's port. `None`: the Service's only one.
    pub port: Option<String>,
}

impl Question {
    /// Reads a query: `service=NAMESPACE/NAME` or `host=NAME`, and `port=PORT`.
    ///
    /// # Errors
    /// A sentence, when it says no target.
    pub fn parse(query: &str) -> Result<Self, String> {
        let (mut target, mut port) = (None, None);
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            match (&*key, value.split_once('/')) {
                ("service", Some((namespace, name))) => {
                    let (namespace, name) = (namespace.to_owned(), name.to_owned());
                    target = Some(Target::Service(ServiceKey { namespace, name }));
                }
                ("host", None) if !value.is_empty() => target = Some(Target::Host(value.into())),
                ("port", None) if !value.is_empty() => port = Some(value.into_owned()),
                _other => return Err(format!("{key}={value} is not understood")),
            }
        }
        let target = target.ok_or("say where to: service=NAMESPACE/NAME or host=NAME")?;
        Ok(Self { target, port })
    }

    /// The name that a pod of this namespace would dial.
    #[must_use]
    pub fn name(&self, namespace: &str) -> String {
        match &self.target {
            Target::Host(name) => name.clone(),
            Target::Service(key) if key.namespace == namespace => key.name.clone(),
            Target::Service(key) => format!("{}.{}", key.name, key.namespace),
        }
    }
}

/// The decisions on the way, in order. It ends with the first that stops a connection.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// One for each decision.
    pub steps: Vec<Step>,
}

impl Trace {
    /// Whether the connection was made.
    #[must_use]
    pub fn is_through(&self) -> bool {
        self.steps.last().is_some_and(|step| step.stage == Stage::Connect) && self.goes_on()
    }

    /// Whether nothing has stopped it yet.
    fn goes_on(&self) -> bool {
        self.steps.iter().all(|step| step.ok)
    }

    /// A trace that could not begin.
    #[must_use]
    pub fn not_begun(why: &str) -> Self {
        Self { steps: vec![Step::stopped(Stage::Names, why)] }
    }
}

/// Which decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stage {
    /// What the name means.
    Names,
    /// What the address belongs to.
    Service,
    /// Which endpoints are given connections.
    Endpoints,
    /// What policies and grants say.
    Policy,
    /// How the endpoint's host is reached.
    Hop,
    /// A connection, really made.
    Connect,
}

/// One decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Which one.
    pub stage: Stage,
    /// Whether a connection goes on.
    pub ok: bool,
    /// The decision in a sentence.
    pub said: String,
    /// What it was made of, a line each.
    pub details: Vec<String>,
}

impl Step {
    fn ok(stage: Stage, said: impl Into<String>) -> Self {
        Self { stage, ok: true, said: said.into(), details: Vec::new() }
    }

    fn stopped(stage: Stage, said: impl Into<String>) -> Self {
        Self { ok: false, ..Self::ok(stage, said) }
    }

    fn with(self, details: Vec<String>) -> Self {
        Self { details, ..self }
    }
}
