//! Claims and Ingresses that name no class get the default one.
//!
//! *Source:* the `DefaultStorageClass` and `DefaultIngressClass` admission plugins.

use super::{Operation, Request};
use crate::cache::{Caches, Selection};
use coracle_api::meta;
use coracle_api::status::Status;
use serde_json::{Value, json};

/// Sets the class of a new object.
///
/// # Errors
/// 403 when more than one IngressClass is the default.
pub(super) fn admit(
    request: &Request<'_>,
    object: &mut Value,
    caches: &Caches,
) -> Result<(), Status> {
    if request.operation != Operation::Create || !request.subresource.is_empty() {
        return Ok(());
    }
    match (request.kind.group, request.kind.kind) {
        ("", "PersistentVolumeClaim") if object["spec"]["storageClassName"].is_null() => {
            let old = object
                .pointer("/metadata/annotations")
                .and_then(|all| all.get("volume.beta.kubernetes.io/storage-class"));
            if old.is_some() {
                return Ok(());
            }
            let annotation = "storageclass.kubernetes.io/is-default-class";
            let mut found = defaults(caches, "storage.k8s.io", "storageclasses", annotation);
            // The youngest; of equally young ones the first by name.
            found.sort_by(|a, b| meta::name(a).cmp(meta::name(b)));
            let born = |class: &Value| {
                class["metadata"]["creationTimestamp"].as_str().unwrap_or_default().to_owned()
            };
            found.sort_by_key(|class| std::cmp::Reverse(born(class)));
            if let Some(class) = found.first() {
                object["spec"]["storageClassName"] = json!(meta::name(class));
            }
        }
        ("networking.k8s.io", "Ingress") if object["spec"]["ingressClassName"].is_null() => {
            let old = object
                .pointer("/metadata/annotations")
                .and_then(|all| all.get("kubernetes.io/ingress.class"));
            if old.is_some() {
                return Ok(());
            }
            let annotation = "ingressclass.kubernetes.io/is-default-class";
            let found = defaults(caches, "networking.k8s.io", "ingressclasses", annotation);
            match found.as_slice() {
                [] => {}
                [class] => object["spec"]["ingressClassName"] = json!(meta::name(class)),
                many => {
                    let count = many.len();
                    return Err(request.forbidden(format!(
                        "{count} default IngressClasses were found, only 1 allowed"
                    )));
                }
            }
        }
        _ => {}
    }
    Ok(())
}

fn defaults(caches: &Caches, group: &str, plural: &str, annotation: &str) -> Vec<Value> {
    let Some(cache) = caches.by_resource(group, plural).filter(|cache| !cache.is_empty()) else {
        return Vec::new();
    };
    let all = cache.select(&Selection::all(cache.kind()));
    let is_default = |class: &Value| {
        class.pointer("/metadata/annotations").and_then(|all| all.get(annotation))
            == Some(&json!("true"))
    };
    all.iter().map(|class| class.value()).filter(is_default).collect()
}
