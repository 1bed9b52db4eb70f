//! The servers behind APIServices, as requests look for them. Pure.

use coracle_api::registry;
use parking_lot::RwLock;
use serde_json::Value;
use std::sync::Arc;

/// A server of a group and version.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Remote {
    /// The APIService's name.
    pub(super) name: String,
    pub(super) group: String,
    pub(super) version: String,
    /// The Service.
    pub(super) namespace: String,
    pub(super) service: String,
    pub(super) port: u16,
    /// Who vouches for the server, base64 of PEM; empty for the system's authorities.
    pub(super) authority: String,
    /// Whether nobody has to.
    pub(super) insecure: bool,
}

impl Remote {
    /// Reads an APIService; `None` for one that this server serves itself.
    ///
    /// A version of a group that is built in is never handed to others.
    pub(super) fn read(service: &Value) -> Option<Remote> {
        let spec = &service["spec"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (group, version) = (text(&spec["group"]), text(&spec["version"]));
        let reference = spec["service"].as_object()?;
        let part = |field: &str| reference.get(field).map(text).unwrap_or_default();
        let is_own = registry::group_versions().contains(&(group.as_str(), version.as_str()));
        let port = reference.get("port").and_then(Value::as_u64).unwrap_or(443);
        (!is_own && !group.is_empty()).then(|| Remote {
            name: coracle_api::meta::name(service).to_owned(),
            group,
            version,
            namespace: part("namespace"),
            service: part("name"),
            port: u16::try_from(port).unwrap_or(443),
            authority: text(&spec["caBundle"]),
            insecure: spec["insecureSkipTLSVerify"] == true,
        })
    }
}

/// The servers that are known.
#[derive(Default)]
pub(crate) struct Remotes {
    all: RwLock<Vec<Arc<Remote>>>,
    /// Their OpenAPI documents: path in the index, and hash.
    documents: RwLock<Vec<(String, String)>>,
}

impl Remotes {
    /// Whether a path is served by another server.
    pub(crate) fn serve(&self, path: &str) -> bool {
        self.of_path(path).is_some()
    }

    /// The server of a path below `/apis/GROUP/VERSION`, or of `/openapi/v3` + that.
    pub(super) fn of_path(&self, path: &str) -> Option<Arc<Remote>> {
        let all = self.all.read();
        if all.is_empty() {
            return None;
        }
        let path = path.strip_prefix("/openapi/v3").unwrap_or(path);
        let mut parts = path.strip_prefix("/apis/")?.split('/');
        let (group, version) = (parts.next()?, parts.next()?);
        let own = |remote: &&Arc<Remote>| remote.group == group && remote.version == version;
        all.iter().find(own).cloned()
    }

    pub(super) fn set(&self, all: Vec<Arc<Remote>>) {
        *self.all.write() = all;
    }

    pub(super) fn set_documents(&self, documents: Vec<(String, String)>) {
        *self.documents.write() = documents;
    }

    /// The servers with documents: each with its document's path in the index, and hash.
    pub(super) fn documents(&self) -> Vec<(Arc<Remote>, String, String)> {
        let documents = self.documents.read().clone();
        let of = |path: &str| self.of_path(&format!("/{path}"));
        documents.into_iter().filter_map(|(path, hash)| Some((of(&path)?, path, hash))).collect()
    }

    /// Says of the documents what changes with them.
    pub(crate) fn fingerprint(&self) -> String {
        format!("{:?}", self.documents.read())
    }

    /// Adds the documents to the index of OpenAPI v3.
    pub(crate) fn add_to_index(&self, index: &mut Value) {
        for (path, hash) in self.documents.read().iter() {
            let url = format!("/openapi/v3/{path}?hash={hash}");
            index["paths"][path] = serde_json::json!({"serverRelativeURL": url});
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn built_in_groups_stay() {
        let service = |group: &str| {
            json!({"metadata": {"name": "n"}, "spec": {"group": group, "version": "v1",
                "service": {"namespace": "a", "name": "b", "port": 8443}}})
        };
        assert_eq!(Remote::read(&service("apps")), None);
        assert_eq!(Remote::read(&json!({"spec": {"group": "x.io", "version": "v1"}})), None);
        let remote = Remote::read(&service("x.io")).unwrap();
        let remotes = Remotes::default();
        assert!(remotes.of_path("/apis/x.io/v1").is_none());
        remotes.set(vec![Arc::new(remote)]);
        let check = |path: &str| remotes.of_path(path).is_some();
        assert!(check("/apis/x.io/v1") && check("/apis/x.io/v1/namespaces/a/cats"));
        assert!(check("/openapi/v3/apis/x.io/v1"));
        assert!(!check("/apis/x.io") && !check("/apis/x.io/v2/cats") && !check("/api/v1"));
        remotes.set_documents(vec![("apis/x.io/v1".to_owned(), "AB".to_owned())]);
        let mut index = json!({"paths": {}});
        remotes.add_to_index(&mut index);
        let url = "/openapi/v3/apis/x.io/v1?hash=AB";
        assert_eq!(index["paths"]["apis/x.io/v1"]["serverRelativeURL"], url);
    }
}
