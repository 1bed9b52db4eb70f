//! A model of a host: it talks to the API as the agent does, and its pods are entries in a table.
//!
//! It registers its Node, renews its Lease, follows the pods that are bound to it, starts and stops them in their time,
//! and reports. What the agent keeps in its checkpoint survives a crash here too. It is not the agent: see the README.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use coracle_apiserver::authn::UserInfo;
use coracle_client::{Cache, Client, Failure, Scope};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, sleep_until};

use crate::net::Link;
use crate::world::{Stay, World};

/// Time between two heartbeats, as in the agent.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// Pause after a failure to register.
const REGISTERS_AGAIN: Duration = Duration::from_secs(1);

/// Time until what failed to be told is told again, and between looks while the pods are not known yet.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Image of a container that crashes soon after each start.
pub const CRASHING_IMAGE: &str = "sim/crash";

/// How long such a container runs.
const CRASHES_AFTER: Duration = Duration::from_secs(1);

/// How far a pod has come on its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    /// It runs from this time on.
    Starting(Instant),
    /// It runs since this time.
    Running(Timestamp),
    /// It runs and will end by itself at this time.
    Working(Instant),
    /// It runs since the first and crashes at the second.
    Crashing(Timestamp, Instant),
    /// It has crashed and is started again at this time.
    BackOff(Instant),
    /// It has ended by itself, in this phase.
    Ended(&'static str),
    /// It has ended at this time.
    Stopping(Instant),
    /// Nothing of it runs any more.
    Over,
}

impl Life {
    /// Whether it runs, or will.
    fn goes_on(self) -> bool {
        match self {
            Life::Starting(_)
            | Life::Running(_)
            | Life::Working(_)
            | Life::Crashing(..)
            | Life::BackOff(_) => true,
            Life::Ended(_) | Life::Stopping(_) | Life::Over => false,
        }
    }
}

#[derive(Debug, Clone)]
struct Record {
    name: String,
    namespace: String,
    life: Life,
    restarts: u32,
    address: String,
    /// It ends by itself.
    ends: bool,
    /// It crashes again and again.
    crashes: bool,
}

/// What a host has to tell of a pod.
enum News {
    /// It fares like this.
    Status(Value),
    /// Nothing of it runs any more, as was asked for.
    Gone,
}

/// What is on the host's own disk: pods by uid.
type Checkpoint = Arc<Mutex<BTreeMap<String, Record>>>;

/// What a machine has for pods.
#[derive(Debug, Clone)]
pub struct Capacity {
    /// Such as `1100m`.
    pub cpu: String,
    /// Such as `4Gi`.
    pub memory: String,
    /// Number of pods.
    pub pods: u32,
}

/// Zones that the machines are in, one after the other.
const ZONES: usize = 3;

/// A machine; it may be up or down.
pub struct Host {
    /// The node's name.
    pub name: String,
    zone: String,
    capacity: Capacity,
    world: Arc<World>,
    checkpoint: Checkpoint,
    /// What runs on it while it is up.
    process: Mutex<Option<JoinSet<()>>>,
}

impl Host {
    /// A machine that is down.
    pub fn new(world: &Arc<World>, index: usize, capacity: &Capacity) -> Host {
        Host {
            name: format!("n{index}"),
            zone: format!("z{}", index % ZONES),
            capacity: capacity.clone(),
            world: Arc::clone(world),
            checkpoint: Checkpoint::default(),
            process: Mutex::new(None),
        }
    }

    /// Whether its process runs.
    pub fn is_up(&self) -> bool {
        self.process.lock().is_some()
    }

