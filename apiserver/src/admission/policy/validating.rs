//! `ValidatingAdmissionPolicy`: expressions that every write they are about must fulfil.

use super::{
    Around, Cached, Common, Compiled, NoParams, bindings_of, both, compile, evaluate, fails,
    params, scope, truth,
};
use crate::admission::matching::Written;
use crate::audit::Notes;
use coracle_api::cel::Scope;
use coracle_api::meta;
use coracle_api::status::{Reason, Status};
use serde_json::{Value, json};

/// Policies that were compiled.
#[derive(Default)]
pub(crate) struct Policies(Cached<Policy>);

struct Policy {
    value: Value,
    common: Common,
    validations: Vec<Validation>,
    annotations: Vec<Annotation>,
}

/// What the audit log is told of a write, whatever comes of it.
struct Annotation {
    key: String,
    value: Compiled,
}

struct Validation {
    expression: Compiled,
    text: String,
    message: String,
    message_expression: Option<Compiled>,
    reason: Reason,
}

/// What a policy says of a write: why not, the reason of the answer, and which expression says so.
type Denial = (String, Reason, usize);

/// The annotation of the audit log that lists what validations found.
const FAILURE: &str = "validation.policy.admission.k8s.io/validation_failure";

impl Policies {
    /// Asks every policy that is about a write.
    ///
    /// # Errors
    /// The first refusal.
    pub(crate) fn check(
        &self,
        written: &Written<'_>,
        around: &Around<'_>,
        warnings: &mut Vec<String>,
    ) -> Result<(), Status> {
        let resources = ["validatingadmissionpolicies", "validatingadmissionpolicybindings"];
        let Some((policies, bindings)) = both(written, around.caches, resources) else {
            return Ok(());
        };
        let mut report = Report { warnings, failures: Vec::new(), annotations: Vec::new() };
        let mut outcome = Ok(());
        for stored in policies {
            let policy = self.0.get(&stored, Policy::compile);
            for binding in bindings_of(&policy.value, &bindings, written, around.caches) {
                outcome = outcome.and_then(|()| policy.ask(binding, written, around, &mut report));
            }
        }
        report.tell(written.request.notes);
        outcome
    }
}

/// What policies say beside yes or no.
struct Report<'a> {
    warnings: &'a mut Vec<String>,
    /// What validations found, for the audit log.
    failures: Vec<Value>,
    /// What else it is told, by key.
    annotations: Vec<(String, String)>,
}

impl Report<'_> {
    /// Adds an annotation; several values of one key, of several bindings, are put in a row.
    fn annotate(&mut self, key: String, value: String) {
        match self.annotations.iter_mut().find(|(own, _)| *own == key) {
            Some((_, all)) if all.split(", ").any(|one| one == value) => {}
            Some((_, all)) => {
                all.push_str(", ");
                all.push_str(&value);
            }
            None => self.annotations.push((key, value)),
        }
    }

    fn tell(self, notes: &Notes) {
        if !self.failures.is_empty() {
            notes.annotate(FAILURE, &Value::Array(self.failures).to_string());
        }
        for (key, value) in self.annotations {
            notes.annotate(key, &value);
        }
    }
}

impl Policy {
    fn compile(value: Value) -> Policy {
        let spec = &value["spec"];
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
        let validations = spec["validations"].as_array().into_iter().flatten();
        let validations = validations.map(validation).collect();
        let name = meta::name(&value);
        let annotation = |item: &Value| Annotation {
            key: format!("{name}/{}", item["key"].as_str().unwrap_or_default()),
            value: compile(&item["valueExpression"]),
        };
        let annotations = spec["auditAnnotations"].as_array().into_iter().flatten();
        let annotations = annotations.map(annotation).collect();
        Policy { common: Common::compile(spec), validations, annotations, value }
    }

    /// Asks the policy by one binding.
    fn ask(
        &self,
        binding: &Value,
        written: &Written<'_>,
        around: &Around<'_>,
        report: &mut Report<'_>,
    ) -> Result<(), Status> {
        let mut denials: Vec<Denial> = Vec::new();
        let failed = |why: String| (why, Reason::Invalid, 0);
        match params(&self.value, binding, written, around.caches) {
            Err(NoParams::Skip) => {}
            Err(NoParams::Failed(why)) => denials.extend(self.failure(why).map(failed)),
            Ok(all) => {
                for params in all {
                    let mut scope = scope(written, around, &params);
                    denials.extend(self.evaluate(&mut scope, report));
                }
            }
        }
        let (policy, binding_name) = (meta::name(&self.value), meta::name(binding));
        let actions = binding["spec"]["validationActions"].as_array().cloned().unwrap_or_default();
        let acts = |action: &str| actions.iter().any(|own| own == action);
        for (why, _, index) in &denials {
            if acts("Warn") {
                report.warnings.push(format!(
                    "Validation failed for ValidatingAdmissionPolicy '{policy}' with binding '{binding_name}': {why}"
                ));
            }
            if acts("Audit") {
                report.failures.push(json!({
                    "message": why, "policy": policy, "binding": binding_name,
                    "expressionIndex": index, "validationActions": actions,
                }));
            }
        }
        match denials.into_iter().next() {
            Some((why, reason, _)) if acts("Deny") => {
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

    /// An error as the policy wants it: a refusal, or nothing.
    fn failure(&self, why: String) -> Option<String> {
        fails(&self.value).then_some(why)
    }

    fn evaluate(&self, scope: &mut Scope, report: &mut Report<'_>) -> Vec<Denial> {
        let failed = |why: String| self.failure(why).map(|why| (why, Reason::Invalid, 0));
        match self.common.applies(scope) {
            Ok(true) => {}
            Ok(false) => return Vec::new(),
            Err(why) => return failed(why).into_iter().collect(),
        }
        let broken = self.common.bind_variables(scope);
        let mut denials = Vec::new();
        for (index, validation) in self.validations.iter().enumerate() {
            let uses =
                validation.expression.as_ref().is_ok_and(|expression| expression.uses("variables"));
            let outcome = match &broken {
                Some(why) if uses => Err(why.clone()),
                Some(_) | None => truth(&validation.expression, scope),
            };
            match outcome {
                Ok(true) => {}
                Ok(false) => denials.push((validation.words(scope), validation.reason, index)),
                Err(why) => {
                    denials.extend(self.failure(why).map(|why| (why, Reason::Invalid, index)));
                }
            }
        }
        for annotation in &self.annotations {
            match annotation.text(scope) {
                Ok(Some(value)) => report.annotate(annotation.key.clone(), value),
                Ok(None) => {}
                Err(why) => denials.extend(failed(why)),
            }
        }
        denials
    }
}

impl Annotation {
    /// The value; `None` where there is nothing to tell.
    fn text(&self, scope: &Scope) -> Result<Option<String>, String> {
        match evaluate(&self.value, scope)? {
            Value::String(text) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
            Value::Null => Ok(None),
            Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => Err(format!(
                "valueExpression of auditAnnotation '{}' must give a string or null",
                self.key
            )),
        }
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
