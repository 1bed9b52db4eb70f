//! The servers of the cluster, where there may be several: each keeps a Lease of its own, and the endpoints of the
//! `kubernetes` Service are those whose Leases are renewed.
//!
//! An edge: it waits between renewals. What the endpoints are is decided purely. *Source:* the Leases `apiserver-…` and
//! the lease endpoint reconciler of kube-apiserver in behaviour.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Weak;
use std::time::{Duration, Instant};

use coracle_api::meta;
use coracle_api::registry::{self, Kind};
use coracle_api::status::Status;
use coracle_store::{CommitError, Guard, Revision, Write};
use serde_json::{Value, json};

use crate::bootstrap::kind_of;
use crate::cache::{self, Selection};
use crate::clock;
use crate::metadata;
use crate::server::Core;
use crate::verbs::write;

/// The namespace of the Leases.
const NAMESPACE: &str = "kube-system";
/// The label of the Leases, and its value.
const LABEL: (&str, &str) = ("apiserver.kubernetes.io/identity", "kube-apiserver");
/// Where a Lease says at which address its server is reached.
const ADDRESS: &str = "coracle.dev/address";
/// How often a server renews its Lease, and looks at those of the others.
const RENEW_EVERY: Duration = Duration::from_secs(3);
/// How long a Lease may be silent until its server counts as gone.
const SILENT_MAX: Duration = Duration::from_secs(10);
/// How long the Lease of a server that is gone is kept.
const KEPT_MAX: Duration = Duration::from_secs(60);

/// Where a server of several is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Which server it is; the same after a restart, and no other server's: letters, digits and dashes.
    pub id: String,
    /// Who shows as holder of its Lease.
    pub holder: String,
}

/// When each Lease was last seen to change, by this server's clock.
#[derive(Default)]
struct Sightings(HashMap<String, (Revision, Instant)>);

impl Sightings {
    /// How long a Lease has been silent.
    fn silence(&mut self, name: &str, revision: Revision, now: Instant) -> Duration {
        let seen = self.0.entry(name.to_owned()).or_insert((revision, now));
        if seen.0 != revision {
            *seen = (revision, now);
        }
        now.saturating_duration_since(seen.1)
    }
}

/// Renews this server's Lease and keeps the endpoints, until the server shuts down.
pub(crate) async fn follow(core: Weak<Core>, member: Member) {
    let mut sightings = Sightings::default();
    loop {
        let Some(here) = core.upgrade() else { return };
        let shutdown = here.shutdown.clone();
        let renewed = async {
            here.renew_membership(&member).await?;
            here.keep_members(&mut sightings, None).await
        };
        if let Err(status) = renewed.await {
            tracing::debug!(why = status.message, "the server's Lease is not renewed");
        }
        drop(here);
        tokio::select! {
            () = tokio::time::sleep(RENEW_EVERY) => {}
            () = shutdown.cancelled() => return,
        }
    }
}

impl Core {
    /// Makes or renews this server's Lease.
    pub(crate) async fn renew_membership(&self, member: &Member) -> Result<(), Status> {
        let lease = lease(member, self.address);
        let kind = kind_of(&lease)?;
        let now = clock::now().strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
        let found = self.objects(kind)?.get(NAMESPACE, meta::name(&lease));
        let (mut fresh, guard) = match &found {
            None => {
                let mut fresh = lease;
                metadata::prepare_create(&mut fresh, &clock::stamp())?;
                fresh["spec"]["acquireTime"] = json!(now);
                (fresh, Guard::Absent)
            }
            Some(stored) => {
                let mut fresh = stored.value();
                for part in ["annotations", "labels"] {
                    fresh["metadata"][part] = lease["metadata"][part].clone();
                }
                fresh["spec"]["holderIdentity"] = lease["spec"]["holderIdentity"].clone();
                (fresh, Guard::At(stored.revision))
            }
        };
        fresh["spec"]["renewTime"] = json!(now);
        let key = cache::object_key(kind, NAMESPACE, meta::name(&fresh));
        self.write_unless_changed(Write::put(key, cache::encode(kind, &fresh), guard)).await
    }

