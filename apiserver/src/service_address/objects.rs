//! The IPAddress object of each address that a Service has. Pure.
//!
//! They are written with the Service: who sees one sees the other. What somebody removed, and what was there before
//! there were such objects, is put right beside.
//! *Source:* KEP-1880; names and labels are those of `ipallocator` of kube-apiserver.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use coracle_api::meta;
use coracle_api::registry::{self, Kind};
use coracle_store::{Guard, Revision, Write};
use serde_json::{Value, json};

use super::cluster_ips;
use crate::cache::{self, Object};
use crate::metadata::{self, Stamp};

const MANAGED_BY: &str = "ipaddress.kubernetes.io/managed-by";
const FAMILY: &str = "ipaddress.kubernetes.io/ip-family";
const ALLOCATOR: &str = "ipallocator.k8s.io";

/// The addresses of each Service, by its key, and the revision of it that has them.
pub(crate) type Had = BTreeMap<Bytes, (Revision, Vec<IpAddr>)>;

/// The kind of the objects.
pub(crate) fn kind() -> Option<&'static Kind> {
    registry::by_kind("networking.k8s.io", "v1", "IPAddress")
}

/// What a change of a Service writes beside it: objects of the addresses that it takes, and without those that it frees.
///
/// `None` is a Service that is not there, before or afterwards. The addresses are given out elsewhere, so nothing is
/// asked here of who has them.
pub(crate) fn writes(
    old: Option<&Value>,
    new: Option<&Value>,
    stamp: impl Fn() -> Stamp,
) -> Vec<Write> {
    let Some(kind) = kind() else { return Vec::new() };
    // A set: the first of several addresses is in two fields, and a commit writes a key once.
    let of = |service: Option<&Value>| -> BTreeSet<IpAddr> {
        service.map(cluster_ips).unwrap_or_default().into_iter().collect()
    };
    let (before, now) = (of(old), of(new));
    let mut writes = Vec::new();
    for ip in before.difference(&now) {
        writes.push(Write::delete(key(kind, *ip), Guard::Any));
    }
    for ip in now.difference(&before) {
        writes.extend(new.map(|service| put(kind, *ip, service, &stamp(), Guard::Any)));
    }
    writes
}

/// What has to be written so that each address of a Service has its object, and no other of ours is left.
///
/// The objects must have been read before the Services: then one whose Service is not seen has none.
pub(crate) fn repairs(
    objects: &[Arc<Object>],
    services: &[Value],
    stamp: impl Fn() -> Stamp,
) -> Vec<Write> {
    let Some(kind) = kind() else { return Vec::new() };
    let mut wanted: BTreeMap<IpAddr, &Value> = BTreeMap::new();
    for service in services {
        wanted.extend(cluster_ips(service).into_iter().map(|ip| (ip, service)));
    }
    let mut writes = Vec::new();
    for object in objects {
        let (value, guard) = (object.value(), Guard::At(object.revision));
        let is_ours = value["metadata"]["labels"][MANAGED_BY] == ALLOCATOR;
        let service = meta::name(&value).parse().ok().and_then(|ip| wanted.remove_entry(&ip));
        match service {
            Some((ip, service)) if value["spec"]["parentRef"] != parent(service) => {
                writes.push(put(kind, ip, service, &stamp(), guard));
            }
            Some(_) => {}
            None if is_ours => writes.push(Write::delete(object.key.clone(), guard)),
            None => {}
        }
    }
    let missing = wanted.into_iter();
    writes.extend(missing.map(|(ip, service)| put(kind, ip, service, &stamp(), Guard::Absent)));
    writes
}

/// Gives the addresses of each Service; decodes only those that changed since `before`.
pub(crate) fn had(services: &[Arc<Object>], before: &Had) -> Had {
    let entry = |service: &Arc<Object>| {
        let known = before.get(&service.key).filter(|(at, _)| *at == service.revision);
        let ips = match known {
            Some((_, ips)) => ips.clone(),
            None => cluster_ips(&service.value()),
        };
        (service.key.clone(), (service.revision, ips))
    };
    services.iter().map(entry).collect()
}

/// Whether the same Services have the same addresses.
pub(crate) fn is_same(now: &Had, before: &Had) -> bool {
    let ips = now.values().map(|(_, ips)| ips).eq(before.values().map(|(_, ips)| ips));
    ips && now.keys().eq(before.keys())
}

fn key(kind: &'static Kind, ip: IpAddr) -> Bytes {
    cache::object_key(kind, "", &ip.to_string())
}

fn parent(service: &Value) -> Value {
    json!({"group": "", "resource": "services", "namespace": meta::namespace(service), "name": meta::name(service)})
}

fn put(kind: &'static Kind, ip: IpAddr, service: &Value, stamp: &Stamp, guard: Guard) -> Write {
    let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
    let object = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "IPAddress",
        "metadata": {
            "name": ip.to_string(), "uid": stamp.uid, "creationTimestamp": metadata::time(stamp.now),
            "labels": {FAMILY: family, MANAGED_BY: ALLOCATOR},
        },
        "spec": {"parentRef": parent(service)},
    });
    Write::put(key(kind, ip), cache::encode(kind, &object), guard)
}
