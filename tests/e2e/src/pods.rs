//! Short forms of what many tests do with pods.

use serde_json::{Value, json};

use crate::cluster::{Cluster, Output};
use crate::wait::eventually;

/// The image of the guest that does what its arguments say; also of containers that run tools.
pub const BEHAVE: &str = "registry.coracle.internal/behave:1";
/// The image of the smallest HTTP service.
pub const HELLO: &str = "registry.coracle.internal/hello:1";
/// The image of the HTTP service that does what the path says.
pub const HTTP: &str = "registry.coracle.internal/http-behave:1";
/// The image of the guest that waits for its stop notice.
pub const LIFECYCLE: &str = "registry.coracle.internal/lifecycle:1";

/// A pod with the label `app` that is its name.
#[must_use]
pub fn pod(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}}, "spec": spec})
}

/// A container that runs a script of the toolbox; `more` is merged into it.
#[must_use]
pub fn sh(name: &str, script: &str, more: &Value) -> Value {
    let container = json!({"name": name, "image": BEHAVE, "command": ["sh", "-c", script]});
    merged(container, more)
}

/// A container of an image; `more` is merged into it.
#[must_use]
pub fn container(name: &str, image: &str, more: &Value) -> Value {
    merged(json!({"name": name, "image": image}), more)
}

/// A Service of pods with the label `app`, on port 80, to `target`.
#[must_use]
pub fn service(name: &str, target: u16) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": target}]}})
}

fn merged(mut into: Value, more: &Value) -> Value {
    if let (Some(into), Some(more)) = (into.as_object_mut(), more.as_object()) {
        into.extend(more.clone());
    }
    into
}

impl Cluster {
    /// Pushes the usual images from the folder of the built guests.
    pub fn push_guests(&self, guests: &std::path::Path) {
        let all = ["behave", "hello_http", "http_behave", "lifecycle"];
        for (name, image) in all.into_iter().zip([BEHAVE, HELLO, HTTP, LIFECYCLE]) {
            let tag = image.rsplit('/').next().unwrap_or_default();
            self.push(tag, &guests.join(format!("{name}.wasm")));
        }
    }

    /// Applies objects together.
    pub fn make(&self, objects: &[Value]) {
        self.apply(&json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string());
    }

    /// Waits until an object (`pod/web`) has a value at a JSON pointer, and gives the object.
    pub fn shows(&self, object: &str, pointer: &str, wanted: impl Into<Value>) -> Value {
        let wanted = wanted.into();
        eventually(&format!("{object} has {wanted} at {pointer}"), || {
            let shown = self.get(&[object]);
            if shown.pointer(pointer) == Some(&wanted) { Ok(shown) } else { Err(shown) }
        })
    }

    /// Waits until a pod is there and Ready, and gives it.
    pub fn ready(&self, name: &str) -> Value {
        eventually(&format!("{name} is ready"), || {
            let output = self.kubectl(&["get", "pod", name, "-o", "json"]);
            let Ok(shown) = serde_json::from_str::<Value>(&output.stdout) else {
                return Err(output.stderr.into());
            };
            let conditions = shown["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let ready = conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "True");
            if ready { Ok(shown) } else { Err(shown["status"].clone()) }
        })
    }

    /// Waits until a pod has ended well, and gives what it printed.
    pub fn printed(&self, name: &str) -> String {
        eventually(&format!("{name} has ended"), || {
            let shown = self.get(&["pod", name]);
            let done = shown["status"]["phase"] == "Succeeded";
            if done {
                Ok(())
            } else {
                Err((shown["status"].clone(), self.kubectl(&["logs", name])))
            }
        });
        self.run(&["logs", name])
    }

    /// Waits until `kubectl describe` of an object says all of `parts`, and gives all that it says.
    pub fn says(&self, object: &str, parts: &[&str]) -> String {
        eventually(&format!("{object} says {parts:?}"), || {
            let said = self.run(&["describe", object]);
            if parts.iter().all(|part| said.contains(part)) { Ok(said) } else { Err(said) }
        })
    }

    /// Runs a script beside the first container of a pod.
    #[must_use]
    pub fn exec(&self, pod: &str, script: &str) -> Output {
        self.kubectl(&["exec", pod, "--", "sh", "-c", script])
    }

    /// Waits until a script beside the first container of a pod prints `wanted`.
    pub fn exec_prints(&self, pod: &str, script: &str, wanted: &str) {
        eventually(&format!("{script} in {pod} prints {wanted}"), || {
            let output = self.exec(pod, script);
            if output.ok && output.stdout.trim_end() == wanted { Ok(()) } else { Err(output) }
        });
    }
}
