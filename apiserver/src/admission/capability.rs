//! `CapabilityPolicy`: what the components of a pod may import, as far as it is known before they are pulled.
//!
//! A pod is let in by the terms of the policies that select it then; they are written into it, and its host judges
//! every image by them again, also those of other registries. For a workload's template a warning says what would
//! become of its pods.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use coracle_api::capability::{
    self, ANNOTATION, COMPOSE_PREFIX, Finding, GROUP, IMPORTS_PREFIX, KIND, PLURAL, Subject, Terms,
};
use coracle_api::field_error::FieldError;
use coracle_api::meta;
use coracle_api::selector::{FieldSelector, LabelSelector};
use coracle_api::status::Status;
use serde_json::{Map, Value};

use super::pod_security::subject::{containers, name, pod_of};
use super::{Operation, Request};
use crate::cache::{Caches, ResourceCache, Selection};
use crate::oci::Names;

/// Containers of a pod that are judged here, and images of which they are made; what else there is, its host judges.
const CONTAINERS_MAX: usize = 100;

/// Imports of a pod's containers that are judged here: rules are asked for each, while the request waits.
const IMPORTS_MAX: usize = 2_000;

/// Pods that are looked at for what a container imported before, which is only told.
const PODS_LOOKED_AT_MAX: usize = 100;

/// What images import and export, by the image as a pod writes it; those that are not known are missing.
pub(crate) type Known = HashMap<String, Arc<Names>>;

/// A pod, or a workload's template of one, whose images are to be judged.
pub(crate) struct Asked {
    pod: Value,
    terms: Vec<Terms>,
    is_template: bool,
}

/// Writes into a pod the terms that it is let in by. Those of a pod that is there stay, unless its images change.
pub(crate) fn stamp(
    request: &Request<'_>,
    object: &mut Value,
    old: Option<&Value>,
    caches: &Caches,
) {
    if !request.kind.group.is_empty() || request.kind.kind != "Pod" || !object.is_object() {
        return;
    }
    let has_terms = |pod: &Value| meta::annotation(pod, ANNOTATION).is_some();
    if policies(caches).is_none() && !has_terms(object) && !old.is_some_and(has_terms) {
        return;
    }
    let value = match (request.operation, old) {
        (Operation::Create, _) if request.subresource.is_empty() => {
            current(request.namespace, object, caches)
        }
        (Operation::Update, Some(old)) if images(object) != images(old) => {
            current(request.namespace, object, caches)
        }
        (Operation::Update, Some(old)) => meta::annotation(old, ANNOTATION).map(str::to_owned),
        (
            Operation::Create | Operation::Update | Operation::Delete | Operation::Connect,
            None | Some(_),
        ) => return,
    };
    if meta::annotation(object, ANNOTATION) == value.as_deref() {
        return;
    }
    match value {
        Some(value) => meta::set_annotation(object, ANNOTATION, &value),
        None => {
            let annotations = object.pointer_mut("/metadata/annotations");
            if let Some(annotations) = annotations.and_then(Value::as_object_mut) {
                annotations.remove(ANNOTATION);
            }
        }
    }
}

/// The terms for a pod by the policies as they are now, as its annotation.
fn current(namespace: &str, pod: &Value, caches: &Caches) -> Option<String> {
    let terms = terms(namespace, pod, caches);
    (!terms.is_empty()).then(|| capability::write(&terms))
}

/// The policies; `None` when there is none.
fn policies(caches: &Caches) -> Option<Arc<ResourceCache>> {
    caches.custom_resource(GROUP, PLURAL).filter(|cache| !cache.is_empty())
}

fn terms(namespace: &str, pod: &Value, caches: &Caches) -> Vec<Terms> {
    let Some(policies) = policies(caches) else { return Vec::new() };
    let none = Map::new();
    let space =
        caches.get("", "namespaces", "", namespace).map(|space| space.value()).unwrap_or_default();
    let space = meta::labels(&space).unwrap_or(&none);
    let labels = meta::labels(pod).unwrap_or(&none);
    let all = policies.select(&Selection::all(policies.kind()));
    let mut terms: Vec<Terms> =
        all.iter().filter_map(|policy| capability::terms(&policy.value(), space, labels)).collect();
    terms.sort_by(|a, b| a.policy.cmp(&b.policy));
    terms
}

fn images(pod: &Value) -> Vec<(&str, &str)> {
    containers(pod).map(|one| (name(one), one["image"].as_str().unwrap_or_default())).collect()
}

