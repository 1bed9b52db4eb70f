//! What a request asks for, read from its method, path and query alone.
//!
//! The URL grammar of Kubernetes: `/api/v1/...` for the core group, `/apis/GROUP/VERSION/...` for the others,
//! then `[namespaces/NS/]RESOURCE[/NAME[/SUBRESOURCE[/REST]]]`; everything else is a non-resource path.
//! No IO here, and no look at which resources exist.

use crate::query::{Query, percent_decode};
use http::Method;

/// A request's verb as authorization, metrics and audit name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Read one object.
    Get,
    /// Read a collection.
    List,
    /// Follow a collection or an object.
    Watch,
    /// Make an object.
    Create,
    /// Replace an object.
    Update,
    /// Change parts of an object.
    Patch,
    /// Delete one object.
    Delete,
    /// Delete a collection.
    DeleteCollection,
    /// `POST` on a non-resource path.
    Post,
    /// `PUT` on a non-resource path.
    Put,
    /// `HEAD` on a non-resource path.
    Head,
    /// `OPTIONS` on any path.
    Options,
    /// A method that Kubernetes has no verb for.
    Other,
}

impl Verb {
    /// The verb's name in lower case, as RBAC rules spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Verb::Get => "get",
            Verb::List => "list",
            Verb::Watch => "watch",
            Verb::Create => "create",
            Verb::Update => "update",
            Verb::Patch => "patch",
            Verb::Delete => "delete",
            Verb::DeleteCollection => "deletecollection",
            Verb::Post => "post",
            Verb::Put => "put",
            Verb::Head => "head",
            Verb::Options => "options",
            Verb::Other => "other",
        }
    }

    fn of_non_resource(method: &Method) -> Verb {
        match method.as_str() {
            "GET" => Verb::Get,
            "POST" => Verb::Post,
            "PUT" => Verb::Put,
            "PATCH" => Verb::Patch,
            "DELETE" => Verb::Delete,
            "HEAD" => Verb::Head,
            "OPTIONS" => Verb::Options,
            _ => Verb::Other,
        }
    }

    fn of_resource(method: &Method) -> Verb {
        match method.as_str() {
            "GET" | "HEAD" => Verb::Get,
            "POST" => Verb::Create,
            "PUT" => Verb::Update,
            "PATCH" => Verb::Patch,
            "DELETE" => Verb::Delete,
            "OPTIONS" => Verb::Options,
            _ => Verb::Other,
        }
    }
}

/// The resource part of a request; empty strings stand for "not in the path".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourcePath {
    /// API group, `""` for the core group.
    pub group: String,
    /// API version, `v1`.
    pub version: String,
    /// Namespace, `""` for cluster-scoped objects and for lists over all namespaces.
    pub namespace: String,
    /// Plural resource name, `pods`.
    pub resource: String,
    /// Subresource, `status`, or `""`.
    pub subresource: String,
    /// Object name; for lists and watches, the name that a `metadata.name=` field selector fixes.
    pub name: String,
    /// What follows the subresource, for `proxy`: without a leading slash, still percent-encoded.
    pub rest: String,
    /// Whether the object is named by the path itself and not by a field selector.
    pub named_in_path: bool,
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestInfo {
    /// The path as sent, without query.
    pub path: String,
    /// What is to be done.
    pub verb: Verb,
    /// The resource, or `None` for a non-resource path such as `/version`.
    pub resource: Option<ResourcePath>,
}

/// Subresources of a Namespace; every other word after `namespaces/NS/` is a resource inside that namespace.
const NAMESPACE_SUBRESOURCES: [&str; 2] = ["status", "finalize"];

impl RequestInfo {
    /// Reads a request's method, path and query.
    ///
    /// Total: what does not follow the resource grammar is a non-resource request, and the router answers 404 to it
    /// when it knows no such path.
    ///
    /// *Source:* Kubernetes API concepts, "Resource URIs"; `watch=true` and a `metadata.name` field selector change
    /// verb and name as they do there, because RBAC rules by `resourceNames` depend on it.
    pub fn parse(method: &Method, path: &str, query: &Query) -> RequestInfo {
        let (watched, resource) = match without_watch(path) {
            Some(path) => (true, parse_resource(&path)),
            None => (false, parse_resource(path)),
        };
        let Some(mut resource) = resource else {
            return RequestInfo {
                path: path.to_owned(),
                verb: Verb::of_non_resource(method),
                resource: None,
            };
        };
        let mut verb = Verb::of_resource(method);
        if watched && verb != Verb::Get {
            // Below `/watch/` one can only watch.
            verb = Verb::Other;
        }
        if resource.name.is_empty() {
            if verb == Verb::Get {
                verb = if watched || query.is_true("watch") { Verb::Watch } else { Verb::List };
            } else if verb == Verb::Delete {
                verb = Verb::DeleteCollection;
            }
            if let Some(name) = query.get("fieldSelector").and_then(name_in_field_selector) {
                resource.name = name.to_owned();
            }
        } else {
            resource.named_in_path = true;
            let watches = watched || query.is_true("watch");
            if verb == Verb::Get && resource.subresource.is_empty() && watches {
                verb = Verb::Watch;
            }
        }
        RequestInfo { path: path.to_owned(), verb, resource: Some(resource) }
    }
}

/// The path below `/watch/`, the older way of asking for a watch: `/api/v1/watch/pods` is `/api/v1/pods?watch=true`.
fn without_watch(path: &str) -> Option<String> {
    let mut parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let place = match parts.as_slice() {
        ["api", _, "watch", _, ..] => 2,
        ["apis", _, _, "watch", _, ..] => 3,
        _ => return None,
    };
    parts.remove(place);
    Some(format!("/{}", parts.join("/")))
}

