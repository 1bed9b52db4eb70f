//! Ingress objects as listeners. Pure.
//!
//! *Source:* networking.k8s.io/v1 `Ingress`. What the API leaves open: `ImplementationSpecific` is
//! `Prefix`; a host of which no path matches goes on to rules without a host, then to the default
//! backend; requests in the clear are served for hosts with TLS as well.

use std::collections::HashMap;
use std::sync::Arc;

use http::StatusCode;
use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, Ingress, IngressBackend, IngressClass, IngressSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::annotations::Asked;
use super::backend::{PortRef, Services, resolve};
use super::hostname::{HostPattern, Star};
use super::matching::{Match, PathMatch};
use super::routes::{Entry, Listener, Origin, Protocol, Rule, Target};
use crate::table::ServiceKey;

/// The `controller` of IngressClasses that we serve.
pub const CONTROLLER: &str = "coracle.dev/ingress";

/// The older way to name a class. *Source:* Ingress before networking.k8s.io/v1.
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";

/// Where HTTP in the clear comes in.
pub const HTTP_PORT: u16 = 80;
/// Where TLS comes in.
pub const HTTPS_PORT: u16 = 443;

/// Whether an Ingress is served here: its class is one of ours.
#[must_use]
pub fn is_ours(ingress: &Ingress, classes: &[Arc<IngressClass>]) -> bool {
    let named = ingress.spec.as_ref().and_then(|spec| spec.ingress_class_name.as_deref());
    let annotations = ingress.metadata.annotations.as_ref();
    let noted = || annotations?.get(CLASS_ANNOTATION).map(String::as_str);
    let Some(name) = named.or_else(noted) else { return false };
    classes.iter().any(|class| {
        let controller = class.spec.as_ref().and_then(|spec| spec.controller.as_deref());
        class.metadata.name.as_deref() == Some(name) && controller == Some(CONTROLLER)
    })
}

/// The listeners for all Ingresses together: rules for one host may be in several of them.
#[must_use]
pub fn listeners(ingresses: &[Arc<Ingress>], services: &Services<'_>) -> Vec<Listener> {
    let mut of = ByHost::default();
    let mut defaults = Vec::new();
    for ingress in ingresses {
        let Some(spec) = &ingress.spec else { continue };
        let with = With::of(&ingress.metadata, services);
        let secure = spec.tls.as_ref().is_some_and(|all| !all.is_empty());
        let ports: &[u16] = if secure { &[HTTP_PORT, HTTPS_PORT] } else { &[HTTP_PORT] };
        for entry in with.entries(spec) {
            for port in ports {
                of.listener(*port, &entry.host).entries.push(entry.clone());
            }
        }
        if let Some(backend) = &spec.default_backend {
            let entry = with.entry(HostPattern::Any, PathMatch::prefix("/"), backend);
            for port in ports {
                let mut last = listener(*port, HostPattern::Any);
                last.entries.push(entry.clone());
                defaults.push(last);
            }
        }
        add_certificates(&mut of, &with.origin.namespace, spec);
    }
    // Of equally close listeners the earlier is asked first: default backends are the last word.
    of.0.into_values().chain(defaults).collect()
}

#[derive(Default)]
struct ByHost(HashMap<(u16, HostPattern), Listener>);

impl ByHost {
    fn listener(&mut self, port: u16, host: &HostPattern) -> &mut Listener {
        let fresh = || listener(port, host.clone());
        self.0.entry((port, host.clone())).or_insert_with(fresh)
    }
}

fn listener(port: u16, host: HostPattern) -> Listener {
    let protocol = if port == HTTPS_PORT { Protocol::Https } else { Protocol::Http };
    Listener { port, protocol, host, ends: false, certificates: Vec::new(), entries: Vec::new() }
}

