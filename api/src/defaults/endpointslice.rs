//! EndpointSlices: ports have a name and a protocol.

use serde_json::Value;

use super::fill::{fill_pointer, items};

/// Fills an EndpointSlice.
pub fn set(slice: &mut Value) {
    let Some(slice) = slice.as_object_mut() else { return };
    for port in items(slice, "ports") {
        fill_pointer(port, "name", "");
        fill_pointer(port, "protocol", "TCP");
    }
}
