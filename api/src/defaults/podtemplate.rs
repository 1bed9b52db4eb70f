//! PodTemplates.

use serde_json::Value;

use super::pod;

/// Fills a PodTemplate.
pub fn set(template: &mut Value) {
    if let Some(members) = template.as_object_mut() {
        pod::set_template(members);
    }
}
