//! In which volumes the host's services keep a container's things, as its pod's annotations say.

use std::collections::BTreeMap;

use coracle_runtime::mounts::Service;
use k8s_openapi::api::core::v1::{Container, Pod, VolumeMount};

use super::mounts::{self, Mounted};
use super::payload::Content;
use crate::config::env::Environment;
use crate::pods::state::Fault;
use crate::runtime::ServiceRequest;

/// What the annotations begin with; the container's name follows, the volume's is the value.
const CONFIG_ANNOTATION: &str = "coracle.dev/config.";
const KEYVALUE_ANNOTATION: &str = "coracle.dev/keyvalue.";
const BLOBSTORE_ANNOTATION: &str = "coracle.dev/blobstore.";

/// Names the annotation by which a container is granted a place for what a service keeps.
#[must_use]
pub fn annotation(service: Service, container: &str) -> String {
    let prefix = match service {
        Service::Config => CONFIG_ANNOTATION,
        Service::KeyValue => KEYVALUE_ANNOTATION,
        Service::Blobstore => BLOBSTORE_ANNOTATION,
    };
    format!("{prefix}{container}")
}

/// The folder of a volume that is a service's own, so that one volume serves several; configuration
/// is the volume itself.
fn folder(service: Service) -> Option<&'static str> {
    match service {
        Service::Config => None,
        Service::KeyValue => Some("keyvalue"),
        Service::Blobstore => Some("blobstore"),
    }
}

/// The file by which a Secret or ConfigMap names a store elsewhere. *Source:* `coracle_runtime`, which reads it.
const URL_FILE: &str = "url";

/// Lists what the services keep for `container`, and where.
///
/// # Errors
/// A fault `CreateContainerConfigError` for a volume that is not there, or cannot be written.
pub fn services(
    pod: &Pod,
    container: &Container,
    volumes: &BTreeMap<String, Mounted>,
    env: &Environment,
) -> Result<Vec<ServiceRequest>, Fault> {
    let annotations = pod.metadata.annotations.as_ref();
    let mut granted = Vec::new();
    for service in Service::ALL {
        let annotation = annotation(service, &container.name);
        let named = annotations.and_then(|map| map.get(&annotation));
        let Some(name) = named.map(|name| name.trim()) else { continue };
        let volume = volumes.get(name).ok_or_else(|| {
            fault(format!("annotation {annotation}: the pod has no volume \"{name}\""))
        })?;
        let elsewhere = service == Service::KeyValue && names_a_store(&volume.content);
        if service != Service::Config && !elsewhere && !is_own(&volume.content) {
            return Err(fault(unfit(service, &annotation, name)));
        }
        let wanted = VolumeMount {
            name: name.to_owned(),
            mount_path: "/".to_owned(),
            sub_path: folder(service).filter(|_| !elsewhere).map(str::to_owned),
            read_only: Some(elsewhere || service == Service::Config),
            ..VolumeMount::default()
        };
        let mount = mounts::one(&wanted, volume, env)?;
        granted.push(ServiceRequest { service, mount });
    }
    Ok(granted)
}

/// Why a volume is no place to keep something.
fn unfit(service: Service, annotation: &str, name: &str) -> String {
    let or = match service {
        Service::KeyValue => ", or a secret whose \"url\" names a Redis",
        Service::Config | Service::Blobstore => "",
    };
    format!(
        "annotation {annotation}: volume \"{name}\" must be an emptyDir or a \
         persistentVolumeClaim that can be written{or}"
    )
}

/// Whether a volume says where the values are: they are not in it.
fn names_a_store(content: &Content) -> bool {
    match content {
        Content::Files(payload) => payload.files.contains_key(URL_FILE),
        Content::Empty { .. }
        | Content::Persistent { .. }
        | Content::Image { .. }
        | Content::Host { .. } => false,
    }
}

/// Whether a volume is the pod's own to write.
fn is_own(content: &Content) -> bool {
    match content {
        Content::Empty { .. } => true,
        Content::Persistent { read_only, .. } => !read_only,
        Content::Files(_) | Content::Image { .. } | Content::Host { .. } => false,
    }
}

fn fault(message: String) -> Fault {
    Fault { reason: "CreateContainerConfigError".into(), message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volumes::payload::File;
    use serde_json::json;

    /// What the services of container `c` get, or why they get nothing.
    fn check(annotations: serde_json::Value, want: &[&str]) {
        let disk = tempfile::tempdir().unwrap();
        let place = disk.path().join("v");
        std::fs::create_dir(&place).unwrap();
        let empty = Content::Empty { in_memory: false, size_limit_bytes: Some(8 << 20) };
        let files = Content::Files(crate::volumes::Payload::default());
        let url = File { bytes: b"redis://cache".to_vec(), mode: 0o644 };
        let files_of = BTreeMap::from([(URL_FILE.to_owned(), url)]);
        let redis = crate::volumes::Payload { files: files_of, secret: true };
        let volume = |content| Mounted { place: place.clone(), content };
        let volumes = BTreeMap::from([
            ("data".to_owned(), volume(empty)),
            ("settings".to_owned(), volume(files)),
            ("redis".to_owned(), volume(Content::Files(redis))),
        ]);
        let pod = json!({"metadata": {"name": "p", "annotations": annotations},
            "spec": {"containers": [{"name": "c"}]}});
        let pod: Pod = serde_json::from_value(pod).unwrap();
        let container = &pod.spec.as_ref().unwrap().containers[0];
        let found = services(&pod, container, &volumes, &Environment::default());
        let told: Vec<String> = match found {
            Ok(granted) => granted
                .iter()
                .map(|one| {
                    let bound = one.mount.quota.as_ref().map(|quota| quota.bytes_max >> 20);
                    format!("{:?} {} {bound:?}", one.service, one.mount.read_only)
                })
                .collect(),
            Err(fault) => vec![format!("{}: {}", fault.reason, fault.message)],
        };
        assert_eq!(told, want);
    }

    #[test]
    fn annotations_name_volumes() {
        let [config, values, objects] = Service::ALL.map(|service| annotation(service, "c"));
        check(json!({}), &[]);
        check(json!({(annotation(Service::KeyValue, "other")): "data"}), &[]);
        check(
            json!({(values.as_str()): "data", (objects.as_str()): " data", (config): "settings"}),
            &["Config true None", "KeyValue false Some(9)", "Blobstore false Some(9)"],
        );
        check(json!({(values.as_str()): "redis"}), &["KeyValue true None"]);
        check(
            json!({(values.as_str()): "settings"}),
            &[
                "CreateContainerConfigError: annotation coracle.dev/keyvalue.c: volume \"settings\" \
               must be an emptyDir or a persistentVolumeClaim that can be written, or a secret whose \
               \"url\" names a Redis",
            ],
        );
        check(
            json!({(objects.as_str()): "redis"}),
            &["CreateContainerConfigError: annotation coracle.dev/blobstore.c: volume \"redis\" \
               must be an emptyDir or a persistentVolumeClaim that can be written"],
        );
        check(
            json!({(values): "none"}),
            &["CreateContainerConfigError: annotation coracle.dev/keyvalue.c: the pod has no \
               volume \"none\""],
        );
        check(
            json!({(objects): "settings"}),
            &["CreateContainerConfigError: annotation coracle.dev/blobstore.c: volume \
               \"settings\" must be an emptyDir or a persistentVolumeClaim that can be written"],
        );
    }
}
