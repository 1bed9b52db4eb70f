//! What a volume holds: pure.
//!
//! *Source:* kubelet's configMap, secret, downwardAPI and projected volume plugins.

use std::collections::BTreeMap;
use std::path::PathBuf;

use k8s_openapi::api::core::v1::{
    ConfigMapProjection, DownwardAPIVolumeFile, KeyToPath, Pod, SecretProjection, Volume,
    VolumeProjection,
};

use super::claims::{Claimed, Place};
use super::nfs::{self, NfsShare};
use super::plugin::local_place;
use crate::config::fields::{self, Facts};
use crate::config::tokens::TokenSpec;
use crate::config::{ObjectKind, ObjectRef, Objects};
use crate::pods::plan;

/// Folder below the agent's own that holds what outlives pods.
pub const PERSISTENT: &str = "persistent";

/// Permission bits of a file when neither volume nor item give any.
const MODE_DEFAULT: i32 = 0o644;

/// What a volume holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// These files, and no others.
    Files(Payload),
    /// A folder that starts empty and belongs to the pod.
    Empty {
        /// Kept in memory.
        in_memory: bool,
        /// Most bytes that it may hold.
        size_limit_bytes: Option<u64>,
    },
    /// A path of the host, only ever resolved beneath the prefix that allows it: guests may have put
    /// links there.
    Host {
        /// The allowed prefix.
        prefix: PathBuf,
        /// The path below it; empty for the prefix itself.
        path: String,
        /// `hostPath.type`, or [`nfs::KIND`].
        kind: String,
        /// Refuses every change, whatever the mount says.
        read_only: bool,
    },
    /// The files of an image: shared, and never written.
    Image {
        /// Where they are.
        folder: PathBuf,
        /// Digest of the image's manifest.
        digest: String,
    },
    /// A folder of this host that outlives the pod.
    Persistent {
        /// The folder.
        place: PathBuf,
        /// Most bytes that it may hold.
        bytes_max: u64,
        /// Refuses every change, whatever the mount says.
        read_only: bool,
    },
}

/// Files of a volume: relative path to content.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Payload {
    /// Path below the volume, without `..`.
    pub files: BTreeMap<String, File>,
    /// Some content came from a Secret: must stay in memory.
    pub secret: bool,
}

/// One file of a volume.
#[derive(Clone, PartialEq, Eq)]
pub struct File {
    /// Content.
    pub bytes: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
}

impl std::fmt::Debug for Payload {
    /// Shows the paths alone: contents may be secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.files.keys()).finish()
    }
}

/// Why a volume cannot be filled (yet); the text is upstream's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct VolumeFault {
    /// The volume's name.
    pub volume: String,
    /// What is wrong.
    pub message: String,
}

/// Everything that volumes are filled from.
pub struct Sources<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// What the host knows about it.
    pub facts: &'a Facts,
    /// The objects that it refers to.
    pub objects: &'a Objects,
    /// The tokens that it asks for.
    pub tokens: &'a BTreeMap<TokenSpec, String>,
    /// What its claims mean, by the volume's name.
    pub claims: &'a BTreeMap<String, Claimed>,
    /// The files of its images, by the volume's name: folder and digest.
    pub images: &'a BTreeMap<String, (PathBuf, String)>,
    /// Prefixes of host paths that may be mounted.
    pub host_path_prefixes: &'a [PathBuf],
    /// NFS shares that are mounted.
    pub nfs_shares: &'a [NfsShare],
    /// Nothing below or above this may be mounted.
    pub data_dir: &'a std::path::Path,
}

