//! `coracle trace`: what is decided about a connection on its way, asked of the pod's own host; or, by
//! [`super::requests`], what is known of a request.

use anyhow::{Context as _, bail};
use coracle_network::trace::{Stage, Step, Trace};

use super::pods;
use super::query::Query;
use super::requests::{self, Asked};
use super::session::Session;
use crate::config::{TraceFlags, TraceOutput};
use crate::out::{self, Ended};

/// What `coracle trace` ends with when a connection would not be made, or was not.
const STOPPED: u8 = 1;

/// Prints the way of a connection, or of a request; its exit code says whether it came through, or is known.
pub(crate) async fn trace(session: &Session, flags: &TraceFlags) -> anyhow::Result<()> {
    let Some(from) = &flags.from else {
        if !requests::is_id(&flags.target) {
            bail!("say which pod connects to {}: --from POD", flags.target);
        }
        let asked = Asked {
            id: &flags.target,
            json: flags.output == Some(TraceOutput::Json),
            audit_log: flags.audit_log.as_deref(),
        };
        return requests::trace(session, &asked).await;
    };
    let query = query(&flags.target, &session.namespace)?;
    let (pod, _) = pods::one(session, from).await?;
    let name = pods::name(&pod);
    let node = pod["spec"]["nodeName"].as_str().filter(|node| !node.is_empty());
    let node = node.with_context(|| format!("pod {name} has no node yet: nothing leaves it"))?;
    let path = format!("/api/v1/nodes/{node}/proxy/trace/{}/{name}", session.namespace);
    let answer = session.get(&query.on(&path)).await.context(
        "trace from the pod's host: it takes the right to `get` `nodes/proxy`, and a host of this version",
    )?;
    let trace: Trace = serde_json::from_value(answer).context("read the trace")?;
    out::line(format_args!("from pod {name} on node {node} to {}", flags.target));
    for step in &trace.steps {
        show(step);
    }
    if trace.is_through() {
        return Ok(());
    }
    Err(Ended(STOPPED).into())
}

fn show(step: &Step) {
    let mark = if step.ok { "ok" } else { "NO" };
    out::line(format_args!("{:<10} {mark}  {}", word(step.stage), step.said));
    for detail in &step.details {
        out::line(format_args!("               {detail}"));
    }
}

fn word(stage: Stage) -> &'static str {
    match stage {
        Stage::Names => "name",
        Stage::Service => "service",
        Stage::Endpoints => "endpoints",
        Stage::Policy => "policy",
        Stage::Hop => "hop",
        Stage::Connect => "connect",
    }
}

/// Reads `svc/NAME[.NAMESPACE][:PORT]` or `HOST:PORT`.
fn query(target: &str, namespace: &str) -> anyhow::Result<Query> {
    let (name, port) = match target.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && !port.contains(']') => (name, Some(port)),
        Some(_) | None => (target, None),
    };
    let service = ["svc/", "service/", "services/"].iter().find_map(|kind| name.strip_prefix(kind));
    let query = match (service, port) {
        (Some(service), _) => {
            let (name, namespace) = service.split_once('.').unwrap_or((service, namespace));
            let namespace = namespace.split('.').next().unwrap_or(namespace);
            Query::default().with("service", &format!("{namespace}/{name}"))
        }
        (None, Some(_)) if !name.contains('/') => {
            Query::default().with("host", name.trim_matches(['[', ']']))
        }
        (None, _) => bail!("'{target}' must be svc/NAME, svc/NAME:PORT or HOST:PORT"),
    };
    Ok(query.maybe("port", port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_service_or_a_host_with_its_port() {
        let read = |target: &str| query(target, "here").map(|query| query.on("")).ok();
        let check = |target: &str, wanted: &str| assert_eq!(read(target).as_deref(), Some(wanted));
        check("svc/web", "?service=here%2Fweb");
        check("svc/web:http", "?service=here%2Fweb&port=http");
        check("service/web.shop:80", "?service=shop%2Fweb&port=80");
        check("svc/web.shop.svc.cluster.local", "?service=shop%2Fweb");
        check("example.org:443", "?host=example.org&port=443");
        check("[fd63::1]:80", "?host=fd63%3A%3A1&port=80");
        for target in ["web", "deploy/web:80", "example.org", "[fd63::1]"] {
            assert_eq!(read(target), None, "{target}");
        }
    }
}
