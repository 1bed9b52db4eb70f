//! The task that looks after disk and memory, every few seconds.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::limits::{self, PodDisk};
use super::measure;
use super::rank::{self, Candidate, ContainerUse};
use super::signals::{Crossing, Level, Seen, Shown, crossings};
use super::thresholds::Signal;
use crate::clock::now;
use crate::effects::start::log_dir;
use crate::effects::{Message, PodView, Shared};
use crate::pods::plan;
use crate::pods::state::{PodEvent, PodVerdict};

/// Under which pressure the machine is.
#[derive(Debug, Default)]
pub(crate) struct Pressure {
    shown: Mutex<Shown>,
    changed: Notify,
}

impl Pressure {
    /// Gives what the node shows now.
    pub(crate) fn shown(&self) -> Shown {
        *self.shown.lock()
    }

    /// Waits until that changes.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn set(&self, shown: Shown) {
        if std::mem::replace(&mut *self.shown.lock(), shown) != shown {
            tracing::info!(?shown, "pressure");
            self.changed.notify_one();
        }
    }
}

/// Looks after the pods until the agent ends.
pub(crate) async fn follow(shared: Arc<Shared>) {
    let mut seen = Seen::default();
    loop {
        let (answer, asked) = oneshot::channel();
        if shared.news.send(Message::Ask { one: None, answer }).is_err() {
            return;
        }
        let Ok(pods) = asked.await else { return };
        let looking = shared.clone();
        let look = tokio::task::spawn_blocking(move || {
            let condemned = look(&looking, &mut seen, &pods);
            (condemned, seen)
        });
        let Ok((condemned, after)) = look.await else { return };
        seen = after;
        for (uid, message) in condemned {
            tracing::warn!(pod = uid, message, "evicts");
            let verdict = PodVerdict { reason: "Evicted".into(), message, until: None };
            shared.tell(&uid, PodEvent::Condemned(verdict));
        }
        tokio::time::sleep(shared.config.eviction.interval).await;
    }
}

/// One look: who is over a limit, and who goes because the machine runs short.
fn look(shared: &Shared, seen: &mut Seen, pods: &[PodView]) -> Vec<(String, String)> {
    let here: Vec<&PodView> = pods.iter().filter(|pod| is_here(pod)).collect();
    let limited = here.iter().filter(|view| limits::is_limited(&view.pod));
    let over = limited.filter_map(|view| {
        let message = limits::over(&view.pod, &disk(shared, view))?;
        Some((view.key.uid.clone(), message))
    });
    let mut condemned: Vec<(String, String)> = over.collect();
    let mut levels = measure::levels(&shared.config.data_dir);
    if collect_images(shared, pods, levels.disk) {
        levels = measure::levels(&shared.config.data_dir);
    }
    let crossed = crossings(&levels, &shared.config.eviction.thresholds);
    shared.pressure.set(seen.note(&crossed, shared.config.eviction.transition, now()));
    // One pod at a time: what it gives back shows at the next look.
    if let Some(crossing) = crossed.first().filter(|_| condemned.is_empty()) {
        let spare = |view: &&&PodView| !rank::is_spared(&view.pod);
        let candidates = here.iter().filter(spare).map(|view| candidate(shared, view, crossing));
        if let Some(first) = rank::first(candidates.collect()) {
            condemned.push((first.uid.clone(), rank::message(crossing, &first)));
        }
    }
    condemned
}

/// Removes images that no pod uses when the disk is full enough; gives true when that freed space.
fn collect_images(shared: &Shared, pods: &[PodView], disk: Option<Level>) -> bool {
    let config = &shared.config.images;
    let Some(wanted) =
        disk.and_then(|disk| surplus(disk, config.gc_high_percent, config.gc_low_percent))
    else {
        return false;
    };
    let statuses = pods.iter().filter_map(|view| view.status.as_ref()).flat_map(|status| {
        let init = status.init_container_statuses.iter().flatten();
        init.chain(status.container_statuses.iter().flatten())
    });
    let digest = |id: &str| id.split_once('@').map(|(_, digest)| digest.to_owned());
    let shown = pods.iter().flat_map(|view| view.image_volumes.iter().cloned());
    let in_use = statuses.filter_map(|status| digest(&status.image_id)).chain(shown).collect();
    let min_age = Duration::try_from(config.min_age).unwrap_or_default();
    let freed = shared.images.collect(&in_use, wanted, min_age);
    if freed > 0 {
        tracing::info!(freed, wanted, "removed images that nobody uses");
    }
    freed > 0
}

/// Gives the bytes to free when more than `high` percent are in use: down to `low` percent.
fn surplus(disk: Level, high: u8, low: u8) -> Option<u64> {
    let used = disk.capacity.saturating_sub(disk.available);
    let share = |percent: u8| disk.capacity / 100 * u64::from(percent);
    (used > share(high)).then(|| used.saturating_sub(share(low)))
}

/// A pod that has neither ended nor been condemned.
fn is_here(view: &PodView) -> bool {
    let phase = view.status.as_ref().and_then(|status| status.phase.as_deref());
    let reason = view.status.as_ref().and_then(|status| status.reason.as_deref());
    !matches!(phase, Some("Succeeded" | "Failed")) && reason != Some("Evicted")
}

fn disk(shared: &Shared, view: &PodView) -> PodDisk {
    let logs = log_dir(&shared.config.data_dir, &view.key);
    measure::pod(&shared.volumes, &view.pod, &view.key.uid, &logs)
}

fn candidate(shared: &Shared, view: &PodView, crossing: &Crossing) -> Candidate {
    let on_disk = match crossing.signal {
        Signal::Disk | Signal::Inodes => Some(disk(shared, view)),
        Signal::Memory | Signal::Pids => None,
    };
    let containers: Vec<ContainerUse> = plan::containers(&view.pod)
        .map(|(_, spec)| ContainerUse {
            name: spec.name.clone(),
            used: match &on_disk {
                Some(disk) => disk.containers.get(&spec.name).copied().unwrap_or(0),
                None => memory(shared, view, &spec.name),
            },
            request: rank::request(&view.pod, &spec.name, crossing.signal),
        })
        .collect();
    let sum = || containers.iter().map(|container| container.used).sum();
    Candidate {
        uid: view.key.uid.clone(),
        priority: plan::spec(&view.pod).priority.unwrap_or(0),
        used: on_disk.as_ref().map_or_else(sum, |disk| limits::total(&view.pod, disk)),
        request: containers.iter().map(|container| container.request).sum(),
        containers,
    }
}

fn memory(shared: &Shared, view: &PodView, container: &str) -> u64 {
    shared.runtime.usage(&view.key, container).map_or(0, |usage| usage.memory_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_is_full_enough_asks_for_what_brings_it_down() {
        let disk = |available| Level { capacity: 1000, available };
        assert_eq!(surplus(disk(151), 85, 80), None);
        assert_eq!(surplus(disk(149), 85, 80), Some(51));
        assert_eq!(surplus(disk(0), 85, 80), Some(200));
    }
}