/// The resource part of a path, or `None` when it is a discovery or other non-resource path.
fn parse_resource(path: &str) -> Option<ResourcePath> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (group, version, rest) = match parts.as_slice() {
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return None,
    };
    let (namespace, rest) = split_namespace(rest);
    let (resource, rest) = rest.split_first()?;
    let (name, rest) = rest.split_first().unwrap_or((&"", &[]));
    let (subresource, rest) = rest.split_first().unwrap_or((&"", &[]));
    Some(ResourcePath {
        group: group.to_owned(),
        version: version.to_owned(),
        namespace: percent_decode(namespace),
        resource: (*resource).to_owned(),
        subresource: (*subresource).to_owned(),
        name: percent_decode(name),
        rest: rest.join("/"),
        named_in_path: false,
    })
}

/// Takes `namespaces/NS` off the front when a resource inside that namespace follows.
///
/// For the Namespace object itself the path stays whole, and its name is the request's namespace as well.
fn split_namespace<'a, 'b>(parts: &'a [&'b str]) -> (&'b str, &'a [&'b str]) {
    match parts {
        ["namespaces", namespace] => (namespace, parts),
        ["namespaces", namespace, third, ..] if NAMESPACE_SUBRESOURCES.contains(third) => {
            (namespace, parts)
        }
        ["namespaces", namespace, ..] => (namespace, parts.get(2..).unwrap_or_default()),
        _ => ("", parts),
    }
}

/// The name that `metadata.name=NAME` fixes in a field selector.
fn name_in_field_selector(selector: &str) -> Option<&str> {
    selector.split(',').find_map(|term| {
        let value = term.trim().strip_prefix("metadata.name=")?;
        let value = value.strip_prefix('=').unwrap_or(value);
        (!value.is_empty()).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(request: &str, expected: Expect) {
        let (method, target) = request.split_once(' ').unwrap();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let info = RequestInfo::parse(&method.parse().unwrap(), path, &Query::parse(query));
        let text = match info.resource {
            None => format!("{} {}", info.verb.as_str(), info.path),
            Some(r) => format!(
                "{} {}/{} ns={} {}/{} name={} rest={}",
                info.verb.as_str(),
                r.group,
                r.version,
                r.namespace,
                r.resource,
                r.subresource,
                r.name,
                r.rest
            ),
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn the_older_way_of_watching() {
        check("GET /api/v1/watch/namespaces/a/pods", expect!["watch /v1 ns=a pods/ name= rest="]);
        check(
            "GET /apis/apps/v1/watch/deployments",
            expect!["watch apps/v1 ns= deployments/ name= rest="],
        );
        check(
            "GET /api/v1/watch/namespaces/a/pods/b",
            expect!["watch /v1 ns=a pods/ name=b rest="],
        );
        for method in ["DELETE", "POST", "PUT", "PATCH"] {
            let asked = format!("{method} /api/v1/watch/namespaces/a/pods");
            check(&asked, expect!["other /v1 ns=a pods/ name= rest="]);
        }
    }

    #[test]
    fn non_resource_paths() {
        check("GET /version", expect!["get /version"]);
        check("GET /api", expect!["get /api"]);
        check("GET /api/v1", expect!["get /api/v1"]);
        check("GET /apis/apps/v1", expect!["get /apis/apps/v1"]);
        check("POST /v2/app/blobs/uploads/", expect!["post /v2/app/blobs/uploads/"]);
    }

    #[test]
    fn resources() {
        check("GET /api/v1/pods", expect!["list /v1 ns= pods/ name= rest="]);
        check("GET /api/v1/namespaces/a/pods?watch=1", expect!["watch /v1 ns=a pods/ name= rest="]);
        check("GET /api/v1/namespaces/a/pods/x", expect!["get /v1 ns=a pods/ name=x rest="]);
        check(
            "GET /api/v1/namespaces/a/pods/x/log?follow=true",
            expect!["get /v1 ns=a pods/log name=x rest="],
        );
        check(
            "PUT /apis/apps/v1/namespaces/a/deployments/x/scale",
            expect!["update apps/v1 ns=a deployments/scale name=x rest="],
        );
        check(
            "DELETE /api/v1/namespaces/a/pods",
            expect!["deletecollection /v1 ns=a pods/ name= rest="],
        );
        check(
            "GET /api/v1/nodes/n/proxy/containerLogs/a/b",
            expect!["get /v1 ns= nodes/proxy name=n rest=containerLogs/a/b"],
        );
    }

    #[test]
    fn namespaces_are_both_scope_and_resource() {
        check("GET /api/v1/namespaces", expect!["list /v1 ns= namespaces/ name= rest="]);
        check("GET /api/v1/namespaces/a", expect!["get /v1 ns=a namespaces/ name=a rest="]);
        check(
            "PUT /api/v1/namespaces/a/finalize",
            expect!["update /v1 ns=a namespaces/finalize name=a rest="],
        );
        check(
            "PATCH /api/v1/namespaces/a/status",
            expect!["patch /v1 ns=a namespaces/status name=a rest="],
        );
    }

    #[test]
    fn a_field_selector_by_name_names_the_object() {
        check(
            "GET /api/v1/namespaces/a/pods?fieldSelector=metadata.name%3Dx&watch=true",
            expect!["watch /v1 ns=a pods/ name=x rest="],
        );
    }

    proptest::proptest! {
        #[test]
        fn any_path_is_understood_somehow(path in "/[a-z0-9%./:_-]{0,60}", query in "[a-zA-Z0-9=&%+.]{0,40}") {
            let query = Query::parse(&query);
            let info = RequestInfo::parse(&Method::GET, &path, &query);
            let is_resource = path.trim_matches('/').starts_with("api");
            proptest::prop_assert!(is_resource || info.resource.is_none());
        }
    }
}
