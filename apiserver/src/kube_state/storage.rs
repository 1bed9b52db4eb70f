//! Quotas, volumes and claims.

use super::page::{Family, gauge};
use super::rows::{Amounts, Nothing, Row, amount, seconds};
use serde::Deserialize;

/// `status` of a ResourceQuota.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct QuotaStatus {
    hard: Amounts,
    used: Amounts,
}

type Quota = Row<Nothing, QuotaStatus>;

/// Metrics of ResourceQuotas.
pub(super) const QUOTAS: &[Family<Quota>] = &[
    gauge("kube_resourcequota_created", |each, out| {
        out.maybe(&of_quota(each), &[], seconds(each.metadata.creation_timestamp));
    }),
    gauge("kube_resourcequota", |each, out| {
        for (kind, amounts) in [("hard", &each.status.hard), ("used", &each.status.used)] {
            for (resource, text) in amounts {
                let more = [("resource", resource.as_str()), ("type", kind)];
                out.maybe(&of_quota(each), &more, amount(text));
            }
        }
    }),
];

fn of_quota(quota: &Quota) -> [(&str, &str); 2] {
    [("resourcequota", &quota.metadata.name), ("namespace", &quota.metadata.namespace)]
}

/// `spec` of a volume or a claim.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct VolumeSpec {
    storage_class_name: String,
    volume_name: String,
    volume_mode: String,
    access_modes: Vec<String>,
    capacity: Amounts,
    resources: Requested,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Requested {
    requests: Amounts,
}

/// `status` of a volume or a claim.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct VolumeStatus {
    phase: String,
}

type Volume = Row<VolumeSpec, VolumeStatus>;

/// Metrics of PersistentVolumes.
pub(super) const VOLUMES: &[Family<Volume>] = &[
    gauge("kube_persistentvolume_info", |each, out| {
        let more = [("storageclass", each.spec.storage_class_name.as_str())];
        out.add(&of_volume(each), &more, 1.0);
    }),
    gauge("kube_persistentvolume_capacity_bytes", |each, out| {
        let bytes = each.spec.capacity.get("storage").and_then(|text| amount(text));
        out.maybe(&of_volume(each), &[], bytes);
    }),
    gauge("kube_persistentvolume_status_phase", |each, out| {
        let phases = ["Pending", "Available", "Bound", "Released", "Failed"];
        out.states(&of_volume(each), "phase", &phases, &each.status.phase);
    }),
];

fn of_volume(volume: &Volume) -> [(&str, &str); 1] {
    [("persistentvolume", &volume.metadata.name)]
}

/// Metrics of PersistentVolumeClaims.
pub(super) const CLAIMS: &[Family<Volume>] = &[
    gauge("kube_persistentvolumeclaim_info", |each, out| {
        let more = [
            ("storageclass", each.spec.storage_class_name.as_str()),
            ("volumename", &each.spec.volume_name),
            ("volumemode", &each.spec.volume_mode),
        ];
        out.add(&of_claim(each), &more, 1.0);
    }),
    gauge("kube_persistentvolumeclaim_labels", |each, out| {
        out.add(&of_claim(each), &[], 1.0);
    }),
    gauge("kube_persistentvolumeclaim_access_mode", |each, out| {
        for mode in &each.spec.access_modes {
            out.add(&of_claim(each), &[("access_mode", mode)], 1.0);
        }
    }),
    gauge("kube_persistentvolumeclaim_status_phase", |each, out| {
        out.states(&of_claim(each), "phase", &["Pending", "Bound", "Lost"], &each.status.phase);
    }),
    gauge("kube_persistentvolumeclaim_resource_requests_storage_bytes", |each, out| {
        let bytes = each.spec.resources.requests.get("storage").and_then(|text| amount(text));
        out.maybe(&of_claim(each), &[], bytes);
    }),
];

fn of_claim(claim: &Volume) -> [(&str, &str); 2] {
    let meta = &claim.metadata;
    [("namespace", &meta.namespace), ("persistentvolumeclaim", &meta.name)]
}
