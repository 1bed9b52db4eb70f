//! Answers reads of `metrics.k8s.io`.
//!
//! An edge: nodes are called, some at a time.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use coracle_api::key::GroupResource;
use coracle_api::registry;
use coracle_api::selector::{FieldSelector, LabelSelector};
use coracle_api::status::Status;
use coracle_api::table::unkept;
use futures::{StreamExt as _, stream};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::figures::Figures;
use super::{GROUP, RESOURCES, VERSION};
use crate::body;
use crate::cache::Selection;
use crate::negotiate::{Form, Negotiated};
use crate::query::Query;
use crate::request_info::{ResourcePath, Verb};
use crate::respond::{self, Answer};
use crate::server::Core;
use crate::streams::Outgoing;
use crate::table;

/// Nodes asked at the same time: more would only wait for one another.
const NODES_ASKED_MAX: usize = 32;

/// How long a node may take; one that takes longer is left out, as one without measurements.
const NODE_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest summary of a node, in bytes: about a KiB per pod, and 16,000 pods.
const SUMMARY_BYTES_MAX: usize = 64 << 20;

impl Core {
    /// Gives what nodes or pods use: one, or all that the selectors match.
    ///
    /// # Errors
    /// 404 for other resources and for what is not there or not measured, 405 for other verbs, 400
    /// for selectors that make no sense.
    pub(crate) async fn usage(
        &self,
        path: &ResourcePath,
        verb: Verb,
        query: &Query,
        headers: &HeaderMap,
    ) -> Result<Answer, Status> {
        let known = RESOURCES.iter().find(|(plural, ..)| *plural == path.resource);
        let (plural, kind, _) = known
            .filter(|_| path.version == VERSION && path.subresource.is_empty())
            .ok_or_else(Status::unknown_path)?;
        let resource = GroupResource::new(GROUP, *plural);
        let objects = match verb {
            Verb::Get | Verb::List => self.measured(plural, path, query)?,
            Verb::Watch
            | Verb::Create
            | Verb::Update
            | Verb::Patch
            | Verb::Delete
            | Verb::DeleteCollection
            | Verb::Post
            | Verb::Put
            | Verb::Head
            | Verb::Options
            | Verb::Other => return Err(Status::method_not_allowed()),
        };
        let mut items = self.figures(plural, &objects).await;
        // As metrics-server does; other forms there are none.
        if let Ok(Negotiated { form: Form::Table(version), .. }) =
            Negotiated::for_objects(headers, query)
        {
            if path.named_in_path && items.is_empty() {
                return Err(Status::not_found(&resource, &path.name));
            }
            let rows = items.iter().map(|item| (unkept::usage_row(item), item));
            let table = table::of_rows(version, unkept::usage_columns(), json!({}), rows);
            let plain = Negotiated::for_plain(headers, query);
            return Ok(respond::value(StatusCode::OK, &table, plain));
        }
        let value = if path.named_in_path {
            items.pop().ok_or_else(|| Status::not_found(&resource, &path.name))?
        } else {
            json!({
                "kind": format!("{kind}List"), "apiVersion": format!("{GROUP}/{VERSION}"),
                "metadata": {}, "items": items,
            })
        };
        Ok(respond::value(StatusCode::OK, &value, Negotiated::for_plain(headers, query)))
    }

    /// The objects whose usage is asked for.
    fn measured(
        &self,
        plural: &str,
        path: &ResourcePath,
        query: &Query,
    ) -> Result<Vec<Value>, Status> {
        let kind = registry::by_resource("", "v1", plural).ok_or_else(Status::unknown_path)?;
        let cache = self.objects(kind)?;
        if path.named_in_path {
            let found = cache.get(&path.namespace, &path.name);
            let found = found.iter().map(|object| object.value());
            return Ok(found.filter(runs).collect());
        }
        let bad = |error: &dyn std::fmt::Display| Status::bad_request(error.to_string());
        let labels = query.get("labelSelector").unwrap_or("");
        let labels = LabelSelector::parse(labels).map_err(|error| bad(&error))?;
        let fields = query.get("fieldSelector").unwrap_or("");
        let fields = FieldSelector::parse(fields).map_err(|error| bad(&error))?;
        let selection = Selection::new(kind, Some(&path.namespace), labels, fields)?;
        let found = cache.select(&selection);
        Ok(found.iter().map(|object| object.value()).filter(runs).collect())
    }

    /// Asks the nodes of these objects; those that are not measured are left out.
    async fn figures(&self, plural: &str, objects: &[Value]) -> Vec<Value> {
        let node_of = |object: &Value| -> String {
            let pointer = if plural == "nodes" { "/metadata/name" } else { "/spec/nodeName" };
            object.pointer(pointer).and_then(Value::as_str).unwrap_or("").to_owned()
        };
        let nodes: BTreeSet<String> =
            objects.iter().map(node_of).filter(|node| !node.is_empty()).collect();
        let asked = stream::iter(nodes)
            .map(|node| async move { self.summary(&node).await.map(|figures| (node, figures)) })
            .buffer_unordered(NODES_ASKED_MAX)
            .filter_map(futures::future::ready);
        let figures: HashMap<String, Figures> = asked.collect().await;
        let one = |object: &Value| {
            let figures = figures.get(&node_of(object))?;
            if plural == "nodes" { Some(figures.node(object)) } else { figures.pod(object) }
        };
        objects.iter().filter_map(one).collect()
    }

    async fn summary(&self, node: &str) -> Option<Figures> {
        let ask = async {
            let answer = self
                .call_node(
                    node,
                    Outgoing::get("/stats/summary?only_cpu_and_memory=true".to_owned()),
                )
                .await?;
            let bytes = body::read_up_to(answer.into_body(), SUMMARY_BYTES_MAX).await?;
            serde_json::from_slice(&bytes).map_err(Status::internal)
        };
        match tokio::time::timeout(NODE_TIMEOUT, ask).await {
            Ok(Ok(summary)) => Some(Figures::of(summary)),
            Ok(Err(error)) => {
                tracing::debug!(node, %error, "cannot ask a node for its usage");
                None
            }
            Err(_) => {
                tracing::debug!(node, "a node took too long to tell its usage");
                None
            }
        }
    }
}

/// Whether there is something to measure: pods that run, and all nodes.
///
/// *Source:* metrics-server looks at pods in the phase `Running` alone.
fn runs(object: &Value) -> bool {
    object["kind"] != "Pod" || object["status"]["phase"] == "Running"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_ended_is_not_measured() {
        let check = |kind: &str, phase: &str, expected: bool| {
            let object = json!({"kind": kind, "status": {"phase": phase}});
            assert_eq!(runs(&object), expected, "{kind} {phase}");
        };
        check("Node", "", true);
        check("Pod", "Running", true);
        check("Pod", "Pending", false);
        check("Pod", "Succeeded", false);
        check("Pod", "Failed", false);
    }
}
