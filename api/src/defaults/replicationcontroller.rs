//! ReplicationControllers: one replica, selected by the labels of their template.

use serde_json::{Map, Value};

use super::fill::fill_pointer;
use super::pod;

/// Fills a ReplicationController.
pub fn set(controller: &mut Value) {
    let labels = controller.pointer("/spec/template/metadata/labels").cloned();
    if let Some(labels) = labels.filter(|labels| !is_empty(Some(labels))) {
        if is_empty(controller.pointer("/spec/selector"))
            && let Some(spec) = controller.get_mut("spec").and_then(Value::as_object_mut)
        {
            spec.insert("selector".to_owned(), labels.clone());
        }
        set_labels(controller, labels);
    }
    let Some(spec) = controller.get_mut("spec").and_then(Value::as_object_mut) else { return };
    pod::set_template(spec);
    fill_pointer(spec, "replicas", 1);
}

/// Gives an object without labels those of its template.
pub(super) fn set_labels(object: &mut Value, labels: Value) {
    if is_empty(object.pointer("/metadata/labels"))
        && let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut)
    {
        metadata.insert("labels".to_owned(), labels);
    }
}

fn is_empty(map: Option<&Value>) -> bool {
    map.and_then(Value::as_object).is_none_or(Map::is_empty)
}
