//! The task that sends events, and the handle by which everybody speaks.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, ObjectReference};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Resource};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::correlate::{Correlator, Write};
use super::{EventKind, Notice, reference};
use crate::client::{Client, Failure};

/// Notices that wait to be sent; more are dropped with a debug line, the speaker never waits.
const NOTICES_WAITING_MAX: usize = 1024;

/// Says things about objects as one component. Clones share one sending task.
///
/// Best effort: nothing waits for an event, and under pressure events are lost before work is.
#[derive(Clone, Debug)]
pub struct Recorder {
    notices: mpsc::Sender<Notice>,
    /// Ends the task after what was said is sent, when the last clone goes.
    _task: Arc<JoinHandle<()>>,
}

impl Recorder {
    /// Starts to send as `component` (`deployment-controller`, `kubelet`) on `host`, which may be
    /// empty. Needs a tokio runtime. The task ends after the last clone has gone.
    pub fn new(client: &Client, component: &str, host: &str) -> Recorder {
        let (notices, receiver) = mpsc::channel(NOTICES_WAITING_MAX);
        let correlator = Correlator::new(component.to_owned(), host.to_owned());
        let task = tokio::spawn(send_all(client.clone(), correlator, receiver));
        Recorder { notices, _task: Arc::new(task) }
    }

    /// Says something about a typed object.
    pub fn event<K: Resource<DynamicType = ()>>(
        &self,
        object: &K,
        kind: EventKind,
        reason: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) {
        self.event_about(reference(object), kind, reason, message);
    }

    /// Says something about whatever a reference names, a container of a pod for example.
    pub fn event_about(
        &self,
        object: ObjectReference,
        kind: EventKind,
        reason: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) {
        let notice =
            Notice { object: object.into(), kind, reason: reason.into(), message: message.into() };
        if self.notices.try_send(notice).is_err() {
            tracing::debug!("event dropped: too many wait to be sent");
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the edge that turns the clock into an input")]
async fn send_all(client: Client, mut correlator: Correlator, mut notices: mpsc::Receiver<Notice>) {
    while let Some(notice) = notices.recv().await {
        if let Some(write) = correlator.take(notice, Timestamp::now())
            && let Err(error) = send(&client, write).await
        {
            tracing::debug!(error = error.message(), "event not sent");
        }
    }
}

async fn send(client: &Client, write: Write) -> Result<(), kube::Error> {
    match write {
        Write::Create(event) => create(client, &event).await,
        Write::Count { namespace, name, count, last, again } => {
            let api: Api<Event> = client.namespaced(&namespace);
            let patch = json!({"count": count, "lastTimestamp": last.to_string()});
            let sent = api.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await;
            match sent {
                // It has expired meanwhile.
                Err(error) if error.is_not_found() => create(client, &again).await,
                Err(error) => Err(error),
                Ok(_) => Ok(()),
            }
        }
    }
}

async fn create(client: &Client, event: &Event) -> Result<(), kube::Error> {
    let namespace = event.metadata.namespace.as_deref().unwrap_or("default");
    let api: Api<Event> = client.namespaced(namespace);
    api.create(&PostParams::default(), event).await.map(drop)
}
