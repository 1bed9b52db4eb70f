//! CustomResourceDefinitions and APIServices.

use serde_json::Value;

use super::admission::set_service_port;
use super::fill::{ensure, fill, fill_pointer, inside, text};

/// Fills a CustomResourceDefinition: names that follow from its kind, and no conversion.
pub fn set_definition(definition: &mut Value) {
    let Some(spec) = definition.get_mut("spec").and_then(Value::as_object_mut) else { return };
    if let Some(names) = inside(spec, "names") {
        let kind = text(names, "kind").to_owned();
        if !kind.is_empty() {
            fill(names, "singular", kind.to_lowercase());
            fill(names, "listKind", format!("{kind}List"));
        }
    }
    let Some(conversion) = ensure(spec, "conversion") else { return };
    fill_pointer(conversion, "strategy", "None");
    let webhook = inside(conversion, "webhook");
    if let Some(client) = webhook.and_then(|webhook| inside(webhook, "clientConfig")) {
        set_service_port(client);
    }
}

/// Fills an APIService.
pub fn set_service(service: &mut Value) {
    if let Some(spec) = service.get_mut("spec").and_then(Value::as_object_mut) {
        set_service_port(spec);
    }
}
