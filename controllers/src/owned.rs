//! What every owner's edge does with what it owns: takes it in, lets it go, and hears of it.

use std::sync::Arc;

use coracle_client::cache::Object;
use coracle_client::{Cache, Change, Client, ObjectKey, Queue};
use kube::core::{NamespaceResourceScope, Resource};
use serde_json::json;

use crate::claim::Claim;
use crate::objects::{PodSelector, controller_of, controller_reference, name, namespace, uid};
use crate::write::{self, WriteError};

/// Changes the controlling owner of an object, guarded by its resourceVersion.
pub(crate) async fn settle_claim<O, K>(
    client: &Client,
    cache: &Cache<K>,
    owner: &O,
    claim: &Claim<K>,
) -> Result<(), WriteError>
where
    O: Resource<DynamicType = ()>,
    K: Object + Resource<Scope = NamespaceResourceScope>,
{
    let (object, adopt) = match claim {
        Claim::Adopt(object) => (object, true),
        Claim::Release(object) => (object, false),
    };
    let meta = object.meta();
    let mut owners = meta.owner_references.clone().unwrap_or_default();
    owners.retain(|other| other.uid != uid(owner.meta()));
    owners.extend(adopt.then(|| controller_reference(owner)));
    let guard = meta.resource_version.as_deref();
    let owners = write::or_null(&owners);
    let body = json!({"metadata": {"ownerReferences": owners, "resourceVersion": guard}});
    write::patch(&write::api_of(client, meta), cache, meta, &body).await
}

/// Adds the owners that a change of an owned object may concern: its controllers, before and
/// after, or, for one that nobody controls, whoever might take it in.
pub(crate) fn queue_owners<O, K>(
    queue: &Queue<ObjectKey>,
    owners: &Cache<O>,
    change: &Change<K>,
    selector: impl Fn(&O) -> Option<PodSelector>,
) where
    O: Object,
    K: Object,
{
    find_owners(|key, _| queue.add(key), owners, change, selector);
}

/// Tells `add` of the same owners, with their uids.
pub(crate) fn find_owners<O, K>(
    add: impl Fn(ObjectKey, &str),
    owners: &Cache<O>,
    change: &Change<K>,
    selector: impl Fn(&O) -> Option<PodSelector>,
) where
    O: Object,
    K: Object,
{
    for object in [&change.old, &change.new].into_iter().flatten() {
        let meta = object.meta();
        if let Some(owner) = controller_of(meta) {
            if owner.kind == O::kind(&()) {
                add(ObjectKey::namespaced(namespace(meta), &owner.name), &owner.uid);
            }
        } else if is_new(change, object) {
            for owner in owners.list_in(namespace(meta)) {
                if selector(&owner).is_some_and(|s| s.takes(meta.labels.as_ref())) {
                    let key = ObjectKey::namespaced(namespace(meta), name(owner.meta()));
                    add(key, uid(owner.meta()));
                }
            }
        }
    }
}

/// What an object without owner was before matters to nobody.
fn is_new<K>(change: &Change<K>, object: &Arc<K>) -> bool {
    change.new.as_ref().is_some_and(|new| Arc::ptr_eq(new, object))
}
