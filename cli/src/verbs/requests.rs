//! `coracle trace REQUEST-ID`: who answered a request, what was written meanwhile, and who had deployed it.
//!
//! Each host is asked for what it remembers; the rest is what the API server knows of the pods that answered.

use std::path::Path;

use anyhow::{Context as _, bail};
use coracle_agent::requests::{By, Found, FoundRequest, Noted, Owner};
use futures::StreamExt as _;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::deployed::{self, Story};
use super::pods;
use super::query::Query;
use super::session::Session;
use crate::out::{self, Ended};

/// Hosts that are asked at once.
const ASKED_AT_ONCE_MAX: usize = 16;

/// What it ends with when no host knows the request.
const UNKNOWN: u8 = 1;

/// What is asked for.
pub(crate) struct Asked<'a> {
    /// The id of the request or of its trace.
    pub(crate) id: &'a str,
    /// JSON is wanted.
    pub(crate) json: bool,
    /// The server's audit log, where it can be read.
    pub(crate) audit_log: Option<&'a Path>,
}

/// Prints what is known of a request.
pub(crate) async fn trace(session: &Session, asked: &Asked<'_>) -> anyhow::Result<()> {
    let (hosts, silent) = ask_hosts(session, asked.id).await?;
    let mut known: Vec<(String, FoundRequest)> = Vec::new();
    for host in &hosts {
        known.extend(host.requests.iter().map(|one| (host.node.clone(), one.clone())));
    }
    known.sort_by_key(|(_, one)| one.seen.began_micros);
    if asked.json {
        let stories = stories(session, &known, asked.audit_log).await;
        let all = json!({"id": asked.id, "hosts": hosts, "silent": silent, "pods": stories});
        out::line(serde_json::to_string_pretty(&all)?);
    } else {
        for (node, one) in &known {
            show(node, one);
        }
        stories(session, &known, asked.audit_log).await.iter().for_each(Story::show);
        silent.iter().for_each(|why| out::note(why));
    }
    if !known.is_empty() {
        return Ok(());
    }
    if hosts.is_empty() {
        bail!(
            "no host answered: it takes the right to `get` `nodes/proxy`, and hosts of this version"
        );
    }
    out::note(&format!("no host knows a request {}", asked.id));
    hosts.iter().for_each(|host| out::note(&reach(host)));
    Err(Ended(UNKNOWN).into())
}

/// How far back a host remembers, in a sentence.
fn reach(host: &Found) -> String {
    format!(
        "node {} keeps the last {} requests: {} now, all since {}",
        host.node,
        host.reach.kept_max,
        host.reach.kept,
        time(host.reach.since_micros)
    )
}

/// What the hosts say, and a sentence for each that says nothing.
async fn ask_hosts(session: &Session, id: &str) -> anyhow::Result<(Vec<Found>, Vec<String>)> {
    let nodes = session.get("/api/v1/nodes").await.context("list the nodes")?;
    let names: Vec<String> = nodes["items"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|node| pods::name(node).to_owned())
        .collect();
    let ask = async |node: String| {
        let path = format!("/api/v1/nodes/{node}/proxy/requests");
        let answer = session.get(&Query::default().with("id", id).on(&path)).await;
        let found = answer.and_then(|answer| Ok(serde_json::from_value::<Found>(answer)?));
        found.map_err(|error| format!("node {node} was not asked: {error:#}"))
    };
    let answers: Vec<Result<Found, String>> =
        futures::stream::iter(names).map(ask).buffered(ASKED_AT_ONCE_MAX).collect().await;
    let (mut hosts, mut silent) = (Vec::new(), Vec::new());
    for answer in answers {
        match answer {
            Ok(found) => hosts.push(found),
            Err(why) => silent.push(why),
        }
    }
    Ok((hosts, silent))
}

/// Who deployed each of the pods that answered, each once.
async fn stories(
    session: &Session,
    known: &[(String, FoundRequest)],
    audit_log: Option<&Path>,
) -> Vec<Story> {
    let mut answered: Vec<&Noted> = Vec::new();
    for (_, one) in known {
        if let By::Container(noted) = &one.by
            && answered.iter().all(|other| other.uid != noted.uid)
        {
            answered.push(noted);
        }
    }
    let mut stories = Vec::new();
    for noted in answered {
        stories.push(deployed::story(session, noted, audit_log).await);
    }
    stories
}

fn show(node: &str, one: &FoundRequest) {
    let seen = &one.seen;
    let host = seen.host.as_deref().unwrap_or_default();
    let status = match seen.status {
        Some(status) => status.to_string(),
        None => "given up by the client".to_owned(),
    };
    #[expect(clippy::cast_precision_loss, reason = "shown with a tenth of a millisecond")]
    let took = seen.took_micros as f64 / 1000.0;
    out::line(format_args!(
        "{}  node {node}: {} {host}{}: {status} after {took:.1} ms",
        time(seen.began_micros),
        seen.method,
        seen.path
    ));
    detail("id", seen.id.as_str());
    seen.trace.iter().for_each(|trace| detail("trace", trace));
    seen.peer.iter().for_each(|peer| detail("from", &peer.to_string()));
    match &one.by {
        By::WayIn => {
            detail("rule", seen.rule.as_deref().unwrap_or("none takes it"));
            let to = seen.backend.map(|backend| backend.to_string());
            detail("to", to.as_deref().unwrap_or("no pod"));
        }
        By::Container(noted) => {
            detail("pod", &format!("{}/{} ({})", noted.namespace, noted.pod, noted.uid));
            let life = noted.restart_count;
            detail("container", &format!("{}, restarted {life} times", noted.container));
            detail("image", &noted.image);
            detail("digest", &noted.image_id);
            noted.owner.iter().for_each(|owner| detail("made by", &of_owner(owner)));
            one.lines.iter().for_each(|line| detail("log", line));
            if one.may_lack_lines {
                detail(
                    "log",
                    "the host may have forgotten lines of it, as so many came: kubectl logs",
                );
            }
        }
    }
}

fn of_owner(owner: &Owner) -> String {
    format!("{} {}", owner.kind, owner.name)
}

/// Prints one fact below a request.
pub(super) fn detail(word: &str, text: &str) {
    out::line(format_args!("  {word:<10} {text}"));
}

fn time(micros: u64) -> String {
    let time =
        i64::try_from(micros).ok().and_then(|micros| Timestamp::from_microsecond(micros).ok());
    time.map_or_else(String::new, |time| time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string())
}

/// Whether a word is the id of a request, and not a place to connect to.
pub(crate) fn is_id(target: &str) -> bool {
    !["svc/", "service/", "services/"].iter().any(|kind| target.starts_with(kind))
        && !target.contains(':')
}

/// The text of a field, empty without one.
pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_no_place_to_connect_to() {
        for id in ["0af7651916cd43dd8448eb211c80319c", "order-7", "Root=1-67891233"] {
            assert!(is_id(id), "{id}");
        }
        for place in ["svc/web", "service/web", "example.org:443", "[fd63::1]:80"] {
            assert!(!is_id(place), "{place}");
        }
    }

    #[test]
    fn times_are_those_of_the_logs() {
        assert_eq!(time(1_700_000_000_123_456), "2023-11-14T22:13:20.123Z");
    }
}
