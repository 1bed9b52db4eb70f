//! Objects of the Gateway API, as far as they are read here.
//!
//! Own types in place of a crate's: hosts keep all of them in memory, and the three kinds of routes
//! have so much in common that one type reads them all (`specs/decisions.md`).
//!
//! *Source:* gateway.networking.k8s.io/v1.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use kube::Resource;
use kube::core::{ClusterResourceScope, NamespaceResourceScope};
use serde::Deserialize;
use serde_json::Value;

/// The API group.
pub const GROUP: &str = "gateway.networking.k8s.io";

/// Who serves Gateways: the `controllerName` of GatewayClasses that hosts serve.
pub const CONTROLLER: &str = "coracle.dev/gateway";

macro_rules! kind {
    ($name:ident, $kind:literal, $plural:literal, $scope:ty) => {
        impl Resource for $name {
            type DynamicType = ();
            type Scope = $scope;

            fn kind((): &()) -> Cow<'_, str> {
                $kind.into()
            }

            fn group((): &()) -> Cow<'_, str> {
                GROUP.into()
            }

            fn version((): &()) -> Cow<'_, str> {
                "v1".into()
            }

            fn plural((): &()) -> Cow<'_, str> {
                $plural.into()
            }

            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }

            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    };
}

/// A GatewayClass.
#[derive(Debug, Clone, Deserialize)]
pub struct GatewayClass {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// What it asks for.
    pub spec: GatewayClassSpec,
    /// What is said of it.
    #[serde(default)]
    pub status: Value,
}
kind!(GatewayClass, "GatewayClass", "gatewayclasses", ClusterResourceScope);

/// What a GatewayClass asks for.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayClassSpec {
    /// Who serves it.
    pub controller_name: String,
}

/// A Gateway.
#[derive(Debug, Clone, Deserialize)]
pub struct Gateway {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// What it asks for.
    pub spec: GatewaySpec,
    /// What is said of it.
    #[serde(default)]
    pub status: Value,
}
kind!(Gateway, "Gateway", "gateways", NamespaceResourceScope);

/// What a Gateway asks for.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewaySpec {
    /// Its GatewayClass.
    pub gateway_class_name: String,
    /// Its listeners.
    pub listeners: Vec<ListenerSpec>,
}

/// A listener of a Gateway.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerSpec {
    /// Its name in the Gateway.
    pub name: String,
    /// The host names that it takes.
    pub hostname: Option<String>,
    /// Its port.
    pub port: i32,
    /// `HTTP`, `HTTPS`, `TLS` or another.
    pub protocol: String,
    /// Where TLS ends, and with which certificates.
    pub tls: Option<ListenerTls>,
    /// Which routes may attach.
    pub allowed_routes: Option<AllowedRoutes>,
}

/// TLS of a listener.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListenerTls {
    /// `Terminate` or `Passthrough`.
    pub mode: Option<String>,
    /// Secrets with certificates.
    pub certificate_refs: Vec<ObjectRef>,
}

/// A reference to an object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectRef {
    /// Its group; each place has its own default.
    pub group: Option<String>,
    /// Its kind; each place has its own default.
    pub kind: Option<String>,
    /// Its namespace, by default the referring object's.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

/// Which routes may attach to a listener.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AllowedRoutes {
    /// From which namespaces.
    pub namespaces: Option<RouteNamespaces>,
    /// Of which kinds; all that fit the protocol if there are none.
    pub kinds: Vec<KindRef>,
}

/// Namespaces of routes.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteNamespaces {
    /// `Same`, `All`, `Selector` or `None`.
    pub from: Option<String>,
    /// Which, by their labels.
    pub selector: Option<LabelSelector>,
}

/// A kind of routes.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KindRef {
    /// Its group, by default the Gateway API's.
    pub group: Option<String>,
    /// Its name.
    pub kind: String,
}

macro_rules! route {
    ($name:ident, $kind:literal, $plural:literal) => {
        #[doc = concat!("A route of the kind ", $kind, ".")]
        #[derive(Debug, Clone, Deserialize)]
        pub struct $name {
            /// Metadata.
            pub metadata: ObjectMeta,
            /// What it asks for.
            #[serde(default)]
            pub spec: RouteSpec,
            /// What is said of it.
            #[serde(default)]
            pub status: Value,
        }
        kind!($name, $kind, $plural, NamespaceResourceScope);
    };
}

route!(HttpRoute, "HTTPRoute", "httproutes");
route!(GrpcRoute, "GRPCRoute", "grpcroutes");
route!(TlsRoute, "TLSRoute", "tlsroutes");

/// What a route asks for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteSpec {
    /// To what it wants to attach, with all fields as they were given.
    pub parent_refs: Vec<ParentRef>,
    /// Host names.
    pub hostnames: Vec<String>,
    /// Rules.
    pub rules: Vec<RuleSpec>,
}

