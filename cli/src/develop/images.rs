//! Manifests as they are, but for images that were just pushed: those stand in them by digest, so
//! that a new build is a change and the old pods go when the new ones are ready.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::images::{ImageName, InvalidName};

/// Digests of pushed images by their names.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Pushed(BTreeMap<String, String>);

impl Pushed {
    /// Notes that a name means this digest now; says whether that is new.
    pub(crate) fn note(&mut self, name: &ImageName, digest: &str) -> bool {
        self.0.insert(name.to_string(), digest.to_owned()).as_deref() != Some(digest)
    }

    /// Replaces the images of all containers in an object.
    pub(crate) fn put_into(&self, object: &mut Value) {
        if let Some(fields) = object.as_object_mut() {
            for (name, value) in fields {
                if ["containers", "initContainers"].contains(&name.as_str()) {
                    let containers = value.as_array_mut().into_iter().flatten();
                    containers.for_each(|container| self.replace(container));
                } else {
                    self.put_into(value);
                }
            }
        }
        for item in object.as_array_mut().into_iter().flatten() {
            self.put_into(item);
        }
    }

    fn replace(&self, container: &mut Value) {
        let Some(written) = container["image"].as_str() else { return };
        let name: Result<ImageName, InvalidName> = written.parse();
        let Ok(name) = name else { return };
        let full = name.to_string();
        // Names without the registry's host mean other registries in a manifest.
        if written != full && format!("{written}:latest") != full {
            return;
        }
        if let Some(digest) = self.0.get(&full) {
            container["image"] = Value::String(name.by_digest(digest));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn images_stand_by_digest_wherever_containers_are() {
        let mut pushed = Pushed::default();
        let name: ImageName = "shop/web:1".parse().unwrap();
        assert!(pushed.note(&name, "sha256:aa"));
        assert!(!pushed.note(&name, "sha256:aa") && pushed.note(&name, "sha256:bb"));
        let image = |image: &str| json!([{"name": "c", "image": image}]);
        let object = |web: &str| {
            json!({"spec": {"jobTemplate": {"spec": {"template": {"spec": {
                "containers": image(web),
                "initContainers": image("registry.coracle.internal/other:1")}}}}}})
        };
        let mut changed = object("registry.coracle.internal/shop/web:1");
        pushed.put_into(&mut changed);
        assert_eq!(changed, object("registry.coracle.internal/shop/web@sha256:bb"));
        let mut foreign = object("ghcr.io/shop/web:1");
        pushed.put_into(&mut foreign);
        assert_eq!(foreign, object("ghcr.io/shop/web:1"));
    }
}
