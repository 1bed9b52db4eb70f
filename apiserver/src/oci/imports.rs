//! What the components of this registry import and export, for policies to judge before they are pulled.
//!
//! Only the outer shape of a component is read, in this process; whether it is valid is for the host that compiles it.
//! An image that is not here, holds several files or is too large is not known, and left to the host.

use std::collections::{BTreeSet, HashMap};
use std::io::Read as _;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;
use wasmparser::{Parser, Payload};

use super::digest::Digest;
use super::route::{Reference, Repository};
use super::storage::ImageStore;

/// The host by which pods name this registry.
const REGISTRY: &str = "registry.coracle.internal/";

/// Most bytes of a component that is read: more than programs in any language have.
const COMPONENT_BYTES_MAX: u64 = 128 << 20;

/// Most imports and exports of a component that is judged here: it has seldom more than thirty.
const NAMES_MAX: usize = 1_000;

/// Most bytes of all of them: [`KEPT_MAX`] components may not take the server's memory.
const NAME_BYTES_MAX: usize = 64 * 1024;

/// Components whose names are kept at hand; others are read again.
const KEPT_MAX: usize = 512;

/// What a component imports and exports; of a core module, the imported modules' names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    /// What it asks for.
    pub(crate) imports: Vec<String>,
    /// What it offers.
    pub(crate) exports: Vec<String>,
}

/// Names of components that were read, by digest; `None` for those that cannot be judged here.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<HashMap<String, Option<Arc<Names>>>>);

impl ImageStore {
    /// Reads what the component of an image imports and exports; `None` when it is not known here. Blocking calls.
    pub(super) fn names(&self, image: &str, known: &Known) -> Option<Arc<Names>> {
        let (repository, reference) = parse(image)?;
        let manifest = self.manifest(&repository, &reference).ok()?;
        let layer = layer(&serde_json::from_slice(&manifest.bytes).ok()?)?;
        if let Some(found) = known.0.lock().get(layer.hex()) {
            return found.clone();
        }
        let (file, bytes) = self.open_blob(&repository, &layer).ok()?;
        if bytes > COMPONENT_BYTES_MAX {
            return None;
        }
        let mut component = Vec::new();
        file.take(COMPONENT_BYTES_MAX).read_to_end(&mut component).ok()?;
        let found = names(&component).map(Arc::new);
        let mut known = known.0.lock();
        if known.len() >= KEPT_MAX {
            known.clear();
        }
        known.insert(layer.hex().to_owned(), found.clone());
        found
    }
}

/// Repository and version of an image that a pod names; `None` for one of another registry.
fn parse(image: &str) -> Option<(Repository, Reference)> {
    let rest = image.strip_prefix(REGISTRY)?;
    let (name, digest) = match rest.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (rest, None),
    };
    let (name, tag) = name.split_once(':').unwrap_or((name, "latest"));
    let repository = Repository::parse(name).ok()?;
    Some((repository, Reference::parse(digest.unwrap_or(tag)).ok()?))
}

/// The one layer of a manifest that is a component.
fn layer(manifest: &Value) -> Option<Digest> {
    let layers = manifest.get("layers")?.as_array()?;
    let [layer] = layers.as_slice() else { return None };
    let is_wasm =
        layer.get("mediaType").and_then(Value::as_str).is_some_and(|kind| kind.contains("wasm"));
    let digest = layer.get("digest").and_then(Value::as_str).filter(|_| is_wasm)?;
    Digest::parse(digest).ok()
}

/// Reads the outer shape of a component or module; `None` when it has none, or too many names.
fn names(component: &[u8]) -> Option<Names> {
    let (mut found, mut depth) = (Found::default(), 0_usize);
    for payload in Parser::new(0).parse_all(component) {
        let payload = payload.ok()?;
        if let Payload::Version { .. } = payload {
            depth += 1;
        } else if let Payload::End(_) = payload {
            depth = depth.saturating_sub(1);
        } else if depth == 1 {
            // What is nested deeper is the component's own affair.
            found.add(payload)?;
        }
    }
    Some(Names {
        imports: found.imports.into_iter().collect(),
        exports: found.exports.into_iter().collect(),
    })
}

/// What was found of a component's names so far.
#[derive(Default)]
struct Found {
    imports: BTreeSet<String>,
    exports: BTreeSet<String>,
    bytes: usize,
}