/// Refuses a policy with an expression that is none.
///
/// # Errors
/// 422 that names each.
pub(crate) fn check_policy(request: &Request<'_>, object: &Value) -> Result<(), Status> {
    let is_policy = request.kind.group == GROUP && request.kind.kind == KIND;
    if !is_policy || !request.subresource.is_empty() {
        return Ok(());
    }
    let wrong = capability::mistakes(object).into_iter();
    let wrong: Vec<FieldError> =
        wrong.map(|(field, text, why)| FieldError::invalid(field, text, why)).collect();
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Status::invalid(&request.kind.group_kind(), request.name, wrong))
}

/// What of a write is to be judged; `None` when nothing is, as where there is no policy.
pub(crate) fn asked(
    request: &Request<'_>,
    object: &Value,
    old: Option<&Value>,
    caches: &Caches,
) -> Option<Asked> {
    let is_pod = request.kind.group.is_empty() && request.kind.kind == "Pod";
    let may_have = if is_pod {
        meta::annotation(object, ANNOTATION).is_some()
    } else {
        policies(caches).is_some()
    };
    if request.operation == Operation::Delete || !may_have {
        return None;
    }
    let pod = pod_of(request, object)?;
    let before = old.and_then(|old| pod_of(request, old));
    if before.is_some_and(|before| images(&before) == images(&pod)) {
        return None;
    }
    let terms = if is_pod {
        capability::read(meta::annotation(&pod, ANNOTATION)?).ok()?
    } else {
        terms(request.namespace, &pod, caches)
    };
    (!terms.is_empty()).then_some(Asked { pod, terms, is_template: !is_pod })
}

impl Asked {
    /// The images that its containers are made of, each once.
    pub(crate) fn images(&self) -> Vec<String> {
        let own = images(&self.pod).into_iter().take(CONTAINERS_MAX);
        let all: BTreeSet<String> = own
            .flat_map(|(container, image)| {
                std::iter::once(image.to_owned()).chain(plugs(&self.pod, container))
            })
            .collect();
        all.into_iter().take(CONTAINERS_MAX).collect()
    }

    /// Judges the images that are known.
    ///
    /// # Errors
    /// 403 for a pod that a policy forbids; a template, and what is only audited, is warned of.
    pub(crate) fn judge(
        &self,
        request: &Request<'_>,
        known: &Known,
        caches: &Caches,
        warnings: &mut Vec<String>,
    ) -> Result<(), Status> {
        let (told, refused): (Vec<Finding>, Vec<Finding>) =
            self.findings(request.namespace, known, caches).into_iter().partition(|one| one.audit);
        warnings.extend(told.into_iter().map(|one| format!("{} (audit)", one.sentence)));
        let refused: Vec<String> = refused.into_iter().map(|one| one.sentence).collect();
        if self.is_template {
            warnings
                .extend(refused.into_iter().map(|one| format!("its pods will be refused: {one}")));
            return Ok(());
        }
        if refused.is_empty() { Ok(()) } else { Err(request.forbidden(refused.join("; "))) }
    }

    fn findings(&self, namespace: &str, known: &Known, caches: &Caches) -> Vec<Finding> {
        let none = Map::new();
        let labels = meta::labels(&self.pod).unwrap_or(&none);
        let (mut findings, mut judged) = (Vec::new(), 0);
        for (container, image) in images(&self.pod).into_iter().take(CONTAINERS_MAX) {
            let Some(own) = known.get(image) else { continue };
            let plugs: Option<Vec<&Arc<Names>>> =
                plugs(&self.pod, container).iter().map(|plug| known.get(plug)).collect();
            // What an unknown plug exports may be what is imported: the host sees all of them.
            let Some(plugs) = plugs else { continue };
            let exports: Vec<String> = plugs.iter().flat_map(|one| one.exports.clone()).collect();
            let all = own.imports.iter().chain(plugs.iter().flat_map(|one| &one.imports)).cloned();
            let imports = capability::open(all, &exports);
            judged += imports.len();
            if judged > IMPORTS_MAX {
                break;
            }
            let subject = Subject { namespace, labels, container, image };
            let mut found = capability::judge(&self.terms, &subject, &imports, None);
            if !found.is_empty() {
                let before = before(namespace, container, image, caches);
                let before = before.as_ref().map(|(image, names)| (image.as_str(), &names[..]));
                found = capability::judge(&self.terms, &subject, &imports, before);
            }
            findings.extend(found);
        }
        findings
    }
}

