//! Gateways and routes of a small world: where requests go, and what statuses say.

use std::collections::BTreeMap;
use std::sync::Arc;

use expect_test::{Expect, expect};
use k8s_openapi::api::core::v1::Service;
use serde_json::{Value, json};

use super::compile::listeners;
use super::status::{Surroundings, of_class, of_gateway, of_route};
use super::world::{Objects, World};
use crate::front::routes::{Protocol, Routes, SecretKey, Target};
use crate::table::ServiceKey;

fn service(key: &ServiceKey) -> Option<Arc<Service>> {
    let service = json!({"metadata": {"name": key.name}, "spec": {"ports": [{"port": 80}]}});
    (key.name != "absent").then(|| Arc::new(serde_json::from_value(service).unwrap()))
}

fn labels(namespace: &str) -> BTreeMap<String, String> {
    [("team".to_owned(), namespace.to_owned())].into()
}

fn is_certificate((_, name): &SecretKey) -> bool {
    name == "good"
}

fn object<T: serde::de::DeserializeOwned>(name: &str, spec: &Value) -> Arc<T> {
    let (namespace, name) = name.split_once('/').unwrap_or(("", name));
    let metadata = json!({"name": name, "namespace": namespace, "generation": 3,
        "creationTimestamp": "2026-01-01T00:00:00Z"});
    Arc::new(serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap())
}

fn to(name: &str) -> Value {
    json!([{"name": name, "port": 80}])
}

/// A world of one Gateway with these listeners, and these routes.
fn objects(listeners: &Value, http: &[(&str, Value)]) -> Objects {
    let gateway = json!({"gatewayClassName": "coracle", "listeners": listeners});
    Objects {
        classes: vec![
            object("coracle", &json!({"controllerName": "coracle.dev/gateway"})),
            object("other", &json!({"controllerName": "example.com/x"})),
        ],
        gateways: vec![
            object("n/gw", &gateway),
            object("n/foreign", &json!({"gatewayClassName": "other", "listeners": listeners})),
        ],
        http: http.iter().map(|(name, spec)| object(name, spec)).collect(),
        ..Objects::default()
    }
}

