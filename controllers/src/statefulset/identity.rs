//! Who a pod of a StatefulSet is: its name, labels, host name and volumes.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Pod, PodTemplateSpec, Volume,
};

use crate::objects::{name, namespace};
use crate::pods::from_template;

/// Label of a pod's revision, the name of a ControllerRevision.
pub(super) const REVISION_LABEL: &str = "controller-revision-hash";
const NAME_LABEL: &str = "statefulset.kubernetes.io/pod-name";
const INDEX_LABEL: &str = "apps.kubernetes.io/pod-index";

/// Gives the name of the pod of an ordinal.
pub(super) fn pod_name(set: &StatefulSet, ordinal: i32) -> String {
    format!("{}-{ordinal}", name(&set.metadata))
}

/// Gives the ordinal of a pod; `None` when its name is not of this StatefulSet.
pub(super) fn ordinal_of(set: &StatefulSet, pod: &Pod) -> Option<i32> {
    let rest = name(&pod.metadata).strip_prefix(name(&set.metadata))?.strip_prefix('-')?;
    let ordinal: i32 = rest.parse().ok()?;
    // `web-01` and `web-+1` are not ours.
    (ordinal.to_string() == rest).then_some(ordinal)
}

/// Gives the labels that say who the pod of an ordinal is.
///
/// *Source:* Kubernetes docs, "StatefulSets: Pod name label", "Pod index label".
pub(super) fn labels(set: &StatefulSet, ordinal: i32) -> BTreeMap<String, String> {
    BTreeMap::from([
        (NAME_LABEL.to_owned(), pod_name(set, ordinal)),
        (INDEX_LABEL.to_owned(), ordinal.to_string()),
    ])
}

/// Gives the identity labels that a pod lacks.
pub(super) fn missing_labels(
    set: &StatefulSet,
    ordinal: i32,
    pod: &Pod,
) -> BTreeMap<String, String> {
    let mut labels = labels(set, ordinal);
    labels.retain(|key, value| {
        pod.metadata.labels.as_ref().and_then(|there| there.get(key)) != Some(value)
    });
    labels
}

/// Gives the revision that a pod was made of, empty when it does not say.
pub(super) fn revision_of(pod: &Pod) -> &str {
    let labels = pod.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get(REVISION_LABEL)).map_or("", String::as_str)
}

fn templates(set: &StatefulSet) -> impl Iterator<Item = &PersistentVolumeClaim> {
    let spec = set.spec.as_ref();
    spec.and_then(|spec| spec.volume_claim_templates.as_ref()).into_iter().flatten()
}

/// Gives the names of the claims of an ordinal, `TEMPLATE-SET-ORDINAL`.
pub(super) fn claim_names(set: &StatefulSet, ordinal: i32) -> Vec<String> {
    let pod = pod_name(set, ordinal);
    templates(set).map(|template| format!("{}-{pod}", name(&template.metadata))).collect()
}

/// Makes the claims of an ordinal.
///
/// They carry the labels of the StatefulSet's selector besides their template's.
pub(super) fn new_claims(set: &StatefulSet, ordinal: i32) -> Vec<PersistentVolumeClaim> {
    let pod = pod_name(set, ordinal);
    let selector = set.spec.as_ref().and_then(|spec| spec.selector.match_labels.clone());
    let make = |template: &PersistentVolumeClaim| {
        let mut claim = template.clone();
        claim.metadata.name = Some(format!("{}-{pod}", name(&template.metadata)));
        claim.metadata.namespace = set.metadata.namespace.clone();
        let labels = claim.metadata.labels.get_or_insert_default();
        labels.extend(selector.clone().unwrap_or_default());
        claim.status = None;
        claim
    };
    templates(set).map(make).collect()
}

/// Makes the pod of an ordinal from a template.
pub(super) fn new_pod(
    set: &StatefulSet,
    ordinal: i32,
    template: PodTemplateSpec,
    revision: &str,
) -> Pod {
    let mut pod = from_template(set, template, String::new());
    pod.metadata.generate_name = None;
    pod.metadata.name = Some(pod_name(set, ordinal));
    debug_assert_eq!(namespace(&pod.metadata), namespace(&set.metadata));
    let all = pod.metadata.labels.get_or_insert_default();
    all.extend(labels(set, ordinal));
    all.insert(REVISION_LABEL.to_owned(), revision.to_owned());
    let spec = pod.spec.get_or_insert_default();
    spec.hostname = Some(pod_name(set, ordinal));
    spec.subdomain = set.spec.as_ref().and_then(|spec| spec.service_name.clone());
    let own: Vec<Volume> = templates(set).zip(claim_names(set, ordinal)).map(volume).collect();
    if !own.is_empty() {
        let volumes = spec.volumes.get_or_insert_default();
        volumes.retain(|volume| own.iter().all(|other| other.name != volume.name));
        volumes.extend(own);
    }
    pod
}

fn volume((template, claim_name): (&PersistentVolumeClaim, String)) -> Volume {
    Volume {
        name: name(&template.metadata).to_owned(),
        persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
            claim_name,
            read_only: None,
        }),
        ..Volume::default()
    }
}
