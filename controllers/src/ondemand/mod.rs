//! Scale to zero: the Deployments behind a Service that nobody uses have no pods, and get them back
//! when somebody comes.
//!
//! A Service opts in by an annotation with the idle time. The hosts hold connections to it while it
//! has no backend, and note in its status when it was last used or wanted.
//!
//! In: the Service and the Deployments of its namespace. Out: what to scale, and when to look again.

pub(crate) mod run;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use coracle_api::ondemand::{IDLE, IN_USE, REMEMBERED};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::objects::{annotation, is_deleting};

/// Hosts report use every second, in whole seconds: a shorter idle time would end used pods.
const IDLE_MIN: SignedDuration = SignedDuration::from_secs(2);

/// What a reconcile may look at.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The Service.
    pub service: Arc<Service>,
    /// The Deployments of its namespace.
    pub deployments: Vec<Arc<Deployment>>,
    /// When it was last heard of as used, [`Heard::at`].
    pub last_use: Option<Timestamp>,
}

/// What is known of a Service's use. Hosts write times of their own clocks, which may differ from ours by more than an
/// idle time; so a host's word counts from when it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    told: Option<Timestamp>,
    /// When the last word came, by our own clock; `None` before the first.
    pub at: Option<Timestamp>,
}

impl Heard {
    /// Takes a Service of which nothing is remembered: when its word came is not known, only what it says.
    pub fn first(service: &Service, now: Timestamp) -> Heard {
        let told = told(service);
        Heard { told, at: told.map(|told| told.min(now)) }
    }

    /// Takes the Service as it is now: another word than before has just come.
    #[must_use]
    pub fn then(self, service: &Service, now: Timestamp) -> Heard {
        let told = told(service);
        let is_news = told.is_some() && told != self.told;
        if is_news { Heard { told, at: Some(now) } } else { self }
    }
}

/// When a host last saw a Service used or wanted, by the host's clock.
fn told(service: &Service) -> Option<Timestamp> {
    let mut conditions = service.status.iter().flat_map(|s| s.conditions.iter().flatten());
    conditions.find(|one| one.type_ == IN_USE).map(|one| one.last_transition_time.0)
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Scale {
    /// What to scale.
    pub deployment: Arc<Deployment>,
    /// To how many pods.
    pub replicas: i32,
    /// How many to remember for the way back; `None` on the way back.
    pub remember: Option<i32>,
}

/// What comes of a reconcile.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// The Service has not opted in.
    NotOnDemand,
    /// The annotation cannot be read; the text says what it should be.
    Unreadable(String),
    /// Scale these, and look again after a while if there is one.
    Scale(Vec<Scale>, Option<Duration>),
}

/// Gives what is to be done about one Service.
pub fn reconcile(observed: &Observed, now: Timestamp) -> Verdict {
    let meta = &observed.service.metadata;
    let Some(text) = annotation(meta, IDLE).filter(|_| !is_deleting(meta)) else {
        return Verdict::NotOnDemand;
    };
    let Some(idle) = idle_time(text) else {
        return Verdict::Unreadable(format!(
            "annotation {IDLE}: \"{text}\" is no time of at least 2 s: write it as \"60s\" or \"5m\""
        ));
    };
    let behind: Vec<&Arc<Deployment>> =
        observed.deployments.iter().filter(|one| is_behind(one, &observed.service)).collect();
    let born = behind.iter().map(|deployment| &deployment.metadata).chain([meta]).map(created);
    let last = born.chain([observed.last_use]).flatten().max().unwrap_or(now);
    // A clock that ran back must not keep pods for ever.
    let unused = now.duration_since(last).max(SignedDuration::ZERO);
    let scale: Vec<Scale> = if unused < idle {
        behind.into_iter().filter_map(wake).collect()
    } else {
        behind.into_iter().filter_map(rest).collect()
    };
    let left = Duration::try_from(idle - unused).ok().filter(|left| !left.is_zero());
    Verdict::Scale(scale, left)
}

fn idle_time(text: &str) -> Option<SignedDuration> {
    let idle: SignedDuration = text.trim().parse().ok()?;
    (idle >= IDLE_MIN).then_some(idle)
}

fn created(meta: &ObjectMeta) -> Option<Timestamp> {
    meta.creation_timestamp.as_ref().map(|time| time.0)
}

/// Tells whether a Service's selector takes the pods of a Deployment.
fn is_behind(deployment: &Deployment, service: &Service) -> bool {
    let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    let template = deployment.spec.as_ref().and_then(|spec| spec.template.metadata.as_ref());
    let labels = template.and_then(|meta| meta.labels.as_ref());
    let takes = |selector: &BTreeMap<String, String>, labels: &BTreeMap<String, String>| {
        !selector.is_empty() && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
    };
    !is_deleting(&deployment.metadata)
        && selector.zip(labels).is_some_and(|(selector, labels)| takes(selector, labels))
}

fn replicas(deployment: &Deployment) -> i32 {
    deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

fn wake(deployment: &Arc<Deployment>) -> Option<Scale> {
    let before = annotation(&deployment.metadata, REMEMBERED).and_then(|text| text.parse().ok());
    (replicas(deployment) == 0).then(|| Scale {
        deployment: Arc::clone(deployment),
        replicas: before.unwrap_or(1).max(1),
        remember: None,
    })
}

fn rest(deployment: &Arc<Deployment>) -> Option<Scale> {
    let now = replicas(deployment);
    (now > 0).then(|| Scale {
        deployment: Arc::clone(deployment),
        replicas: 0,
        remember: Some(now),
    })
}

#[cfg(test)]
mod tests;
