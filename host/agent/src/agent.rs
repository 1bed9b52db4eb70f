//! The agent's loop: news in, state changed, actions begun. It alone owns the pods' states.
//!
//! A pod that has nothing to do costs an entry here and nothing else: no task, no timer.

mod begin;
mod shutdown;
mod statics;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;

use coracle_client::{Cache, Change, Changes};
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::admission::{self, Room};
use crate::checkpoint::{SavedPod, Writer};
use crate::clock::now;
use crate::config::objects::references;
use crate::effects::{self, Message, PodView, PreparedImages, Shared, Target};
use crate::manifests::{is_mirror, is_static};
use crate::pods::plan::{self, Index, PodKey};
use crate::pods::reconcile::{Action, is_over, reconcile};
use crate::pods::state::{PodEvent, PodState, Sandbox, Terminated, Volumes};
use crate::record::record;
use crate::runtime::ExitReport;
use crate::volumes::mounts;
use crate::worker::{Tell, Worker};

/// How one life ended, with what the loop needs to know which one it was.
struct Ended {
    uid: String,
    index: Index,
    id: String,
    started_at: Timestamp,
    report: ExitReport,
}

/// The loop's own state.
pub(crate) struct Agent {
    shared: Arc<Shared>,
    writer: Writer,
    workers: HashMap<String, Worker>,
    room: Room,
    images: HashMap<String, PreparedImages>,
    /// The moments at which pods are looked at again; one per pod at most.
    timers: BTreeSet<(Timestamp, String)>,
    exits: FuturesUnordered<BoxFuture<'static, Ended>>,
    /// Pods whose state has changed since they were looked at.
    dirty: HashSet<String>,
    statics: statics::Statics,
    shutdown: Option<shutdown::Shutdown>,
}

impl Agent {
    pub(crate) fn new(shared: Arc<Shared>, writer: Writer) -> Self {
        Self {
            room: Room::new(&shared.allocatable),
            shared,
            writer,
            workers: HashMap::new(),
            images: HashMap::new(),
            timers: BTreeSet::new(),
            exits: FuturesUnordered::new(),
            dirty: HashSet::new(),
            statics: statics::Statics::default(),
            shutdown: None,
        }
    }

    /// Takes the pods that the checkpoint has kept.
    pub(crate) fn recover(&mut self, saved: Vec<SavedPod>) {
        let at = now();
        for record in saved {
            let Some(mut state) = record.recover(at) else { continue };
            let pod = plan::whole(Arc::new(record.pod.clone()));
            if is_static(&pod) {
                // What ended it was the machine's end; nobody makes another one in its place.
                state.verdict = None;
            }
            let mut worker = Worker::new(pod, state, at);
            let kept = record.ip.and_then(|ip| ip.parse().ok());
            let kept = kept.filter(|ip| self.shared.addresses.reserve(*ip));
            worker.kept_ip = kept.map(|ip| ip.to_string());
            self.adopt(worker);
        }
    }

    /// Whether there is any pod.
    pub(crate) fn has_pods(&self) -> bool {
        !self.workers.is_empty()
    }

    /// Runs until `stop` is cancelled.
    pub(crate) async fn run(
        &mut self,
        pods: Cache<Pod>,
        mut news: mpsc::UnboundedReceiver<Message>,
        stop: CancellationToken,
    ) {
        let mut changes = pods.subscribe();
        let shut_down = self.shared.shut_down.clone();
        for pod in pods.list() {
            self.observe(pod);
        }
        if pods.synced() {
            // Before anything begins: what was deleted while this host was away does not run again.
            self.drop_gone(&pods);
        }
        loop {
            self.settle();
            if self.shutdown_over() {
                return;
            }
            let due = self.timers.first().map(|(moment, _)| *moment);
            let due = due.into_iter().chain(self.shutdown_due()).min();
            tokio::select! {
                () = stop.cancelled() => return,
                () = shut_down.cancelled(), if self.shutdown.is_none() => self.begin_shutdown(),
                change = changes.next() => self.changed(change, &mut changes),
                Some(message) = news.recv() => {
                    self.take(message, &pods);
                    while let Ok(message) = news.try_recv() {
                        self.take(message, &pods);
                    }
                }
                Some(ended) = self.exits.next(), if !self.exits.is_empty() => self.ended(ended),
                () = sleep_until(due), if due.is_some() => self.fire(),
            }
        }
    }

