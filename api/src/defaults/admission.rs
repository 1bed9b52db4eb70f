//! Webhook configurations and admission policies: they match all there is, and fail closed.

use serde_json::Value;

use super::fill::{Members, fill, fill_number, fill_pointer, inside, items};

/// Seconds that a webhook has to answer.
const TIMEOUT_SECONDS: i64 = 10;

/// Fills a MutatingWebhookConfiguration.
pub fn set_mutating(configuration: &mut Value) {
    let Some(configuration) = configuration.as_object_mut() else { return };
    for webhook in items(configuration, "webhooks") {
        set_webhook(webhook);
        fill_pointer(webhook, "reinvocationPolicy", "Never");
    }
}

/// Fills a ValidatingWebhookConfiguration.
pub fn set_validating(configuration: &mut Value) {
    if let Some(configuration) = configuration.as_object_mut() {
        items(configuration, "webhooks").for_each(set_webhook);
    }
}

fn set_webhook(webhook: &mut Members) {
    fill_pointer(webhook, "failurePolicy", "Fail");
    fill_pointer(webhook, "timeoutSeconds", TIMEOUT_SECONDS);
    set_match(webhook, &["rules"]);
    if let Some(client) = inside(webhook, "clientConfig") {
        set_service_port(client);
    }
}

/// A service that is called listens on the port of HTTPS.
pub(super) fn set_service_port(client: &mut Members) {
    if let Some(service) = inside(client, "service") {
        fill_number(service, "port", 443);
    }
}

fn set_match(members: &mut Members, rules: &[&str]) {
    fill_pointer(members, "matchPolicy", "Equivalent");
    fill_pointer(members, "namespaceSelector", Members::new());
    fill_pointer(members, "objectSelector", Members::new());
    for list in rules {
        items(members, list).for_each(|rule| fill_pointer(rule, "scope", "*"));
    }
}

/// Fills a ValidatingAdmissionPolicy.
pub fn set_policy(policy: &mut Value) {
    let Some(spec) = policy.get_mut("spec").and_then(Value::as_object_mut) else { return };
    fill_pointer(spec, "failurePolicy", "Fail");
    if let Some(constraints) = inside(spec, "matchConstraints") {
        set_match(constraints, &["resourceRules", "excludeResourceRules"]);
    }
}

/// Fills a MutatingAdmissionPolicy.
pub fn set_mutating_policy(policy: &mut Value) {
    set_policy(policy);
    if let Some(spec) = policy.get_mut("spec").and_then(Value::as_object_mut) {
        fill(spec, "reinvocationPolicy", "Never");
    }
}

/// Fills a ValidatingAdmissionPolicyBinding.
pub fn set_binding(binding: &mut Value) {
    let spec = binding.get_mut("spec").and_then(Value::as_object_mut);
    if let Some(resources) = spec.and_then(|spec| inside(spec, "matchResources")) {
        set_match(resources, &["resourceRules", "excludeResourceRules"]);
    }
}