/// Gives what a volume holds.
///
/// # Errors
/// A fault with upstream's sentence when an object or key is missing or the kind is not served.
pub fn content(sources: &Sources<'_>, volume: &Volume) -> Result<Content, VolumeFault> {
    let fault = |message: String| VolumeFault { volume: volume.name.clone(), message };
    if let Some(empty) = &volume.empty_dir {
        let limit = empty.size_limit.as_ref().map(|limit| bytes(&limit.0)).transpose();
        return Ok(Content::Empty {
            in_memory: empty.medium.as_deref() == Some("Memory"),
            size_limit_bytes: limit.map_err(fault)?.filter(|limit| *limit > 0),
        });
    }
    if let Some(host) = &volume.host_path {
        let (prefix, path) = host_path(sources, &host.path).map_err(fault)?;
        let kind = host.type_.clone().unwrap_or_default();
        return Ok(Content::Host { prefix, path, kind, read_only: false });
    }
    if let Some(share) = &volume.nfs {
        let read_only = share.read_only.unwrap_or(false);
        return nfs_share(sources, &share.server, &share.path, read_only).map_err(fault);
    }
    if volume.persistent_volume_claim.is_some() || volume.ephemeral.is_some() {
        return claim(sources, volume).map_err(fault);
    }
    if volume.image.is_some() {
        let found = sources.images.get(&volume.name).cloned();
        let (folder, digest) = found.ok_or_else(|| fault("image is not known yet".into()))?;
        return Ok(Content::Image { folder, digest });
    }
    files(sources, volume).map_err(fault).map(Content::Files)
}

fn claim(sources: &Sources<'_>, volume: &Volume) -> Result<Content, String> {
    let claimed = sources.claims.get(&volume.name).ok_or("claim is not known yet")?;
    let asked = volume.persistent_volume_claim.as_ref().and_then(|claim| claim.read_only);
    let read_only = claimed.read_only || asked.unwrap_or(false);
    match &claimed.place {
        Place::Folder(handle) => Ok(Content::Persistent {
            place: local_place(sources.data_dir, handle),
            bytes_max: claimed.bytes_max,
            read_only,
        }),
        Place::Host(path) => {
            let (prefix, path) = host_path(sources, path)?;
            Ok(Content::Host { prefix, path, kind: String::new(), read_only })
        }
        Place::Nfs { server, path, read_only: fixed } => {
            nfs_share(sources, server, path, read_only || *fixed)
        }
    }
}

/// A path of a mounted share: only ever resolved beneath where the share is.
fn nfs_share(
    sources: &Sources<'_>,
    server: &str,
    path: &str,
    read_only: bool,
) -> Result<Content, String> {
    let (prefix, path) = nfs::place(sources.nfs_shares, server, path)?;
    if overlaps(sources, &prefix) {
        let folder = prefix.display();
        return Err(format!("folder {folder} of a share must not contain the data directory"));
    }
    // A share without this folder is refused, as a mount of it would be.
    Ok(Content::Host { prefix, path, kind: nfs::KIND.to_owned(), read_only })
}

/// Whether a path of the host contains or lies in what is the host's own.
fn overlaps(sources: &Sources<'_>, path: &std::path::Path) -> bool {
    path.starts_with(sources.data_dir) || sources.data_dir.starts_with(path)
}

fn files(sources: &Sources<'_>, volume: &Volume) -> Result<Payload, String> {
    let mut payload = Payload::default();
    let mut add = Adding { sources, mode: MODE_DEFAULT, payload: &mut payload };
    if let Some(map) = &volume.config_map {
        add.mode = map.default_mode.unwrap_or(MODE_DEFAULT);
        add.object(ObjectKind::ConfigMap, &map.name, map.items.as_deref(), map.optional)?;
    } else if let Some(secret) = &volume.secret {
        add.mode = secret.default_mode.unwrap_or(MODE_DEFAULT);
        let name = secret.secret_name.as_deref().unwrap_or_default();
        add.object(ObjectKind::Secret, name, secret.items.as_deref(), secret.optional)?;
    } else if let Some(downward) = &volume.downward_api {
        add.mode = downward.default_mode.unwrap_or(MODE_DEFAULT);
        add.downward(downward.items.as_deref().unwrap_or_default())?;
    } else if let Some(projected) = &volume.projected {
        add.mode = projected.default_mode.unwrap_or(MODE_DEFAULT);
        let sources = projected.sources.as_deref().unwrap_or_default();
        sources.iter().try_for_each(|source| add.projection(source))?;
    } else {
        return Err(unsupported(volume));
    }
    Ok(payload)
}

struct Adding<'a, 'b> {
    sources: &'a Sources<'a>,
    mode: i32,
    payload: &'b mut Payload,
}

