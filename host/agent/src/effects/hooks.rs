//! Runs life-cycle hooks: `exec`, `httpGet` and `sleep`.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, LifecycleHandler};

use super::command::{self, Ran};
use super::probes::{HttpCall, get};
use super::{Shared, Target};
use crate::pods::plan::{self, Index};
use crate::pods::state::PodEvent;

/// How long a `postStart` hook may take before it has failed.
const POST_START_MAX: Duration = Duration::from_secs(600);

/// Runs the `postStart` hook of the life `id`.
pub(crate) async fn post_start(shared: &Shared, target: &Target, index: Index, id: String) {
    let container = plan::container(&target.pod, index);
    let handler = container.and_then(|container| {
        Some((container, container.lifecycle.as_ref()?.post_start.as_ref()?))
    });
    let failure = match handler {
        Some((container, handler)) => {
            run(shared, target, container, handler, POST_START_MAX).await.err()
        }
        None => None,
    };
    shared.tell(&target.key.uid, PodEvent::PostStartDone { index, id, failure });
}

/// Runs a hook for at most `time`.
pub(crate) async fn run(
    shared: &Shared,
    target: &Target,
    container: &Container,
    handler: &LifecycleHandler,
    time: Duration,
) -> Result<(), String> {
    if let Some(sleep) = &handler.sleep {
        let wanted = Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or(0));
        tokio::time::sleep(wanted.min(time)).await;
        return Ok(());
    }
    if let Some(action) = &handler.http_get {
        let call = HttpCall::of(container, action, target.ip())?;
        let code = get(shared, target, &call, time).await?;
        return match code {
            200..400 => Ok(()),
            code => Err(format!("HTTP hook failed with statuscode: {code}")),
        };
    }
    if let Some(action) = &handler.exec {
        let command = action.command.as_deref().unwrap_or_default();
        let what = command::shown(command);
        return match command::run(shared, target, container, command, time).await? {
            Ran::Ended { code: 0, .. } => Ok(()),
            Ran::Ended { code, output } => {
                Err(format!("command '{what}' exited with {code}: {}", output.trim_end()))
            }
            Ran::TimedOut => Err(format!("command '{what}' timed out after {}s", time.as_secs())),
        };
    }
    Err("must have one of exec, httpGet and sleep".into())
}
