//! The pods that a word means: a pod itself, or those of a Deployment, Service, Job and the like.

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::kinds::Kinds;
use super::query::Query;
use super::session::Session;
use super::targets;

/// The pods of `NAME`, `pod/NAME` or `KIND/NAME`, and the object that was named if it is no pod.
pub(crate) async fn of_word(
    session: &Session,
    word: &str,
) -> anyhow::Result<(Vec<Value>, Option<Value>)> {
    let base = format!("/api/v1/namespaces/{}/pods", session.namespace);
    if !word.contains('/') {
        return Ok((vec![session.get(&format!("{base}/{word}")).await?], None));
    }
    let kinds = Kinds::discover(session).await?;
    let named = targets::read_named(&kinds, &[word.to_owned()])?;
    let (kind, name) = named.into_iter().next().context("name a pod")?;
    let object = session.get(&format!("{}/{name}", kind.path(Some(&session.namespace)))).await?;
    if kind.group.is_empty() && kind.plural == "pods" {
        return Ok((vec![object], None));
    }
    let selector = selector_of(&object);
    if selector.is_empty() {
        bail!("{} selects no pods", kind.shown(&name));
    }
    let pods = of_labels(session, &selector).await?;
    if pods.is_empty() {
        bail!("{} has no pods now", kind.shown(&name));
    }
    Ok((pods, Some(object)))
}

/// One pod of a word, a ready one first.
pub(crate) async fn one(session: &Session, word: &str) -> anyhow::Result<(Value, Option<Value>)> {
    let (mut pods, object) = of_word(session, word).await?;
    pods.sort_by_key(|pod| !is_ready(pod));
    Ok((pods.into_iter().next().context("there is no pod")?, object))
}

/// The pods with these labels.
pub(crate) async fn of_labels(session: &Session, selector: &str) -> anyhow::Result<Vec<Value>> {
    let base = format!("/api/v1/namespaces/{}/pods", session.namespace);
    let query = Query::default().with("labelSelector", selector);
    let mut list = session.get(&query.on(&base)).await?;
    let items = list["items"].take();
    Ok(items.as_array().cloned().unwrap_or_default())
}

/// Whether the pod's Ready condition is true.
pub(crate) fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|c| c["type"] == "Ready" && c["status"] == "True")
}

/// Names of the pod's containers: those that run once first.
pub(crate) fn containers(pod: &Value, with_init: bool) -> Vec<String> {
    let fields: &[&str] =
        if with_init { &["initContainers", "containers"] } else { &["containers"] };
    let lists = fields.iter().filter_map(|field| pod["spec"][field].as_array());
    lists.flatten().filter_map(|c| Some(c["name"].as_str()?.to_owned())).collect()
}

/// The name of an object.
pub(crate) fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// The label selector of an object as a query: a LabelSelector, or the plain map of a Service or
/// ReplicationController.
fn selector_of(object: &Value) -> String {
    let selector = &object["spec"]["selector"];
    let plain = selector.get("matchLabels").is_none() && selector.get("matchExpressions").is_none();
    let labels = if plain { selector } else { &selector["matchLabels"] };
    let equal = labels.as_object().into_iter().flatten();
    let equal = equal.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()));
    let expressions = selector["matchExpressions"].as_array().into_iter().flatten();
    equal.chain(expressions.filter_map(expression)).collect::<Vec<_>>().join(",")
}

fn expression(expression: &Value) -> Option<String> {
    let key = expression["key"].as_str()?;
    let values = expression["values"].as_array().into_iter().flatten();
    let values: Vec<&str> = values.filter_map(Value::as_str).collect();
    let values = values.join(",");
    match expression["operator"].as_str()? {
        "In" => Some(format!("{key} in ({values})")),
        "NotIn" => Some(format!("{key} notin ({values})")),
        "Exists" => Some(key.to_owned()),
        "DoesNotExist" => Some(format!("!{key}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn selectors_become_queries() {
        let check = |selector: Value, expected: &str| {
            assert_eq!(selector_of(&json!({"spec": {"selector": selector}})), expected);
        };
        check(json!({"app": "web"}), "app=web");
        check(
            json!({"matchLabels": {"app": "web"}, "matchExpressions": [
            {"key": "t", "operator": "In", "values": ["a", "b"]},
            {"key": "x", "operator": "DoesNotExist"}]}),
            "app=web,t in (a,b),!x",
        );
        check(Value::Null, "");
    }
}