fn add_certificates(of: &mut ByHost, namespace: &str, spec: &IngressSpec) {
    for tls in spec.tls.iter().flatten() {
        let Some(secret) = &tls.secret_name else { continue };
        let hosts = tls.hosts.iter().flatten().map(|host| Some(host.as_str()));
        let mut hosts: Vec<Option<&str>> = hosts.collect();
        if hosts.is_empty() {
            hosts.push(None);
        }
        for host in hosts {
            let host = HostPattern::parse(host, Star::OneLabel);
            let certificates = &mut of.listener(HTTPS_PORT, &host).certificates;
            certificates.push((namespace.to_owned(), secret.clone()));
        }
    }
}

/// What the entries of one Ingress have in common.
struct With<'a> {
    origin: Origin,
    created: String,
    asked: Asked,
    services: &'a Services<'a>,
}

impl<'a> With<'a> {
    fn of(metadata: &ObjectMeta, services: &'a Services<'a>) -> Self {
        let origin = Origin {
            kind: "Ingress",
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
        };
        let created = metadata.creation_timestamp.as_ref();
        Self {
            origin,
            created: created.map(|time| time.0.to_string()).unwrap_or_default(),
            asked: Asked::of(metadata),
            services,
        }
    }

    fn entries(&self, spec: &IngressSpec) -> Vec<Entry> {
        let mut entries = Vec::new();
        for rule in spec.rules.iter().flatten() {
            let host = HostPattern::parse(rule.host.as_deref(), Star::OneLabel);
            let paths = rule.http.iter().flat_map(|http| &http.paths);
            entries.extend(
                paths.map(|path| self.entry(host.clone(), path_match(path), &path.backend)),
            );
        }
        entries
    }

    fn entry(&self, host: HostPattern, path: PathMatch, backend: &IngressBackend) -> Entry {
        let mut rule = Rule::to(self.origin.clone(), vec![(1, self.target(backend))]);
        self.asked.apply(&mut rule);
        let (matching, created) = (Match::path(path), self.created.clone());
        Entry { host, matching, created, rule: Arc::new(rule) }
    }

    /// A Service that is not there is as one without endpoints.
    fn target(&self, backend: &IngressBackend) -> Target {
        let nothing = Target::Nothing(StatusCode::SERVICE_UNAVAILABLE);
        let Some(service) = &backend.service else { return nothing };
        let port = match &service.port {
            Some(port) => match (port.number, port.name.as_deref()) {
                (Some(number), _) => PortRef::Number(number),
                (None, Some(name)) => PortRef::Name(name),
                (None, None) => return nothing,
            },
            None => return nothing,
        };
        let namespace = self.origin.namespace.clone();
        let key = ServiceKey { namespace, name: service.name.clone() };
        resolve(self.services, key, port, false).map_or(nothing, Target::Service)
    }
}