/// The images that are plugged into a container.
fn plugs(pod: &Value, container: &str) -> Vec<String> {
    let list = meta::annotation(pod, &format!("{COMPOSE_PREFIX}{container}")).unwrap_or_default();
    list.split(',').map(|one| one.trim().to_owned()).filter(|one| !one.is_empty()).collect()
}

/// What a container of the same name, of another version of the same image, imports in this namespace now; by what its
/// host has said of it. The first by the pods' names.
fn before(
    namespace: &str,
    container: &str,
    image: &str,
    caches: &Caches,
) -> Option<(String, Vec<String>)> {
    let pods = caches.by_resource("", "pods")?;
    let (labels, fields) = (LabelSelector::everything(), FieldSelector::everything());
    let selection = Selection::new(pods.kind(), Some(namespace), labels, fields).ok()?;
    pods.select(&selection).iter().take(PODS_LOOKED_AT_MAX).find_map(|pod| {
        let pod = pod.value();
        let said = meta::annotation(&pod, &format!("{IMPORTS_PREFIX}{container}"))?;
        let there = images(&pod).into_iter().find(|(name, there)| {
            *name == container && *there != image && repository(there) == repository(image)
        })?;
        let names = said.split(", ").map(str::to_owned).collect();
        Some((there.1.to_owned(), names))
    })
}

/// An image's name without tag and digest.
fn repository(image: &str) -> &str {
    let name = image.split('@').next().unwrap_or(image);
    match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        Some(_) | None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn versions_of_an_image_have_its_name_in_common() {
        for (image, expected) in [
            ("r/web:1", "r/web"),
            ("r:5000/web", "r:5000/web"),
            ("r:5000/web:1@sha256:00", "r:5000/web"),
            ("web", "web"),
        ] {
            assert_eq!(repository(image), expected);
        }
    }

    #[test]
    fn images_are_judged_with_what_is_plugged_into_them() {
        let asked = Asked {
            pod: json!({"metadata": {"annotations": {(format!("{COMPOSE_PREFIX}c")): "lib:1, other:1"}},
                "spec": {"containers": [{"name": "c", "image": "app:1"}]}}),
            terms: vec![Terms {
                policy: "p".to_owned(),
                audit: false,
                rules: vec![capability::Rule {
                    expression: "capability.packageName != 'acme:x'".to_owned(),
                    message: String::new(),
                }],
            }],
            is_template: false,
        };
        assert_eq!(asked.images(), ["app:1", "lib:1", "other:1"]);
        let names = |imports: &[&str], exports: &[&str]| {
            let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
            Arc::new(Names { imports: owned(imports), exports: owned(exports) })
        };
        let caches = Caches::start(&coracle_store::Store::memory());
        let count = |known: &Known| asked.findings("default", known, &caches).len();
        let mut known = Known::new();
        known.insert("app:1".to_owned(), names(&["acme:x/y"], &[]));
        assert_eq!(count(&known), 0, "a plug is not known");
        known.insert("other:1".to_owned(), names(&[], &[]));
        known.insert("lib:1".to_owned(), names(&[], &["acme:x/y"]));
        assert_eq!(count(&known), 0, "it is plugged");
        known.insert("lib:1".to_owned(), names(&["acme:x/z"], &[]));
        assert_eq!(count(&known), 1, "both are open");
    }

    #[test]
    fn no_pod_makes_the_server_judge_for_long() {
        let container = |n: usize| json!({"name": format!("c{n}"), "image": "app:1"});
        let containers: Vec<Value> = (0..CONTAINERS_MAX + 1).map(container).collect();
        let rule = capability::Rule { expression: "false".to_owned(), message: String::new() };
        let terms = Terms { policy: "p".to_owned(), audit: false, rules: vec![rule] };
        let pod = json!({"spec": {"containers": containers}});
        let asked = Asked { pod, terms: vec![terms], is_template: false };
        assert_eq!(asked.images(), ["app:1"]);
        let caches = Caches::start(&coracle_store::Store::memory());
        let count = |imports: usize| {
            let imports = (0..imports).map(|n| n.to_string()).collect();
            let names = Arc::new(Names { imports, exports: Vec::new() });
            asked.findings("default", &Known::from([("app:1".to_owned(), names)]), &caches).len()
        };
        assert_eq!(count(1), CONTAINERS_MAX);
        assert_eq!(count(IMPORTS_MAX / 2), 2);
    }

    #[test]
    fn odd_objects_are_no_panic() {
        for odd in
            [json!(null), json!([]), json!({"metadata": []}), json!({"spec": {"containers": 1}})]
        {
            assert!(images(&odd).is_empty());
            assert!(plugs(&odd, "c").is_empty());
        }
    }
}
