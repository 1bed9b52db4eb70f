//! Sends manifests to the API server, and deletes what was sent.

use std::fmt;
use std::time::Duration;

use kube::Api;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::discovery::{self, Scope};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::merge::{LAST_APPLIED, three_way};

/// Who writes, in `managedFields` and in the server's log.
const FIELD_MANAGER: &str = "coracle-up";

/// An object that was applied, so that it can be deleted again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Applied {
    /// Such as `apps/v1`.
    pub(crate) api_version: String,
    /// Such as `Deployment`.
    pub(crate) kind: String,
    /// Of namespaced kinds.
    pub(crate) namespace: Option<String>,
    /// The object's name.
    pub(crate) name: String,
}

impl fmt::Display for Applied {
    /// `deployment.apps/web` as kubectl prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.to_lowercase();
        match self.api_version.split_once('/') {
            Some((group, _)) => write!(f, "{kind}.{group}/{}", self.name),
            None => write!(f, "{kind}/{}", self.name),
        }
    }
}

/// What became of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was not there.
    Created,
    /// It was there and differed.
    Configured,
    /// It was there as wanted.
    Unchanged,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
        })
    }
}

/// Why an object was not applied or deleted.
#[derive(Debug, thiserror::Error)]
#[error("{verb} {object}")]
pub(crate) struct ApplyError {
    verb: &'static str,
    object: String,
    #[source]
    source: kube::Error,
}

/// Brings one object to what the manifest says, in `default` if it names no namespace.
pub(crate) async fn apply(
    client: &kube::Client,
    object: &Value,
) -> Result<(Applied, Outcome), ApplyError> {
    apply_in(client, object, "default").await
}

/// The same, with the namespace of objects that name none.
pub(crate) async fn apply_in(
    client: &kube::Client,
    object: &Value,
    namespace: &str,
) -> Result<(Applied, Outcome), ApplyError> {
    let mut applied = name_of(object);
    let failed = |applied: &Applied| {
        let object = applied.to_string();
        move |source| ApplyError { verb: "apply", object, source }
    };
    applied.namespace.get_or_insert_with(|| namespace.to_owned());
    let (api, namespaced) = api_of(client, &applied).await.map_err(failed(&applied))?;
    if !namespaced {
        applied.namespace = None;
    }
    let outcome = write(&api, &applied.name, object).await.map_err(failed(&applied))?;
    Ok((applied, outcome))
}

async fn write(api: &Api<DynamicObject>, name: &str, object: &Value) -> kube::Result<Outcome> {
    let wanted = with_last_applied(object);
    let Some(live) = api.get_opt(name).await? else {
        let object: DynamicObject =
            serde_json::from_value(wanted).map_err(kube::Error::SerdeError)?;
        let params =
            PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        api.create(&params, &object).await?;
        return Ok(Outcome::Created);
    };
    let before = live.metadata.resource_version.clone();
    let live = serde_json::to_value(live).map_err(kube::Error::SerdeError)?;
    let last: Option<Value> = live["metadata"]["annotations"][LAST_APPLIED]
        .as_str()
        .and_then(|text| serde_json::from_str(text).ok());
    match three_way(last.as_ref(), &wanted, &live) {
        None => Ok(Outcome::Unchanged),
        Some(patch) => {
            let params = PatchParams {
                field_manager: Some(FIELD_MANAGER.to_owned()),
                ..PatchParams::default()
            };
            let now = api.patch(name, &params, &Patch::Merge(&patch)).await?;
            // What is only said for writing, such as a Secret's `stringData`, may say what is there.
            let same = now.metadata.resource_version.as_deref() == before.as_deref();
            Ok(if same { Outcome::Unchanged } else { Outcome::Configured })
        }
    }
}

/// Deletes an object in the background; one that is gone already is fine. Says whether it was there.
pub(crate) async fn delete(client: &kube::Client, applied: &Applied) -> Result<bool, ApplyError> {
    let failed = |source| ApplyError { verb: "delete", object: applied.to_string(), source };
    let (api, _) = api_of(client, applied).await.map_err(failed)?;
    match api.delete(&applied.name, &DeleteParams::background()).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
        Err(error) => Err(failed(error)),
    }
}

/// Waits until a deleted object is gone, finalizers and grace periods included.
pub(crate) async fn wait_gone(
    client: &kube::Client,
    applied: &Applied,
    patience: Duration,
) -> anyhow::Result<()> {
    let (api, _) = api_of(client, applied).await?;
    let deadline = tokio::time::Instant::now() + patience;
    while api.get_opt(&applied.name).await?.is_some() {
        if tokio::time::Instant::now() > deadline {
            anyhow::bail!("{applied} is still there after {} s", patience.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// The API of the object's kind and namespace, and whether the kind is namespaced.
async fn api_of(
    client: &kube::Client,
    applied: &Applied,
) -> kube::Result<(Api<DynamicObject>, bool)> {
    let (group, version) = match applied.api_version.split_once('/') {
        Some((group, version)) => (group, version),
        None => ("", applied.api_version.as_str()),
    };
    let kind = GroupVersionKind::gvk(group, version, &applied.kind);
    let (resource, capabilities): (ApiResource, _) = discovery::pinned_kind(client, &kind).await?;
    let namespaced = capabilities.scope == Scope::Namespaced;
    let api = if namespaced {
        let namespace = applied.namespace.as_deref().unwrap_or("default");
        Api::namespaced_with(client.clone(), namespace, &resource)
    } else {
        Api::all_with(client.clone(), &resource)
    };
    Ok((api, namespaced))
}

/// What an object is called, in a namespace if it names none.
pub(crate) fn name_in(object: &Value, namespace: &str) -> Applied {
    let mut applied = name_of(object);
    applied.namespace.get_or_insert_with(|| namespace.to_owned());
    applied
}

fn name_of(object: &Value) -> Applied {
    let text = |pointer| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    Applied {
        api_version: text("/apiVersion").unwrap_or_default(),
        kind: text("/kind").unwrap_or_default(),
        namespace: text("/metadata/namespace"),
        name: text("/metadata/name").unwrap_or_default(),
    }
}

/// The manifest with itself in the annotation, as kubectl writes it.
fn with_last_applied(object: &Value) -> Value {
    let mut last = object.clone();
    if let Some(annotations) =
        last.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut)
    {
        annotations.remove(LAST_APPLIED);
    } else {
        last["metadata"]["annotations"] = json!({});
    }
    let mut wanted = last.clone();
    wanted["metadata"]["annotations"][LAST_APPLIED] = Value::String(format!("{last}\n"));
    wanted
}
