//! What a claim's volume is on this host: pure.
//!
//! *Source:* the volumes that `controllers/volumebinding` makes, and kubelet's `local` and `hostPath`
//! plugins.

use coracle_api::quantity::Quantity;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod, Volume};
use serde::{Deserialize, Serialize};

use super::plugin::is_handle;

/// Driver of volumes that are folders of a host. The controller's word.
pub const DRIVER: &str = "local.coracle.dev";
/// Finalizer of such a volume; this host takes it off when the folder is gone.
pub const FOLDER: &str = "local.coracle.dev/folder";
/// Attribute of such a volume that names its node.
pub const NODE_ATTRIBUTE: &str = "local.coracle.dev/node";

/// Where the content of a claim's volume is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// A volume of the built-in driver on this host, by its handle.
    Folder(String),
    /// A path of the host, which must be allowed.
    Host(String),
    /// A path of an NFS share, which the host must have mounted.
    Nfs {
        /// The share's server.
        server: String,
        /// The path on it.
        path: String,
        /// The volume says that it is for reading.
        read_only: bool,
    },
}

/// A claim that can be mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claimed {
    /// Where it is.
    pub place: Place,
    /// Most bytes that it may hold.
    pub bytes_max: u64,
    /// Every access mode of the volume is for reading.
    pub read_only: bool,
}

/// Gives the claim that a volume of `pod` names, or has made for it.
#[must_use]
pub fn claim_name(pod: &Pod, volume: &Volume) -> Option<String> {
    let named = volume.persistent_volume_claim.as_ref().map(|claim| claim.claim_name.clone());
    let own = volume.ephemeral.as_ref();
    let pod = pod.metadata.name.as_deref().unwrap_or_default();
    named.or_else(|| own.map(|_| format!("{pod}-{}", volume.name)))
}

/// Gives the volume that a claim is bound to.
///
/// # Errors
/// A sentence for a claim that is not bound (yet).
pub fn volume_of(claim: &PersistentVolumeClaim) -> Result<String, String> {
    let name = claim.metadata.name.as_deref().unwrap_or_default();
    let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
    let volume = claim.spec.as_ref().and_then(|spec| spec.volume_name.clone());
    match (phase, volume) {
        (Some("Bound"), Some(volume)) => Ok(volume),
        (Some("Lost"), _) => Err(format!("claim \"{name}\" has lost its volume")),
        (_, _) => Err(format!("claim \"{name}\" is not bound to a volume yet")),
    }
}

/// Gives what a claim means on the host `node`.
///
/// # Errors
/// A sentence when the volume is elsewhere, or is none that this host can mount.
pub fn claimed(
    claim: &PersistentVolumeClaim,
    volume: &PersistentVolume,
    node: &str,
) -> Result<Claimed, String> {
    let name = volume.metadata.name.as_deref().unwrap_or_default();
    let spec = volume.spec.clone().unwrap_or_default();
    if spec.volume_mode.as_deref() == Some("Block") {
        return Err(format!("volume \"{name}\" is a block device, which is not served"));
    }
    let status = claim.status.as_ref();
    let capacity = status.and_then(|status| status.capacity.as_ref()).or(spec.capacity.as_ref());
    let capacity = capacity.and_then(|map| map.get("storage"));
    let capacity = capacity.and_then(|quantity| quantity.0.parse::<Quantity>().ok());
    let modes = spec.access_modes.unwrap_or_default();
    let nfs = spec.nfs.as_ref().map(|nfs| Place::Nfs {
        server: nfs.server.clone(),
        path: nfs.path.clone(),
        read_only: nfs.read_only.unwrap_or(false),
    });
    let place = match (&spec.csi, &spec.local, &spec.host_path) {
        (Some(csi), _, _) if csi.driver == DRIVER => {
            let home = csi.volume_attributes.as_ref().and_then(|map| map.get(NODE_ATTRIBUTE));
            if home.map(String::as_str) != Some(node) {
                let home = home.map_or("another node", String::as_str);
                return Err(format!("volume \"{name}\" is a folder of {home}, not of {node}"));
            }
            if !is_handle(&csi.volume_handle) {
                return Err(format!("volume \"{name}\" has a handle that is no name"));
            }
            Place::Folder(csi.volume_handle.clone())
        }
        (Some(csi), _, _) => {
            return Err(format!(
                "driver name {} not found in the list of registered CSI drivers; this host serves \
                 {DRIVER}, local, nfs and hostPath",
                csi.driver
            ));
        }
        (None, Some(local), _) => Place::Host(local.path.clone()),
        (None, None, Some(host)) => Place::Host(host.path.clone()),
        (None, None, None) => nfs.ok_or_else(|| {
            format!(
                "no volume plugin matched: volume \"{name}\" must be of {DRIVER}, local, nfs or hostPath"
            )
        })?,
    };
    Ok(Claimed {
        place,
        bytes_max: capacity.map_or(u64::MAX, |amount| u64::try_from(amount.value()).unwrap_or(0)),
        read_only: !modes.is_empty() && modes.iter().all(|mode| mode == "ReadOnlyMany"),
    })
}

