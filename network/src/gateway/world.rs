//! Everything that is known when routes are attached, and the rules of who may refer to whom. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use serde_json::Value;

use super::objects::{
    CONTROLLER, Gateway, GatewayClass, GrpcRoute, HttpRoute, ReferenceGrant, RouteSpec, TlsRoute,
};
use crate::front::backend::Services;

/// The three kinds of routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RouteKind {
    /// HTTPRoute.
    Http,
    /// GRPCRoute.
    Grpc,
    /// TLSRoute.
    Tls,
}

impl RouteKind {
    /// Its name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "HTTPRoute",
            Self::Grpc => "GRPCRoute",
            Self::Tls => "TLSRoute",
        }
    }
}

/// A route of any kind.
#[derive(Debug, Clone, Copy)]
pub struct Route<'a> {
    /// Its kind.
    pub kind: RouteKind,
    /// Its metadata.
    pub metadata: &'a ObjectMeta,
    /// What it asks for.
    pub spec: &'a RouteSpec,
    /// What is said of it.
    pub status: &'a Value,
}

impl Route<'_> {
    /// Its namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or_default()
    }
}

/// All objects, as they are now.
#[derive(Default)]
pub struct Objects {
    /// GatewayClasses.
    pub classes: Vec<Arc<GatewayClass>>,
    /// Gateways.
    pub gateways: Vec<Arc<Gateway>>,
    /// HTTPRoutes.
    pub http: Vec<Arc<HttpRoute>>,
    /// GRPCRoutes.
    pub grpc: Vec<Arc<GrpcRoute>>,
    /// TLSRoutes.
    pub tls: Vec<Arc<TlsRoute>>,
    /// ReferenceGrants.
    pub grants: Vec<Arc<ReferenceGrant>>,
}

/// The objects, and what else has to be asked.
pub struct World<'a> {
    /// The objects.
    pub objects: &'a Objects,
    /// Services.
    pub services: &'a Services<'a>,
    /// The labels of a namespace.
    pub labels: &'a dyn Fn(&str) -> BTreeMap<String, String>,
}

impl World<'_> {
    /// The Gateways that hosts serve.
    pub fn gateways(&self) -> impl Iterator<Item = &Gateway> {
        let ours = move |gateway: &&Arc<Gateway>| {
            let named = Some(gateway.spec.gateway_class_name.as_str());
            self.objects.classes.iter().any(|class| {
                class.metadata.name.as_deref() == named && class.spec.controller_name == CONTROLLER
            })
        };
        self.objects.gateways.iter().filter(ours).map(|gateway| &**gateway)
    }

    /// All routes.
    pub fn routes(&self) -> impl Iterator<Item = Route<'_>> {
        let objects = self.objects;
        let http = objects.http.iter().map(|one| Route {
            kind: RouteKind::Http,
            metadata: &one.metadata,
            spec: &one.spec,
            status: &one.status,
        });
        let grpc = objects.grpc.iter().map(|one| Route {
            kind: RouteKind::Grpc,
            metadata: &one.metadata,
            spec: &one.spec,
            status: &one.status,
        });
        let tls = objects.tls.iter().map(|one| Route {
            kind: RouteKind::Tls,
            metadata: &one.metadata,
            spec: &one.spec,
            status: &one.status,
        });
        http.chain(grpc).chain(tls)
    }

    /// Whether an object of a kind of the Gateway API in one namespace may refer to a core object in
    /// another: a grant there says so.
    ///
    /// *Source:* Gateway API `ReferenceGrant`.
    #[must_use]
    pub fn may_refer(&self, from: (&str, &str), to: (&str, &str, &str)) -> bool {
        let ((kind, namespace), (to_kind, to_namespace, name)) = (from, to);
        if namespace == to_namespace {
            return true;
        }
        let mut grants = self
            .objects
            .grants
            .iter()
            .filter(|grant| grant.metadata.namespace.as_deref() == Some(to_namespace));
        grants.any(|grant| {
            let is_from = grant.spec.from.iter().any(|one| {
                one.group == super::objects::GROUP && one.kind == kind && one.namespace == namespace
            });
            let is_to = grant.spec.to.iter().any(|one| {
                let named = one.name.as_deref().is_none_or(|own| own == name);
                one.group.is_empty() && one.kind == to_kind && named
            });
            is_from && is_to
        })
    }
}

/// Whether labels fit a selector; one that cannot be read fits nothing.
///
/// *Source:* meta/v1 `LabelSelector`.
#[must_use]
pub fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let mut equal = selector.match_labels.iter().flatten();
    let mut asked = selector.match_expressions.iter().flatten();
    equal.all(|(key, value)| labels.get(key) == Some(value))
        && asked.all(|one| {
            let value = labels.get(&one.key);
            let listed = |value: &String| one.values.iter().flatten().any(|own| own == value);
            match one.operator.as_str() {
                "In" => value.is_some_and(listed),
                "NotIn" => !value.is_some_and(listed),
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        })
}