fn with<T>(objects: &Objects, then: impl FnOnce(&World<'_>) -> T) -> T {
    then(&World { objects, services: &service, labels: &labels })
}

fn goes(routes: &Routes, port: u16, request: &str) -> String {
    let mut words = request.split(' ');
    let (method, url) = (words.next().unwrap(), words.next().unwrap());
    let (host, path) = url.split_once('/').unwrap();
    let mut head = http::Request::builder().method(method).uri(format!("/{path}"));
    for header in words {
        let (name, value) = header.split_once('=').unwrap();
        head = head.header(name, value);
    }
    let head = head.body(()).unwrap().into_parts().0;
    let Some(hit) = routes.find((port, Protocol::Http), host, &head) else {
        return "404".to_owned();
    };
    match hit.rule.target(0) {
        Some(Target::Service(backend)) => backend.service.to_string(),
        Some(Target::Nothing(status)) => status.as_str().to_owned(),
        None => "none".to_owned(),
    }
}

/// The conditions of a status, a line each.
fn lines(conditions: &Value) -> String {
    let all = conditions.as_array().unwrap().iter();
    let line = |one: &Value| {
        let text = |name: &str| one[name].as_str().unwrap_or_default().to_owned();
        format!("{}={} {}\n", text("type"), text("status"), text("reason"))
    };
    all.map(line).collect()
}

fn http_listener() -> Value {
    json!([{"name": "http", "port": 80, "protocol": "HTTP"}])
}

#[test]
fn requests_go_where_the_spec_says() {
    let parent = json!([{"name": "gw"}]);
    let matches = json!([
        {"matches": [{"path": {"type": "PathPrefix", "value": "/"}}], "backendRefs": to("root")},
        {"matches": [{"path": {"type": "PathPrefix", "value": "/a"}}], "backendRefs": to("a")},
        {"matches": [{"path": {"type": "Exact", "value": "/a"}}], "backendRefs": to("exact")},
        {"matches": [{"path": {"type": "PathPrefix", "value": "/a"}, "method": "POST"}], "backendRefs": to("post")},
        {"matches": [{"path": {"type": "PathPrefix", "value": "/a"}, "headers": [{"name": "v", "value": "2"}]}],
            "backendRefs": to("v2")},
        {"matches": [{"path": {"type": "PathPrefix", "value": "/absent"}}], "backendRefs": to("absent")},
        {"matches": [{"path": {"type": "PathPrefix", "value": "/odd"}}], "backendRefs": to("root"),
            "filters": [{"type": "ExtensionRef", "extensionRef": {"group": "g", "kind": "K", "name": "x"}}]},
        {"matches": [{"path": {"type": "PathPrefix", "value": "/none"}}]},
    ]);
    let hosts = json!({"parentRefs": parent, "hostnames": ["a.b", "*.wild.b"], "rules": matches});
    let any = json!({"parentRefs": parent, "rules": [{"backendRefs": to("any")}]});
    let objects = objects(&http_listener(), &[("n/hosts", hosts), ("n/any", any)]);
    let routes = Routes::new(with(&objects, listeners));
    let requests = [
        "GET a.b/",
        "GET a.b/a",
        "GET a.b/a/",
        "POST a.b/a/x",
        "GET a.b/a/x v=2",
        "POST a.b/a/x v=2",
        "GET a.b/absent",
        "GET a.b/odd",
        "GET a.b/none",
        "GET x.y.wild.b/a",
        "GET other/a",
    ];
    let said: String =
        requests.iter().map(|one| format!("{one}: {}\n", goes(&routes, 80, one))).collect();
    expect![[r#"
        GET a.b/: n/root
        GET a.b/a: n/exact
        GET a.b/a/: n/a
        POST a.b/a/x: n/post
        GET a.b/a/x v=2: n/v2
        POST a.b/a/x v=2: n/post
        GET a.b/absent: 500
        GET a.b/odd: 500
        GET a.b/none: none
        GET x.y.wild.b/a: n/exact
        GET other/a: n/any
    "#]]
    .assert_eq(&said);
}

#[test]
fn grpc_methods_are_paths() {
    let parent = json!([{"name": "gw"}]);
    let method = |method: Value| json!([{"method": method}]);
    let spec = json!({"parentRefs": parent, "rules": [
        {"matches": method(json!({"service": "pkg.S", "method": "M"})), "backendRefs": to("both")},
        {"matches": method(json!({"service": "pkg.S"})), "backendRefs": to("service")},
        {"matches": method(json!({"method": "N"})), "backendRefs": to("method")},
    ]});
    let mut objects = objects(&http_listener(), &[]);
    objects.grpc = vec![object("n/grpc", &spec)];
    let routes = Routes::new(with(&objects, listeners));
    let said = ["pkg.S/M", "pkg.S/O", "other/N", "other/O"]
        .map(|path| goes(&routes, 80, &format!("POST h/{path}")));
    assert_eq!(said, ["n/both", "n/service", "n/method", "404"]);
}

/// Listeners and routes of which each shows another condition.
fn every_condition() -> Objects {
    let at = |more: Value| {
        let mut parent = json!({"name": "gw"});
        parent.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"parentRefs": [parent], "hostnames": ["a.b"], "rules": [{"backendRefs": to("root")}]})
    };
    let listeners = json!([
        {"name": "same", "port": 80, "protocol": "HTTP", "hostname": "*.b"},
        {"name": "team", "port": 81, "protocol": "HTTP", "allowedRoutes": {"namespaces":
            {"from": "Selector", "selector": {"matchLabels": {"team": "o"}}}}},
        {"name": "good", "port": 443, "protocol": "HTTPS", "tls": {"certificateRefs": [{"name": "good"}]}},
        {"name": "bad", "port": 444, "protocol": "HTTPS", "tls": {"certificateRefs": [{"name": "bad"}]}},
        {"name": "far", "port": 445, "protocol": "HTTPS",
            "tls": {"certificateRefs": [{"name": "good", "namespace": "o"}]}},
        {"name": "tcp", "port": 90, "protocol": "TCP"},
        {"name": "kinds", "port": 82, "protocol": "HTTP", "allowedRoutes": {"kinds": [{"kind": "TCPRoute"}]}},
    ]);
    let mut other_host = at(json!({"sectionName": "same"}));
    other_host["hostnames"] = json!(["a.c"]);
    let mut absent = at(json!({}));
    absent["rules"][0]["backendRefs"] = to("absent");
    let mut far = at(json!({}));
    far["rules"][0]["backendRefs"][0]["namespace"] = json!("o");
    let mut odd = at(json!({}));
    odd["rules"][0]["filters"] = json!([{"type": "CORS"}]);
    let mut elsewhere = at(json!({}));
    elsewhere["parentRefs"][0]["name"] = json!("foreign");
    let team = json!({"name": "gw", "namespace": "n", "sectionName": "team"});
    let routes = [
        ("n/good", at(json!({}))),
        ("n/section", at(json!({"sectionName": "nowhere"}))),
        ("n/host", other_host),
        ("n/absent", absent),
        ("n/far", far),
        ("n/odd", odd),
        ("n/elsewhere", elsewhere),
        ("o/team", json!({"parentRefs": [team], "rules": [{"backendRefs": to("root")}]})),
        ("p/team", json!({"parentRefs": [team], "rules": [{"backendRefs": to("root")}]})),
    ];
    objects(&listeners, &routes)
}

fn conditions_as_they_should_be() -> Expect {
    expect![[r#"
        Accepted=True Accepted
        --- gateway [{"type":"IPAddress","value":"192.0.2.1"}]
        Accepted=True ListenersNotValid
        Programmed=True Programmed
        --- same routes=4
        Accepted=True Accepted
        Programmed=True Programmed
        ResolvedRefs=True ResolvedRefs
        Conflicted=False NoConflicts
        --- team routes=1
        Accepted=True Accepted
        Programmed=True Programmed
        ResolvedRefs=True ResolvedRefs
        Conflicted=False NoConflicts
        --- good routes=4
        Accepted=True Accepted
        Programmed=True Programmed
        ResolvedRefs=True ResolvedRefs
        Conflicted=False NoConflicts
        --- bad routes=4
        Accepted=True Accepted
        Programmed=False Invalid
        ResolvedRefs=False InvalidCertificateRef
        Conflicted=False NoConflicts
        --- far routes=4
        Accepted=True Accepted
        Programmed=False Invalid
        ResolvedRefs=False RefNotPermitted
        Conflicted=False NoConflicts
        --- tcp routes=0
        Accepted=False UnsupportedProtocol
        Programmed=False Invalid
        ResolvedRefs=True ResolvedRefs
        Conflicted=False NoConflicts
        --- kinds routes=0
        Accepted=True Accepted
        Programmed=False Invalid
        ResolvedRefs=False InvalidRouteKinds
        Conflicted=False NoConflicts
        --- n/good
        Accepted=True Accepted
        ResolvedRefs=True ResolvedRefs
        --- n/section
        Accepted=False NoMatchingParent
        ResolvedRefs=True ResolvedRefs
        --- n/host
        Accepted=False NoMatchingListenerHostname
        ResolvedRefs=True ResolvedRefs
        --- n/absent
        Accepted=True Accepted
        ResolvedRefs=False BackendNotFound
        --- n/far
        Accepted=True Accepted
        ResolvedRefs=False RefNotPermitted
        --- n/odd
        Accepted=False UnsupportedValue
        ResolvedRefs=True ResolvedRefs
        --- n/elsewhere is not ours
        --- o/team
        Accepted=True Accepted
        ResolvedRefs=True ResolvedRefs
        --- p/team
        Accepted=False NotAllowedByListeners
        ResolvedRefs=True ResolvedRefs
    "#]]
}

#[test]
fn a_status_says_what_hosts_do() {
    let objects = every_condition();
    let said = with(&objects, |world| {
        let mut said = lines(&of_class(&objects.classes[0], "now")["conditions"]);
        let addresses = ["192.0.2.1".to_owned()];
        let with =
            Surroundings { addresses: &addresses, is_certificate: &is_certificate, now: "now" };
        let gateway = of_gateway(world, &objects.gateways[0], &with);
        said += &format!("--- gateway {}\n{}", gateway["addresses"], lines(&gateway["conditions"]));
        for one in gateway["listeners"].as_array().unwrap() {
            let name = one["name"].as_str().unwrap();
            said += &format!(
                "--- {name} routes={}\n{}",
                one["attachedRoutes"],
                lines(&one["conditions"])
            );
        }
        for route in world.routes() {
            let name = format!("{}/{}", route.namespace(), route.metadata.name.as_deref().unwrap());
            match of_route(world, &route, "now") {
                Some(status) => {
                    said += &format!("--- {name}\n{}", lines(&status["parents"][0]["conditions"]));
                }
                None => said += &format!("--- {name} is not ours\n"),
            }
        }
        said
    });
    conditions_as_they_should_be().assert_eq(&said);
}

#[test]
fn a_grant_opens_another_namespace_for_whom_it_names() {
    let mut spec = json!({"parentRefs": [{"name": "gw"}], "rules": [{"backendRefs": to("root")}]});
    spec["rules"][0]["backendRefs"][0]["namespace"] = json!("o");
    let mut objects = objects(&http_listener(), &[("n/far", spec)]);
    let mut check = |from: &str, to: Value, wanted: &str| {
        let from =
            json!([{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": from}]);
        objects.grants = vec![object("o/grant", &json!({"from": from, "to": [to]}))];
        let routes = Routes::new(with(&objects, listeners));
        assert_eq!(goes(&routes, 80, "GET h/"), wanted);
    };
    check("n", json!({"group": "", "kind": "Service"}), "o/root");
    check("n", json!({"group": "", "kind": "Service", "name": "root"}), "o/root");
    check("n", json!({"group": "", "kind": "Service", "name": "other"}), "500");
    check("n", json!({"group": "", "kind": "Secret"}), "500");
    check("m", json!({"group": "", "kind": "Service"}), "500");
}

#[test]
fn a_condition_keeps_its_time_and_what_others_say_stays() {
    let spec = json!({"parentRefs": [{"name": "gw"}], "rules": [{"backendRefs": to("root")}]});
    let mut objects = objects(&http_listener(), &[("n/r", spec)]);
    let first =
        with(&objects, |world| of_route(world, &world.routes().next().unwrap(), "first").unwrap());
    let mut said = first.clone();
    let foreign =
        json!({"controllerName": "example.com/x", "parentRef": {"name": "x"}, "conditions": []});
    said["parents"].as_array_mut().unwrap().push(foreign.clone());
    let mut route = (*objects.http[0]).clone();
    route.status = said;
    objects.http = vec![Arc::new(route)];
    let second =
        with(&objects, |world| of_route(world, &world.routes().next().unwrap(), "second").unwrap());
    assert_eq!(second["parents"][0], foreign);
    assert_eq!(second["parents"][1], first["parents"][0]);
    assert_eq!(second["parents"][1]["conditions"][0]["observedGeneration"], 3);
}