    /// Takes this server out of the endpoints: it is about to stop.
    pub(crate) async fn leave(&self, member: &Member) -> Result<(), Status> {
        let lease = lease(member, self.address);
        let kind = kind_of(&lease)?;
        let key = cache::object_key(kind, NAMESPACE, meta::name(&lease));
        self.write_unless_changed(Write::delete(key, Guard::Any)).await?;
        self.keep_members(&mut Sightings::default(), Some(self.address)).await
    }

    /// Puts the endpoints of the `kubernetes` Service right; `without` a server that leaves.
    async fn keep_members(
        &self,
        sightings: &mut Sightings,
        without: Option<SocketAddr>,
    ) -> Result<(), Status> {
        let now = clock::instant();
        let kind = registry::by_kind("coordination.k8s.io", "v1", "Lease");
        let kind = kind.ok_or_else(|| Status::internal("no Leases"))?;
        let mut alive = BTreeSet::new();
        for stored in self.objects(kind)?.select(&Selection::all(kind)) {
            let lease = stored.value();
            let Some(address) = address_of(&lease) else { continue };
            let silence = sightings.silence(meta::name(&lease), stored.revision, now);
            if silence < SILENT_MAX {
                alive.insert(address);
            } else if silence >= KEPT_MAX {
                let write = Write::delete(stored.key.clone(), Guard::At(stored.revision));
                self.write_unless_changed(write).await?;
            }
        }
        // Whoever looks lives.
        alive.insert(self.address);
        alive.retain(|address| Some(*address) != without);
        if alive.is_empty() {
            return Ok(());
        }
        self.keep(endpoints(&alive), "subsets").await?;
        let wanted = slices(&alive);
        for (name, slice) in &wanted {
            self.keep(slice.clone(), "endpoints").await?;
            tracing::trace!(name, "the slice is right");
        }
        self.remove_slices(&wanted).await
    }

    /// Makes an object, or puts one part of it right.
    async fn keep(&self, mut wanted: Value, part: &str) -> Result<(), Status> {
        let kind = kind_of(&wanted)?;
        let Some(stored) = self.objects(kind)?.get("default", meta::name(&wanted)) else {
            return self.seed(wanted).await;
        };
        (kind.rules.default)(&mut wanted);
        let mut fresh = stored.value();
        if fresh[part] == wanted[part] && fresh["ports"] == wanted["ports"] {
            return Ok(());
        }
        fresh[part] = wanted[part].take();
        if !wanted["ports"].is_null() {
            fresh["ports"] = wanted["ports"].take();
        }
        let guard = Guard::At(stored.revision);
        let write = Write::put(stored.key.clone(), cache::encode(kind, &fresh), guard);
        self.write_unless_changed(write).await
    }

    async fn remove_slices(&self, wanted: &BTreeMap<String, Value>) -> Result<(), Status> {
        let kind = registry::by_kind("discovery.k8s.io", "v1", "EndpointSlice");
        let kind: &Kind = kind.ok_or_else(|| Status::internal("no EndpointSlices"))?;
        for stored in self.objects(kind)?.select(&Selection::all(kind)) {
            let slice = stored.value();
            let ours = meta::namespace(&slice) == "default"
                && slice["metadata"]["labels"]["kubernetes.io/service-name"] == "kubernetes";
            if ours && !wanted.contains_key(meta::name(&slice)) {
                let write = Write::delete(stored.key.clone(), Guard::At(stored.revision));
                self.write_unless_changed(write).await?;
            }
        }
        Ok(())
    }

    async fn write_unless_changed(&self, write: Write) -> Result<(), Status> {
        match self.store.commit(vec![write]).await {
            // Another server was faster; what is still wrong is seen at the next look.
            Ok(_) | Err(CommitError::Conflict { .. }) => Ok(()),
            Err(error) => Err(write::store_failed(&error)),
        }
    }
}

fn lease(member: &Member, address: SocketAddr) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {
            "name": format!("apiserver-{}", member.id), "namespace": NAMESPACE,
            "labels": {LABEL.0: LABEL.1}, "annotations": {ADDRESS: address.to_string()},
        },
        "spec": {"holderIdentity": member.holder, "leaseDurationSeconds": SILENT_MAX.as_secs()},
    })
}

fn address_of(lease: &Value) -> Option<SocketAddr> {
    let metadata = &lease["metadata"];
    let ours = meta::namespace(lease) == NAMESPACE && metadata["labels"][LABEL.0] == LABEL.1;
    metadata["annotations"][ADDRESS].as_str().filter(|_| ours)?.parse().ok()
}

