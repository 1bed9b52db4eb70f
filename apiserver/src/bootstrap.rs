//! The objects that every cluster has: namespaces, the `kubernetes` Service, system priority classes, default roles.
//!
//! Made at each start when they are missing, and again soon after somebody deleted one; the Service's endpoint is also
//! put right when the server's address changed. They are made by the server itself, so admission and validation are not
//! asked.

use bytes::Bytes;
use coracle_api::meta;
use coracle_api::registry::{self, Kind};
use coracle_api::status::Status;
use coracle_store::{COMMIT_WRITES_MAX, CommitError, Guard, Revision, Write};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::Weak;
use std::time::Duration;

use crate::authz::policy;
use crate::cache::{self, Object, Selection};
use crate::clock;
use crate::flow;
use crate::metadata;
use crate::server::{ApiServer, Core};
use crate::service_address::objects;
use crate::verbs::write;

/// The namespaces that always exist.
const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

/// How long something that every cluster has may be missing.
/// *Source:* the controllers of kube-apiserver for the `kubernetes` Service and its endpoints look every 10 seconds.
const KEEP_EVERY: Duration = Duration::from_secs(10);

/// Roles and bindings as they were when they were last looked at: there are many, and they seldom change.
/// So are the objects of Services' addresses, and of each Service, which may change every second, its addresses.
#[derive(Debug, Default)]
struct Seen {
    access: Option<[Revision; 4]>,
    addresses: Option<[Revision; 2]>,
    services: objects::Had,
}

impl ApiServer {
    /// Makes what is missing.
    pub(crate) async fn bootstrap(&self) -> Result<(), Status> {
        let core = &self.core;
        let mut seen = Seen::default();
        core.seed_all(&mut seen).await?;
        // In a cluster from before, a Service of somebody may have the address.
        if let Err(status) = core.seed(core.dns_service()).await {
            tracing::warn!(error = status.message, "the Service kube-dns was not made");
        }
        core.keep_addresses(&mut seen).await?;
        match &core.member {
            Some(member) => core.renew_membership(member).await,
            None => core.seed_endpoints().await,
        }
    }
}

/// Makes again what every cluster has and somebody deleted, until the server ends.
pub(crate) async fn follow(core: Weak<Core>) {
    let mut seen = Seen::default();
    loop {
        let Some(shutdown) = core.upgrade().map(|core| core.shutdown.clone()) else { return };
        tokio::select! {
            () = tokio::time::sleep(KEEP_EVERY) => {}
            () = shutdown.cancelled() => return,
        }
        let Some(core) = core.upgrade() else { return };
        if let Err(status) = core.keep_all(&mut seen).await {
            tracing::debug!(why = status.message, "something that every cluster has is missing");
        }
    }
}

impl Core {
    /// Makes again what is missing of all that every cluster has.
    async fn keep_all(&self, seen: &mut Seen) -> Result<(), Status> {
        self.seed_all(seen).await?;
        if self.member.is_none() {
            self.seed_endpoints().await?;
        }
        self.seed(self.dns_service()).await?;
        self.keep_addresses(seen).await
    }

    /// Puts the objects of Services' addresses right, of which somebody may have removed one.
    async fn keep_addresses(&self, seen: &mut Seen) -> Result<(), Status> {
        let service = registry::by_kind("", "v1", "Service");
        let Some((addresses, services)) = objects::kind().zip(service) else { return Ok(()) };
        let (addresses, services) = (self.objects(addresses)?, self.objects(services)?);
        let now = [addresses.changed(), services.changed()];
        if seen.addresses == Some(now) {
            return Ok(());
        }
        // In this order: an address is never seen without its Service.
        let all = addresses.select(&Selection::all(addresses.kind()));
        let services = services.select(&Selection::all(services.kind()));
        let had = objects::had(&services, &seen.services);
        let was_right = seen.addresses.is_some_and(|[at, _]| at == now[0]);
        if was_right && objects::is_same(&had, &seen.services) {
            (seen.addresses, seen.services) = (Some(now), had);
            return Ok(());
        }
        let of: Vec<Value> = services.iter().map(|service| service.value()).collect();
        let writes = objects::repairs(&all, &of, clock::stamp);
        (seen.addresses, seen.services) = (writes.is_empty().then_some(now), had);
        for batch in writes.chunks(COMMIT_WRITES_MAX) {
            match self.store.commit(batch.to_vec()).await {
                // After a conflict, whoever was faster left less to do for the next time.
                Ok(_) | Err(CommitError::Conflict { .. }) => {}
                Err(error) => return Err(write::store_failed(&error)),
            }
        }
        Ok(())
    }