fn path_match(path: &HTTPIngressPath) -> PathMatch {
    let text = path.path.as_deref().unwrap_or("/");
    if path.path_type == "Exact" {
        PathMatch::Exact(text.to_owned())
    } else {
        PathMatch::prefix(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::front::routes::Routes;
    use expect_test::{Expect, expect};
    use k8s_openapi::api::core::v1::Service;
    use serde_json::{Value, json};

    fn service(key: &ServiceKey) -> Option<Arc<Service>> {
        let ports = json!([{"name": "web", "port": 80}, {"name": "grpc", "port": 90, "appProtocol": "kubernetes.io/h2c"},
            {"name": "udp", "port": 53, "protocol": "UDP"}]);
        let service = json!({"metadata": {"name": key.name}, "spec": {"ports": ports}});
        (key.name != "absent").then(|| Arc::new(serde_json::from_value(service).unwrap()))
    }

    fn ingress(name: &str, created: &str, spec: &Value) -> Arc<Ingress> {
        let metadata = json!({"name": name, "namespace": "n", "creationTimestamp": created});
        Arc::new(serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap())
    }

    fn path(path: &str, kind: &str, service: &str) -> Value {
        json!({"path": path, "pathType": kind,
            "backend": {"service": {"name": service, "port": {"name": "web"}}}})
    }

    fn to(routes: &Routes, port: u16, by: Protocol, url: &str) -> String {
        let (host, path) = url.split_once('/').unwrap();
        let request = http::Request::builder().uri(format!("/{path}")).body(()).unwrap();
        let Some(hit) = routes.find((port, by), host, &request.into_parts().0) else {
            return "404".to_owned();
        };
        match hit.rule.target(7) {
            Some(Target::Service(backend)) => format!("{}:{}", backend.service.name, backend.port),
            Some(Target::Nothing(status)) => status.as_str().to_owned(),
            None => "none".to_owned(),
        }
    }

    fn check(routes: &Routes, urls: &[&str], wanted: &Expect) {
        let lines = urls.iter().map(|url| {
            format!(
                "{url} {} {}\n",
                to(routes, 80, Protocol::Http, url),
                to(routes, 443, Protocol::Https, url)
            )
        });
        wanted.assert_eq(&lines.collect::<String>());
    }

    #[test]
    fn the_closest_host_then_the_longest_path_wins_over_all_objects() {
        let all = [
            ingress(
                "a",
                "2026-01-02T00:00:00Z",
                &json!({"rules": [
                {"host": "foo.com", "http": {"paths": [path("/", "Prefix", "root"), path("/a", "Prefix", "a"),
                    path("/a", "Exact", "just-a")]}},
                {"host": "*.foo.com", "http": {"paths": [path("/", "Prefix", "star")]}},
                {"http": {"paths": [path("/any", "ImplementationSpecific", "any")]}}]}),
            ),
            ingress(
                "b",
                "2026-01-01T00:00:00Z",
                &json!({
                "defaultBackend": {"service": {"name": "rest", "port": {"number": 80}}},
                "tls": [{"hosts": ["bar.com"], "secretName": "s"}],
                "rules": [
                    {"host": "foo.com", "http": {"paths": [path("/a/b", "Prefix", "ab"), path("/a", "Prefix", "older")]}},
                    {"host": "bar.com", "http": {"paths": [path("/x", "Prefix", "absent"), path("/y", "Exact", "y")]}}]}),
            ),
        ];
        let routes = Routes::new(listeners(&all, &service));
        let urls = [
            "foo.com/",
            "foo.com/a",
            "foo.com/a/",
            "foo.com/a/b/c",
            "x.foo.com/q",
            "x.y.foo.com/q",
            "bar.com/any",
            "bar.com/x",
            "bar.com/y",
            "other/any/1",
        ];
        check(
            &routes,
            &urls,
            &expect![[r#"
            foo.com/ root:80 rest:80
            foo.com/a just-a:80 older:80
            foo.com/a/ older:80 older:80
            foo.com/a/b/c ab:80 ab:80
            x.foo.com/q star:80 rest:80
            x.y.foo.com/q rest:80 rest:80
            bar.com/any any:80 rest:80
            bar.com/x 503 503
            bar.com/y y:80 y:80
            other/any/1 any:80 rest:80
        "#]],
        );
        let names = |name| {
            routes.certificates(443, name).map(|(_, secret)| secret.as_str()).collect::<Vec<_>>()
        };
        assert_eq!((names("bar.com"), names("foo.com")), (vec!["s"], vec![]));
        assert_eq!(routes.ports().collect::<Vec<_>>(), [(80, false), (443, true)]);
    }

    #[test]
    fn only_classes_of_ours_are_served() {
        let class = |name: &str, controller: &str| -> Arc<IngressClass> {
            let class = json!({"metadata": {"name": name}, "spec": {"controller": controller}});
            Arc::new(serde_json::from_value(class).unwrap())
        };
        let classes = [class("coracle", CONTROLLER), class("nginx", "k8s.io/ingress-nginx")];
        let check = |name: Option<&str>, wanted| {
            let one = ingress("a", "2026-01-01T00:00:00Z", &json!({"ingressClassName": name}));
            assert_eq!(is_ours(&one, &classes), wanted, "{name:?}");
        };
        check(Some("coracle"), true);
        check(Some("nginx"), false);
        check(Some("gone"), false);
        check(None, false);
    }
}