/// To what a route wants to attach.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ParentRef {
    /// The group, by default the Gateway API's.
    pub group: Option<String>,
    /// The kind, by default Gateway.
    pub kind: Option<String>,
    /// The namespace, by default the route's.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
    /// One listener by its name; all if there is none.
    pub section_name: Option<String>,
    /// The listeners of one port; all if there is none.
    pub port: Option<i32>,
}

/// A rule of a route.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RuleSpec {
    /// What fits; everything if there is none.
    pub matches: Vec<MatchSpec>,
    /// What is changed.
    pub filters: Vec<FilterSpec>,
    /// Where to.
    pub backend_refs: Vec<BackendRef>,
    /// How long it may take.
    pub timeouts: Option<TimeoutSpec>,
}

/// What a match asks.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MatchSpec {
    /// The path.
    pub path: Option<TypedValue>,
    /// Headers.
    pub headers: Vec<NamedValue>,
    /// Query parameters.
    pub query_params: Vec<NamedValue>,
    /// The method of HTTP or of gRPC.
    pub method: Option<MethodSpec>,
}

/// A method.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum MethodSpec {
    /// Of HTTP.
    Http(String),
    /// Of gRPC.
    Grpc(GrpcMethod),
}

/// A service and a method of gRPC.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct GrpcMethod {
    /// `Exact` or `RegularExpression`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The service; any if there is none.
    pub service: Option<String>,
    /// The method; any if there is none.
    pub method: Option<String>,
}

/// A value and how it is compared.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct TypedValue {
    /// Such as `Exact`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The value.
    pub value: Option<String>,
}

/// A name, a value and how it is compared.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct NamedValue {
    /// Such as `Exact`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The name.
    pub name: String,
    /// The value.
    pub value: String,
}

/// A filter.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FilterSpec {
    /// Which one; the field of that name says the rest.
    #[serde(rename = "type")]
    pub kind: String,
    /// Headers of the request.
    pub request_header_modifier: Option<HeaderSpec>,
    /// Headers of the answer.
    pub response_header_modifier: Option<HeaderSpec>,
    /// Where copies go.
    pub request_mirror: Option<MirrorSpec>,
    /// Where clients are sent.
    pub request_redirect: Option<RedirectSpec>,
    /// What backends see.
    pub url_rewrite: Option<RewriteSpec>,
}

/// Headers to change.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct HeaderSpec {
    /// To set.
    pub set: Vec<NamedValue>,
    /// To add.
    pub add: Vec<NamedValue>,
    /// To remove.
    pub remove: Vec<String>,
}

/// Where copies go, and how many.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MirrorSpec {
    /// Where to.
    pub backend_ref: BackendRef,
    /// So many of a hundred.
    pub percent: Option<u32>,
    /// So many of so many.
    pub fraction: Option<FractionSpec>,
}

/// A share.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct FractionSpec {
    /// So many...
    pub numerator: u32,
    /// ...of so many; 100 if it is not given.
    pub denominator: Option<u32>,
}

/// A redirect.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RedirectSpec {
    /// Another scheme.
    pub scheme: Option<String>,
    /// Another host name.
    pub hostname: Option<String>,
    /// Another path.
    pub path: Option<PathSpec>,
    /// Another port.
    pub port: Option<u16>,
    /// The status, 302 if it is not given.
    pub status_code: Option<u16>,
}

/// A rewrite.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RewriteSpec {
    /// Another host name.
    pub hostname: Option<String>,
    /// Another path.
    pub path: Option<PathSpec>,
}

/// How a path changes.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PathSpec {
    /// All of it.
    pub replace_full_path: Option<String>,
    /// The prefix that was matched.
    pub replace_prefix_match: Option<String>,
}

/// A backend.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BackendRef {
    /// The group, by default core.
    pub group: Option<String>,
    /// The kind, by default Service.
    pub kind: Option<String>,
    /// The namespace, by default the route's.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
    /// The port.
    pub port: Option<i32>,
    /// Its share, 1 if it is not given.
    pub weight: Option<u32>,
    /// Changes for requests that go there.
    pub filters: Vec<FilterSpec>,
}

/// How long requests may take, as durations of GEP-2257.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TimeoutSpec {
    /// As a whole.
    pub request: Option<String>,
    /// At one backend.
    pub backend_request: Option<String>,
}

/// A ReferenceGrant.
#[derive(Debug, Clone, Deserialize)]
pub struct ReferenceGrant {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// What it grants.
    #[serde(default)]
    pub spec: GrantSpec,
}
kind!(ReferenceGrant, "ReferenceGrant", "referencegrants", NamespaceResourceScope);

/// Who may refer to what.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct GrantSpec {
    /// Who.
    pub from: Vec<ObjectFrom>,
    /// To what in the grant's namespace.
    pub to: Vec<ObjectTo>,
}

/// Who may refer.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ObjectFrom {
    /// Its group.
    pub group: String,
    /// Its kind.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
}

/// What may be referred to.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ObjectTo {
    /// Its group, empty for core.
    pub group: String,
    /// Its kind.
    pub kind: String,
    /// Its name; all if there is none.
    pub name: Option<String>,
}