impl Found {
    /// Adds the names in a section; `None` when it is malformed, or they are too many.
    fn add(&mut self, payload: Payload<'_>) -> Option<()> {
        if let Payload::ImportSection(section) = payload {
            for import in section.into_imports() {
                self.import(import.ok()?.module)?;
            }
        } else if let Payload::ExportSection(section) = payload {
            for export in section {
                self.export(export.ok()?.name)?;
            }
        } else if let Payload::ComponentImportSection(section) = payload {
            for import in section {
                self.import(import.ok()?.name.name)?;
            }
        } else if let Payload::ComponentExportSection(section) = payload {
            for export in section {
                self.export(export.ok()?.name.name)?;
            }
        }
        Some(())
    }

    fn import(&mut self, name: &str) -> Option<()> {
        let is_new = self.imports.insert(name.to_owned());
        self.count(name, is_new)
    }

    fn export(&mut self, name: &str) -> Option<()> {
        let is_new = self.exports.insert(name.to_owned());
        self.count(name, is_new)
    }

    fn count(&mut self, name: &str, is_new: bool) -> Option<()> {
        self.bytes += if is_new { name.len() } else { 0 };
        let number = self.imports.len() + self.exports.len();
        (number <= NAMES_MAX && self.bytes <= NAME_BYTES_MAX).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_of_this_registry_are_told_from_others() {
        let check = |image: &str, expected: Option<(&str, &str)>| {
            let parsed =
                parse(image).map(|(name, version)| (name.to_string(), version.to_string()));
            let expected = expected.map(|(name, version)| (name.to_owned(), version.to_owned()));
            assert_eq!(parsed, expected, "{image}");
        };
        check("registry.coracle.internal/shop/web:1", Some(("shop/web", "1")));
        check("registry.coracle.internal/web", Some(("web", "latest")));
        let digest = Digest::of(b"x").to_string();
        check(&format!("registry.coracle.internal/web:1@{digest}"), Some(("web", &digest)));
        check("registry.example/web:1", None);
        check("web", None);
        check("registry.coracle.internal/../x:1", None);
    }

    #[test]
    fn modules_name_what_they_import() {
        // (module (import "env" "f" (func)) (export "_start" (func 0)))
        let bytes = [
            b"\0asm\x01\0\0\0".as_slice(),
            b"\x01\x04\x01\x60\0\0",
            b"\x02\x09\x01\x03env\x01f\0\0",
            b"\x07\x0a\x01\x06_start\0\0",
        ]
        .concat();
        let found = names(&bytes).unwrap();
        assert_eq!((found.imports, found.exports), (vec!["env".into()], vec!["_start".into()]));
        assert_eq!(names(b"#!/bin/sh"), None);
    }

    /// A module with these exports, each of its one function.
    fn exporting(names: &[String]) -> Vec<u8> {
        let number = |n: usize| {
            let (mut rest, mut bytes) = (n, Vec::new());
            while rest > 0x7f {
                bytes.push((rest & 0x7f) as u8 | 0x80);
                rest >>= 7;
            }
            bytes.push(rest as u8);
            bytes
        };
        let mut section = number(names.len());
        for name in names {
            section.extend(number(name.len()));
            section.extend(name.as_bytes());
            section.extend([0, 0]);
        }
        [b"\0asm\x01\0\0\0\x07".as_slice(), &number(section.len()), &section].concat()
    }

    #[test]
    fn who_has_more_names_than_anybody_needs_is_left_to_the_host() {
        let many = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>();
        assert_eq!(names(&exporting(&many(NAMES_MAX))).unwrap().exports.len(), NAMES_MAX);
        assert_eq!(names(&exporting(&many(NAMES_MAX + 1))), None);
        assert_eq!(names(&exporting(&["x".repeat(NAME_BYTES_MAX + 1)])), None);
        // The same name again is no other one.
        assert!(names(&exporting(&vec!["x".to_owned(); NAMES_MAX + 1])).is_some());
    }

    #[test]
    fn a_component_in_the_store_is_read_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = ImageStore::open(folder.path()).unwrap();
        let known = Known::default();
        assert_eq!(store.names("registry.coracle.internal/web:1", &known), None);
        let of = |layers: Value| layer(&serde_json::json!({"layers": layers}));
        let digest = Digest::of(b"x").to_string();
        let wasm = serde_json::json!({"mediaType": "application/wasm", "digest": digest});
        assert!(of(serde_json::json!([wasm])).is_some());
        assert_eq!(of(serde_json::json!([wasm, wasm])), None);
        assert_eq!(
            of(serde_json::json!([{"mediaType": "application/tar", "digest": digest}])),
            None
        );
        assert_eq!(layer(&serde_json::json!([])), None);
    }
}
