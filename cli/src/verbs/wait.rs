//! `coracle wait`.

use std::time::Duration;

use anyhow::{Context as _, bail};
use coracle_api::custom::JsonPath;
use serde_json::Value;

use super::form::{path_of, shown};
use super::get::{fetch, name_of};
use super::kinds::Kinds;
use super::logs::seconds;
use super::session::Session;
use super::targets::{self, Target};
use crate::config::WaitFlags;
use crate::out;

/// How often the objects are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The longest that is waited if nothing less is said: a week, as kubectl does.
const LONGEST: Duration = Duration::from_hours(168);

/// What is waited for.
#[derive(Debug, PartialEq)]
enum State {
    Create,
    Delete,
    Condition { name: String, value: String },
    Path { path: JsonPath, value: Option<String> },
}

impl State {
    fn read(text: &str) -> anyhow::Result<Self> {
        if let Some(condition) = text.strip_prefix("condition=") {
            let (name, value) = condition.split_once('=').unwrap_or((condition, "True"));
            return Ok(Self::Condition { name: name.to_owned(), value: value.to_owned() });
        }
        if let Some(rest) = text.strip_prefix("jsonpath=") {
            let rest = rest.trim_matches('\'');
            let (path, value) = match rest.rfind('}') {
                Some(end) => {
                    let value = rest[end + 1..].trim_start_matches('\'').strip_prefix('=');
                    (&rest[..=end], value)
                }
                None => rest.split_once('=').map_or((rest, None), |(p, v)| (p, Some(v))),
            };
            let value = value.map(|value| value.trim_matches(['"', '\'']).to_owned());
            return Ok(Self::Path { path: path_of(path)?, value });
        }
        match text {
            "create" => Ok(Self::Create),
            "delete" => Ok(Self::Delete),
            other => bail!(
                "--for '{other}' must be create, delete, condition=NAME[=VALUE] or jsonpath={{.path}}[=VALUE]"
            ),
        }
    }

    /// Whether an object, or that there is none, is what is waited for.
    fn holds(&self, object: Option<&Value>) -> bool {
        match (self, object) {
            (Self::Create, object) => object.is_some(),
            (Self::Delete, object) => object.is_none(),
            (_, None) => false,
            (Self::Condition { name, value }, Some(object)) => {
                let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
                conditions
                    .filter(|c| c["type"].as_str().is_some_and(|t| t.eq_ignore_ascii_case(name)))
                    .any(|c| c["status"].as_str().is_some_and(|s| s.eq_ignore_ascii_case(value)))
            }
            (Self::Path { path, value }, Some(object)) => {
                let found = path.find(object);
                match value {
                    None => !found.is_empty(),
                    Some(value) => found.iter().any(|found| shown(found) == *value),
                }
            }
        }
    }

    fn met(&self) -> &'static str {
        match self {
            Self::Create => "created",
            Self::Delete => "deleted",
            Self::Condition { .. } | Self::Path { .. } => "condition met",
        }
    }
}

/// Waits for all objects that are meant.
pub(crate) async fn wait(session: &Session, flags: &WaitFlags) -> anyhow::Result<()> {
    let state = State::read(&flags.state)?;
    let kinds = Kinds::discover(session).await?;
    let targets = targets::read(&kinds, &flags.what)?;
    let chosen = flags.all || flags.select.selector.is_some();
    if !chosen && targets.iter().any(|target| target.name.is_none()) {
        bail!("say which: a name, a selector by -l, or --all");
    }
    let objects = expand(session, flags, targets).await?;
    if objects.is_empty() {
        bail!("no matching resources found");
    }
    let patience = seconds(&flags.timeout)?;
    let patience = u64::try_from(patience).map_or(LONGEST, Duration::from_secs);
    let all = async {
        for (target, path) in &objects {
            until(session, &state, target, path).await?;
        }
        Ok(())
    };
    let within = tokio::time::timeout(patience, all).await;
    within.with_context(|| format!("timed out waiting for {} after {patience:?}", flags.state))?
}

/// Objects by their names, of those that selectors take now.
async fn expand(
    session: &Session,
    flags: &WaitFlags,
    targets: Vec<Target>,
) -> anyhow::Result<Vec<(Target, String)>> {
    let mut objects = Vec::new();
    for target in targets {
        if target.name.is_some() {
            let path = target.path(session, &flags.select);
            objects.push((target, path));
            continue;
        }
        for object in fetch(session, &flags.select, true, std::slice::from_ref(&target)).await? {
            let name = shown(&object["metadata"]["name"]);
            let namespace = object["metadata"]["namespace"].as_str();
            let path = format!("{}/{name}", target.kind.path(namespace));
            objects.push((Target { kind: target.kind.clone(), name: Some(name) }, path));
        }
    }
    Ok(objects)
}

async fn until(
    session: &Session,
    state: &State,
    target: &Target,
    path: &str,
) -> anyhow::Result<()> {
    let first = session.get_opt(path).await?;
    if first.is_none() && !matches!(state, State::Create | State::Delete) {
        bail!("{} is not there: --for=create waits for it", name(target));
    }
    let uid = first.as_ref().map(|object| shown(&object["metadata"]["uid"]));
    let mut object = first;
    while !state.holds(object.as_ref()) {
        tokio::time::sleep(LOOK_EVERY).await;
        object = session.get_opt(path).await?;
        let other = object.as_ref().is_some_and(|o| Some(shown(&o["metadata"]["uid"])) != uid);
        if *state == State::Delete && other {
            // Another has its name: the one that was meant is gone.
            object = None;
        }
    }
    let shown = object.as_ref().map_or_else(|| name(target), name_of);
    out::line(format_args!("{shown} {}", state.met()));
    Ok(())
}

fn name(target: &Target) -> String {
    target.kind.shown(target.name.as_deref().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(state: &str, holds: bool) {
        let pod = json!({"status": {"phase": "Running", "conditions": [
            {"type": "Ready", "status": "True"}, {"type": "Other", "status": "False"}]}});
        assert_eq!(State::read(state).unwrap().holds(Some(&pod)), holds, "{state}");
    }

    #[test]
    fn states() {
        check("condition=Ready", true);
        check("condition=ready=true", true);
        check("condition=Other", false);
        check("condition=Other=False", true);
        check("jsonpath={.status.phase}=Running", true);
        check("jsonpath='{.status.phase}'=Failed", false);
        check("jsonpath={.status.phase}", true);
        check("jsonpath={.status.none}", false);
        check("jsonpath={.status.conditions[?(@.type==\"Ready\")].status}=True", true);
        check("delete", false);
        check("create", true);
        assert!(State::read("ready").unwrap_err().to_string().contains("--for 'ready'"));
        assert!(State::Delete.holds(None) && !State::Create.holds(None));
    }
}
