//! What the terms that a pod was let in by say of its images. Pure.
//!
//! The API server has judged what it knew; here every image is judged, from whatever registry it comes, also when
//! a tag has moved since. *Source:* `coracle_api::capability`.

use std::sync::Arc;

use coracle_api::capability::{self, ANNOTATION, Finding, Subject, Terms};
use coracle_runtime::Capabilities;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Map, Value};

use crate::pods::state::Fault;

/// The waiting reason of a container whose imports are forbidden.
pub const FORBIDDEN: &str = "CapabilityForbidden";

/// The reason of the event about imports that are only told of.
pub const AUDITED: &str = "CapabilityAudit";

/// Gives the terms that a pod was let in by.
///
/// # Errors
/// A fault when they cannot be read: nothing starts by mistake.
pub fn terms(pod: &Pod) -> Result<Vec<Terms>, Fault> {
    let annotations = pod.metadata.annotations.as_ref();
    let Some(text) = annotations.and_then(|map| map.get(ANNOTATION)) else {
        return Ok(Vec::new());
    };
    capability::read(text).map_err(|error| {
        fault(format!("annotation {ANNOTATION} cannot be read: {error}; make the pod anew"))
    })
}

/// Judges a container: its component, what is plugged into it, and what it ran as before, with the name of that image.
#[must_use]
pub fn judge(
    terms: &[Terms],
    pod: &Pod,
    (container, image): (&str, &str),
    (own, plugs): (&Capabilities, &[Arc<Capabilities>]),
    before: Option<(&str, &Capabilities)>,
) -> Vec<Finding> {
    let labels: Map<String, Value> = pod.metadata.labels.iter().flatten().map(label).collect();
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let subject = Subject { namespace, labels: &labels, container, image };
    let exports: Vec<String> = plugs.iter().flat_map(|one| one.exports.iter().cloned()).collect();
    let all = own.imports.iter().chain(plugs.iter().flat_map(|one| &one.imports)).cloned();
    let imports = capability::open(all, &exports);
    let before: Option<(&str, Vec<String>)> =
        before.map(|(image, names)| (image, names.imports.iter().cloned().collect()));
    let before = before.as_ref().map(|(image, names)| (*image, &names[..]));
    capability::judge(terms, &subject, &imports, before)
}

/// The fault of a container that must not run.
#[must_use]
pub fn fault(message: String) -> Fault {
    Fault { reason: FORBIDDEN.into(), message }
}

fn label((key, value): (&String, &String)) -> (String, Value) {
    (key.clone(), Value::from(value.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(annotation: &str) -> Pod {
        serde_json::from_value(
            json!({"metadata": {"name": "p", "namespace": "shop", "labels": {"a": "b"},
            "annotations": {ANNOTATION: annotation}}}),
        )
        .unwrap()
    }

    fn names(imports: &[&str], exports: &[&str]) -> Capabilities {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Capabilities { imports: owned(imports), exports: owned(exports), kind: "command" }
    }

    #[test]
    fn a_container_is_judged_with_its_plugs_and_by_what_it_was() {
        let text = r#"[{"policy":"p","rules":[{"expression":"capability.packageName == 'wasi:cli' && pod.labels['a'] == 'b' && pod.namespace == 'shop'"}]}]"#;
        let pod = pod(text);
        let terms = terms(&pod).unwrap();
        let own = names(&["wasi:cli/stdout@0.2.0", "acme:x/y"], &[]);
        let judge = |plugs: &[Arc<Capabilities>], before| {
            judge(&terms, &pod, ("c", "i:2"), (&own, plugs), before)
        };
        assert!(judge(&[], None)[0].sentence.contains("imports acme:x/y, which"));
        assert!(judge(&[Arc::new(names(&[], &["acme:x/y"]))], None).is_empty());
        let before = names(&["wasi:cli/stdout@0.2.0"], &[]);
        assert!(judge(&[], Some(("i:1", &before)))[0].sentence.ends_with("it asks for +acme:x/y"));
    }

    #[test]
    fn terms_that_cannot_be_read_let_nothing_start() {
        assert_eq!(terms(&Pod::default()).unwrap(), []);
        assert_eq!(terms(&pod("none")).unwrap_err().reason, FORBIDDEN);
    }
}
