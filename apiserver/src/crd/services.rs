//! Keeps the APIServices of what is served.
//!
//! An edge: it writes.

use coracle_api::meta;
use coracle_api::registry::{self, Kind};
use coracle_store::{CommitError, Guard, Write};
use serde_json::json;

use crate::aggregation;
use crate::cache::{self, Selection};
use crate::clock;
use crate::metadata;
use crate::server::Core;

impl Core {
    /// Makes the APIServices that are missing, removes those of definitions that are gone, and sets the status of all;
    /// one commit for all of it.
    ///
    /// A lost race is left to the next round, which every change of a definition brings about.
    pub(super) async fn settle_services(&self, custom: &[&'static Kind]) {
        let Some(kind) = registry::by_kind("apiregistration.k8s.io", "v1", "APIService") else {
            return;
        };
        let Ok(cache) = self.objects(kind) else { return };
        let now = metadata::time(clock::now());
        let wanted = aggregation::local(custom);
        let mut writes = Vec::new();
        for object in cache.select(&Selection::all(kind)) {
            let mut value = object.value();
            let is_wanted = wanted.iter().any(|one| meta::name(one) == meta::name(&value));
            let guard = Guard::At(object.revision);
            if !is_wanted && aggregation::follows_definitions(&value) {
                writes.push(Write::delete(object.key.clone(), guard));
            } else if let Some(status) = aggregation::settled(&value, &now) {
                value["status"] = status;
                writes.push(Write::put(object.key.clone(), cache::encode(kind, &value), guard));
            }
        }
        for mut one in wanted {
            if cache.get("", meta::name(&one)).is_some() {
                continue;
            }
            one["metadata"]["uid"] = json!(clock::uuid());
            one["metadata"]["creationTimestamp"] = json!(now);
            one["status"] = aggregation::settled(&one, &now).unwrap_or_default();
            let key = cache::object_key(kind, "", meta::name(&one));
            writes.push(Write::put(key, cache::encode(kind, &one), Guard::Absent));
        }
        if writes.is_empty() {
            return;
        }
        match self.store.commit(writes).await {
            Ok(_) | Err(CommitError::Conflict { .. }) => {}
            Err(error) => tracing::warn!(%error, "cannot keep the APIServices"),
        }
    }
}
