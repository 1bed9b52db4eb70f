//! `coracle logs`.

use anyhow::{Context as _, bail};
use futures::future::try_join_all;
use futures::{AsyncBufReadExt as _, AsyncReadExt as _};
use http::Request;
use jiff::SignedDuration;
use serde_json::Value;

use super::pods;
use super::query::Query;
use super::session::{Session, told};
use crate::config::LogsFlags;
use crate::out;

/// Bytes that are copied at once.
const CHUNK_BYTES: usize = 16 << 10;

/// Prints what containers have written, and with `-f` goes on with it.
pub(crate) async fn logs(session: &Session, flags: &LogsFlags) -> anyhow::Result<()> {
    let found = match (&flags.pod, &flags.selector) {
        (Some(word), _) => vec![pods::one(session, word).await?.0],
        (None, Some(selector)) => pods::of_labels(session, selector).await?,
        (None, None) => bail!("name a pod, or give labels by -l"),
    };
    let mut sources = Vec::new();
    for pod in &found {
        sources.extend(containers(pod, flags)?.into_iter().map(|name| (pods::name(pod), name)));
    }
    let query = query(flags)?;
    if let [(pod, container)] = sources.as_slice() {
        return copy(session, &path(session, pod, container, &query)).await;
    }
    let width = sources.iter().map(|(pod, c)| pod.len() + c.len() + 1).max().unwrap_or(0);
    let copies = sources.iter().map(|(pod, container)| {
        let prefix = format!("{:<width$} ", format!("{pod}/{container}"));
        lines(session, path(session, pod, container, &query), prefix)
    });
    if flags.follow {
        try_join_all(copies).await?;
    } else {
        for copy in copies {
            copy.await?;
        }
    }
    Ok(())
}

fn containers(pod: &Value, flags: &LogsFlags) -> anyhow::Result<Vec<String>> {
    let names = pods::containers(pod, true);
    if let Some(wanted) = &flags.container {
        if !names.contains(wanted) {
            bail!("pod {} has no container {wanted}: it has {}", pods::name(pod), names.join(", "));
        }
        return Ok(vec![wanted.clone()]);
    }
    if flags.all_containers {
        return Ok(names);
    }
    let first =
        pods::containers(pod, false).into_iter().next().context("the pod has no container")?;
    if names.len() > 1 && flags.selector.is_none() {
        out::note(&format!("container {first} of: {}", names.join(", ")));
    }
    Ok(vec![first])
}

fn query(flags: &LogsFlags) -> anyhow::Result<Query> {
    let since = flags.since.as_deref().map(seconds).transpose()?;
    Ok(Query::default()
        .flag("follow", flags.follow)
        .flag("previous", flags.previous)
        .flag("timestamps", flags.timestamps)
        .maybe("tailLines", flags.tail.map(|lines| lines.to_string()).as_deref())
        .maybe("sinceSeconds", since.map(|seconds| seconds.to_string()).as_deref()))
}

/// A duration such as 90s or 2h in whole seconds.
pub(crate) fn seconds(text: &str) -> anyhow::Result<i64> {
    let duration: SignedDuration = text
        .parse()
        .with_context(|| format!("'{text}' must be a duration such as 30s, 5m or 2h"))?;
    Ok(duration.as_secs())
}

fn path(session: &Session, pod: &str, container: &str, query: &Query) -> String {
    let path = format!("/api/v1/namespaces/{}/pods/{pod}/log", session.namespace);
    query.clone().with("container", container).on(&path)
}

/// Copies a log as it is.
async fn copy(session: &Session, path: &str) -> anyhow::Result<()> {
    let request = Request::get(path).body(Vec::new())?;
    let stream = session.client.request_stream(request).await.map_err(told)?;
    let mut stream = std::pin::pin!(stream);
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let length = stream.read(&mut chunk).await.context("read the log")?;
        match chunk.get(..length) {
            Some(bytes) if length > 0 => out::bytes(bytes),
            Some(_) | None => return Ok(()),
        }
    }
}

/// Copies a log line by line, each behind a prefix.
async fn lines(session: &Session, path: String, prefix: String) -> anyhow::Result<()> {
    let request = Request::get(path).body(Vec::new())?;
    let stream = session.client.request_stream(request).await.map_err(told)?;
    let stream = std::pin::pin!(stream);
    let mut lines = stream.lines();
    while let Some(line) = futures::StreamExt::next(&mut lines).await {
        out::line(format_args!("{prefix}{}", line.context("read the log")?));
    }
    Ok(())
}
