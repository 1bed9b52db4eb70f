//! ResourceClaims and their templates: one device for each request.

use serde_json::Value;

use super::fill::{Members, fill, fill_number, inside, items, text};

/// Fills a ResourceClaim.
pub fn set(claim: &mut Value) {
    if let Some(spec) = claim.get_mut("spec").and_then(Value::as_object_mut) {
        set_spec(spec);
    }
}

/// Fills a ResourceClaimTemplate.
pub fn set_template(template: &mut Value) {
    let spec = template.pointer_mut("/spec/spec").and_then(Value::as_object_mut);
    if let Some(spec) = spec {
        set_spec(spec);
    }
}

fn set_spec(spec: &mut Members) {
    let Some(devices) = inside(spec, "devices") else { return };
    for request in items(devices, "requests") {
        if let Some(exactly) = inside(request, "exactly") {
            set_request(exactly);
        }
        items(request, "firstAvailable").for_each(set_request);
    }
}

fn set_request(request: &mut Members) {
    fill(request, "allocationMode", "ExactCount");
    if text(request, "allocationMode") == "ExactCount" {
        fill_number(request, "count", 1);
    }
    items(request, "tolerations").for_each(|toleration| fill(toleration, "operator", "Equal"));
}