/// The addresses at each port, the ports in order.
fn by_port(alive: &BTreeSet<SocketAddr>) -> BTreeMap<(bool, u16), Vec<String>> {
    let mut ports: BTreeMap<(bool, u16), Vec<String>> = BTreeMap::new();
    for address in alive {
        let place = (address.is_ipv6(), address.port());
        ports.entry(place).or_default().push(address.ip().to_string());
    }
    ports
}

fn endpoints(alive: &BTreeSet<SocketAddr>) -> Value {
    let subsets: Vec<Value> = by_port(alive)
        .into_iter()
        .map(|((_, port), addresses)| {
            let addresses: Vec<Value> = addresses.iter().map(|ip| json!({"ip": ip})).collect();
            json!({"addresses": addresses, "ports": [{"name": "https", "port": port, "protocol": "TCP"}]})
        })
        .collect();
    json!({
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": {
            "name": "kubernetes", "namespace": "default",
            "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
        },
        "subsets": subsets,
    })
}

/// The slices by name: one for each port and family, because a slice has one of each. The first has the usual name.
fn slices(alive: &BTreeSet<SocketAddr>) -> BTreeMap<String, Value> {
    let named = |(index, ((is_six, port), addresses)): (usize, ((bool, u16), Vec<String>))| {
        let family = if is_six { "IPv6" } else { "IPv4" };
        let name = match index {
            0 => "kubernetes".to_owned(),
            _ => format!("kubernetes-{}-{port}", family.to_lowercase()),
        };
        let endpoints: Vec<Value> = addresses
            .iter()
            .map(|ip| json!({"addresses": [ip], "conditions": {"ready": true}}))
            .collect();
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "name": name, "namespace": "default",
                "labels": {"kubernetes.io/service-name": "kubernetes"},
            },
            "addressType": family, "endpoints": endpoints,
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        });
        (name, slice)
    };
    by_port(alive).into_iter().enumerate().map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_at_one_port_share_a_slice() {
        let check = |alive: &[&str], expected: &[(&str, &[&str])]| {
            let alive = alive.iter().map(|address| address.parse().unwrap()).collect();
            let made = slices(&alive);
            let found: Vec<(String, Vec<String>)> = made
                .iter()
                .map(|(name, slice)| {
                    let all = slice["endpoints"].as_array().unwrap().iter();
                    let ips =
                        all.map(|endpoint| endpoint["addresses"][0].as_str().unwrap().to_owned());
                    (name.clone(), ips.collect())
                })
                .collect();
            let expected: Vec<(String, Vec<String>)> = expected
                .iter()
                .map(|(name, ips)| {
                    ((*name).to_owned(), ips.iter().map(|ip| (*ip).to_owned()).collect())
                })
                .collect();
            assert_eq!(found, expected);
            assert_eq!(endpoints(&alive)["subsets"].as_array().unwrap().len(), made.len());
        };
        check(&["10.0.0.1:6443"], &[("kubernetes", &["10.0.0.1"])]);
        check(&["10.0.0.1:6443", "10.0.0.2:6443"], &[("kubernetes", &["10.0.0.1", "10.0.0.2"])]);
        check(
            &["10.0.0.1:6443", "10.0.0.1:7443", "10.0.0.2:7443"],
            &[("kubernetes", &["10.0.0.1"]), ("kubernetes-ipv4-7443", &["10.0.0.1", "10.0.0.2"])],
        );
    }

    #[test]
    fn a_lease_tells_where_its_server_is() {
        let member = Member { id: "abc".to_owned(), holder: "a_b".to_owned() };
        let mut lease = lease(&member, "10.0.0.1:6443".parse().unwrap());
        assert_eq!(address_of(&lease), Some("10.0.0.1:6443".parse().unwrap()));
        lease["metadata"]["labels"] = json!({});
        assert_eq!(address_of(&lease), None);
    }

    #[test]
    fn silence_is_measured_from_the_last_change() {
        let mut sightings = Sightings::default();
        let begin = clock::instant();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut check = |revision, seconds, expected| {
            let silence = sightings.silence("a", Revision(revision), at(seconds));
            assert_eq!(silence, Duration::from_secs(expected));
        };
        check(1, 100, 0);
        check(1, 109, 9);
        check(2, 110, 0);
        check(2, 125, 15);
    }
}
