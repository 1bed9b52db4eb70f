//! The checkpoint on disk. Blocking calls.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;
use serde::{Deserialize, Serialize};

use super::saved::SavedPod;
use super::seal::Sealer;
use crate::config::tokens::{Token, TokenSpec};
use crate::config::{Data, ObjectKind, ObjectRef};
use crate::volumes::claims::Claimed;

/// The checkpoint's folder.
#[derive(Clone, Debug)]
pub struct Files {
    root: PathBuf,
    sealer: Option<Arc<Sealer>>,
}

/// What is kept about the node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedNode {
    /// `spec.podCIDR`.
    pub pod_cidr: String,
    /// `spec.podCIDRs` without the first.
    #[serde(default)]
    pub more_cidrs: Vec<String>,
}

impl SavedNode {
    /// What a Node object says of its pods' addresses.
    pub(crate) fn of(node: &Node) -> Self {
        let spec = node.spec.as_ref();
        let first = spec.and_then(|spec| spec.pod_cidr.clone()).unwrap_or_default();
        let all = spec.and_then(|spec| spec.pod_cidrs.as_ref()).into_iter().flatten();
        Self { pod_cidr: first, more_cidrs: all.skip(1).cloned().collect() }
    }

    /// All ranges, the first one first.
    pub(crate) fn cidrs(&self) -> Vec<String> {
        std::iter::once(&self.pod_cidr).chain(&self.more_cidrs).cloned().collect()
    }
}

#[derive(Serialize, Deserialize)]
struct SavedObject {
    object: ObjectRef,
    immutable: bool,
    values: BTreeMap<String, Vec<u8>>,
    #[serde(default)]
    binary: BTreeSet<String>,
    /// It is known that there is no such object.
    #[serde(default)]
    absent: bool,
}

impl Files {
    /// Opens the checkpoint in `root`; makes what is missing. Without a sealer no Secret is kept.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(root: PathBuf, sealer: Option<Arc<Sealer>>) -> io::Result<Self> {
        for part in ["pods", "objects", "tokens", "claims"] {
            fs::create_dir_all(root.join(part))?;
        }
        Ok(Self { root, sealer })
    }

    /// Keeps a pod.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write_pod(&self, uid: &str, record: &[u8]) -> io::Result<()> {
        write_whole(&self.pod(uid), record)
    }

    /// Forgets a pod.
    pub fn remove_pod(&self, uid: &str) {
        let _ = fs::remove_file(self.pod(uid));
    }

    /// Reads all pods; a damaged record is left out and said in the log.
    #[must_use]
    pub fn pods(&self) -> Vec<SavedPod> {
        let entries = fs::read_dir(self.root.join("pods")).into_iter().flatten().flatten();
        let read = |entry: fs::DirEntry| {
            let path = entry.path();
            let bytes = fs::read(&path).ok()?;
            let record = serde_json::from_slice(&bytes);
            record.inspect_err(|error| tracing::warn!(?path, %error, "skipped a pod record")).ok()
        };
        entries
            .filter(|entry| entry.path().extension().is_some_and(|kind| kind == "json"))
            .filter_map(read)
            .collect()
    }

    /// Keeps an object that pods refer to, or that there is none; a Secret only sealed.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write_object(&self, object: &ObjectRef, data: Option<&Data>) -> io::Result<()> {
        let absent = data.is_none();
        let Data { values, binary, immutable } = data.cloned().unwrap_or_default();
        let record = SavedObject { object: object.clone(), immutable, values, binary, absent };
        let plain = serde_json::to_vec(&record)?;
        let name = object_name(object);
        let bytes = match (object.kind, &self.sealer) {
            (ObjectKind::ConfigMap, _) => Some(plain),
            (ObjectKind::Secret, Some(sealer)) => sealer.seal(&name, &plain),
            (ObjectKind::Secret, None) => None,
        };
        bytes.map_or(Ok(()), |bytes| write_whole(&self.root.join("objects").join(&name), &bytes))
    }

    /// Reads an object as it was kept: its content, or that there was none; nothing when nothing was
    /// kept.
    #[must_use]
    pub fn read_object(&self, object: &ObjectRef) -> Option<Option<Data>> {
        let name = object_name(object);
        let bytes = fs::read(self.root.join("objects").join(&name)).ok()?;
        let plain = match object.kind {
            ObjectKind::ConfigMap => bytes,
            ObjectKind::Secret => self.sealer.as_ref()?.open_sealed(&name, &bytes)?,
        };
        let record: SavedObject = serde_json::from_slice(&plain).ok()?;
        let SavedObject { values, binary, immutable, absent, .. } = record;
        Some((!absent).then_some(Data { values, binary, immutable }))
    }

    /// Keeps the tokens of a pod, sealed; without a sealer none.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write_tokens(&self, uid: &str, tokens: &[(TokenSpec, Token)]) -> io::Result<()> {
        let plain = serde_json::to_vec(tokens)?;
        let sealer = self.sealer.as_ref();
        let sealed = sealer.and_then(|sealer| sealer.seal(&token_name(uid), &plain));
        sealed.map_or(Ok(()), |bytes| write_whole(&self.root.join("tokens").join(uid), &bytes))
    }

    /// Reads the tokens of a pod.
    #[must_use]
    pub fn tokens(&self, uid: &str) -> Vec<(TokenSpec, Token)> {
        let read = || {
            let bytes = fs::read(self.root.join("tokens").join(uid)).ok()?;
            let plain = self.sealer.as_ref()?.open_sealed(&token_name(uid), &bytes)?;
            serde_json::from_slice(&plain).ok()
        };
        read().unwrap_or_default()
    }

    /// Forgets the tokens of a pod.
    pub fn remove_tokens(&self, uid: &str) {
        let _ = fs::remove_file(self.root.join("tokens").join(uid));
    }

    /// Keeps what the claims of a pod mean.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write_claims(&self, uid: &str, claims: &BTreeMap<String, Claimed>) -> io::Result<()> {
        write_whole(&self.root.join("claims").join(uid), &serde_json::to_vec(claims)?)
    }

    /// Reads what the claims of a pod mean.
    #[must_use]
    pub fn claims(&self, uid: &str) -> BTreeMap<String, Claimed> {
        let bytes = fs::read(self.root.join("claims").join(uid)).ok();
        bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    /// Forgets the claims of a pod.
    pub fn remove_claims(&self, uid: &str) {
        let _ = fs::remove_file(self.root.join("claims").join(uid));
    }

    /// Forgets an object.
    pub fn remove_object(&self, object: &ObjectRef) {
        let _ = fs::remove_file(self.root.join("objects").join(object_name(object)));
    }

    /// Keeps what is known of the node.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write_node(&self, node: &SavedNode) -> io::Result<()> {
        write_whole(&self.root.join("node.json"), &serde_json::to_vec(node)?)
    }

    /// Reads what is known of the node.
    #[must_use]
    pub fn node(&self) -> SavedNode {
        let bytes = fs::read(self.root.join("node.json")).ok();
        bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    fn pod(&self, uid: &str) -> PathBuf {
        self.root.join("pods").join(format!("{uid}.json"))
    }
}

fn token_name(uid: &str) -> String {
    format!("token_{uid}")
}

fn object_name(object: &ObjectRef) -> String {
    format!("{}_{}_{}", object.kind.word(), object.namespace, object.name)
}

fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let beside = path.with_file_name(format!("{name}.new"));
    fs::write(&beside, bytes)?;
    fs::rename(&beside, path)
}