    /// Ends everything that runs, without a word to the server: its pods go on at the next start.
    pub(crate) async fn shut_down(&mut self, grace: std::time::Duration) {
        for worker in self.workers.values() {
            let rows = plan::containers(&worker.pod).zip(&worker.state.containers);
            for ((_, spec), _) in rows.filter(|(_, container)| container.is_live()) {
                self.shared.runtime.stop(&worker.key, &spec.name, grace);
            }
        }
        let all = async { while self.exits.next().await.is_some() {} };
        let _ = tokio::time::timeout(grace, all).await;
        for worker in self.workers.values() {
            self.shared.runtime.remove_sandbox(&worker.key).await;
        }
        self.writer.flush().await;
    }

    fn changed(&mut self, change: Change<Pod>, changes: &mut Changes<Pod>) {
        self.apply_change(change);
        while let Some(change) = changes.try_next() {
            self.apply_change(change);
        }
    }

    fn apply_change(&mut self, change: Change<Pod>) {
        let uid = |pod: &Arc<Pod>| pod.metadata.uid.clone().unwrap_or_default();
        let (old, new) = (change.old.as_ref().map(uid), change.new.as_ref().map(uid));
        if let Some(old) = old.filter(|old| new.as_ref() != Some(old)) {
            let mirror = change.old.as_ref().is_some_and(|old| self.mirror_gone(old));
            if !mirror {
                self.object_gone(&old);
            }
        }
        if let Some(pod) = change.new {
            self.observe(pod);
        }
    }

    /// Takes a pod's object as it is now.
    fn observe(&mut self, pod: Arc<Pod>) {
        if is_mirror(&pod) {
            return self.observe_mirror(pod);
        }
        let pod = plan::whole(pod);
        let key = PodKey::of(&pod);
        let at = now();
        if !self.workers.contains_key(&key.uid) {
            if is_terminal(&pod) {
                return;
            }
            let mut state = PodState::new(&pod, at);
            let pressure = self.shared.pressure.shown();
            let late = self.shared.shut_down.is_cancelled().then(admission::too_late);
            if let Some(verdict) = late.or_else(|| admission::judge(&self.room, pressure, &pod)) {
                let notes = state.apply(&pod, PodEvent::Condemned(verdict), at);
                notes.into_iter().for_each(|note| record(&self.shared.recorder, &pod, note));
            }
            self.adopt(Worker::new(pod.clone(), state, at));
        }
        let Some(worker) = self.workers.get_mut(&key.uid) else { return };
        worker.state.observe(&pod, at);
        let told_apart =
            |pod: &Pod| (pod.metadata.labels.clone(), pod.metadata.annotations.clone());
        let refresh = told_apart(&worker.pod) != told_apart(&pod);
        worker.pod = pod;
        if refresh {
            self.refresh(&key.uid);
            self.grant(&key.uid);
        }
        self.touch(&key.uid);
    }

    fn adopt(&mut self, worker: Worker) {
        let uid = worker.key.uid.clone();
        self.shared.objects.acquire(&uid, references(&worker.pod));
        self.images.insert(uid.clone(), PreparedImages::default());
        self.room.count(&worker);
        self.workers.insert(uid.clone(), worker);
        self.dirty.insert(uid);
    }