    /// Makes what is missing, but for the Service of the DNS and what differs between one server and several.
    async fn seed_all(&self, seen: &mut Seen) -> Result<(), Status> {
        for name in NAMESPACES {
            let labels = json!({"kubernetes.io/metadata.name": name});
            self.seed(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}))
                .await?;
        }
        for object in priority_classes().into_iter().chain(flow::defaults()) {
            self.seed(object).await?;
        }
        self.seed(process_class()).await?;
        self.seed(ingress_class()).await?;
        let access = self.authorizer.rbac.versions();
        if seen.access != Some(access) {
            self.seed_access().await?;
            seen.access = Some(access);
        }
        self.seed_trust().await?;
        self.seed(self.kubernetes_service()).await?;
        self.seed_service_range().await
    }

    /// Writes again what is stored plain or under an old key, so that the key may go.
    pub(crate) async fn seal_anew(&self, stale: HashSet<Bytes>) -> Result<(), Status> {
        if stale.is_empty() {
            return Ok(());
        }
        let mut writes = Vec::new();
        for cache in self.caches.resources() {
            for object in cache.select(&Selection::all(cache.kind())) {
                if stale.contains(&object.key) {
                    let content = cache::encode(cache.kind(), &object.value());
                    writes.push(Write::put(
                        object.key.clone(),
                        content,
                        Guard::At(object.revision),
                    ));
                }
            }
        }
        tracing::info!(count = writes.len(), "sealing stored values anew");
        for batch in writes.chunks(COMMIT_WRITES_MAX) {
            match self.store.commit(batch.to_vec()).await {
                // After a conflict, another server on the same store was faster.
                Ok(_) | Err(CommitError::Conflict { .. }) => {}
                Err(error) => return Err(write::store_failed(&error)),
            }
        }
        Ok(())
    }

    /// Stores an object unless there is one of its name.
    pub(crate) async fn seed(&self, object: Value) -> Result<(), Status> {
        let kind = kind_of(&object)?;
        if self.objects(kind)?.get(meta::namespace(&object), meta::name(&object)).is_some() {
            return Ok(());
        }
        self.put(kind, object, Guard::Absent).await
    }

    /// Makes the default roles and bindings, and gives stored ones back what they lack; many in one commit.
    async fn seed_access(&self) -> Result<(), Status> {
        let mut writes = Vec::new();
        for wanted in policy::objects() {
            let kind = kind_of(&wanted)?;
            let (namespace, name) = (meta::namespace(&wanted), meta::name(&wanted));
            let key = cache::object_key(kind, namespace, name);
            let stored = self.objects(kind)?.get(namespace, name);
            let (fresh, guard) = match stored {
                None => {
                    let mut fresh = wanted;
                    metadata::prepare_create(&mut fresh, &clock::stamp())?;
                    (fresh, Guard::Absent)
                }
                Some(stored) => match policy::repaired(&stored.value(), &wanted) {
                    Some(fresh) => (fresh, Guard::At(stored.revision)),
                    None => continue,
                },
            };
            writes.push(Write::put(key, cache::encode(kind, &fresh), guard));
        }
        for batch in writes.chunks(COMMIT_WRITES_MAX) {
            match self.store.commit(batch.to_vec()).await {
                // After a conflict, another server on the same store was faster.
                Ok(_) | Err(CommitError::Conflict { .. }) => {}
                Err(error) => return Err(write::store_failed(&error)),
            }
        }
        Ok(())
    }

    async fn put(
        &self,
        kind: &'static Kind,
        mut object: Value,
        guard: Guard,
    ) -> Result<(), Status> {
        metadata::prepare_create(&mut object, &clock::stamp())?;
        (kind.rules.default)(&mut object);
        (kind.rules.prepare_create)(&mut object);
        let turn = self.address_turn(kind).await?;
        let claim = self.assign_addresses(kind, &mut object, None)?;
        let key = cache::object_key(kind, meta::namespace(&object), meta::name(&object));
        let mut writes = vec![Write::put(key, cache::encode(kind, &object), guard)];
        writes.extend(write::address_objects(kind, None, Some(&object)));
        writes.extend(turn.and_then(|turn| turn.write(claim.as_ref(), false)));
        match self.store.commit(writes).await {
            Ok(committed) => {
                if let Some(claim) = claim {
                    claim.commit(&object, None);
                }
                self.turn_done(turn, &committed);
                Ok(())
            }
            // Another server on the same store was faster.
            Err(CommitError::Conflict { .. }) => Ok(()),
            Err(error) => Err(write::store_failed(&error)),
        }
    }

    fn kubernetes_service(&self) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {
                "name": "kubernetes", "namespace": "default",
                "labels": {"component": "apiserver", "provider": "kubernetes"},
            },
            "spec": {
                "type": "ClusterIP", "clusterIP": self.addresses.first().to_string(),
                "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": self.address.port()}],
            },
        })
    }

    /// The Service of the cluster's DNS, which every host answers itself: it has no endpoints.
    /// *Source:* its name, labels and ports are those of every cluster; the address is kubeadm's.
    fn dns_service(&self) -> Value {
        let ip = Ipv4Addr::from(u32::from(self.addresses.first()).saturating_add(9));
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {
                "name": "kube-dns", "namespace": "kube-system",
                "labels": {"k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true",
                    "kubernetes.io/name": "CoreDNS"},
            },
            "spec": {
                "type": "ClusterIP", "clusterIP": ip.to_string(),
                "ports": [
                    {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
                    {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53},
                ],
            },
        })
    }

    /// Keeps what aggregated servers read to know whom to trust.
    async fn seed_trust(&self) -> Result<(), Status> {
        let Some(wanted) = self.front_proxy.as_ref().map(|front| front.config_map()) else {
            return Ok(());
        };
        let kind = kind_of(&wanted)?;
        let stored = self.objects(kind)?.get("kube-system", meta::name(&wanted));
        match stored {
            None => self.put(kind, wanted, Guard::Absent).await,
            Some(stored) if stored.value()["data"] == wanted["data"] => Ok(()),
            Some(stored) => {
                let mut fresh = stored.value();
                fresh["data"] = wanted["data"].clone();
                self.overwrite(kind, &stored, &fresh).await
            }
        }
    }

    /// Tells the range of Services' addresses, in which this server gives them out.
    async fn seed_service_range(&self) -> Result<(), Status> {
        let now = metadata::time(clock::now());
        let range = json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": "kubernetes"},
            "spec": {"cidrs": self.addresses.ranges()},
        });
        let kind = kind_of(&range)?;
        self.seed(range).await?;
        let Some(stored) = self.objects(kind)?.get("", "kubernetes") else { return Ok(()) };
        match settled_range(&stored.value(), &now) {
            Some(fresh) => self.overwrite(kind, &stored, &fresh).await,
            None => Ok(()),
        }
    }

    /// Writes an object again unless somebody else was faster.
    async fn overwrite(&self, kind: &Kind, stored: &Object, fresh: &Value) -> Result<(), Status> {
        let guard = Guard::At(stored.revision);
        let write = Write::put(stored.key.clone(), cache::encode(kind, fresh), guard);
        match self.store.commit(vec![write]).await {
            // After a conflict, another server on the same store was faster.
            Ok(_) | Err(CommitError::Conflict { .. }) => Ok(()),
            Err(error) => Err(write::store_failed(&error)),
        }
    }

    /// Keeps the endpoint of the `kubernetes` Service at this server's address, in both forms.
    async fn seed_endpoints(&self) -> Result<(), Status> {
        let (ip, port) = (self.address.ip().to_string(), self.address.port());
        let endpoints = json!({
            "apiVersion": "v1", "kind": "Endpoints",
            "metadata": {
                "name": "kubernetes", "namespace": "default",
                "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
            },
            "subsets": [{
                "addresses": [{"ip": ip}],
                "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
            }],
        });
        self.keep_endpoint(endpoints, &["/subsets/0/addresses", "/subsets/0/ports/0/port"]).await?;
        let family = if self.address.is_ipv4() { "IPv4" } else { "IPv6" };
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "name": "kubernetes", "namespace": "default",
                "labels": {"kubernetes.io/service-name": "kubernetes"},
            },
            "addressType": family,
            "endpoints": [{"addresses": [self.address.ip().to_string()], "conditions": {"ready": true}}],
            "ports": [{"name": "https", "port": self.address.port(), "protocol": "TCP"}],
        });
        self.keep_endpoint(slice, &["/endpoints/0/addresses", "/ports/0/port"]).await
    }

    /// Makes an object, or puts it right when one of these places in it differs.
    async fn keep_endpoint(&self, wanted: Value, places: &[&str]) -> Result<(), Status> {
        let kind = kind_of(&wanted)?;
        let Some(current) = self.objects(kind)?.get("default", "kubernetes") else {
            return self.seed(wanted).await;
        };
        let stored = current.value();
        if places.iter().all(|place| stored.pointer(place) == wanted.pointer(place)) {
            return Ok(());
        }
        self.put(kind, wanted, Guard::At(current.revision)).await
    }
}