    /// Starts its process; pods of the checkpoint start again.
    pub fn start(&self) {
        note!(self.world, "host {} starts", self.name);
        let user = UserInfo::new(&format!("system:node:{}", self.name), ["system:nodes"]);
        let client = Link::outside(&self.world, &self.name, user).client();
        for record in self.checkpoint.lock().values_mut() {
            if record.life.goes_on() {
                record.life = Life::Starting(Instant::now() + self.world.millis(1.0..2_000.0));
                record.restarts += 1;
            }
        }
        let process = Process {
            world: Arc::clone(&self.world),
            name: self.name.clone(),
            zone: self.zone.clone(),
            capacity: self.capacity.clone(),
            client,
            checkpoint: Arc::clone(&self.checkpoint),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(process.clone().heartbeat());
        tasks.spawn(process.pods());
        *self.process.lock() = Some(tasks);
    }

    /// Kills its process in the middle of whatever it does.
    pub fn kill(&self) {
        note!(self.world, "host {} dies", self.name);
        *self.process.lock() = None;
        let now = self.world.now();
        for stay in self.world.stays.lock().iter_mut().filter(|stay| stay.host == self.name) {
            stay.until.get_or_insert(now);
        }
    }

    /// The uids of the pods that run on it.
    pub fn running(&self) -> Vec<String> {
        let checkpoint = self.checkpoint.lock();
        let live = checkpoint.iter().filter(|(_, record)| matches!(record.life, Life::Running(_)));
        live.map(|(uid, _)| uid.clone()).collect()
    }
}

#[derive(Clone)]
struct Process {
    world: Arc<World>,
    name: String,
    zone: String,
    capacity: Capacity,
    client: Client,
    checkpoint: Checkpoint,
}

impl Process {
    /// Beats at whole multiples of its time since the start, so that hosts that started together renew in one breath, and
    /// the store writes their Leases in a few turns.
    async fn heartbeat(self) {
        let own = Scope::all().fields(format!("metadata.name={}", self.name));
        let own = Cache::<Node>::start(&self.client, own);
        let mut beats = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut registered = false;
        loop {
            if !registered {
                registered = self.register().await.is_ok();
            } else if let Err(error) = self.beat(&own).await {
                registered = !error.is_not_found();
            }
            if registered {
                beats.tick().await;
            } else {
                sleep(REGISTERS_AGAIN).await;
            }
        }
    }

    async fn register(&self) -> Result<(), kube::Error> {
        let nodes: Api<Node> = self.client.cluster();
        if nodes.get_opt(&self.name).await?.is_none() {
            let labels = json!({"kubernetes.io/hostname": self.name,
                "topology.kubernetes.io/zone": self.zone});
            let node = json!({"metadata": {"name": self.name, "labels": labels}});
            let node = serde_json::from_value(node).map_err(kube::Error::SerdeError)?;
            match nodes.create(&PostParams::default(), &node).await {
                Err(error) if !error.is_already_exists() => return Err(error),
                Ok(_) | Err(_) => {}
            }
        }
        self.send_status().await?;
        self.renew().await
    }

    async fn beat(&self, own: &Cache<Node>) -> Result<(), kube::Error> {
        self.renew().await?;
        let node = match own.get(None, &self.name) {
            Some(node) => node,
            // Gone, or not known yet.
            None => Arc::new(self.client.cluster::<Node>().get(&self.name).await?),
        };
        let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
        if conditions.into_iter().any(|c| c.type_ == "Ready" && c.status == "True") {
            return Ok(());
        }
        self.send_status().await.map(|node| own.assume(node))
    }

    async fn send_status(&self) -> Result<Node, kube::Error> {
        let Capacity { cpu, memory, pods } = &self.capacity;
        let resources = json!({"cpu": cpu, "memory": memory, "pods": pods.to_string()});
        let now = now().to_string();
        let ready = json!({"type": "Ready", "status": "True", "reason": "KubeletReady",
            "lastHeartbeatTime": now, "lastTransitionTime": now});
        let body = json!({"status": {"capacity": resources, "allocatable": resources,
            "conditions": [ready]}});
        let nodes: Api<Node> = self.client.cluster();
        let parameters = PatchParams::default();
        nodes.patch_status(&self.name, &parameters, &Patch::Strategic(body)).await
    }

