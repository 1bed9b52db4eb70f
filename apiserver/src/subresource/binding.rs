//! `pods/binding`: the scheduler's decision.

use coracle_api::condition::{self, Condition};
use coracle_api::decode::Decoded;
use coracle_api::field_error::FieldError;
use coracle_api::key::{GroupKind, GroupResource};
use coracle_api::meta;
use coracle_api::registry;
use coracle_api::schema;
use coracle_api::status::Status;
use http::StatusCode;
use serde_json::{Value, json};

use crate::admission::topology;
use crate::body::Body;
use crate::context::Context;
use crate::metadata;
use crate::options::WriteOptions;
use crate::respond::{self, Answer};
use crate::server::Core;
use crate::verbs::ownership::Ownership;
use crate::verbs::write::{Change, Part};

impl Core {
    /// Binds a pod to a node.
    ///
    /// # Errors
    /// 409 when it is bound already, is being deleted, or is gated; 422 when the target is no node.
    pub(crate) async fn bind(&self, context: &Context, body: Body) -> Result<Answer, Status> {
        let options = WriteOptions::parse(&context.query, "CreateOptions")?;
        let ty = schema::lookup("", "v1", "Binding")
            .ok_or_else(|| Status::internal("no schema of Binding"))?;
        let mut binding = context.decode(body, ty, options.field_validation).await?.value;
        check_target(&binding)?;
        let of_pod;
        let context = if context.path.named_in_path {
            context
        } else {
            of_pod = of_pod_named(context, meta::name(&binding))?;
            &of_pod
        };
        let node = binding["target"]["name"].as_str().unwrap_or_default().to_owned();
        topology::label(&mut binding, &node, &self.caches);
        let change = Change {
            part: Part::Internal,
            dry_run: options.dry_run,
            needs_version: false,
            ownership: Ownership::Kept,
        };
        let time = metadata::time(context.now);
        self.change(context, change, &|pod| bound(pod, &binding, &time)).await?;
        let mut success =
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"});
        success["code"] = json!(StatusCode::CREATED.as_u16());
        Ok(respond::value(StatusCode::CREATED, &success, context.plain()))
    }
}

/// A Binding that is posted on its own means the pod of its name.
fn of_pod_named(context: &Context, name: &str) -> Result<Context, Status> {
    let kind = registry::by_kind("", "v1", "Pod")
        .ok_or_else(|| Status::internal("Pods are not served"))?;
    let mut of_pod = context.in_served_version();
    (of_pod.kind, of_pod.served) = (kind, kind);
    of_pod.path.resource = kind.plural.to_owned();
    of_pod.path.subresource = "binding".to_owned();
    of_pod.path.name = name.to_owned();
    Ok(of_pod)
}

fn check_target(binding: &Value) -> Result<(), Status> {
    let mut errors = Vec::new();
    let kind = binding["target"]["kind"].as_str().unwrap_or("");
    if !matches!(kind, "" | "Node") {
        errors.push(FieldError::not_supported("target.kind", kind, &["Node", "<empty>"]));
    }
    if binding["target"]["name"].as_str().unwrap_or("").is_empty() {
        errors.push(FieldError::required("target.name", ""));
    }
    if errors.is_empty() {
        return Ok(());
    }
    Err(Status::invalid(&GroupKind::new("", "Binding"), meta::name(binding), errors))
}

/// The pod as it is after the binding.
fn bound(pod: &Value, binding: &Value, now: &str) -> Result<Decoded, Status> {
    let resource = GroupResource::new("", "pods/binding");
    let name = meta::name(pod);
    let refuse = |why: String| Err(Status::conflict(&resource, name, why));
    let (uid, version) = (meta::uid(binding), meta::resource_version(binding));
    let expected = |text| Some(text).filter(|text: &&str| !text.is_empty());
    metadata::check_preconditions(pod, &resource, expected(uid), expected(version))?;
    if meta::deletion_timestamp(pod).is_some() {
        return refuse(format!("pod {name} is being deleted, cannot be assigned to a host"));
    }
    if let Some(node) = pod["spec"]["nodeName"].as_str().filter(|node| !node.is_empty()) {
        return refuse(format!("pod {name} is already assigned to node {node:?}"));
    }
    if pod["spec"]["schedulingGates"].as_array().is_some_and(|gates| !gates.is_empty()) {
        return refuse(format!("pod {name} has non-empty .spec.schedulingGates"));
    }
    let mut new = pod.clone();
    new["spec"]["nodeName"] = binding["target"]["name"].clone();
    for (key, value) in meta::annotations(binding).into_iter().flatten() {
        meta::set_annotation(&mut new, key, value.as_str().unwrap_or(""));
    }
    for (key, value) in meta::labels(binding).into_iter().flatten() {
        meta::set_label(&mut new, key, value.as_str().unwrap_or(""));
    }
    if let Some(status) = new.get_mut("status").and_then(Value::as_object_mut) {
        status.remove("nominatedNodeName");
    }
    set_scheduled(&mut new, now);
    Ok(Decoded { value: new, warnings: Vec::new() })
}

fn set_scheduled(pod: &mut Value, now: &str) {
    let mut conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let scheduled = Condition { kind: "PodScheduled", status: "True", reason: "", message: "" };
    condition::upsert(&mut conditions, scheduled, now);
    pod["status"]["conditions"] = conditions.into();
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(pod: Value, expected: Expect) {
        let binding = json!({"metadata": {"annotations": {"a": "b"}, "labels": {"zone": "z"}}, "target": {"kind": "Node", "name": "n1"}});
        let text = match bound(&pod, &binding, "2026-01-01T00:00:00Z") {
            Ok(bound) => bound.value.to_string(),
            Err(status) => status.to_string(),
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn binds_once() {
        check(
            json!({"metadata": {"name": "a"}, "spec": {}, "status": {"phase": "Pending"}}),
            expect![[
                r#"{"metadata":{"annotations":{"a":"b"},"labels":{"zone":"z"},"name":"a"},"spec":{"nodeName":"n1"},"status":{"conditions":[{"lastTransitionTime":"2026-01-01T00:00:00Z","status":"True","type":"PodScheduled"}],"phase":"Pending"}}"#
            ]],
        );
        check(
            json!({"metadata": {"name": "a"}, "spec": {"nodeName": "n2"}}),
            expect![[
                r#"Operation cannot be fulfilled on pods/binding "a": pod a is already assigned to node "n2""#
            ]],
        );
        check(
            json!({"metadata": {"name": "a", "deletionTimestamp": "x"}}),
            expect![[
                r#"Operation cannot be fulfilled on pods/binding "a": pod a is being deleted, cannot be assigned to a host"#
            ]],
        );
        check(
            json!({"metadata": {"name": "a"}, "spec": {"schedulingGates": [{"name": "g"}]}}),
            expect![[
                r#"Operation cannot be fulfilled on pods/binding "a": pod a has non-empty .spec.schedulingGates"#
            ]],
        );
    }
}
