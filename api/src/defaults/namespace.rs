//! Namespaces: the label by which selectors find them.

use serde_json::Value;

use crate::meta;

/// Label with the namespace's own name.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// Fills a Namespace; does nothing while the name is not generated yet.
pub fn set(namespace: &mut Value) {
    let name = meta::name(namespace).to_owned();
    if !name.is_empty() {
        meta::set_label(namespace, NAME_LABEL, &name);
    }
}
