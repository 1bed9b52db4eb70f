//! The logs of all containers as they come, each line behind the name of its container.

use std::collections::{HashMap, HashSet};
use std::io::IsTerminal as _;
use std::time::Duration;

use anyhow::Context as _;
use futures::AsyncBufReadExt as _;
use http::Request;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::Api;
use kube::api::ListParams;
use tokio::task::JoinSet;

use crate::out;

/// How often it is looked for containers that have started.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Logs that are followed at once; a namespace of a developer has fewer.
const FOLLOWED_MAX: usize = 200;

/// Colours of names on a terminal (ANSI), one container after the other.
const COLOURS: [u8; 6] = [36, 33, 32, 35, 34, 31];

/// Which run of which container: pod, container, container's id.
type Run = (String, String, String);

/// Prints what the containers of namespaces write, until it is dropped.
pub(crate) async fn follow(client: kube::Client, namespaces: Vec<String>) {
    let colours = std::io::stdout().is_terminal();
    let mut followed: HashSet<Run> = HashSet::new();
    let mut names: Vec<String> = Vec::new();
    let mut ends: HashMap<Run, usize> = HashMap::new();
    let mut tasks = JoinSet::new();
    loop {
        for namespace in &namespaces {
            for run in runs(&client, namespace).await {
                if followed.contains(&run) || tasks.len() >= FOLLOWED_MAX {
                    continue;
                }
                let (pod, container, _) = run.clone();
                let index = names.iter().position(|name| *name == container);
                let index = index.unwrap_or_else(|| {
                    names.push(container.clone());
                    names.len() - 1
                });
                let colour = COLOURS.get(index % COLOURS.len()).filter(|_| colours).copied();
                let path = format!(
                    "/api/v1/namespaces/{namespace}/pods/{pod}/log?follow=true&container={container}"
                );
                let prefix = prefix(&pod, &container, colour);
                let printed = ends.remove(&run).unwrap_or_default();
                let client = client.clone();
                followed.insert(run.clone());
                tasks.spawn(async move { (run, copy(&client, &path, &prefix, printed).await) });
            }
        }
        while let Some(ended) = tasks.try_join_next() {
            // A log that broke off, as while its node has no certificate yet, is asked for again.
            if let Ok((run, Err(printed))) = ended {
                followed.remove(&run);
                ends.insert(run, printed);
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The containers that have started, with which run of theirs it is.
async fn runs(client: &kube::Client, namespace: &str) -> Vec<Run> {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    // A server that is just not there has pods again later.
    let Ok(pods) = api.list(&ListParams::default()).await else { return Vec::new() };
    pods.items.iter().flat_map(started).collect()
}

fn started(pod: &Pod) -> Vec<Run> {
    let name = pod.metadata.name.clone().unwrap_or_default();
    let Some(status) = &pod.status else { return Vec::new() };
    let all = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    let run = |status: &ContainerStatus| {
        let state = status.state.as_ref()?;
        let ran = state.running.is_some() || state.terminated.is_some();
        let id = status.container_id.clone()?;
        ran.then(|| (name.clone(), status.name.clone(), id))
    };
    all.filter_map(run).collect()
}

fn prefix(pod: &str, container: &str, colour: Option<u8>) -> String {
    match colour {
        Some(colour) => format!("\u{1b}[{colour}m{pod}/{container}\u{1b}[0m "),
        None => format!("{pod}/{container} "),
    }
}

/// Prints a log after as many of its lines as were printed before; when it breaks off, how many there are now.
async fn copy(
    client: &kube::Client,
    path: &str,
    prefix: &str,
    printed: usize,
) -> Result<(), usize> {
    let mut count = 0;
    let mut copied = async || {
        let request = Request::get(path).body(Vec::new()).context("ask for a log")?;
        let stream = std::pin::pin!(client.request_stream(request).await?);
        let mut lines = stream.lines();
        while let Some(line) = futures::StreamExt::next(&mut lines).await {
            let line = line?;
            count += 1;
            if count > printed {
                out::line(format_args!("{prefix}{line}"));
            }
        }
        anyhow::Ok(())
    };
    let ended = copied().await;
    ended.map_err(|error| {
        tracing::debug!(%error, "a log broke off");
        count.max(printed)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn containers_are_followed_once_they_run() {
        let status = |name: &str, id: &str, state: &str| {
            json!({"name": name, "image": "", "imageID": "", "ready": true, "restartCount": 0,
                "containerID": id, "state": {state: {}}})
        };
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p"}, "status": {
            "containerStatuses": [status("a", "1", "running"), status("b", "2", "waiting")],
            "initContainerStatuses": [json!({"name": "i", "image": "", "imageID": "",
                "ready": true, "restartCount": 0, "containerID": "3",
                "state": {"terminated": {"exitCode": 0}}})]}}))
        .unwrap();
        let names: Vec<String> = started(&pod).into_iter().map(|run| run.1).collect();
        assert_eq!(names, ["i", "a"]);
        assert_eq!(prefix("p", "c", None), "p/c ");
        assert!(prefix("p", "c", Some(36)).contains("\u{1b}[36mp/c\u{1b}[0m"));
    }
}
