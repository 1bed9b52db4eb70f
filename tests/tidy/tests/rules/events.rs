//! The book's page of events: every reason that the sources tell, with the words of `docs/events.toml`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use expect_test::expect_file;

use crate::files::{read, root, violations};
use crate::source::{arguments, cell, is_reason, literals, product};

/// Where reasons stand in the sources: in the files below a path, between the bracket that ends a mark and the one
/// that closes it; behind a mark without a bracket, the next literal.
const SINKS: &[(&str, &str)] = &[
    ("", ".event("),
    ("", ".event_about("),
    ("controllers/src/cronjob/", ".tell("),
    ("controllers/src/cronjob/", "Action::Tell("),
    ("controllers/src/cronjob/", "ScheduleError::Unreadable(_) =>"),
    ("controllers/src/cronjob/", "ScheduleError::UnknownZone(_) =>"),
    ("controllers/src/disruption/", "Action::Warn("),
    ("controllers/src/job/", "Outcome::Failure("),
    ("controllers/src/job/", "(COMPLETE, true) => (false,"),
    ("controllers/src/job/", "(SUSPENDED, true) => (false,"),
    ("controllers/src/job/", "(SUSPENDED, false) => (false,"),
    ("controllers/src/nodescaler/", "(EventKind::Normal,"),
    ("controllers/src/nodescaler/", "(EventKind::Warning,"),
    ("controllers/src/ondemand/", "Some(_) => ("),
    ("controllers/src/ondemand/", "None => ("),
    ("controllers/src/podautoscaler/", "Action::Warn("),
    ("controllers/src/podautoscaler/proposal.rs", "\" =>"),
    ("controllers/src/podautoscaler/proposal.rs", "Err(("),
    ("controllers/src/pods.rs", ".failed("),
    ("controllers/src/volumebinding/", ".note("),
    ("controllers/src/volumebinding/", " wait("),
    ("controllers/src/volumebinding/", "Action::Note("),
    ("host/agent/src/", " Note {"),
    ("host/agent/src/effects/image.rs", "let reason ="),
    ("host/agent/src/images/policy.rs", "pub const AUDITED: &str ="),
    ("host/agent/src/node/events.rs", "let rows = ["),
    ("host/agent/src/node/events.rs", "status_is_now("),
    ("host/agent/src/pods/notes.rs", "note("),
    ("host/agent/src/pods/notes.rs", "fn verdict_reason(reason: &str) -> &'static str {"),
    ("host/agent/src/pods/shutdown.rs", "pub const NODE_SHUTDOWN: &str ="),
    ("host/agent/src/pods/shutdown.rs", "pub const TERMINATED: &str ="),
    ("host/runtime/src/spec.rs", "Self::Trap =>"),
    ("host/runtime/src/spec.rs", "Self::Timeout =>"),
    ("host/runtime/src/spec.rs", "Self::Memory =>"),
    ("network/src/front/", ".tell("),
    ("network/src/refusals.rs", "RefusalKind::Refused =>"),
    ("network/src/refusals.rs", "RefusalKind::DryRun =>"),
    ("scheduler/src/run.rs", ".tell("),
];

/// Files that hand a reason on which stands elsewhere: each of those places is one of [`SINKS`].
const HANDED_ON: &[&str] = &[
    "client/src/events/",
    "controllers/src/cronjob/run.rs",
    "controllers/src/disruption/run.rs",
    "controllers/src/job/run.rs",
    "controllers/src/nodescaler/run.rs",
    "controllers/src/ondemand/run.rs",
    "controllers/src/podautoscaler/run.rs",
    "controllers/src/pods.rs",
    "controllers/src/volumebinding/run.rs",
    "host/agent/src/effects/start.rs",
    "host/agent/src/node/events.rs",
    "host/agent/src/record.rs",
    "network/src/front/balance.rs",
    "network/src/refusals.rs",
    "scheduler/src/run.rs",
];

/// Who tells events, by the folder of the sources, in the order of the page.
const ROOMS: [(&str, &str); 4] = [
    ("scheduler/", "The scheduler"),
    ("controllers/", "Controllers"),
    ("host/", "Hosts: the agent and the runtime"),
    ("network/", "Hosts: the network"),
];

