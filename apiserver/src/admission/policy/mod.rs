//! Admission policies: CEL expressions that every write they are about must fulfil (`validating`), or that change it
//! (`mutating`).
//!
//! Policies are compiled once per revision. What cannot be evaluated refuses the write, unless the policy's
//! `failurePolicy` is `Ignore`. Here is what both have: which writes they take, their parameters, and the variables of
//! their expressions.
//! *Source:* Kubernetes, "Validating Admission Policy", "Mutating Admission Policy"; the wording is upstream's.

mod asked;
mod mutating;
mod reinvoke;
mod typing;
mod validating;

pub(crate) use mutating::Mutations;
pub(crate) use reinvoke::Rounds;
pub(crate) use typing::follow;
pub(crate) use validating::Policies;

use super::matching::{Written, is_selected};
use crate::authz::Authorizer;
use crate::cache::{Caches, Object, ResourceCache, Selection};
use coracle_api::cel::{Expression, Scope, Shape, to_json};
use coracle_api::meta;
use coracle_api::registry;
use coracle_store::Revision;
use parking_lot::Mutex;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::Arc;

const GROUP: &str = "admissionregistration.k8s.io";

/// What an expression may speak of.
const VARIABLES: [&str; 7] =
    ["object", "oldObject", "request", "params", "namespaceObject", "authorizer", "variables"];

/// What a policy may look at beside the write.
#[derive(Clone, Copy)]
pub(crate) struct Around<'a> {
    /// For namespaces and parameters.
    pub(crate) caches: &'a Caches,
    /// For the `authorizer` variable.
    pub(crate) authorizer: &'a Authorizer,
    /// Whether the write is only tried.
    pub(crate) dry_run: bool,
}

/// An expression, or why it is none.
type Compiled = Result<Expression, String>;

/// Policies that were compiled, by name; those that are gone stay until another one takes their name.
struct Cached<P>(Mutex<HashMap<String, (Revision, Arc<P>)>>);

impl<P> Default for Cached<P> {
    fn default() -> Cached<P> {
        Cached(Mutex::default())
    }
}

impl<P> Cached<P> {
    fn get(&self, stored: &Object, compile: impl FnOnce(Value) -> P) -> Arc<P> {
        let mut known = self.0.lock();
        let current = known.get(stored.header.name());
        if let Some((_, policy)) = current.filter(|(revision, _)| *revision == stored.revision) {
            return Arc::clone(policy);
        }
        let policy = Arc::new(compile(stored.value()));
        known.insert(stored.header.name().to_owned(), (stored.revision, Arc::clone(&policy)));
        policy
    }
}

fn all(cache: &ResourceCache) -> Vec<Arc<Object>> {
    cache.select(&Selection::all(cache.kind()))
}

/// The policies and bindings of two resources; `None` when there is nothing to ask.
fn both(
    written: &Written<'_>,
    caches: &Caches,
    [policies, bindings]: [&str; 2],
) -> Option<(Vec<Arc<Object>>, Vec<Value>)> {
    let of = |plural: &str| caches.by_resource(GROUP, plural).filter(|cache| !cache.is_empty());
    let (policies, bindings) = of(policies).zip(of(bindings)).filter(|_| written.is_open())?;
    Some((all(policies), all(bindings).iter().map(|binding| binding.value()).collect()))
}

/// The bindings that put a policy into force for a write.
fn bindings_of<'b>(
    policy: &Value,
    bindings: &'b [Value],
    written: &Written<'_>,
    caches: &Caches,
) -> Vec<&'b Value> {
    if !is_about(&policy["spec"]["matchConstraints"], written, caches) {
        return Vec::new();
    }
    let name = meta::name(policy);
    let own = |binding: &&Value| {
        let resources = &binding["spec"]["matchResources"];
        binding["spec"]["policyName"] == name
            && (resources.is_null() || is_about(resources, written, caches))
    };
    bindings.iter().filter(own).collect()
}

/// Whether constraints take a write; those without rules take all.
fn is_about(constraints: &Value, written: &Written<'_>, caches: &Caches) -> bool {
    let rules = &constraints["resourceRules"];
    let has_rules = rules.as_array().is_some_and(|rules| !rules.is_empty());
    (!has_rules || written.is_taken_by(rules))
        && !written.is_taken_by(&constraints["excludeResourceRules"])
        && written.is_in_selected_namespace(&constraints["namespaceSelector"], caches)
        && written.is_selected(&constraints["objectSelector"])
}

fn compile(text: &Value) -> Compiled {
    let text = text.as_str().unwrap_or_default();
    Expression::compile(text, &VARIABLES)
        .map_err(|error| format!("expression '{text}' resulted in error: {error}"))
}

/// The expressions that both kinds of policies have.
struct Common {
    conditions: Vec<Compiled>,
    variables: Vec<(String, Compiled)>,
}

impl Common {
    fn compile(spec: &Value) -> Common {
        let list = |field: &str| spec[field].as_array().cloned().unwrap_or_default();
        let name = |item: &Value| item["name"].as_str().unwrap_or_default().to_owned();
        let conditions = list("matchConditions");
        let variables = list("variables");
        Common {
            conditions: conditions.iter().map(|item| compile(&item["expression"])).collect(),
            variables: variables.iter().map(|i| (name(i), compile(&i["expression"]))).collect(),
        }
    }

