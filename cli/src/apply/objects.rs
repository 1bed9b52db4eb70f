//! The objects of a manifest file or folder, in the order to apply them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Objects, and the folder that they came from.
#[derive(Debug)]
pub(crate) struct Manifests {
    /// Each object with the file it stands in.
    pub(crate) objects: Vec<(PathBuf, Value)>,
    /// The folder given, or the file's.
    pub(crate) folder: PathBuf,
}

/// A manifest that can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ManifestError {
    /// A file or folder could not be read.
    #[error("read {path}")]
    Read {
        /// Which one.
        path: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The text is no YAML or JSON.
    #[error("{path}: {message}")]
    Parse {
        /// Which file.
        path: String,
        /// What is wrong, with line and column.
        message: String,
    },
    /// A document is no Kubernetes object.
    #[error(
        "{path}: document {number} has no `{field}`: every object needs apiVersion, kind and metadata.name"
    )]
    Incomplete {
        /// Which file.
        path: String,
        /// Which document, from 1.
        number: usize,
        /// What it lacks.
        field: &'static str,
    },
    /// There is nothing to apply.
    #[error(
        "{0} holds no manifest: expected *.yaml, *.yml or *.json files, as `coracle new` writes them"
    )]
    Empty(String),
}

/// Kinds that others need to be there, first to last; all other kinds come after them.
const FIRST: [&str; 6] =
    ["Namespace", "PriorityClass", "ServiceAccount", "ConfigMap", "Secret", "Service"];

impl Manifests {
    /// Reads a file, or the manifests that lie directly in a folder, sorted by name.
    pub(crate) fn read(path: &Path) -> Result<Self, ManifestError> {
        let is_folder = path.is_dir();
        let files = if is_folder { manifests_in(path)? } else { vec![path.to_path_buf()] };
        let mut objects = Vec::new();
        for file in files {
            let text = fs::read_to_string(&file).map_err(|source| unreadable(&file, source))?;
            if is_folder && is_other_json(&file, &text) {
                continue;
            }
            objects.extend(parse(&file, &text)?.into_iter().map(|object| (file.clone(), object)));
        }
        let folder = if is_folder { path } else { path.parent().unwrap_or(Path::new(".")) };
        Self::in_order(path, objects, folder)
    }

    /// The objects of a text that came from somewhere else, such as standard input.
    pub(crate) fn parse(from: &Path, text: &str) -> Result<Self, ManifestError> {
        let objects = parse(from, text)?.into_iter().map(|object| (from.to_path_buf(), object));
        Self::in_order(from, objects.collect(), Path::new("."))
    }

    fn in_order(
        from: &Path,
        mut objects: Vec<(PathBuf, Value)>,
        folder: &Path,
    ) -> Result<Self, ManifestError> {
        if objects.is_empty() {
            return Err(ManifestError::Empty(from.display().to_string()));
        }
        objects.sort_by_key(|(_, object)| {
            let kind = object["kind"].as_str().unwrap_or_default();
            FIRST.iter().position(|first| *first == kind).unwrap_or(FIRST.len())
        });
        Ok(Self { objects, folder: folder.to_path_buf() })
    }
}

fn manifests_in(folder: &Path) -> Result<Vec<PathBuf>, ManifestError> {
    let entries = fs::read_dir(folder).map_err(|source| unreadable(folder, source))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| {
            let extension = path.extension().and_then(|extension| extension.to_str());
            path.is_file() && extension.is_some_and(|e| ["yaml", "yml", "json"].contains(&e))
        })
        .collect();
    files.sort();
    Ok(files)
}

/// Whether a JSON file of a folder is something else, such as a package.json: it says neither
/// apiVersion nor kind.
fn is_other_json(file: &Path, text: &str) -> bool {
    let is_json = file.extension().is_some_and(|extension| extension == "json");
    let read = serde_json::from_str::<Value>(text);
    is_json && read.is_ok_and(|value| value["apiVersion"].is_null() && value["kind"].is_null())
}

/// The documents of a text, with a `List` taken apart and empty documents left out.
fn parse(path: &Path, text: &str) -> Result<Vec<Value>, ManifestError> {
    let shown = || path.display().to_string();
    let documents = coracle_api::decode::documents(text)
        .map_err(|error| ManifestError::Parse { path: shown(), message: error.to_string() })?;
    let objects: Vec<Value> = documents
        .into_iter()
        .flat_map(|document| match document.get("items").and_then(Value::as_array) {
            Some(items) if document["kind"] == "List" => items.clone(),
            Some(_) | None => vec![document],
        })
        .collect();
    for (index, object) in objects.iter().enumerate() {
        for (field, pointer) in
            [("apiVersion", "/apiVersion"), ("kind", "/kind"), ("metadata.name", "/metadata/name")]
        {
            if object.pointer(pointer).and_then(Value::as_str).is_none() {
                return Err(ManifestError::Incomplete { path: shown(), number: index + 1, field });
            }
        }
    }
    Ok(objects)
}

fn unreadable(path: &Path, source: std::io::Error) -> ManifestError {
    ManifestError::Read { path: path.display().to_string(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<Vec<String>, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("m.yaml");
        fs::write(&file, text).unwrap();
        let manifests = Manifests::read(folder.path()).map_err(|error| error.to_string())?;
        Ok(manifests
            .objects
            .iter()
            .map(|(_, o)| {
                format!(
                    "{}/{}",
                    o["kind"].as_str().unwrap(),
                    o["metadata"]["name"].as_str().unwrap()
                )
            })
            .collect())
    }

    #[test]
    fn documents_and_lists_come_in_the_order_they_are_needed() {
        let text = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\n---\n---\n\
            apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Service, metadata: {name: s}}\n\
            - {apiVersion: v1, kind: Namespace, metadata: {name: space}}\n";
        assert_eq!(check(text).unwrap(), ["Namespace/space", "Service/s", "Deployment/d"]);
    }

    #[test]
    fn names_what_is_missing_and_where() {
        let error = check("apiVersion: v1\nkind: Pod\nmetadata: {}\n").unwrap_err();
        assert!(error.contains("m.yaml: document 1 has no `metadata.name`"), "{error}");
        assert!(check("").unwrap_err().contains("holds no manifest"));
        assert!(check("a: [").unwrap_err().contains("m.yaml: "));
    }

    #[test]
    fn a_folder_may_hold_other_json() {
        let other = |text: &str| is_other_json(Path::new("package.json"), text);
        assert!(other(r#"{"name": "app"}"#));
        assert!(
            !other(r#"{"kind": "Pod"}"#)
                && !other("{")
                && !is_other_json(Path::new("a.yaml"), "{}")
        );
    }
}