/// Each reason, with the rooms that tell it.
fn told() -> BTreeMap<String, BTreeSet<&'static str>> {
    let mut told: BTreeMap<String, BTreeSet<_>> = BTreeMap::new();
    for file in product() {
        let Some((folder, _)) = ROOMS.iter().find(|(folder, _)| file.path.starts_with(folder))
        else {
            continue;
        };
        for (_, mark) in SINKS.iter().filter(|(path, _)| file.path.starts_with(path)) {
            for (at, _) in file.text.match_indices(mark) {
                let rest = file.text.get(at + mark.len()..).unwrap_or_default();
                let brackets = mark.ends_with(['(', '[', '{']);
                let places = if brackets { arguments(rest) } else { vec![next(rest)] };
                let words = places.into_iter().flat_map(literals).filter(|word| is_reason(word));
                for word in words {
                    told.entry(word.to_owned()).or_default().insert(*folder);
                }
            }
        }
    }
    told
}

/// What follows a mark without a bracket: up to the end of the first literal.
fn next(rest: &str) -> &str {
    let end = rest.match_indices('"').nth(1).map_or(0, |(at, _)| at + 1);
    let piece = rest.get(..end).unwrap_or_default();
    // The literal is the next word, not one somewhere below.
    if piece.trim_start().starts_with('"') { piece } else { "" }
}

#[test]
fn every_call_says_its_reason_or_is_known_to_hand_one_on() {
    let unknown = product().into_iter().flat_map(|file| {
        let known = HANDED_ON.iter().any(|path| file.path.starts_with(path));
        let calls = [".event(", ".event_about("].into_iter().flat_map(|mark| {
            file.text.match_indices(mark).map(|(at, _)| at + mark.len()).collect::<Vec<_>>()
        });
        let vague = calls.filter(|at| {
            let given = arguments(file.text.get(*at..).unwrap_or_default());
            given.len() == 4 && !given.get(2).is_some_and(|reason| reason.starts_with('"'))
        });
        let path = file.path.clone();
        vague.filter(move |_| !known).map(move |_| path.clone()).collect::<Vec<_>>()
    });
    violations(unknown, "say in SINKS and HANDED_ON of this file where the reasons stand");
}

#[test]
fn the_page_of_events_has_every_reason() {
    let words: toml::Table = read(&root().join("docs/events.toml")).parse().unwrap();
    let told = told();
    let unsaid = told.keys().filter(|reason| !words.contains_key(*reason)).cloned();
    violations(unsaid, "say in docs/events.toml what happened and what to do");
    let gone = words.keys().filter(|reason| !told.contains_key(*reason)).cloned();
    violations(gone, "nobody tells these any more: take them out of docs/events.toml");
    expect_file![root().join("docs/src/reference/events.md")].assert_eq(&page(&told, &words));
}

fn page(told: &BTreeMap<String, BTreeSet<&'static str>>, words: &toml::Table) -> String {
    let mut page = "# Events\n\n\
        Every reason of the Events that Coracle writes, made of its sources. `kubectl events --for pod/web` shows\n\
        those of one object, `coracle events` all, the latest last. Equal ones are joined: `count` rises. A\n\
        *Warning* is something that a person may want to look at. Controllers of your own write others.\n"
        .to_owned();
    for (folder, title) in ROOMS {
        let _infallible = write!(
            page,
            "\n## {title}\n\n| reason | about | type | what happened | what to do |\n|---|---|---|---|---|\n"
        );
        for (reason, _) in told.iter().filter(|(_, rooms)| rooms.contains(folder)) {
            let said = |name: &str| {
                let value = words.get(reason).and_then(|entry| entry.get(name));
                let text = value.and_then(toml::Value::as_str);
                cell(text.unwrap_or_else(|| panic!("docs/events.toml: {reason} has no `{name}`")))
            };
            let _infallible = writeln!(
                page,
                "| `{reason}` | {} | {} | {} | {} |",
                said("about"),
                said("type"),
                said("what"),
                said("do")
            );
        }
    }
    page
}