/// Tells whether this host has to remove a volume's folder now: it alone holds up the object.
#[must_use]
pub fn folder_to_remove(volume: &PersistentVolume, node: &str) -> Option<String> {
    let meta = &volume.metadata;
    meta.deletion_timestamp.as_ref()?;
    let alone = meta.finalizers.as_deref() == Some(&[FOLDER.to_owned()]);
    let csi = volume.spec.as_ref()?.csi.as_ref().filter(|csi| csi.driver == DRIVER)?;
    let home = csi.volume_attributes.as_ref()?.get(NODE_ATTRIBUTE)?;
    let ours = alone && home == node && is_handle(&csi.volume_handle);
    ours.then(|| csi.volume_handle.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[track_caller]
    fn check(volume: Value, expected: &str) {
        let claim = json!({"metadata": {"name": "data"}, "status": {"phase": "Bound", "capacity": {"storage": "2Ki"}},
            "spec": {"volumeName": "v"}});
        let claim: PersistentVolumeClaim = serde_json::from_value(claim).unwrap();
        assert_eq!(volume_of(&claim).unwrap(), "v");
        let mut spec = json!({"capacity": {"storage": "1Ki"}, "accessModes": ["ReadWriteOnce"]});
        spec.as_object_mut().unwrap().extend(volume.as_object().unwrap().clone());
        let volume = json!({"metadata": {"name": "v"}, "spec": spec});
        let found = claimed(&claim, &serde_json::from_value(volume).unwrap(), "h1");
        let shown = match found {
            Ok(found) => format!("{:?} {} {}", found.place, found.bytes_max, found.read_only),
            Err(error) => error,
        };
        assert_eq!(shown, expected);
    }

    #[test]
    fn volumes_are_folders_here_or_are_refused() {
        let csi = |driver: &str, handle: &str, node: &str| {
            json!({"csi": {"driver": driver, "volumeHandle": handle,
                "volumeAttributes": {"local.coracle.dev/node": node}}})
        };
        check(csi(DRIVER, "pvc-1", "h1"), "Folder(\"pvc-1\") 2048 false");
        check(csi(DRIVER, "pvc-1", "h2"), "volume \"v\" is a folder of h2, not of h1");
        check(csi(DRIVER, "../x", "h1"), "volume \"v\" has a handle that is no name");
        check(
            csi("ebs.csi.aws.com", "vol-1", "h1"),
            "driver name ebs.csi.aws.com not found in the list of registered CSI drivers; this host \
             serves local.coracle.dev, local, nfs and hostPath",
        );
        check(
            json!({"local": {"path": "/srv/a"}, "accessModes": ["ReadOnlyMany"]}),
            "Host(\"/srv/a\") 2048 true",
        );
        check(json!({"hostPath": {"path": "/srv/b"}}), "Host(\"/srv/b\") 2048 false");
        check(
            json!({"volumeMode": "Block", "local": {"path": "/dev/sda"}}),
            "volume \"v\" is a block device, which is not served",
        );
        check(
            json!({"nfs": {"server": "s", "path": "/a", "readOnly": true}}),
            "Nfs { server: \"s\", path: \"/a\", read_only: true } 2048 false",
        );
        check(
            json!({"iscsi": {"targetPortal": "s", "iqn": "i", "lun": 0}}),
            "no volume plugin matched: volume \"v\" must be of local.coracle.dev, local, nfs or hostPath",
        );
    }

    #[test]
    fn a_folder_goes_when_nothing_else_holds_its_volume() {
        let volume = |finalizers: Value, deleted: Value, node: &str| -> PersistentVolume {
            serde_json::from_value(json!({
                "metadata": {"name": "v", "finalizers": finalizers, "deletionTimestamp": deleted},
                "spec": {"csi": {"driver": DRIVER, "volumeHandle": "pvc-1",
                    "volumeAttributes": {"local.coracle.dev/node": node}}}}))
            .unwrap()
        };
        let at = json!("2026-01-01T00:00:00Z");
        let due = |volume: &PersistentVolume| folder_to_remove(volume, "h1");
        assert_eq!(due(&volume(json!([FOLDER]), at.clone(), "h1")).as_deref(), Some("pvc-1"));
        assert_eq!(due(&volume(json!([FOLDER]), at.clone(), "h2")), None);
        assert_eq!(due(&volume(json!([FOLDER]), Value::Null, "h1")), None);
        assert_eq!(due(&volume(json!(["kubernetes.io/pv-protection", FOLDER]), at, "h1")), None);
    }
}