impl Adding<'_, '_> {
    fn projection(&mut self, source: &VolumeProjection) -> Result<(), String> {
        if let Some(ConfigMapProjection { name, items, optional }) = &source.config_map {
            self.object(ObjectKind::ConfigMap, name, items.as_deref(), *optional)?;
        }
        if let Some(SecretProjection { name, items, optional }) = &source.secret {
            self.object(ObjectKind::Secret, name, items.as_deref(), *optional)?;
        }
        if let Some(downward) = &source.downward_api {
            self.downward(downward.items.as_deref().unwrap_or_default())?;
        }
        if let Some(token) = &source.service_account_token {
            let value = self.sources.tokens.get(&TokenSpec::from(token));
            let value = value.ok_or("failed to fetch token: there is none yet")?;
            self.payload.secret = true;
            self.file(&token.path, value.as_bytes(), None)?;
        }
        if source.cluster_trust_bundle.is_some() || source.pod_certificate.is_some() {
            return Err("projected volumes may hold configMap, secret, downwardAPI and \
                        serviceAccountToken only"
                .into());
        }
        Ok(())
    }

    fn object(
        &mut self,
        kind: ObjectKind,
        name: &str,
        items: Option<&[KeyToPath]>,
        optional: Option<bool>,
    ) -> Result<(), String> {
        self.payload.secret |= kind == ObjectKind::Secret;
        let optional = optional.unwrap_or(false);
        let namespace = self.sources.pod.metadata.namespace.clone().unwrap_or_default();
        let object = ObjectRef { kind, namespace, name: name.to_owned() };
        let Some(data) = self.sources.objects.get(&object).and_then(Option::as_ref) else {
            return if optional { Ok(()) } else { Err(format!("{object} not found")) };
        };
        let Some(items) = items.filter(|items| !items.is_empty()) else {
            let whole = data.values.iter();
            return whole.into_iter().try_for_each(|(key, bytes)| self.file(key, bytes, None));
        };
        for item in items {
            match data.values.get(&item.key) {
                Some(bytes) => self.file(&item.path, bytes, item.mode)?,
                None if optional => {}
                None => {
                    let word = match kind {
                        ObjectKind::ConfigMap => "config",
                        ObjectKind::Secret => "secret",
                    };
                    return Err(format!("references non-existent {word} key: {}", item.key));
                }
            }
        }
        Ok(())
    }

    fn downward(&mut self, items: &[DownwardAPIVolumeFile]) -> Result<(), String> {
        let Sources { pod, facts, .. } = *self.sources;
        for item in items {
            let text = match (&item.field_ref, &item.resource_field_ref) {
                (Some(field), _) => fields::field(pod, facts, &field.field_path)?,
                (None, Some(selector)) => {
                    let first = plan::containers(pod).next().map(|(_, container)| container);
                    let first = first.ok_or("pod has no container")?;
                    fields::resource(pod, first, facts, selector)?
                }
                (None, None) => continue,
            };
            self.file(&item.path, text.as_bytes(), item.mode)?;
        }
        Ok(())
    }

    fn file(&mut self, path: &str, bytes: &[u8], mode: Option<i32>) -> Result<(), String> {
        let normal = |part: &str| !part.is_empty() && part != "." && part != "..";
        if path.starts_with("..") || !path.split('/').all(normal) {
            return Err(format!("path '{path}' must be relative and must not contain '..'"));
        }
        let mode = u32::try_from(mode.unwrap_or(self.mode)).unwrap_or(0o644) & 0o777;
        let file = File { bytes: bytes.to_vec(), mode };
        self.payload.files.insert(path.to_owned(), file);
        Ok(())
    }
}

/// Decides whether a path of the host may be mounted; gives the prefix that allows it and the rest.
fn host_path(sources: &Sources<'_>, path: &str) -> Result<(PathBuf, String), String> {
    let wanted = PathBuf::from(path);
    let plain = wanted.is_absolute()
        && wanted.components().all(|part| !matches!(part, std::path::Component::ParentDir));
    if !plain {
        return Err(format!("hostPath '{path}' must be absolute and without '..'"));
    }
    if overlaps(sources, &wanted) {
        return Err(format!("hostPath '{path}' must not contain or lie in the data directory"));
    }
    let mut prefixes =
        sources.host_path_prefixes.iter().filter(|prefix| !overlaps(sources, prefix));
    let allowed = prefixes.find_map(|prefix| Some((prefix, wanted.strip_prefix(prefix).ok()?)));
    let (prefix, rest) = allowed.ok_or_else(|| {
        format!(
            "hostPath '{path}' is not allowed on this host; start it with --allow-host-path {path}"
        )
    })?;
    let rest = rest.to_str().ok_or_else(|| format!("hostPath '{path}' must be UTF-8"))?;
    Ok((prefix.clone(), rest.to_owned()))
}

