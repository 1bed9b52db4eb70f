//! `webhook` and `crd-conversion-webhook`: what the API server asks before it stores an object.
//!
//! *Source:* `admission.k8s.io` and the `ConversionReview` of `apiextensions.k8s.io`.

use std::io::Result;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::flags::Flags;
use crate::logs::log;
use crate::serve::{Asked, text};
use crate::tls::https;

/// Serves admission reviews.
pub async fn run(flags: Flags) -> Result<()> {
    let sidecar = flags.text("sidecar-image").unwrap_or_default().to_owned();
    let port = flags.number("port", 443) as u16;
    https(port, &flags, move |asked| admit(asked, sidecar.clone())).await
}

/// Serves conversions of `stable.example.com`.
pub async fn convert(flags: Flags) -> Result<()> {
    let port = flags.number("port", 443) as u16;
    https(port, &flags, |asked| async move {
        if asked.path() == "/readyz" {
            return text(200, "ok");
        }
        match serde_json::from_slice(&asked.body) {
            Ok(review) => answer(&converted(&review)),
            Err(error) => text(400, format!("failed to deserialize body: {error}\n")),
        }
    })
    .await
}

fn answer(review: &Value) -> Response {
    let builder = Response::builder().header("content-type", "application/json");
    builder.body(Body::from(review.to_string())).unwrap_or_default()
}

/// What is said about an object: nothing, a patch, or a refusal.
enum Said {
    Yes,
    Patch(Value),
    No(Value),
}

async fn admit(asked: Asked, sidecar: String) -> Response {
    let path = asked.path().to_owned();
    if path == "/readyz" {
        return text(200, "ok");
    }
    let Ok(review) = serde_json::from_slice::<Value>(&asked.body) else {
        return text(400, "the body is no AdmissionReview\n");
    };
    let request = &review["request"];
    log(&format!(
        "{path}: {} {} {}",
        request["operation"], request["resource"]["resource"], request["name"]
    ));
    if path == "/always-allow-delay-5s" {
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    if path == "/pods" && label(&request["object"], "webhook-e2e-test") == "wait-forever" {
        std::future::pending::<()>().await;
    }
    let said = match path.as_str() {
        "/always-allow-delay-5s" => Said::Yes,
        "/always-deny" => Said::No(json!({"message": "this webhook denies all requests"})),
        "/add-label" => add_label(&request["object"]),
        "/pods" => pods(&request["object"]),
        "/pods/attach" => attach(request),
        "/mutating-pods" => init_container(&request["object"]),
        "/mutating-pods-sidecar" => sidecar_container(&request["object"], &sidecar),
        "/configmaps" => data(
            request,
            [
                "the configmap contains unwanted key and value",
                "the configmap cannot be deleted because it contains unwanted key and value",
            ],
        ),
        "/custom-resource" => data(
            request,
            [
                "the custom resource contains unwanted data",
                "the custom resource cannot be deleted because it contains unwanted key and value",
            ],
        ),
        "/mutating-configmaps" | "/mutating-custom-resource" => stages(&request["object"]),
        "/crd" => definition(&request["object"]),
        _ => return text(404, "404 page not found\n"),
    };
    let mut response = json!({"uid": request["uid"], "allowed": !matches!(said, Said::No(_))});
    match said {
        Said::Yes => {}
        Said::No(status) => response["status"] = status,
        Said::Patch(patch) => {
            response["patchType"] = json!("JSONPatch");
            response["patch"] = json!(STANDARD.encode(patch.to_string()));
        }
    }
    answer(
        &json!({"apiVersion": review["apiVersion"], "kind": review["kind"], "response": response}),
    )
}

fn label<'a>(object: &'a Value, name: &str) -> &'a str {
    object["metadata"]["labels"][name].as_str().unwrap_or_default()
}

fn add_label(object: &Value) -> Said {
    let labels = object["metadata"]["labels"].as_object();
    let patch = |op: &str, path: &str, value: Value| {
        Said::Patch(json!([{"op": op, "path": path, "value": value}]))
    };
    match labels.filter(|labels| !labels.is_empty()) {
        None => patch("add", "/metadata/labels", json!({"added-label": "yes"})),
        Some(labels) => match labels.get("added-label") {
            None => patch("add", "/metadata/labels/added-label", json!("yes")),
            Some(value) if value != "yes" => {
                patch("replace", "/metadata/labels/added-label", json!("yes"))
            }
            Some(_) => Said::Yes,
        },
    }
}

fn containers<'a>(pod: &'a Value, list: &str) -> impl Iterator<Item = &'a str> {
    let all = pod["spec"][list].as_array().into_iter().flatten();
    all.filter_map(|container| container["name"].as_str())
}

