//! The kinds that a server has, and the words by which a user means them.
//!
//! *Source:* aggregated discovery, `APIGroupDiscoveryList` of `apidiscovery.k8s.io/v2`.

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::session::Session;

/// What is accepted of the discovery endpoints.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// A kind that the server serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kind {
    /// API group; empty for the core group.
    pub(crate) group: String,
    /// Version of the group.
    pub(crate) version: String,
    /// Name in paths, such as `deployments`.
    pub(crate) plural: String,
    /// Name for people, such as `deployment`.
    pub(crate) singular: String,
    /// Name in objects, such as `Deployment`.
    pub(crate) kind: String,
    /// Whether its objects lie in namespaces.
    pub(crate) namespaced: bool,
    short_names: Vec<String>,
    categories: Vec<String>,
    verbs: Vec<String>,
}

impl Kind {
    /// `deployments.apps`, `pods`.
    pub(crate) fn group_resource(&self) -> String {
        dotted(&self.plural, &self.group)
    }

    /// `deployment.apps/web`, `pod/web`.
    pub(crate) fn shown(&self, name: &str) -> String {
        format!("{}/{name}", dotted(&self.kind.to_lowercase(), &self.group))
    }

    /// `apps/v1`, `v1`.
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// Path of the collection; `namespace` of `None` means all.
    pub(crate) fn path(&self, namespace: Option<&str>) -> String {
        let base = if self.group.is_empty() {
            format!("/api/{}", self.version)
        } else {
            format!("/apis/{}/{}", self.group, self.version)
        };
        match namespace.filter(|_| self.namespaced) {
            Some(namespace) => format!("{base}/namespaces/{namespace}/{}", self.plural),
            None => format!("{base}/{}", self.plural),
        }
    }

    fn is_called(&self, word: &str) -> bool {
        [&self.plural, &self.singular].into_iter().chain(&self.short_names).any(|name| name == word)
            || self.kind.eq_ignore_ascii_case(word)
    }
}

fn dotted(name: &str, group: &str) -> String {
    if group.is_empty() { name.to_owned() } else { format!("{name}.{group}") }
}

/// All kinds of a server, in its order of preference.
#[derive(Debug, Default)]
pub(crate) struct Kinds(Vec<Kind>);

impl Kinds {
    /// Asks the server.
    pub(crate) async fn discover(session: &Session) -> anyhow::Result<Self> {
        let mut kinds = Vec::new();
        for path in ["/api", "/apis"] {
            let list = session.get_as(path, AGGREGATED).await.context("ask for the kinds")?;
            read_groups(&list, &mut kinds);
        }
        Ok(Self(kinds))
    }

    /// The kind that a word means: plural, singular, short or kind's name, alone or with
    /// `.group` or `.version.group`.
    pub(crate) fn find(&self, word: &str) -> anyhow::Result<&Kind> {
        let lower = word.to_lowercase();
        if let Some(kind) = self.0.iter().find(|kind| kind.is_called(&lower)) {
            return Ok(kind);
        }
        let named = |kind: &&Kind| {
            let Some((first, rest)) = lower.split_once('.') else { return false };
            kind.is_called(first)
                && (rest == kind.group || rest == format!("{}.{}", kind.version, kind.group))
        };
        match self.0.iter().find(named) {
            Some(kind) => Ok(kind),
            None => bail!(
                "the server has no kind '{word}': `coracle explain` takes the same names as `kubectl api-resources` lists"
            ),
        }
    }

    /// The kind of an object's apiVersion and kind.
    pub(crate) fn of_object(&self, api_version: &str, kind: &str) -> Option<&Kind> {
        self.0.iter().find(|k| k.kind == kind && k.api_version() == api_version)
    }

    /// The kinds of a category, such as `all`, each of a group once.
    pub(crate) fn category(&self, name: &str) -> Vec<&Kind> {
        let mut found: Vec<&Kind> = Vec::new();
        for kind in &self.0 {
            let listed = kind.verbs.iter().any(|verb| verb == "list");
            let twice = found.iter().any(|f| f.group == kind.group && f.plural == kind.plural);
            if listed && !twice && kind.categories.iter().any(|category| category == name) {
                found.push(kind);
            }
        }
        found
    }
}

fn read_groups(list: &Value, kinds: &mut Vec<Kind>) {
    for group in list["items"].as_array().into_iter().flatten() {
        let name = group["metadata"]["name"].as_str().unwrap_or_default();
        for version in group["versions"].as_array().into_iter().flatten() {
            let resources = version["resources"].as_array().into_iter().flatten();
            kinds.extend(resources.map(|resource| read_kind(name, version, resource)));
        }
    }
}

fn read_kind(group: &str, version: &Value, resource: &Value) -> Kind {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let texts = |value: &Value| value.as_array().into_iter().flatten().map(text).collect();
    let kind = text(&resource["responseKind"]["kind"]);
    let singular = text(&resource["singularResource"]);
    Kind {
        group: group.to_owned(),
        version: text(&version["version"]),
        plural: text(&resource["resource"]),
        singular: if singular.is_empty() { kind.to_lowercase() } else { singular },
        kind,
        namespaced: resource["scope"] == "Namespaced",
        short_names: texts(&resource["shortNames"]),
        categories: texts(&resource["categories"]),
        verbs: texts(&resource["verbs"]),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    pub(crate) fn kinds() -> Kinds {
        let resource = |resource: &str, kind: &str, short: &str, category: &str| {
            json!({"resource": resource, "responseKind": {"kind": kind}, "scope": "Namespaced",
                "singularResource": kind.to_lowercase(), "shortNames": [short],
                "categories": [category], "verbs": ["list"]})
        };
        let group = |name: &str, resources: Vec<Value>| json!({"metadata": {"name": name}, "versions": [{"version": "v1", "resources": resources}]});
        let list = json!({"items": [
            group("", vec![resource("pods", "Pod", "po", "all"), resource("events", "Event", "ev", "")]),
            group("apps", vec![resource("deployments", "Deployment", "deploy", "all")]),
            group("events.k8s.io", vec![resource("events", "Event", "ev", "")]),
        ]});
        let mut kinds = Vec::new();
        read_groups(&list, &mut kinds);
        Kinds(kinds)
    }

    #[test]
    fn a_kind_goes_by_all_of_its_names() {
        let kinds = kinds();
        for (word, expected) in [
            ("po", "pods"),
            ("Deployment", "deployments.apps"),
            ("deploy.apps", "deployments.apps"),
            ("deployments.v1.apps", "deployments.apps"),
            ("events", "events"),
            ("ev.events.k8s.io", "events.events.k8s.io"),
        ] {
            assert_eq!(kinds.find(word).unwrap().group_resource(), expected, "{word}");
        }
        assert!(kinds.find("pod.apps").unwrap_err().to_string().contains("no kind 'pod.apps'"));
        let all: Vec<String> = kinds.category("all").iter().map(|k| k.shown("x")).collect();
        assert_eq!(all, ["pod/x", "deployment.apps/x"]);
    }

    #[test]
    fn paths_follow_group_and_namespace() {
        let kinds = kinds();
        assert_eq!(kinds.find("po").unwrap().path(Some("n")), "/api/v1/namespaces/n/pods");
        assert_eq!(kinds.find("deploy").unwrap().path(None), "/apis/apps/v1/deployments");
    }
}
