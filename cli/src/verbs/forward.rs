//! `coracle port-forward`.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use futures::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::pods;
use super::query::Query;
use super::session::Session;
use super::socket::{content, message, open};
use crate::config::PortForwardFlags;
use crate::{out, signals};

/// The channels of the one port of a connection.
const DATA: u8 = 0;
const ERROR: u8 = 1;

/// Bytes that are sent at once.
const CHUNK_BYTES: usize = 16 << 10;

/// Connections of this machine that are forwarded at once.
const CONNECTIONS_MAX: usize = 256;

/// How long a pod may still answer a client that says no more.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Listens, and leads each connection into the pod, until it is interrupted.
pub(crate) async fn forward(session: Session, flags: &PortForwardFlags) -> anyhow::Result<()> {
    let (pod, object) = pods::one(&session, &flags.target).await?;
    let service = object.filter(|object| object["kind"] == "Service");
    let path =
        format!("/api/v1/namespaces/{}/pods/{}/portforward", session.namespace, pods::name(&pod));
    let session = Arc::new(session);
    let mut accepting = JoinSet::new();
    for text in &flags.ports {
        let (local, asked) = ports(text)?;
        let remote = match &service {
            Some(service) => target_port(service, &pod, asked)?,
            None => asked,
        };
        let listener = TcpListener::bind((flags.address, local)).await;
        let listener = listener
            .with_context(|| format!("listen on {}:{local}: take another port", flags.address))?;
        out::line(format_args!("Forwarding from {} -> {remote}", listener.local_addr()?));
        let path = Query::default().with("ports", &remote.to_string()).on(&path);
        accepting.spawn(accept(Arc::clone(&session), listener, path));
    }
    let mut stop = signals::Stop::listen()?;
    stop.wait().await;
    accepting.shutdown().await;
    Ok(())
}

/// `LOCAL:REMOTE`, `PORT` or `:REMOTE`.
fn ports(text: &str) -> anyhow::Result<(u16, u16)> {
    let (local, remote) = text.split_once(':').unwrap_or((text, text));
    let local = if local.is_empty() { Some(0) } else { local.parse().ok() };
    match (local, remote.parse().ok().filter(|port| *port > 0)) {
        (Some(local), Some(remote)) => Ok((local, remote)),
        (_, _) => bail!("'{text}' must be PORT, LOCAL:REMOTE or :REMOTE"),
    }
}

/// The pod's port that a Service's leads to.
fn target_port(service: &Value, pod: &Value, port: u16) -> anyhow::Result<u16> {
    let ports = service["spec"]["ports"].as_array().into_iter().flatten();
    let found = ports.clone().find(|entry| entry["port"] == port);
    let Some(entry) = found else {
        let there: Vec<String> = ports.map(|entry| entry["port"].to_string()).collect();
        bail!("service {} has no port {port}: it has {}", pods::name(service), there.join(", "));
    };
    let target = &entry["targetPort"];
    if let Some(name) = target.as_str() {
        let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
        let mut all = containers.filter_map(|c| c["ports"].as_array()).flatten();
        let found = all.find(|port| port["name"] == name).and_then(|p| p["containerPort"].as_u64());
        let found = found.and_then(|port| u16::try_from(port).ok());
        return found.with_context(|| format!("pod {} has no port {name}", pods::name(pod)));
    }
    Ok(target.as_u64().and_then(|port| u16::try_from(port).ok()).unwrap_or(port))
}

async fn accept(session: Arc<Session>, listener: TcpListener, path: String) {
    let mut connections = JoinSet::new();
    loop {
        while connections.len() >= CONNECTIONS_MAX {
            connections.join_next().await;
        }
        let Ok((stream, peer)) = listener.accept().await else { return };
        let (session, path) = (Arc::clone(&session), path.clone());
        connections.spawn(async move {
            if let Err(error) = carry(&session, stream, &path, Vec::new()).await {
                out::note(&format!("{peer}: {error:#}"));
            }
        });
    }
}

/// Carries one connection to its end on either side; the pod is told `first` before anything else.
pub(super) async fn carry(
    session: &Session,
    stream: TcpStream,
    path: &str,
    first: Vec<u8>,
) -> anyhow::Result<()> {
    let (mut sink, mut source) = open(session, path, "v4.channel.k8s.io").await?.split();
    let (mut read, mut write) = stream.into_split();
    let up = async move {
        if !first.is_empty() {
            sink.send(message(DATA, &first)).await.context("send to the pod")?;
        }
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let length = read.read(&mut chunk).await?;
            let Some(bytes) = chunk.get(..length).filter(|bytes| !bytes.is_empty()) else {
                // The pod may still answer: there is no word for half an end.
                tokio::time::sleep(ANSWER_MAX).await;
                return Ok::<(), anyhow::Error>(());
            };
            sink.send(message(DATA, bytes)).await.context("send to the pod")?;
        }
    };
    let down = async move {
        // The first message of each channel names its port.
        let mut named = [false; 2];
        while let Some(next) = source.next().await {
            let next = next.context("read from the pod")?;
            let Some((channel, bytes)) = content(&next) else { continue };
            let Some(named) = named.get_mut(usize::from(channel)) else { continue };
            if !std::mem::replace(named, true) {
                continue;
            }
            match channel {
                ERROR => bail!("{}", String::from_utf8_lossy(bytes)),
                _ => write.write_all(bytes).await?,
            }
        }
        Ok(())
    };
    tokio::select! { outcome = up => outcome, outcome = down => outcome }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ports_of_both_ends() {
        for (text, expected) in [
            ("80", Some((80, 80))),
            ("8080:80", Some((8080, 80))),
            (":80", Some((0, 80))),
            ("80:", None),
            ("x", None),
            ("70000", None),
        ] {
            assert_eq!(ports(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn a_port_of_a_service_is_one_of_the_pod() {
        let service = json!({"metadata": {"name": "s"}, "spec": {"ports": [
            {"port": 80, "targetPort": "http"}, {"port": 81, "targetPort": 8081}, {"port": 82}]}});
        let pod = json!({"spec": {"containers": [
            {"name": "c", "ports": [{"name": "http", "containerPort": 8080}]}]}});
        let check = |port| target_port(&service, &pod, port).ok();
        assert_eq!([80, 81, 82, 83].map(check), [Some(8080), Some(8081), Some(82), None]);
    }
}
