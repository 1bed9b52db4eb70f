//! `ValidatingAdmissionPolicy`: expressions that every write they are about must fulfil.

use super::{
    Around, Cached, Common, Compiled, NoParams, bindings_of, both, compile, fails, params, scope,
    truth,
};
use crate::admission::matching::Written;
use coracle_api::cel::Scope;
use coracle_api::meta;
use coracle_api::status::{Reason, Status};
use serde_json::Value;

/// Policies that were compiled.
#[derive(Default)]
pub(crate) struct Policies(Cached<Policy>);

struct Policy {
    value: Value,
    common: Common,
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
        around: &Around<'_>,
        warnings: &mut Vec<String>,
    ) -> Result<(), Status> {
        let resources = ["validatingadmissionpolicies", "validatingadmissionpolicybindings"];
        let Some((policies, bindings)) = both(written, around.caches, resources) else {
            return Ok(());
        };
        for stored in policies {
            let policy = self.0.get(&stored, Policy::compile);
            for binding in bindings_of(&policy.value, &bindings, written, around.caches) {
                policy.ask(binding, written, around, warnings)?;
            }
        }
        Ok(())
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
        Policy { common: Common::compile(spec), validations, value }
    }

    /// Asks the policy by one binding.
    fn ask(
        &self,
        binding: &Value,
        written: &Written<'_>,
        around: &Around<'_>,
        warnings: &mut Vec<String>,
    ) -> Result<(), Status> {
        let mut denials: Vec<Denial> = Vec::new();
        let failed = |why: String| (why, Reason::Invalid);
        match params(&self.value, binding, written, around.caches) {
            Err(NoParams::Skip) => {}
            Err(NoParams::Failed(why)) => denials.extend(self.failure(why).map(failed)),
            Ok(all) => {
                for params in all {
                    let mut scope = scope(written, around, &params);
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

    /// An error as the policy wants it: a refusal, or nothing.
    fn failure(&self, why: String) -> Option<String> {
        fails(&self.value).then_some(why)
    }

    fn evaluate(&self, scope: &mut Scope) -> Vec<Denial> {
        let failed = |why: String| self.failure(why).map(|why| (why, Reason::Invalid));
        match self.common.applies(scope) {
            Ok(true) => {}
            Ok(false) => return Vec::new(),
            Err(why) => return failed(why).into_iter().collect(),
        }
        let broken = self.common.bind_variables(scope);
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