    /// Takes note of which pods have no object any more. `pods` has all that there are.
    fn drop_gone(&mut self, pods: &Cache<Pod>) {
        let known = pods.list();
        let known: HashSet<_> =
            known.iter().filter_map(|pod| pod.metadata.uid.as_deref()).collect();
        let gone: Vec<String> = self
            .workers
            .iter()
            .filter(|(uid, worker)| !known.contains(uid.as_str()) && !is_static(&worker.pod))
            .map(|(uid, _)| uid.clone())
            .collect();
        for uid in &gone {
            self.object_gone(uid);
            // Its volumes of the life before this process are there still, though nothing has mounted them in this one.
            if let Some(worker) = self.workers.get_mut(uid)
                && worker.state.volumes == Volumes::Absent
            {
                worker.state.volumes = Volumes::Mounted;
            }
        }
    }

    fn object_gone(&mut self, uid: &str) {
        if let Some(worker) = self.workers.get_mut(uid) {
            worker.state.object_gone = true;
            self.touch(uid);
        }
    }

    /// Has a pod looked at that may be another one than its status and its record say.
    fn touch(&mut self, uid: &str) {
        if let Some(worker) = self.workers.get_mut(uid) {
            worker.stale = true;
            self.dirty.insert(uid.to_owned());
        }
    }

    fn take(&mut self, message: Message, pods: &Cache<Pod>) {
        match message {
            Message::Event(uid, event) => self.apply(&uid, event),
            Message::Started { uid, index, id, at, exit } => {
                let (owner, life) = (uid.clone(), id.clone());
                self.exits.push(Box::pin(async move {
                    Ended { uid: owner, index, id: life, started_at: at, report: exit.await }
                }));
                self.apply(&uid, PodEvent::Started { index, id, at });
            }
            Message::Object(object) => {
                for uid in self.shared.objects.users(&object) {
                    self.apply(&uid, PodEvent::ConfigChanged);
                    self.refresh(&uid);
                }
            }
            Message::Refresh(uid) => {
                self.apply(&uid, PodEvent::ConfigChanged);
                self.refresh(&uid);
            }
            Message::Namespace(name) => self.grant_all(&name),
            Message::Told { uid, sent } => self.told(&uid, sent),
            Message::Synced => {
                self.drop_gone(pods);
                self.mirrors_synced();
            }
            Message::Manifests(pods) => self.manifests(pods),
            Message::Mirrored { name, failed } => self.mirrored(&name, failed),
            Message::Ask { one, answer } => {
                let wanted = |worker: &&Worker| match &one {
                    Some((namespace, name)) => {
                        worker.key.namespace == *namespace && worker.key.name == *name
                    }
                    None => true,
                };
                // Whoever asked may have left.
                let _ = answer.send(self.workers.values().filter(wanted).map(view).collect());
            }
        }
    }

    fn apply(&mut self, uid: &str, event: PodEvent) {
        let Some(worker) = self.workers.get_mut(uid) else { return };
        let pod = worker.pod.clone();
        let asked = worker.probe_of(&event);
        let before = asked.map(|asked| worker.verdict(asked));
        for note in worker.state.apply(&pod, event, now()) {
            record(&self.shared.recorder, &pod, note);
        }
        // A probe that finds what it found before changes nothing that is told or kept.
        worker.stale |= before.is_none() || before != asked.map(|asked| worker.verdict(asked));
        if worker.stale {
            self.room.count(worker);
        }
        self.dirty.insert(uid.to_owned());
    }

    fn ended(&mut self, ended: Ended) {
        let Ended { uid, index, id, started_at, report } = ended;
        let exit = Terminated {
            exit_code: report.code,
            reason: report.reason,
            message: report.message,
            started_at,
            finished_at: now(),
            id,
        };
        self.apply(&uid, PodEvent::Exited { index, exit });
    }

    fn told(&mut self, uid: &str, sent: Option<serde_json::Map<String, serde_json::Value>>) {
        let Some(worker) = self.workers.get_mut(uid) else { return };
        tracing::debug!(pod = uid, taken = sent.is_some(), "told the status");
        worker.told(sent);
        worker.stale = true;
        self.dirty.insert(uid.to_owned());
        if worker.finalize_due(&self.shared.host, now()) {
            self.finalize(uid);
        }
    }

