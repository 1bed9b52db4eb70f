//! `ValidatingAdmissionPolicy`: expressions that every write they are about must fulfil.
//!
//! Policies are compiled once per revision. What cannot be evaluated refuses the write, unless the policy's `failurePolicy`
//! is `Ignore`. `authorizer` is not among the variables: a policy that uses it fails.
//! *Source:* Kubernetes, "Validating Admission Policy"; the wording is upstream's.

use super::matching::{Written, is_selected};
use crate::cache::{Caches, Object, ResourceCache, Selection};
use coracle_api::cel::{Expression, Scope, Shape, to_json};
use coracle_api::meta;
use coracle_api::registry;
use coracle_api::status::{Reason, Status};
use coracle_store::Revision;
use parking_lot::Mutex;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::Arc;

const GROUP: &str = "admissionregistration.k8s.io";

/// What an expression may speak of.
const VARIABLES: [&str; 6] =
    ["object", "oldObject", "request", "params", "namespaceObject", "variables"];

/// Policies that were compiled, by name.
#[derive(Default)]
pub(crate) struct Policies(Mutex<HashMap<String, (Revision, Arc<Policy>)>>);

/// An expression, or why it is none.
type Compiled = Result<Expression, String>;

struct Policy {
    value: Value,
    conditions: Vec<Compiled>,
    variables: Vec<(String, Compiled)>,
    validations: Vec<Validation>,
}

struct Validation {
    expression: Compiled,
    text: String,
    message: String,
    message_expression: Option<Compiled>,
    reason: Reason,
}

/// What a policy says of a write: why not, and the reason of the answer.
type Denial = (String, Reason);

impl Policies {
    /// Asks every policy that is about a write.
    ///
    /// # Errors
    /// The first refusal.
    pub(crate) fn check(
        &self,
        written: &Written<'_>,
        caches: &Caches,
        dry_run: bool,
        warnings: &mut Vec<String>,
    ) -> Result<(), Status> {
        let of = |plural: &str| caches.by_resource(GROUP, plural).filter(|cache| !cache.is_empty());
        let both = of("validatingadmissionpolicies").zip(of("validatingadmissionpolicybindings"));
        let Some((policies, bindings)) = both.filter(|_| written.is_open()) else { return Ok(()) };
        let bindings: Vec<Value> = all(bindings).iter().map(|binding| binding.value()).collect();
        for stored in all(policies) {
            let policy = self.compiled(&stored);
            if !is_about(
                &policy.value["spec"]["matchConstraints"],
                "resourceRules",
                written,
                caches,
            ) {
                continue;
            }
            let name = meta::name(&policy.value);
            for binding in bindings.iter().filter(|binding| binding["spec"]["policyName"] == name) {
                let resources = &binding["spec"]["matchResources"];
                if resources.is_null() || is_about(resources, "resourceRules", written, caches) {
                    policy.ask(binding, written, caches, dry_run, warnings)?;
                }
            }
        }
        Ok(())
    }

    fn compiled(&self, stored: &Object) -> Arc<Policy> {
        let mut known = self.0.lock();
        let current = known.get(&*stored.header.name);
        if let Some((_, policy)) = current.filter(|(revision, _)| *revision == stored.revision) {
            return Arc::clone(policy);
        }
        let policy = Arc::new(Policy::compile(stored.value()));
        known.insert(stored.header.name.to_string(), (stored.revision, Arc::clone(&policy)));
        policy
    }
}

fn all(cache: &ResourceCache) -> Vec<Arc<Object>> {
    cache.select(&Selection::all(cache.kind()))
}

/// Whether constraints take a write; those without rules take all.
fn is_about(constraints: &Value, rules: &str, written: &Written<'_>, caches: &Caches) -> bool {
    let has_rules = constraints[rules].as_array().is_some_and(|rules| !rules.is_empty());
    (!has_rules || written.is_taken_by(&constraints[rules]))
        && !written.is_taken_by(&constraints["excludeResourceRules"])
        && written.is_in_selected_namespace(&constraints["namespaceSelector"], caches)
        && written.is_selected(&constraints["objectSelector"])
}

fn compile(text: &Value) -> Compiled {
    let text = text.as_str().unwrap_or_default();
    Expression::compile(text, &VARIABLES)
        .map_err(|error| format!("expression '{text}' resulted in error: {error}"))
}

