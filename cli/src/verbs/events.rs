//! `coracle events`: what happened, the latest last.

use jiff::Timestamp;
use serde_json::Value;

use super::form::shown;
use super::kinds::Kinds;
use super::query::Query;
use super::session::Session;
use super::table::Printed;
use super::targets;
use crate::config::EventsFlags;
use crate::out;

/// Prints the events of a namespace, of all, or of one object.
pub(crate) async fn events(session: &Session, flags: &EventsFlags) -> anyhow::Result<()> {
    let mut happened = match &flags.of {
        Some(word) => {
            let kinds = Kinds::discover(session).await?;
            let named = targets::read_named(&kinds, std::slice::from_ref(word))?;
            let mut all = Vec::new();
            for (kind, name) in named {
                let path = format!("{}/{name}", kind.path(Some(&session.namespace)));
                all.extend(of_object(session, &session.get(&path).await?).await?);
            }
            all
        }
        None => {
            let path = match flags.all_namespaces {
                true => "/api/v1/events".to_owned(),
                false => format!("/api/v1/namespaces/{}/events", session.namespace),
            };
            listed(session, &path).await?
        }
    };
    happened.sort_by_key(last_seen);
    if happened.is_empty() {
        out::note("No events found.");
        return Ok(());
    }
    table(&happened, flags.all_namespaces).lines(true).iter().for_each(out::line);
    Ok(())
}

/// The events of one object, the latest last.
pub(crate) async fn of_object(session: &Session, object: &Value) -> anyhow::Result<Vec<Value>> {
    let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or("default");
    let query = Query::default().with("fieldSelector", &format!("involvedObject.uid={uid}"));
    let path = format!("/api/v1/namespaces/{namespace}/events");
    let mut happened = listed(session, &query.on(&path)).await?;
    happened.sort_by_key(last_seen);
    Ok(happened)
}

async fn listed(session: &Session, path: &str) -> anyhow::Result<Vec<Value>> {
    let mut list = session.get(path).await?;
    let items = list["items"].take();
    Ok(items.as_array().cloned().unwrap_or_default())
}

/// When an event was seen last; text that sorts by time.
fn last_seen(event: &Value) -> String {
    let told = [
        &event["series"]["lastObservedTime"],
        &event["lastTimestamp"],
        &event["eventTime"],
        &event["metadata"]["creationTimestamp"],
    ];
    told.iter().find_map(|time| time.as_str()).unwrap_or_default().to_owned()
}

/// A table of events.
#[expect(clippy::disallowed_methods, reason = "ages are told as of now")]
pub(crate) fn table(events: &[Value], namespaces: bool) -> Printed {
    let headings = ["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"];
    let first = namespaces.then_some("NAMESPACE");
    let headings: Vec<&str> = first.into_iter().chain(headings).collect();
    let mut printed = Printed::new(&headings);
    let now = Timestamp::now();
    for event in events {
        let object = &event["involvedObject"];
        let kind = object["kind"].as_str().unwrap_or_default().to_lowercase();
        let cells = [
            age(&last_seen(event), now),
            shown(&event["type"]),
            shown(&event["reason"]),
            format!("{kind}/{}", object["name"].as_str().unwrap_or_default()),
            event["message"].as_str().unwrap_or_default().trim().replace('\n', " "),
        ];
        let namespace = namespaces.then(|| shown(&event["metadata"]["namespace"]));
        printed.row(namespace.into_iter().chain(cells).collect());
    }
    printed
}

/// How long ago a time was: `5s`, `3m`, `2h`, `4d`.
pub(crate) fn age(time: &str, now: Timestamp) -> String {
    let Ok(then) = time.parse::<Timestamp>() else { return "<unknown>".to_owned() };
    let seconds = now.duration_since(then).as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages() {
        let now: Timestamp = "2026-01-02T00:00:00Z".parse().unwrap();
        for (time, expected) in [
            ("2026-01-01T23:59:55Z", "5s"),
            ("2026-01-01T23:30:00Z", "30m"),
            ("2026-01-01T12:00:00.5Z", "11h"),
            ("2025-12-01T00:00:00Z", "32d"),
            ("2026-01-02T00:00:09Z", "0s"),
            ("", "<unknown>"),
        ] {
            assert_eq!(age(time, now), expected, "{time}");
        }
    }
}