    fn fire(&mut self) {
        let at = now();
        while let Some((moment, uid)) = self.timers.pop_first() {
            if moment > at {
                self.timers.insert((moment, uid));
                return;
            }
            if let Some(worker) = self.workers.get_mut(&uid) {
                worker.wake = None;
                worker.stale |= !worker.is_steady();
            }
            self.dirty.insert(uid);
        }
    }

    /// Looks at every pod that has news until there is nothing more to begin.
    fn settle(&mut self) {
        while !self.dirty.is_empty() {
            for uid in std::mem::take(&mut self.dirty) {
                self.look_at(&uid);
            }
        }
    }

    fn look_at(&mut self, uid: &str) {
        let at = now();
        let Some(worker) = self.workers.get_mut(uid) else { return };
        let plan = reconcile(&worker.pod, &worker.state, at);
        let mut wake = plan.wake;
        worker.stale |= !plan.actions.iter().all(|action| matches!(action, Action::Probe(..)));
        if !std::mem::take(&mut worker.stale) {
            // Thousands of probes a second: nothing but the probe itself is done for one.
            plan.actions.into_iter().for_each(|action| self.carry_out(uid, action));
            return self.set_timer(uid, wake);
        }
        for action in plan.actions {
            tracing::debug!(pod = uid, ?action, "begins");
            self.carry_out(uid, action);
        }
        let Some(worker) = self.workers.get_mut(uid) else { return };
        self.room.count(worker);
        match worker.tell(&self.shared.host, at) {
            Tell::Nothing => {}
            Tell::Later(moment) => {
                worker.stale = true;
                wake = Some(wake.map_or(moment, |wake| wake.min(moment)));
            }
            Tell::Send { mut patch, sent } => {
                tracing::debug!(pod = uid, "tells the status");
                let prepared = self.images.get(uid).cloned().unwrap_or_default();
                annotate(&mut patch, &worker.pod, &capabilities(&self.shared, worker, &prepared));
                let (shared, target) = (self.shared.clone(), target(worker, &self.images));
                tokio::spawn(async move {
                    effects::status::send(&shared, &target, patch, sent).await;
                });
            }
        }
        self.set_timer(uid, wake);
        self.keep(uid);
        self.forget_if_done(uid);
    }

    fn set_timer(&mut self, uid: &str, wake: Option<Timestamp>) {
        let Some(worker) = self.workers.get_mut(uid) else { return };
        if worker.wake == wake {
            return;
        }
        if let Some(old) = std::mem::replace(&mut worker.wake, wake) {
            self.timers.remove(&(old, uid.to_owned()));
        }
        if let Some(moment) = wake {
            self.timers.insert((moment, uid.to_owned()));
        }
    }

    /// Keeps the pod's record if it is another one than the last.
    fn keep(&mut self, uid: &str) {
        let Some(worker) = self.workers.get_mut(uid) else { return };
        let mut record = SavedPod::of(&worker.pod, &worker.state);
        record.ip = record.ip.or_else(|| worker.kept_ip.clone());
        let Ok(record) = serde_json::to_vec(&record) else { return };
        let mut hasher = std::hash::DefaultHasher::new();
        record.hash(&mut hasher);
        if std::mem::replace(&mut worker.saved, hasher.finish()) != hasher.finish() {
            self.writer.keep(uid, record);
        }
    }

    /// Drops a pod of which neither object nor anything here is left.
    fn forget_if_done(&mut self, uid: &str) {
        let Some(worker) = self.workers.get(uid) else { return };
        let state = &worker.state;
        let clear =
            matches!(state.sandbox, Sandbox::Absent | Sandbox::Removed | Sandbox::Failed { .. })
                && matches!(state.volumes, Volumes::Absent | Volumes::Removed);
        if !state.object_gone || !clear || !is_over(&worker.pod, state) {
            return;
        }
        let logs = effects::start::log_dir(&self.shared.config.data_dir, &worker.key);
        tokio::task::spawn_blocking(move || std::fs::remove_dir_all(logs));
        self.set_timer(uid, None);
        self.shared.objects.release(uid);
        self.shared.tokens.release(uid);
        self.shared.claims.release(uid);
        self.images.remove(uid);
        self.writer.forget(uid);
        let worker = self.workers.remove(uid);
        worker.iter().for_each(|worker| self.room.forget(worker));
        if let Some(name) = worker.filter(|worker| is_static(&worker.pod)).map(|w| w.full_name()) {
            self.start_static(&name);
            self.mirror(&name);
        }
    }

