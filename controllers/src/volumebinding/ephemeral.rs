//! Claims that pods bring along: made from the template in the pod, gone with it.
//!
//! *Source:* KEP-1698 (generic ephemeral volumes).

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};

use crate::objects::{controller_reference, is_controlled_by, is_deleting, is_terminal, name};

/// Gives the name of the claim for a volume of a pod.
pub(super) fn claim_name(pod: &Pod, volume: &str) -> String {
    format!("{}-{volume}", name(&pod.metadata))
}

/// Lists the claims that a pod brings along and that are not there yet; `find` looks one up by name.
///
/// # Errors
/// A sentence for a claim of that name that belongs to somebody else.
pub(super) fn missing(
    pod: &Pod,
    find: impl Fn(&str) -> Option<std::sync::Arc<PersistentVolumeClaim>>,
) -> Result<Vec<PersistentVolumeClaim>, String> {
    if is_deleting(&pod.metadata) || is_terminal(pod) {
        return Ok(Vec::new());
    }
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let mut claims = Vec::new();
    for volume in volumes {
        let template = volume.ephemeral.as_ref().and_then(|own| own.volume_claim_template.clone());
        let Some(template) = template else { continue };
        let claim = claim_name(pod, &volume.name);
        match find(&claim) {
            Some(there) if is_controlled_by(&there.metadata, &pod.metadata) => {}
            Some(_) => {
                let pod = name(&pod.metadata);
                return Err(format!(
                    "PVC \"{claim}\" was not created for pod \"{pod}\" (pod is not owner)"
                ));
            }
            None => {
                let mut metadata = template.metadata.unwrap_or_default();
                metadata.name = Some(claim);
                metadata.namespace = pod.metadata.namespace.clone();
                metadata.owner_references = Some(vec![controller_reference(pod)]);
                let spec = Some(template.spec);
                claims.push(PersistentVolumeClaim { metadata, spec, status: None });
            }
        }
    }
    Ok(claims)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_brings_its_claims_along_once() {
        let template =
            json!({"metadata": {"labels": {"a": "b"}}, "spec": {"accessModes": ["ReadWriteOnce"]}});
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "web", "namespace": "n", "uid": "u"},
            "spec": {"containers": [], "volumes": [{"name": "v", "ephemeral": {"volumeClaimTemplate": template}}]}}))
        .unwrap();
        let made = missing(&pod, |_| None).unwrap();
        let [claim] = made.as_slice() else { panic!("one claim") };
        assert_eq!(claim.metadata.name.as_deref(), Some("web-v"));
        assert_eq!(claim.metadata.labels.as_ref().unwrap()["a"], "b");
        let there = std::sync::Arc::new(claim.clone());
        assert!(missing(&pod, |_| Some(there.clone())).unwrap().is_empty());
        let foreign = missing(&pod, |_| Some(std::sync::Arc::default()));
        assert!(foreign.unwrap_err().contains("pod is not owner"));
    }
}
