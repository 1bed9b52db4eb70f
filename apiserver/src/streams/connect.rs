//! The options of a connection as an object, which is what admission sees of the operation `CONNECT`. Pure.
//!
//! *Source:* `PodExecOptions` and its kin of `k8s.io/api/core/v1`; `ConnectResource` of `k8s.io/apiserver`.

use serde_json::{Map, Value, json};

use crate::query::{Query, encode};
use crate::request_info::ResourcePath;

/// Flags of a command's streams.
const FLAGS: [&str; 4] = ["stdin", "stdout", "stderr", "tty"];

/// The options that a request on a subresource connects with: `PodExecOptions`, `PodAttachOptions`,
/// `PodPortForwardOptions`, or those of a proxy. What is not asked for is left out.
pub(crate) fn connect_options(path: &ResourcePath, query: &Query) -> Value {
    let kind = match (path.resource.as_str(), path.subresource.as_str()) {
        (_, "exec") => "PodExecOptions",
        (_, "attach") => "PodAttachOptions",
        (_, "portforward") => "PodPortForwardOptions",
        ("pods", _) => "PodProxyOptions",
        ("services", _) => "ServiceProxyOptions",
        _ => "NodeProxyOptions",
    };
    let mut out = Map::new();
    match path.subresource.as_str() {
        "exec" | "attach" => {
            let set = FLAGS.into_iter().filter(|flag| query.is_true(flag));
            out.extend(set.map(|flag| (flag.to_owned(), Value::Bool(true))));
            if let Some(container) = query.get("container") {
                out.insert("container".to_owned(), container.into());
            }
            if path.subresource == "exec" {
                out.insert("command".to_owned(), query.all("command").collect());
            }
        }
        "portforward" => {
            let ports = query.all("ports").flat_map(|ports| ports.split(','));
            let ports: Vec<u16> = ports.filter_map(|port| port.parse().ok()).collect();
            if !ports.is_empty() {
                out.insert("ports".to_owned(), json!(ports));
            }
        }
        _ => {
            out.insert("path".to_owned(), format!("/{}", path.rest).into());
        }
    }
    out.insert("kind".to_owned(), kind.into());
    out.insert("apiVersion".to_owned(), "v1".into());
    Value::Object(out)
}

/// The query that a request with these options would have had.
pub(crate) fn query_of(options: &Value) -> Query {
    let mut text = String::new();
    let mut add = |name: &str, value: &str| {
        text.push_str(if text.is_empty() { "" } else { "&" });
        text.push_str(name);
        text.push('=');
        encode(value, &mut text);
    };
    for flag in FLAGS {
        if options[flag] == true {
            add(flag, "true");
        }
    }
    if let Some(container) = options["container"].as_str() {
        add("container", container);
    }
    for word in options["command"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        add("command", word);
    }
    for port in options["ports"].as_array().into_iter().flatten() {
        add("ports", &port.to_string());
    }
    Query::parse(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(resource: &str, subresource: &str, query: &str, expected: &Value) {
        let path = ResourcePath {
            resource: resource.to_owned(),
            subresource: subresource.to_owned(),
            rest: "a/b".to_owned(),
            ..ResourcePath::default()
        };
        let options = connect_options(&path, &Query::parse(query));
        let mut plain = options.clone();
        plain.as_object_mut().unwrap().remove("apiVersion");
        assert_eq!(plain, *expected);
        if subresource != "proxy" {
            assert_eq!(connect_options(&path, &query_of(&options)), options, "there and back");
        }
    }

    #[test]
    fn options_are_an_object() {
        check(
            "pods",
            "exec",
            "command=sh&command=-c&command=a+%26%20b&stdin=true&stdout=1&stderr=false&container=c",
            &json!({"kind": "PodExecOptions", "command": ["sh", "-c", "a & b"], "stdin": true, "stdout": true,
                "container": "c"}),
        );
        check("pods", "attach", "tty=true", &json!({"kind": "PodAttachOptions", "tty": true}));
        check(
            "pods",
            "portforward",
            "ports=80,81&ports=82",
            &json!({"kind": "PodPortForwardOptions", "ports": [80, 81, 82]}),
        );
        check("pods", "portforward", "", &json!({"kind": "PodPortForwardOptions"}));
        check("pods", "proxy", "x=y", &json!({"kind": "PodProxyOptions", "path": "/a/b"}));
        check("services", "proxy", "", &json!({"kind": "ServiceProxyOptions", "path": "/a/b"}));
        check("nodes", "proxy", "", &json!({"kind": "NodeProxyOptions", "path": "/a/b"}));
    }
}