/// Gives the range of Services' addresses as it has to be: held, because some Service always has an address of it, and
/// with a condition that tells of a deletion which waits; `None` when it is so.
///
/// *Source:* KEP-1880; the controller of ServiceCIDRs in kube-controller-manager.
fn settled_range(range: &Value, now: &str) -> Option<Value> {
    const HELD_BY: &str = "networking.k8s.io/service-cidr-finalizer";
    let mut fresh = range.clone();
    let goes = meta::deletion_timestamp(range).is_some();
    if !goes && !meta::finalizers(range).any(|finalizer| finalizer == HELD_BY) {
        let all = meta::finalizers(range).chain([HELD_BY]).map(|one| json!(one));
        let all: Vec<Value> = all.collect();
        meta::set(&mut fresh, "finalizers", all);
    }
    let (status, reason, message) = if goes {
        let words = "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR";
        ("False", "Terminating", words)
    } else {
        ("True", "", "Kubernetes Service CIDR is ready")
    };
    let told = &range["status"]["conditions"][0];
    if told["type"] != "Ready" || told["status"] != status {
        fresh["status"] = json!({"conditions": [{
            "type": "Ready", "status": status, "reason": reason, "message": message, "lastTransitionTime": now,
        }]});
    }
    (fresh != *range).then_some(fresh)
}

