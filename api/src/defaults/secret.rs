//! Secrets: their type, and text that becomes bytes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::fill::{ensure, fill};

/// Fills a Secret, and moves `stringData` into `data`, where it wins over keys that are there.
pub fn set(secret: &mut Value) {
    let Some(secret) = secret.as_object_mut() else { return };
    fill(secret, "type", "Opaque");
    let Some(Value::Object(texts)) = secret.remove("stringData") else { return };
    if texts.is_empty() {
        return;
    }
    let Some(data) = ensure(secret, "data") else { return };
    for (key, text) in texts {
        let encoded = STANDARD.encode(text.as_str().unwrap_or_default());
        data.insert(key, encoded.into());
    }
}