    fn refresh(&mut self, uid: &str) {
        let Some(worker) = self.workers.get(uid) else { return };
        if worker.state.volumes == Volumes::Mounted {
            let (shared, target) = (self.shared.clone(), target(worker, &self.images));
            tokio::spawn(async move { effects::volumes::refresh(&shared, &target).await });
        }
    }

    /// Lets a running pod reach what its annotations and its namespace's grant now.
    fn grant(&self, uid: &str) {
        let Some(worker) = self.workers.get(uid) else { return };
        if worker.state.ip().is_some() {
            effects::sandbox::grant(&self.shared, &target(worker, &self.images));
        }
    }

    fn grant_all(&self, namespace: &str) {
        let there = self.workers.values().filter(|worker| worker.key.namespace == namespace);
        there.for_each(|worker| self.grant(&worker.key.uid));
    }

    fn finalize(&self, uid: &str) {
        let Some(worker) = self.workers.get(uid) else { return };
        let (shared, target) = (self.shared.clone(), target(worker, &self.images));
        tokio::spawn(async move { effects::status::finalize(&shared, &target).await });
    }
}

fn target(worker: &Worker, images: &HashMap<String, PreparedImages>) -> Target {
    Target {
        key: worker.key.clone(),
        pod: worker.pod.clone(),
        ips: worker.state.ips().to_vec(),
        volumes: worker.volumes.clone(),
        filling: worker.filling.clone(),
        images: images.get(&worker.key.uid).cloned().unwrap_or_default(),
    }
}

fn view(worker: &Worker) -> PodView {
    PodView {
        key: worker.key.clone(),
        pod: worker.pod.clone(),
        status: worker.status().cloned(),
        image_volumes: mounts::image_digests(&worker.volumes.lock()),
    }
}

/// What the prepared images of a pod import and export, as annotations.
fn capabilities(
    shared: &Shared,
    worker: &Worker,
    prepared: &PreparedImages,
) -> std::collections::BTreeMap<String, String> {
    let prepared = prepared.lock();
    let found = prepared.iter().filter_map(|(index, (image, _))| {
        let found = shared.images.capabilities(image)?;
        let container = plan::container(&worker.pod, *index)?;
        Some(crate::images::capabilities::annotations(&container.name, &found))
    });
    found.flatten().collect()
}

/// Adds to a status patch the annotations that the object does not have yet, and takes away what holds no more.
fn annotate(
    patch: &mut serde_json::Value,
    pod: &Pod,
    wanted: &std::collections::BTreeMap<String, String>,
) {
    let there = pod.metadata.annotations.as_ref();
    let is_new =
        |(key, value): &(&String, &String)| there.and_then(|map| map.get(*key)) != Some(value);
    let mut new: serde_json::Map<_, _> = wanted
        .iter()
        .filter(is_new)
        .map(|(key, value)| (key.clone(), value.clone().into()))
        .collect();
    let outdated = there.map(|there| crate::images::capabilities::outdated(there, wanted));
    new.extend(outdated.into_iter().flatten().map(|key| (key, serde_json::Value::Null)));
    if !new.is_empty()
        && let Some(metadata) = patch.get_mut("metadata").and_then(|value| value.as_object_mut())
    {
        metadata.insert("annotations".into(), new.into());
    }
}

fn is_terminal(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

async fn sleep_until(due: Option<Timestamp>) {
    let Some(due) = due else { return };
    let left = due.duration_since(now());
    if let Ok(left) = std::time::Duration::try_from(left) {
        tokio::time::sleep(left).await;
    }
}