impl Policy {
    fn compile(value: Value) -> Policy {
        let spec = &value["spec"];
        let list = |field: &str| spec[field].as_array().cloned().unwrap_or_default();
        let name = |item: &Value| item["name"].as_str().unwrap_or_default().to_owned();
        let validation = |item: &Value| Validation {
            expression: compile(&item["expression"]),
            text: item["expression"].as_str().unwrap_or_default().to_owned(),
            message: item["message"].as_str().unwrap_or_default().to_owned(),
            message_expression: item
                .get("messageExpression")
                .filter(|text| !text.is_null())
                .map(compile),
            reason: match item["reason"].as_str() {
                Some("Forbidden") => Reason::Forbidden,
                Some("Unauthorized") => Reason::Unauthorized,
                Some("RequestEntityTooLarge") => Reason::RequestEntityTooLarge,
                Some(_) | None => Reason::Invalid,
            },
        };
        Policy {
            conditions: list("matchConditions")
                .iter()
                .map(|item| compile(&item["expression"]))
                .collect(),
            variables: list("variables")
                .iter()
                .map(|item| (name(item), compile(&item["expression"])))
                .collect(),
            validations: list("validations").iter().map(validation).collect(),
            value,
        }
    }

    /// Asks the policy by one binding.
    fn ask(
        &self,
        binding: &Value,
        written: &Written<'_>,
        caches: &Caches,
        dry_run: bool,
        warnings: &mut Vec<String>,
    ) -> Result<(), Status> {
        let mut denials: Vec<Denial> = Vec::new();
        let failed = |why: String| (why, Reason::Invalid);
        match self.params(binding, written, caches) {
            Err(why) => denials.extend(why.map(failed)),
            Ok(all) => {
                for params in all {
                    let mut scope = scope(written, caches, dry_run, &params);
                    denials.extend(self.evaluate(&mut scope));
                }
            }
        }
        let (policy, binding_name) = (meta::name(&self.value), meta::name(binding));
        let actions = binding["spec"]["validationActions"].as_array().cloned().unwrap_or_default();
        let acts = |action: &str| actions.iter().any(|own| own == action);
        for (why, _) in &denials {
            if acts("Warn") {
                warnings.push(format!(
                    "Validation failed for ValidatingAdmissionPolicy '{policy}' with binding '{binding_name}': {why}"
                ));
            }
            if acts("Audit") {
                tracing::info!(policy, binding = binding_name, why, "validation failed");
            }
        }
        match denials.into_iter().next() {
            Some((why, reason)) if acts("Deny") => {
                let words = format!(
                    "ValidatingAdmissionPolicy '{policy}' with binding '{binding_name}' denied request: {why}"
                );
                // Clients show the causes of what is invalid, and not the message.
                let mut status = written.request.forbidden(&words).with_cause("", &words, "");
                status.reason = reason;
                Err(status)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The parameters of a binding; one `Null` for a policy without any. An error of `None` means that nothing is to be
    /// asked.
    fn params(
        &self,
        binding: &Value,
        written: &Written<'_>,
        caches: &Caches,
    ) -> Result<Vec<Value>, Option<String>> {
        let (kind, reference) = (&self.value["spec"]["paramKind"], &binding["spec"]["paramRef"]);
        if kind.is_null() || reference.is_null() {
            return Ok(vec![Value::Null]);
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (version, name) = (text(&kind["apiVersion"]), text(&kind["kind"]));
        let (group, version) = version.split_once('/').unwrap_or(("", &version));
        let found = registry::by_kind(group, version, &name).and_then(|kind| caches.resource(kind));
        let Some(cache) = found else {
            return Err(self.failure(format!(
                "failed to find resource referenced by paramKind: '{group}/{version}, Kind={name}'"
            )));
        };
        let own = text(&reference["namespace"]);
        let namespace = if own.is_empty() { written.request.namespace } else { &own };
        let objects: Vec<Value> = match reference["name"].as_str() {
            Some(name) => cache.get(namespace, name).iter().map(|object| object.value()).collect(),
            None => {
                let place = |object: &Value| {
                    !cache.kind().namespaced || meta::namespace(object) == namespace
                };
                let values = all(cache).into_iter().map(|object| object.value());
                values
                    .filter(|object| place(object) && is_selected(object, &reference["selector"]))
                    .collect()
            }
        };
        if !objects.is_empty() {
            return Ok(objects);
        }
        match reference["parameterNotFoundAction"].as_str() {
            Some("Allow") => Err(None),
            Some(_) | None => Err(self.failure(
                "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction".to_owned(),
            )),
        }
    }

    /// An error as the policy wants it: a refusal, or nothing.
    fn failure(&self, why: String) -> Option<String> {
        (self.value["spec"]["failurePolicy"] != "Ignore").then_some(why)
    }

    fn evaluate(&self, scope: &mut Scope) -> Vec<Denial> {
        let failed = |why: String| self.failure(why).map(|why| (why, Reason::Invalid));
        for condition in &self.conditions {
            match truth(condition, scope) {
                Ok(true) => {}
                Ok(false) => return Vec::new(),
                Err(why) => return failed(why).into_iter().collect(),
            }
        }
        let broken = self.bind_variables(scope);
        let mut denials = Vec::new();
        for validation in &self.validations {
            let uses =
                validation.expression.as_ref().is_ok_and(|expression| expression.uses("variables"));
            let outcome = match &broken {
                Some(why) if uses => Err(why.clone()),
                Some(_) | None => truth(&validation.expression, scope),
            };
            match outcome {
                Ok(true) => {}
                Ok(false) => denials.push((validation.words(scope), validation.reason)),
                Err(why) => denials.extend(failed(why)),
            }
        }
        denials
    }

    /// Binds `variables`; gives why one of them has no value.
    fn bind_variables(&self, scope: &mut Scope) -> Option<String> {
        let mut values = Map::new();
        let mut broken = None;
        for (name, expression) in &self.variables {
            scope.bind("variables", &Value::Object(values.clone()), Shape::Unknown);
            let value = expression.as_ref().map_err(String::clone).and_then(|expression| {
                let text = expression.text();
                let value = expression.evaluate(scope).map_err(|error| error.to_string());
                value.map_err(|error| format!("expression '{text}' resulted in error: {error}"))
            });
            match value {
                Ok(value) => {
                    values.insert(name.clone(), to_json(&value).unwrap_or(Value::Null));
                }
                Err(why) => {
                    broken.get_or_insert(why);
                }
            }
        }
        scope.bind("variables", &Value::Object(values), Shape::Unknown);
        broken
    }
}

impl Validation {
    fn words(&self, scope: &Scope) -> String {
        let made = self.message_expression.as_ref().and_then(|expression| expression.as_ref().ok());
        let made = made.and_then(|expression| expression.text_value(scope).ok());
        let made = made.filter(|text| !text.trim().is_empty() && !text.contains('\n'));
        match (made, self.message.as_str()) {
            (Some(made), _) => made,
            (None, "") => format!("failed expression: {}", self.text.trim()),
            (None, message) => message.to_owned(),
        }
    }
}

fn truth(expression: &Compiled, scope: &Scope) -> Result<bool, String> {
    let expression = expression.as_ref().map_err(String::clone)?;
    let text = expression.text();
    expression
        .is_true(scope)
        .map_err(|error| format!("expression '{text}' resulted in error: {error}"))
}

fn scope(written: &Written<'_>, caches: &Caches, dry_run: bool, params: &Value) -> Scope {
    let mut scope = Scope::new();
    let null = Value::Null;
    let mut request = written.review_request("", dry_run);
    if let Some(fields) = request.as_object_mut() {
        fields.remove("uid");
    }
    let mut namespace = written.namespace(caches);
    if !namespace.is_null() {
        let Value::Object(fields) = namespace.take() else { return scope };
        let shown =
            fields.into_iter().filter(|(field, _)| field != "apiVersion" && field != "kind");
        namespace = shown.collect();
    }
    for (name, value) in [
        ("object", written.object.unwrap_or(&null)),
        ("oldObject", written.old.unwrap_or(&null)),
        ("request", &request),
        ("params", params),
        ("namespaceObject", &namespace),
    ] {
        scope.bind(name, value, Shape::Unknown);
    }
    scope
}
