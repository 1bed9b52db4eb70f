//! The node's path for a stream. Pure.
//!
//! *Source:* the kubelet's paths, and its own names of the options.

use coracle_api::meta;
use serde_json::Value;

use crate::query::{Query, encode};

/// `/exec/NAMESPACE/POD/CONTAINER?...` or the same with `attach`.
pub(super) fn command_path(action: &str, pod: &Value, container: &str, query: &Query) -> String {
    let mut path = node_path(action, pod, Some(container));
    let mut separator = '?';
    let mut add = |name: &str, value: &str| {
        path.push(separator);
        separator = '&';
        path.push_str(name);
        path.push('=');
        encode(value, &mut path);
    };
    let flags = [("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty")];
    for (name, kubelets) in flags {
        if query.is_true(name) {
            add(kubelets, "1");
        }
    }
    for word in query.all("command") {
        add("command", word);
    }
    path
}

/// `/portForward/NAMESPACE/POD[?port=...]`.
pub(super) fn forward_path(pod: &Value, query: &Query) -> String {
    let mut path = node_path("portForward", pod, None);
    let ports: Vec<&str> = query.all("ports").filter(|ports| !ports.is_empty()).collect();
    if !ports.is_empty() {
        path.push_str("?port=");
        encode(&ports.join(","), &mut path);
    }
    path
}

/// `/ACTION/NAMESPACE/POD[/CONTAINER]`.
pub(super) fn node_path(action: &str, pod: &Value, container: Option<&str>) -> String {
    let mut path = format!("/{action}");
    for part in [Some(meta::namespace(pod)), Some(meta::name(pod)), container].into_iter().flatten()
    {
        path.push('/');
        encode(part, &mut path);
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn options_go_on_by_the_kubelets_names() {
        let pod = json!({"metadata": {"name": "p", "namespace": "n"}});
        let check = |query: &str, expected: &str| {
            assert_eq!(command_path("exec", &pod, "c", &Query::parse(query)), expected);
        };
        check("", "/exec/n/p/c");
        check(
            "command=sh&command=-c&command=a+%26%20b&stdin=true&stdout=1&stderr=false&tty=true&container=c",
            "/exec/n/p/c?input=1&output=1&tty=1&command=sh&command=-c&command=a%20%26%20b",
        );
        check("command=", "/exec/n/p/c?command=");
    }

    #[test]
    fn ports_are_one_list() {
        let pod = json!({"metadata": {"name": "p", "namespace": "n"}});
        let check = |query: &str, expected: &str| {
            assert_eq!(forward_path(&pod, &Query::parse(query)), expected);
        };
        check("", "/portForward/n/p");
        check("ports=80&ports=81", "/portForward/n/p?port=80%2C81");
    }
}