fn pods(pod: &Value) -> Said {
    let mut complaints = Vec::new();
    if label(pod, "webhook-e2e-test") == "webhook-disallow" {
        complaints.push("the pod contains unwanted label;");
    }
    if containers(pod, "containers").any(|name| name.contains("webhook-disallow")) {
        complaints.push("the pod contains unwanted container name;");
    }
    if complaints.is_empty() {
        Said::Yes
    } else {
        Said::No(json!({"message": complaints.join(" ")}))
    }
}

fn attach(request: &Value) -> Said {
    let options = &request["object"];
    let is_meant = request["name"] == "to-be-attached-pod"
        && options["stdin"] == true
        && options["container"] == "container1";
    if !is_meant {
        return Said::Yes;
    }
    Said::No(json!({"message": "attaching to pod 'to-be-attached-pod' is not allowed"}))
}

fn init_container(pod: &Value) -> Said {
    let name = "webhook-added-init-container";
    let is_there = containers(pod, "initContainers").any(|known| known == name);
    if pod["metadata"]["name"] != "webhook-to-be-mutated" || is_there {
        return Said::Yes;
    }
    let container = json!({"image": "webhook-added-image", "name": name, "resources": {}});
    Said::Patch(json!([{"op": "add", "path": "/spec/initContainers", "value": [container]}]))
}

fn sidecar_container(pod: &Value, image: &str) -> Said {
    let name = "webhook-added-sidecar";
    if image.is_empty() {
        let message = "No image specified by the sidecar-image parameter";
        return Said::No(json!({"status": "Failure", "message": message, "code": 500}));
    }
    if containers(pod, "containers").any(|known| known == name) {
        return Said::Yes;
    }
    let container = json!({"image": image, "name": name, "resources": {}});
    Said::Patch(json!([{"op": "add", "path": "/spec/containers/-", "value": container}]))
}

/// Refuses what `data` says is unwanted when it comes, and what it says is to stay when it goes.
fn data(request: &Value, [unwanted, stays]: [&str; 2]) -> Said {
    let is_delete = request["operation"] == "DELETE";
    let object = if is_delete { &request["oldObject"] } else { &request["object"] };
    let word = object["data"]["webhook-e2e-test"].as_str().unwrap_or_default();
    match (word, is_delete) {
        ("webhook-disallow", false) => Said::No(json!({"reason": unwanted})),
        ("webhook-nondeletable", true) => Said::No(json!({"reason": stays})),
        _ => Said::Yes,
    }
}

fn stages(object: &Value) -> Said {
    let add = |path: &str| Said::Patch(json!([{"op": "add", "path": path, "value": "yes"}]));
    if object["data"]["mutation-stage-1"] == "yes" {
        return add("/data/mutation-stage-2");
    }
    if object["data"]["mutation-start"] == "yes" {
        return add("/data/mutation-stage-1");
    }
    Said::Yes
}

fn definition(object: &Value) -> Said {
    if label(object, "webhook-e2e-test") == "webhook-disallow" {
        return Said::No(json!({"message": "the crd contains unwanted label"}));
    }
    Said::Yes
}

fn converted(review: &Value) -> Value {
    let request = &review["request"];
    let wanted = request["desiredAPIVersion"].as_str().unwrap_or_default();
    let objects = request["objects"].as_array().into_iter().flatten();
    let all: std::result::Result<Vec<Value>, String> =
        objects.map(|object| convert_one(object.clone(), wanted)).collect();
    let response = match all {
        Ok(objects) => {
            json!({"uid": request["uid"], "convertedObjects": objects, "result": {"status": "Success"}})
        }
        Err(message) => {
            let result = json!({"status": "Failure", "message": message});
            json!({"uid": request["uid"], "convertedObjects": [], "result": result})
        }
    };
    json!({"apiVersion": review["apiVersion"], "kind": review["kind"], "response": response})
}

fn convert_one(mut object: Value, wanted: &str) -> std::result::Result<Value, String> {
    let from = object["apiVersion"].as_str().unwrap_or_default().to_owned();
    let members = object.as_object_mut().ok_or("an object to convert is none")?;
    let text = |value: Option<Value>| {
        value.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    match (from.as_str(), wanted) {
        ("stable.example.com/v1", "stable.example.com/v2") => {
            if let Some(both) = members.remove("hostPort") {
                let both = text(Some(both));
                let (host, port) = both
                    .split_once(':')
                    .ok_or_else(|| format!("invalid hostPort value `{both}`"))?;
                members.insert("host".to_owned(), json!(host));
                members.insert("port".to_owned(), json!(port));
            }
        }
        ("stable.example.com/v2", "stable.example.com/v1") => {
            let (host, port) = (members.remove("host"), members.remove("port"));
            if host.is_some() || port.is_some() {
                members
                    .insert("hostPort".to_owned(), json!(format!("{}:{}", text(host), text(port))));
            }
        }
        _ => return Err(format!("unexpected conversion from {from:?} to {wanted:?}")),
    }
    object["apiVersion"] = json!(wanted);
    Ok(object)
}