    /// Whether the conditions let the policy be asked.
    fn applies(&self, scope: &Scope) -> Result<bool, String> {
        all_true(&self.conditions, scope)
    }

    /// Binds `variables`; gives why one of them has no value.
    fn bind_variables(&self, scope: &mut Scope) -> Option<String> {
        let mut values = Map::new();
        let mut broken = None;
        for (name, expression) in &self.variables {
            scope.bind("variables", &Value::Object(values.clone()), Shape::Unknown);
            match evaluate(expression, scope) {
                Ok(value) => {
                    values.insert(name.clone(), value);
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

/// Conditions of webhooks, which speak of the write alone.
///
/// # Errors
/// What cannot be evaluated, unless another condition is false.
pub(crate) fn conditions_hold(
    conditions: &Value,
    written: &Written<'_>,
    around: &Around<'_>,
) -> Result<bool, String> {
    let list = conditions.as_array().map(Vec::as_slice).unwrap_or_default();
    if list.is_empty() {
        return Ok(true);
    }
    let compiled: Vec<Compiled> = list.iter().map(|item| compile(&item["expression"])).collect();
    all_true(&compiled, &scope(written, around, &Value::Null))
}

/// Whether all conditions are true; one that is false outweighs one that fails.
fn all_true(conditions: &[Compiled], scope: &Scope) -> Result<bool, String> {
    let mut failed = None;
    for condition in conditions {
        match truth(condition, scope) {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(why) => {
                failed.get_or_insert(why);
            }
        }
    }
    failed.map_or(Ok(true), Err)
}

fn evaluate(expression: &Compiled, scope: &Scope) -> Result<Value, String> {
    let expression = expression.as_ref().map_err(String::clone)?;
    let failed = |error: &dyn std::fmt::Display| {
        format!("expression '{}' resulted in error: {error}", expression.text())
    };
    let value = expression.evaluate(scope).map_err(|error| failed(&error))?;
    Ok(to_json(&value).unwrap_or(Value::Null))
}

fn truth(expression: &Compiled, scope: &Scope) -> Result<bool, String> {
    let expression = expression.as_ref().map_err(String::clone)?;
    let text = expression.text();
    expression
        .is_true(scope)
        .map_err(|error| format!("expression '{text}' resulted in error: {error}"))
}

/// Why there are no parameters to ask with.
enum NoParams {
    /// Nothing is to be asked.
    Skip,
    /// The policy cannot be asked.
    Failed(String),
}

/// The parameters of a binding; one `Null` for a policy without any.
fn params(
    policy: &Value,
    binding: &Value,
    written: &Written<'_>,
    caches: &Caches,
) -> Result<Vec<Value>, NoParams> {
    let (kind, reference) = (&policy["spec"]["paramKind"], &binding["spec"]["paramRef"]);
    if kind.is_null() || reference.is_null() {
        return Ok(vec![Value::Null]);
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (version, name) = (text(&kind["apiVersion"]), text(&kind["kind"]));
    let (group, version) = version.split_once('/').unwrap_or(("", &version));
    let built_in = registry::by_kind(group, version, &name).and_then(|kind| caches.resource(kind));
    let Some(cache) = built_in.cloned().or_else(|| caches.custom_by_kind(group, &name)) else {
        return Err(NoParams::Failed(format!(
            "failed to find resource referenced by paramKind: '{group}/{version}, Kind={name}'"
        )));
    };
    let own = text(&reference["namespace"]);
    let namespace = match (cache.kind().namespaced, own.is_empty()) {
        (false, _) => "",
        (true, true) => written.request.namespace,
        (true, false) => &own,
    };
    let named = reference["name"].as_str().filter(|name| !name.is_empty());
    let objects: Vec<Value> = match named {
        Some(name) => cache.get(namespace, name).iter().map(|object| object.value()).collect(),
        None => {
            let place = |object: &Value| meta::namespace(object) == namespace;
            let values = all(&cache).into_iter().map(|object| object.value());
            values
                .filter(|object| place(object) && is_selected(object, &reference["selector"]))
                .collect()
        }
    };
    if !objects.is_empty() {
        return Ok(objects);
    }
    match reference["parameterNotFoundAction"].as_str() {
        Some("Allow") => Err(NoParams::Skip),
        Some(_) | None => Err(NoParams::Failed(
            "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction".to_owned(),
        )),
    }
}

/// Whether what fails counts.
fn fails(policy: &Value) -> bool {
    policy["spec"]["failurePolicy"] != "Ignore"
}

/// Binds what an expression may speak of, but for `variables`.
fn scope(written: &Written<'_>, around: &Around<'_>, params: &Value) -> Scope {
    let mut scope = Scope::new();
    let null = Value::Null;
    let mut request = written.review_request("", around.dry_run);
    if let Some(fields) = request.as_object_mut() {
        fields.remove("uid");
    }
    let mut namespace = written.namespace(around.caches);
    if let Some(fields) = namespace.as_object_mut() {
        fields.retain(|field, _| field != "apiVersion" && field != "kind");
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
    asked::bind(&mut scope, written, around.authorizer);
    scope
}