fn unsupported(volume: &Volume) -> String {
    let json = serde_json::to_value(volume).unwrap_or_default();
    let kind = json.as_object().and_then(|map| map.keys().find(|key| *key != "name").cloned());
    let kind = kind.unwrap_or_else(|| "unknown".into());
    let instead = match kind.as_str() {
        "gitRepo" => {
            "fetch the files into an emptyDir in an init container, or use an image volume"
        }
        _ => {
            "use emptyDir, configMap, secret, projected, downwardAPI, persistentVolumeClaim, \
              ephemeral, image, nfs or hostPath"
        }
    };
    format!("no volume plugin matched: '{kind}' volumes are not served; {instead}")
}

fn bytes(text: &str) -> Result<u64, String> {
    let quantity: coracle_api::quantity::Quantity =
        text.parse().map_err(|_| format!("sizeLimit \"{text}\" must be a quantity"))?;
    Ok(u64::try_from(quantity.value()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use crate::config::Data;

    fn check(volume: serde_json::Value) -> String {
        let pod = serde_json::json!({"metadata": {"name": "p", "namespace": "n", "labels": {"x": "y"}},
            "spec": {"containers": [{"name": "a", "resources": {"limits": {"cpu": "500m"}}}]}});
        let pod: Pod = serde_json::from_value(pod).unwrap();
        let mut volume = volume;
        volume["name"] = "v".into();
        let volume: Volume = serde_json::from_value(volume).unwrap();
        let of = |kind, name: &str, key: &str, value: &str| {
            let object = ObjectRef { kind, namespace: "n".into(), name: name.into() };
            let values = [(key.to_owned(), value.as_bytes().to_vec())].into();
            (object, Some(Arc::new(Data { values, ..Data::default() })))
        };
        let objects = [
            of(ObjectKind::ConfigMap, "cfg", "a", "1"),
            of(ObjectKind::Secret, "key", "pw", "hunter2"),
        ]
        .into();
        let spec = TokenSpec { audience: "vault".into(), expiration_seconds: 600 };
        let tokens = BTreeMap::from([(spec, "t0".to_owned())]);
        let claimed = |place| Claimed { place, bytes_max: 1024, read_only: false };
        let claims = BTreeMap::from([("v".to_owned(), claimed(Place::Folder("pvc-1".into())))]);
        let sources = Sources {
            pod: &pod,
            facts: &Facts::default(),
            objects: &objects,
            tokens: &tokens,
            claims: &claims,
            images: &BTreeMap::from([(
                "v".to_owned(),
                ("/images/one".into(), "sha256:1".to_owned()),
            )]),
            host_path_prefixes: &["/srv".into(), "/data".into()],
            nfs_shares: &["s:/exports=/mnt/s".parse().unwrap(), "own:/=/data".parse().unwrap()],
            data_dir: "/data/coracle".as_ref(),
        };
        match content(&sources, &volume) {
            Err(fault) => format!("error: {fault}"),
            Ok(Content::Files(payload)) => {
                let file = |(path, file): (&String, &File)| {
                    format!("{path}={} {:o};", String::from_utf8_lossy(&file.bytes), file.mode)
                };
                let secret = if payload.secret { "secret " } else { "" };
                format!("{secret}{}", payload.files.iter().map(file).collect::<String>())
            }
            Ok(other) => format!("{other:?}"),
        }
    }

    #[test]
    fn volumes_hold_what_their_sources_say() {
        use serde_json::json;
        let rows = [
            (json!({"configMap": {"name": "cfg"}}), "a=1 644;"),
            (json!({"configMap": {"name": "cfg", "defaultMode": 256}}), "a=1 400;"),
            (
                json!({"configMap": {"name": "cfg", "items": [{"key": "a", "path": "d/b", "mode": 288}]}}),
                "d/b=1 440;",
            ),
            (
                json!({"configMap": {"name": "cfg", "items": [{"key": "z", "path": "z"}]}}),
                "error: references non-existent config key: z",
            ),
            (json!({"configMap": {"name": "none"}}), "error: configmap \"none\" not found"),
            (json!({"configMap": {"name": "none", "optional": true}}), ""),
            (
                json!({"configMap": {"name": "cfg", "items": [{"key": "a", "path": "../b"}]}}),
                "error: path '../b' must be relative and must not contain '..'",
            ),
            (json!({"secret": {"secretName": "key"}}), "secret pw=hunter2 644;"),
            (
                json!({"downwardAPI": {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}},
                {"path": "c", "resourceFieldRef": {"containerName": "a", "resource": "limits.cpu", "divisor": "1m"}}]}}),
                "c=500 644;l=x=\"y\" 644;",
            ),
            (
                json!({"projected": {"sources": [{"configMap": {"name": "cfg"}}, {"secret": {"name": "key"}}]}}),
                "secret a=1 644;pw=hunter2 644;",
            ),
            (
                json!({"projected": {"defaultMode": 256, "sources": [{"serviceAccountToken":
                    {"path": "token", "audience": "vault", "expirationSeconds": 600}}]}}),
                "secret token=t0 400;",
            ),
            (
                json!({"projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}),
                "error: failed to fetch token: there is none yet",
            ),
            (
                json!({"projected": {"sources": [{"clusterTrustBundle": {"path": "ca"}}]}}),
                "error: projected volumes may hold configMap, secret, downwardAPI and \
                 serviceAccountToken only",
            ),
            (
                json!({"emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}),
                "Empty { in_memory: true, size_limit_bytes: Some(1048576) }",
            ),
            (
                json!({"image": {"reference": "reg.example/data:1"}}),
                "Image { folder: \"/images/one\", digest: \"sha256:1\" }",
            ),
            (
                json!({"hostPath": {"path": "/srv/x"}}),
                "Host { prefix: \"/srv\", path: \"x\", kind: \"\", read_only: false }",
            ),
        ];
        for (volume, expected) in rows {
            assert_eq!(check(volume.clone()), expected, "{volume}");
        }
    }

    #[test]
    fn folders_of_the_host_are_mounted_where_that_is_allowed() {
        use serde_json::json;
        let rows = [
            (
                json!({"persistentVolumeClaim": {"claimName": "data", "readOnly": true}}),
                "Persistent { place: \"/data/coracle/persistent/pvc-1\", bytes_max: 1024, read_only: true }",
            ),
            (
                json!({"nfs": {"server": "s", "path": "/exports/a", "readOnly": true}}),
                "Host { prefix: \"/mnt/s\", path: \"a\", kind: \"nfs\", read_only: true }",
            ),
            (
                json!({"nfs": {"server": "own", "path": "/"}}),
                "error: folder /data of a share must not contain the data directory",
            ),
            (
                json!({"hostPath": {"path": "/etc"}}),
                "error: hostPath '/etc' is not allowed on this host; start it with --allow-host-path /etc",
            ),
            (
                json!({"hostPath": {"path": "/srv/../etc"}}),
                "error: hostPath '/srv/../etc' must be absolute and without '..'",
            ),
            (
                json!({"hostPath": {"path": "/data"}}),
                "error: hostPath '/data' must not contain or lie in the data directory",
            ),
        ];
        for (volume, expected) in rows {
            assert_eq!(check(volume.clone()), expected, "{volume}");
        }
        for (volume, words) in [
            (
                json!({"nfs": {"server": "s", "path": "/"}}),
                "nfs share s:/ is not mounted on this host; mount it there",
            ),
            (
                json!({"gitRepo": {"repository": "r"}}),
                "'gitRepo' volumes are not served; fetch the",
            ),
            (
                json!({"flexVolume": {"driver": "d"}}),
                "'flexVolume' volumes are not served; use empty",
            ),
        ] {
            let said = check(volume);
            assert!(said.contains(words), "{said}");
        }
    }
}