/// The kind of an object that the server makes itself.
pub(crate) fn kind_of(object: &Value) -> Result<&'static Kind, Status> {
    let version = object["apiVersion"].as_str().unwrap_or("");
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    let kind = registry::by_kind(group, version, object["kind"].as_str().unwrap_or(""));
    kind.ok_or_else(|| Status::internal("a bootstrap object of an unknown kind"))
}

/// The class of pods that each run in a process of their own; every host has its handler.
fn process_class() -> Value {
    json!({
        "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass",
        "metadata": {"name": "coracle-process"}, "handler": "coracle-process",
    })
}

/// The class of Ingresses that hosts serve themselves; the default until somebody makes another one that.
fn ingress_class() -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass",
        "metadata": {
            "name": "coracle",
            "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"},
        },
        "spec": {"controller": "coracle.dev/ingress"},
    })
}

fn priority_classes() -> [Value; 2] {
    let class = |name: &str, value: i64, description: &str| {
        json!({
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name},
            "value": value, "description": description,
        })
    };
    [
        class(
            "system-cluster-critical",
            2_000_000_000,
            "For pods without which the cluster does not work; they may move.",
        ),
        class(
            "system-node-critical",
            2_000_001_000,
            "For pods without which their node does not work; they stay there.",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;
    use coracle_store::Store;

    /// Deletes objects by name, looks after the cluster, and tells which are still missing.
    async fn check(deleted: &[(&str, &str, &str, &str)]) {
        let folder = tempfile::tempdir().unwrap();
        let config = Config::new("10.0.0.1:6443".parse().unwrap(), folder.path().join("images"));
        let core = ApiServer::new(config, Store::memory()).await.unwrap().core;
        let mut seen = Seen::default();
        core.keep_all(&mut seen).await.unwrap();
        let find = |(api, kind, namespace, name): &(&str, &str, &str, &str)| {
            let kind = kind_of(&json!({"apiVersion": api, "kind": kind})).unwrap();
            core.objects(kind).unwrap().get(namespace, name)
        };
        for each in deleted {
            let object = find(each).unwrap_or_else(|| panic!("no {each:?}"));
            if each.1 == "Service" {
                core.addresses.release(&object.value());
            }
            let write = Write::delete(object.key.clone(), Guard::Any);
            core.store.commit(vec![write]).await.unwrap();
            core.caches.wait_until(core.store.revision()).await;
        }
        assert!(deleted.iter().all(|each| find(each).is_none()));
        core.keep_all(&mut seen).await.unwrap();
        core.caches.wait_until(core.store.revision()).await;
        let missing: Vec<_> = deleted.iter().filter(|each| find(each).is_none()).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[tokio::test]
    async fn an_address_has_its_object_again() {
        check(&[("networking.k8s.io/v1", "IPAddress", "", "10.96.0.1")]).await;
    }

    #[tokio::test]
    async fn services_are_read_again_when_they_changed() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config::new("10.0.0.1:6443".parse().unwrap(), folder.path().join("images"));
        let core = ApiServer::new(config, Store::memory()).await.unwrap().core;
        let services = registry::by_kind("", "v1", "Service").unwrap();
        let change = async |field: &str, value: Value| {
            let stored = core.objects(services).unwrap().get("kube-system", "kube-dns").unwrap();
            let mut fresh = stored.value();
            fresh["spec"][field] = value;
            core.overwrite(services, &stored, &fresh).await.unwrap();
            core.caches.wait_until(core.store.revision()).await;
        };
        let objects_of = |seen: &Seen| {
            let all = core.objects(services).unwrap().select(&Selection::all(services));
            objects::had(&all, &seen.services)
        };
        let has = |ip: &str| core.objects(objects::kind().unwrap()).unwrap().get("", ip).is_some();
        let mut seen = Seen::default();
        core.keep_addresses(&mut seen).await.unwrap();
        assert!(seen.addresses.is_some() && objects::is_same(&objects_of(&seen), &seen.services));
        // A mark where the addresses are remembered shows which are read anew.
        for (_, ips) in seen.services.values_mut() {
            *ips = vec!["192.0.2.1".parse().unwrap()];
        }
        change("sessionAffinity", json!("ClientIP")).await;
        let read: Vec<String> =
            objects_of(&seen).values().map(|(_, ips)| format!("{ips:?}")).collect();
        assert_eq!(read, ["[192.0.2.1]", "[10.96.0.10]"]);
        // An address that differs is seen, and one that does not changes nothing.
        let mut seen = Seen::default();
        core.keep_addresses(&mut seen).await.unwrap();
        change("sessionAffinity", json!("None")).await;
        core.keep_addresses(&mut seen).await.unwrap();
        assert!(seen.addresses.is_some() && has("10.96.0.10"));
        change("clusterIP", json!("10.96.0.77")).await;
        change("clusterIPs", json!(["10.96.0.77"])).await;
        core.keep_addresses(&mut seen).await.unwrap();
        core.caches.wait_until(core.store.revision()).await;
        assert_eq!([has("10.96.0.10"), has("10.96.0.77")], [false, true]);
    }

    #[tokio::test]
    async fn what_every_cluster_has_comes_back() {
        let rbac = "rbac.authorization.k8s.io/v1";
        check(&[
            ("v1", "Service", "default", "kubernetes"),
            ("v1", "Service", "kube-system", "kube-dns"),
            ("v1", "Endpoints", "default", "kubernetes"),
            ("discovery.k8s.io/v1", "EndpointSlice", "default", "kubernetes"),
            ("v1", "Namespace", "", "kube-node-lease"),
            ("node.k8s.io/v1", "RuntimeClass", "", "coracle-process"),
            ("scheduling.k8s.io/v1", "PriorityClass", "", "system-node-critical"),
            ("networking.k8s.io/v1", "ServiceCIDR", "", "kubernetes"),
            ("networking.k8s.io/v1", "IPAddress", "", "10.96.0.10"),
            (rbac, "ClusterRoleBinding", "", "cluster-admin"),
            (rbac, "ClusterRole", "", "view"),
        ])
        .await;
    }
}
