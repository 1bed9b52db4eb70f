//! FlowSchemas and PriorityLevelConfigurations: shares and queues.

use serde_json::Value;

use super::fill::{ensure, fill_number, fill_pointer, inside, text};

/// Fills a FlowSchema.
pub fn set_schema(schema: &mut Value) {
    if let Some(spec) = schema.get_mut("spec").and_then(Value::as_object_mut) {
        fill_number(spec, "matchingPrecedence", 1000);
    }
}

/// Fills a PriorityLevelConfiguration.
pub fn set_level(level: &mut Value) {
    let Some(spec) = level.get_mut("spec").and_then(Value::as_object_mut) else { return };
    if text(spec, "type") == "Exempt"
        && let Some(exempt) = ensure(spec, "exempt")
    {
        fill_pointer(exempt, "nominalConcurrencyShares", 0);
        fill_pointer(exempt, "lendablePercent", 0);
    }
    let Some(limited) = inside(spec, "limited") else { return };
    fill_pointer(limited, "nominalConcurrencyShares", 30);
    fill_pointer(limited, "lendablePercent", 0);
    let response = inside(limited, "limitResponse");
    if let Some(queuing) = response.and_then(|response| inside(response, "queuing")) {
        fill_number(queuing, "queues", 64);
        fill_number(queuing, "handSize", 8);
        fill_number(queuing, "queueLengthLimit", 50);
    }
}
