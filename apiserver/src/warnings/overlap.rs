//! Files of a volume that cannot all be there, because one's path is another's, or is a folder in it.

use super::{WARNINGS_MAX, items, text};
use serde_json::Value;

/// Paths of one volume that are compared with each other. Nobody names as many one by one, and what somebody sends to
/// keep the server busy is not compared pair by pair.
const COMPARED_MAX: usize = 256;

/// A path, and where it comes from (nothing where there is one source alone).
#[derive(PartialEq, Eq)]
struct Place {
    path: String,
    source: String,
}

impl Place {
    fn new(path: &str, source: &str) -> Place {
        Place { path: path.trim_end_matches('/').to_owned(), source: source.to_owned() }
    }

    fn meets(&self, other: &Place) -> bool {
        !self.path.is_empty()
            && !other.path.is_empty()
            && (is_within(&self.path, &other.path) || is_within(&other.path, &self.path))
    }
}

fn is_within(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.source.as_str() {
            "" => write!(f, "{:?}", self.path),
            source => write!(f, "{:?} ({source})", self.path),
        }
    }
}

/// Looks at the volumes of a pod.
pub(super) fn add(found: &mut Vec<String>, volumes: &Value) {
    for volume in volumes.as_array().into_iter().flatten() {
        let name = text(volume, "name");
        let (config, secret) = (&volume["configMap"], &volume["secret"]);
        let single = [
            (files(config, ""), format!("ConfigMap {:?}", text(config, "name"))),
            (files(secret, ""), format!("Secret {:?}", text(secret, "secretName"))),
            (files(&volume["downwardAPI"], ""), "DownwardAPI".to_owned()),
        ];
        for (places, what) in single {
            meetings(found, places, name, &what);
        }
        let mut places = Vec::new();
        for (_, source) in items(&volume["projected"], "sources") {
            if source.as_object().is_some_and(serde_json::Map::is_empty) {
                found.push(format!("volume {name:?} (Projected) has no sources provided"));
            }
            places.extend(projected(source));
        }
        meetings(found, places, name, "Projected");
    }
}

fn files(volume: &Value, source: &str) -> Vec<Place> {
    items(volume, "items").map(|(_, item)| Place::new(text(item, "path"), source)).collect()
}

fn projected(source: &Value) -> Vec<Place> {
    let named = |kind: &str, value: &Value| format!("{kind} {:?}", text(value, "name"));
    let (config, secret) = (&source["configMap"], &source["secret"]);
    let mut places = files(config, &named("ConfigMap", config));
    places.extend(files(secret, &named("Secret", secret)));
    places.extend(files(&source["downwardAPI"], "DownwardAPI"));
    let token = &source["serviceAccountToken"];
    if token.is_object() {
        places.push(Place::new(text(token, "path"), "ServiceAccountToken"));
    }
    let bundle = &source["clusterTrustBundle"];
    if bundle.is_object() {
        let name = [text(bundle, "name"), text(bundle, "signerName")];
        let name = name.into_iter().find(|name| !name.is_empty()).unwrap_or("");
        places.push(Place::new(text(bundle, "path"), &format!("ClusterTrustBundle {name:?}")));
    }
    places
}

fn meetings(found: &mut Vec<String>, places: Vec<Place>, volume: &str, what: &str) {
    for (index, place) in places.iter().enumerate().take(COMPARED_MAX) {
        for other in places.iter().take(index).filter(|other| place.meets(other)) {
            if found.len() < WARNINGS_MAX {
                found.push(format!(
                    "volume {volume:?} ({what}): overlapping paths: {place} with {other}"
                ));
            }
        }
    }
}
