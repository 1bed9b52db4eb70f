//! Who may do what: the `*SubjectAccessReview`s and `SelfSubjectRulesReview`.

use std::collections::BTreeMap;

use coracle_api::field_error::FieldError;
use coracle_api::registry::Kind;
use coracle_api::selector::FieldSelector;
use coracle_api::status::Status;
use serde_json::{Value, json};

use crate::authn::UserInfo;
use crate::authz::rule::Rule;
use crate::authz::{Attributes, Decision};
use crate::context::Context;
use crate::server::Core;

/// The user that a review asks about.
///
/// # Errors
/// 422 when it names neither a user nor a group, or a local one asks about another namespace.
pub(super) fn subject(kind: &Kind, review: &Value) -> Result<UserInfo, Status> {
    let spec = &review["spec"];
    let groups: Vec<String> = texts(&spec["groups"]);
    let name = spec["user"].as_str().unwrap_or_default();
    let mut errors = Vec::new();
    if name.is_empty() && groups.is_empty() {
        errors.push(FieldError::invalid(
            "spec.user",
            json!(""),
            "at least one of user or group must be specified",
        ));
    }
    if kind.namespaced {
        let asked = spec.pointer("/resourceAttributes/namespace").and_then(Value::as_str);
        if asked != review["metadata"]["namespace"].as_str() {
            let field = "spec.resourceAttributes.namespace";
            let asked = json!(asked.unwrap_or_default());
            errors.push(FieldError::invalid(field, &asked, "must match metadata.namespace"));
        }
    }
    if !errors.is_empty() {
        return Err(Status::invalid(&kind.group_kind(), "", errors));
    }
    let extra = spec["extra"].as_object().into_iter().flatten();
    let extra: BTreeMap<String, Vec<String>> =
        extra.map(|(key, values)| (key.clone(), texts(values))).collect();
    let uid = spec["uid"].as_str().unwrap_or_default().to_owned();
    Ok(UserInfo { name: name.to_owned(), uid, groups, extra })
}

fn texts(list: &Value) -> Vec<String> {
    let items = list.as_array().into_iter().flatten();
    items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

impl Core {
    /// The status of a review of access.
    ///
    /// # Errors
    /// 422 when it asks about nothing, or about two things.
    pub(super) fn review_access(
        &self,
        context: &Context,
        user: &UserInfo,
        review: &Value,
    ) -> Result<Value, Status> {
        let spec = &review["spec"];
        let (resource, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
        if resource.is_null() == path.is_null() {
            let why =
                "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            let error = FieldError::invalid("spec.resourceAttributes", &Value::Null, why);
            return Err(Status::invalid(&context.kind.group_kind(), "", vec![error]));
        }
        let selector = selector_of(resource);
        let attributes = if resource.is_null() {
            let verb = path["verb"].as_str().unwrap_or_default();
            let path = path["path"].as_str().unwrap_or_default();
            Attributes { verb, path, ..Attributes::default() }
        } else {
            let text = |field: &str| resource[field].as_str().unwrap_or_default();
            Attributes {
                verb: text("verb"),
                group: text("group"),
                resource: text("resource"),
                subresource: text("subresource"),
                namespace: text("namespace"),
                name: text("name"),
                path: "",
                node_name: selector.as_ref().and_then(|selector| selector.equals("spec.nodeName")),
            }
        };
        let (allowed, reason) = match self.authorizer.authorize(user, &attributes) {
            Decision::Allow(why) => (true, why),
            Decision::Deny(why) => (false, why),
        };
        let mut status = json!({"allowed": allowed});
        if !reason.is_empty() {
            status["reason"] = json!(reason);
        }
        Ok(status)
    }

    /// The status of a `SelfSubjectRulesReview`: all that roles give a user in a namespace.
    ///
    /// # Errors
    /// 400 when no namespace is given.
    pub(super) fn review_rules(&self, user: &UserInfo, review: &Value) -> Result<Value, Status> {
        let namespace = review["spec"]["namespace"].as_str().unwrap_or_default();
        if namespace.is_empty() {
            return Err(Status::bad_request("no namespace on request"));
        }
        let mut held = self.authorizer.rbac.held(user, namespace);
        if user.node().is_some() {
            held.errors.push("node authorizer does not support user rule resolution".to_owned());
        }
        let (paths, resources): (Vec<Rule>, Vec<Rule>) =
            held.rules.into_iter().partition(|rule| !rule.paths.is_empty());
        let values = |rules: Vec<Rule>| rules.iter().map(Rule::to_value).collect::<Value>();
        let mut status = json!({
            "resourceRules": values(resources),
            "nonResourceRules": values(paths),
            "incomplete": !held.errors.is_empty(),
        });
        if !held.errors.is_empty() {
            status["evaluationError"] = json!(held.errors.join(", "));
        }
        Ok(status)
    }
}

/// The demands of a review's field selector that name one value each; others do not help an authorizer.
fn selector_of(resource: &Value) -> Option<FieldSelector> {
    let selector = resource.get("fieldSelector")?;
    if let Some(raw) = selector["rawSelector"].as_str().filter(|raw| !raw.is_empty()) {
        return FieldSelector::parse(raw).ok();
    }
    let terms = selector["requirements"].as_array()?.iter().filter_map(|term| {
        let (key, values) = (term["key"].as_str()?, term["values"].as_array()?);
        let value = values.first()?.as_str().filter(|_| values.len() == 1)?;
        (term["operator"] == "In").then(|| format!("{key}={value}"))
    });
    FieldSelector::parse(&terms.collect::<Vec<_>>().join(",")).ok()
}