    async fn renew(&self) -> Result<(), kube::Error> {
        let leases: Api<Lease> = self.client.namespaced("kube-node-lease");
        let at = now().strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
        let spec =
            json!({"holderIdentity": self.name, "leaseDurationSeconds": 40, "renewTime": at});
        let patch = Patch::Merge(json!({"spec": spec}));
        match leases.patch(&self.name, &PatchParams::default(), &patch).await {
            Err(error) if error.is_not_found() => {}
            done => return done.map(drop),
        }
        let lease =
            json!({"metadata": {"name": self.name, "namespace": "kube-node-lease"}, "spec": spec});
        let lease = serde_json::from_value(lease).map_err(kube::Error::SerdeError)?;
        leases.create(&PostParams::default(), &lease).await.map(drop)
    }

    async fn pods(self) {
        let scope = Scope::all().fields(format!("spec.nodeName={}", self.name));
        let cache = Cache::<Pod>::start(&self.client, scope);
        let mut changes = cache.subscribe();
        loop {
            let pods = cache.list();
            self.take_up(&pods);
            self.advance();
            let known = cache.synced();
            if known {
                self.drop_gone(&pods);
            }
            let mut told = true;
            for pod in &pods {
                told &= self.report(pod).await;
            }
            let again = (!told || !known).then(|| Instant::now() + LOOK_AGAIN);
            let wakes_at = again.into_iter().chain(self.next_due()).min();
            let due = async {
                match wakes_at {
                    Some(at) => sleep_until(at).await,
                    // Nothing is under way: only a change of the pods is of interest.
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = changes.next() => while changes.try_next().is_some() {},
                () = due => {}
            }
        }
    }

    /// Begins what is bound and not begun, and stops what is to go.
    fn take_up(&self, pods: &[Arc<Pod>]) {
        let mut checkpoint = self.checkpoint.lock();
        for pod in pods {
            let meta = &pod.metadata;
            let uid = meta.uid.clone().unwrap_or_default();
            let goes = meta.deletion_timestamp.is_some();
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            let is_over = matches!(phase, Some("Succeeded" | "Failed"));
            match checkpoint.get_mut(&uid) {
                None if is_over => {}
                None => {
                    let begin = Instant::now() + self.world.millis(1.0..5_000.0);
                    let record = Record {
                        name: meta.name.clone().unwrap_or_default(),
                        namespace: meta.namespace.clone().unwrap_or_default(),
                        life: if goes { Life::Over } else { Life::Starting(begin) },
                        restarts: 0,
                        address: self.world.pod_address(),
                        ends: pod
                            .spec
                            .as_ref()
                            .is_some_and(|spec| spec.restart_policy.as_deref() == Some("Never")),
                        crashes: crashes(pod),
                    };
                    note!(
                        self.world,
                        "{} takes up {}/{}",
                        self.name,
                        record.namespace,
                        record.name
                    );
                    checkpoint.insert(uid, record);
                }
                Some(record) if goes || is_over => self.stop(record),
                Some(_) => {}
            }
        }
    }

    fn stop(&self, record: &mut Record) {
        if record.life.goes_on() {
            record.life = Life::Stopping(Instant::now() + self.world.millis(1.0..10_000.0));
        }
    }

    /// Stops the pods whose objects are gone, and forgets them when they are over.
    fn drop_gone(&self, pods: &[Arc<Pod>]) {
        let mut checkpoint = self.checkpoint.lock();
        checkpoint.retain(|uid, record| {
            if pods.iter().any(|pod| pod.metadata.uid.as_ref() == Some(uid)) {
                return true;
            }
            self.stop(record);
            !matches!(record.life, Life::Over | Life::Ended(_))
        });
    }

    fn advance(&self) {
        for (uid, record) in &mut *self.checkpoint.lock() {
            record.life = match record.life {
                Life::Starting(at) if at <= Instant::now() => {
                    self.begins(uid, record);
                    if record.crashes {
                        Life::Crashing(now(), Instant::now() + CRASHES_AFTER)
                    } else if record.ends {
                        Life::Working(Instant::now() + self.world.millis(10.0..20_000.0))
                    } else {
                        Life::Running(now())
                    }
                }
                Life::Working(at) if at <= Instant::now() => {
                    self.ends(uid, record);
                    Life::Ended(if self.world.chance(0.2) { "Failed" } else { "Succeeded" })
                }
                Life::Stopping(at) if at <= Instant::now() => {
                    self.ends(uid, record);
                    Life::Over
                }
                Life::Crashing(_, at) if at <= Instant::now() => {
                    self.ends(uid, record);
                    Life::BackOff(Instant::now() + back_off(record.restarts))
                }
                Life::BackOff(at) if at <= Instant::now() => {
                    record.restarts += 1;
                    Life::Starting(Instant::now())
                }
                same @ (Life::Starting(_)
                | Life::Running(_)
                | Life::Working(_)
                | Life::Crashing(..)
                | Life::BackOff(_)
                | Life::Ended(_)
                | Life::Stopping(_)
                | Life::Over) => same,
            };
        }
    }

    fn begins(&self, uid: &str, record: &Record) {
        let place = format!("{}/{}", record.namespace, record.name);
        note!(self.world, "{} runs {place}", self.name);
        self.world.stays.lock().push(Stay {
            place: place.clone(),
            uid: uid.to_owned(),
            host: self.name.clone(),
            from: self.world.now(),
            until: None,
        });
        let mut running = self.world.running.lock();
        let same = running.entry(place.clone()).or_default();
        same.insert(uid.to_owned(), self.name.clone());
        let other = same.iter().find(|(other, _)| *other != uid);
        let Some((_, host)) = other.map(|(uid, host)| (uid.clone(), host.clone())) else { return };
        drop(running);
        // The Node of the other was deleted, or the pod by force: then nobody waits for it.
        let is_forgotten = {
            let known = &self.world.oracle.lock().known;
            known.nodes_deleted.contains(&host) || known.forced.contains(&place)
        };
        if !is_forgotten {
            self.world.broken(format!("{place} runs on {} and on {host}", self.name));
        }
    }

    fn ends(&self, uid: &str, record: &Record) {
        let place = format!("{}/{}", record.namespace, record.name);
        let now = self.world.now();
        let mut stays = self.world.stays.lock();
        let own = stays.iter_mut().rev().find(|stay| stay.uid == uid && stay.until.is_none());
        if let Some(stay) = own {
            stay.until = Some(now);
        }
        drop(stays);
        let mut running = self.world.running.lock();
        if let Some(same) = running.get_mut(&place) {
            same.remove(uid);
        }
    }

    /// When the next pod starts or ends by itself.
    fn next_due(&self) -> Option<Instant> {
        let checkpoint = self.checkpoint.lock();
        let due = checkpoint.values().filter_map(|record| match record.life {
            Life::Starting(at)
            | Life::Working(at)
            | Life::Crashing(_, at)
            | Life::BackOff(at)
            | Life::Stopping(at) => Some(at),
            Life::Running(_) | Life::Ended(_) | Life::Over => None,
        });
        due.min()
    }

    /// Tells how a pod fares, when the API says otherwise; gives false when that failed.
    async fn report(&self, pod: &Pod) -> bool {
        let Some(news) = self.news(pod) else { return true };
        let meta = &pod.metadata;
        let (uid, name) = (meta.uid.clone().unwrap_or_default(), meta.name.as_deref());
        let name = name.unwrap_or_default();
        let api: Api<Pod> = self.client.namespaced(meta.namespace.as_deref().unwrap_or_default());
        match news {
            News::Status(status) => {
                let body = Patch::Strategic(json!({"metadata": {"uid": uid}, "status": status}));
                api.patch_status(name, &PatchParams::default(), &body).await.is_ok()
            }
            News::Gone => self.confirm(&api, name, uid).await,
        }
    }

    /// What the API does not say of a pod yet.
    fn news(&self, pod: &Pod) -> Option<News> {
        let checkpoint = self.checkpoint.lock();
        let record = checkpoint.get(pod.metadata.uid.as_deref()?)?;
        let goes = pod.metadata.deletion_timestamp.is_some();
        match record.life {
            Life::BackOff(_) => {
                (!waits(pod, record.restarts)).then(|| News::Status(waiting(record)))
            }
            Life::Running(since) | Life::Crashing(since, _) => {
                (!shows(pod, record.restarts)).then(|| News::Status(running(since, record)))
            }
            Life::Ended(phase) => {
                let shown = pod.status.as_ref().and_then(|status| status.phase.as_deref());
                if shown != Some(phase) {
                    return Some(News::Status(json!({"phase": phase})));
                }
                goes.then_some(News::Gone)
            }
            Life::Over => goes.then_some(News::Gone),
            Life::Starting(_) | Life::Working(_) | Life::Stopping(_) => None,
        }
    }

    /// Tells that nothing of a pod that was to go runs any more; gives false when that failed.
    async fn confirm(&self, api: &Api<Pod>, name: &str, uid: String) -> bool {
        let parameters = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions { uid: Some(uid), resource_version: None }),
            ..DeleteParams::default()
        };
        api.delete(name, &parameters).await.is_ok()
    }
}

