//! Which Secrets hold certificates of the way in, which every node serves: those that an Ingress or a Gateway
//! of our classes names.

use crate::cache::{Caches, Object, Selection};
use serde_json::Value;
use std::sync::Arc;

/// The controllers of the classes that hosts serve (`network/src/front`).
const INGRESS_CONTROLLER: &str = "coracle.dev/ingress";
const GATEWAY_CONTROLLER: &str = "coracle.dev/gateway";
const GATEWAYS: &str = "gateway.networking.k8s.io";

/// Whether an Ingress or a Gateway names the Secret. That a Gateway may refer to another namespace at all is asked
/// by whoever serves it.
pub(super) fn names_secret(caches: &Caches, namespace: &str, name: &str) -> bool {
    by_ingress(caches, namespace, name) || by_gateway(caches, namespace, name)
}

fn by_ingress(caches: &Caches, namespace: &str, name: &str) -> bool {
    let Some(ingresses) = caches.by_resource("networking.k8s.io", "ingresses") else {
        return false;
    };
    all(ingresses).iter().any(|ingress| {
        let ingress = ingress.value();
        text(&ingress, "/metadata/namespace") == Some(namespace)
            && items(&ingress, "/spec/tls").iter().any(|tls| text(tls, "/secretName") == Some(name))
            && is_served(caches, &ingress)
    })
}

fn is_served(caches: &Caches, ingress: &Value) -> bool {
    let noted = "/metadata/annotations/kubernetes.io~1ingress.class";
    let named = text(ingress, "/spec/ingressClassName").or_else(|| text(ingress, noted));
    let class = named.and_then(|name| caches.get("networking.k8s.io", "ingressclasses", "", name));
    class.is_some_and(|class| text(&class.value(), "/spec/controller") == Some(INGRESS_CONTROLLER))
}

fn by_gateway(caches: &Caches, namespace: &str, name: &str) -> bool {
    let Some(gateways) = caches.custom_resource(GATEWAYS, "gateways") else { return false };
    all(&gateways).iter().any(|gateway| {
        let gateway = gateway.value();
        let own = text(&gateway, "/metadata/namespace").unwrap_or_default();
        let mut certificates = items(&gateway, "/spec/listeners")
            .iter()
            .flat_map(|listener| items(listener, "/tls/certificateRefs"));
        certificates.any(|one| {
            text(one, "/name") == Some(name)
                && text(one, "/namespace").unwrap_or(own) == namespace
                && matches!(text(one, "/kind"), None | Some("Secret"))
        }) && is_ours(caches, &gateway)
    })
}

fn is_ours(caches: &Caches, gateway: &Value) -> bool {
    let Some(name) = text(gateway, "/spec/gatewayClassName") else { return false };
    let class =
        caches.custom_resource(GATEWAYS, "gatewayclasses").and_then(|all| all.get("", name));
    class.is_some_and(|class| {
        text(&class.value(), "/spec/controllerName") == Some(GATEWAY_CONTROLLER)
    })
}

fn all(cache: &crate::cache::ResourceCache) -> Vec<Arc<Object>> {
    cache.select(&Selection::all(cache.kind()))
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}

fn items<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