fn running(since: Timestamp, record: &Record) -> Value {
    let at = since.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let condition = |kind| json!({"type": kind, "status": "True", "lastTransitionTime": at});
    let conditions = ["Initialized", "ContainersReady", "Ready"].map(condition);
    let container = json!({"name": "main", "ready": true, "started": true, "image": "sim",
        "imageID": "sim", "restartCount": record.restarts, "state": {"running": {"startedAt": at}}});
    json!({"phase": "Running", "startTime": at, "conditions": conditions,
        "podIP": record.address, "podIPs": [{"ip": record.address}],
        "containerStatuses": [container]})
}

/// Whether the pod's object says that it runs and is ready.
fn shows(pod: &Pod, restarts: u32) -> bool {
    let Some(status) = &pod.status else { return false };
    let ready =
        |c: &k8s_openapi::api::core::v1::PodCondition| c.type_ == "Ready" && c.status == "True";
    let counted = |c: &k8s_openapi::api::core::v1::ContainerStatus| {
        u32::try_from(c.restart_count).is_ok_and(|count| count == restarts)
    };
    status.phase.as_deref() == Some("Running")
        && status.conditions.iter().flatten().any(ready)
        && status.container_statuses.iter().flatten().any(counted)
}

/// What is told of a pod that waits for its next start.
fn waiting(record: &Record) -> Value {
    let at = now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let condition = |kind| json!({"type": kind, "status": "False", "lastTransitionTime": at});
    let container = json!({"name": "main", "ready": false, "started": false, "image": "sim",
        "imageID": "sim", "restartCount": record.restarts,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}}});
    let conditions = ["ContainersReady", "Ready"].map(condition);
    json!({"phase": "Running", "conditions": conditions,
        "podIP": record.address, "podIPs": [{"ip": record.address}],
        "containerStatuses": [container]})
}

/// Whether the pod's object says that it waits for its next start.
fn waits(pod: &Pod, restarts: u32) -> bool {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    statuses.into_iter().flatten().any(|container| {
        !container.ready && u32::try_from(container.restart_count).is_ok_and(|n| n == restarts)
    })
}

fn crashes(pod: &Pod) -> bool {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    containers.into_iter().any(|container| container.image.as_deref() == Some(CRASHING_IMAGE))
}

/// As the agent waits between crashes: 10 s, twice that each time, five minutes at most.
fn back_off(restarts: u32) -> Duration {
    const FIRST: Duration = Duration::from_secs(10);
    const LONGEST: Duration = Duration::from_secs(300);
    FIRST.saturating_mul(1 << restarts.min(8)).min(LONGEST)
}

#[expect(clippy::disallowed_methods, reason = "the host's clock, which is the virtual one")]
fn now() -> Timestamp {
    Timestamp::now()
}
