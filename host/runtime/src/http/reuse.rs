//! Instances between requests.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::instance::Instance;
use super::{HttpContainer, POOLED_REQUESTS_MAX};
use crate::sandbox::StartError;
use crate::spec::Isolation;

/// Instances that a pooled container keeps while nobody needs them.
const IDLE_INSTANCES_MAX: usize = 32;

/// How long a pooled instance is kept without a request.
const IDLE_TIME_MAX: Duration = Duration::from_secs(30);

/// Keeps instances for the next request, as far as the isolation allows.
pub(super) struct Reuse {
    isolation: Isolation,
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    instances: Vec<Instance>,
    /// Counts the instances that were put here; tells a sweep whether anything happened.
    puts: u64,
    has_sweeper: bool,
}

impl Reuse {
    pub(super) fn new(isolation: Isolation) -> Self {
        Self { isolation, idle: Mutex::default() }
    }

    /// The instance that was used last, if there is one.
    pub(super) fn take(&self) -> Option<Instance> {
        match self.isolation {
            Isolation::Request => None,
            Isolation::Pooled | Isolation::Resident => self.idle.lock().instances.pop(),
        }
    }

    /// Drops what is kept.
    pub(super) fn clear(&self) {
        let kept = std::mem::take(&mut self.idle.lock().instances);
        drop(kept);
    }

    /// Keeps an instance if it may serve again; says whether it was kept.
    fn put(&self, instance: Instance) -> bool {
        let may_stay = match self.isolation {
            Isolation::Request => false,
            Isolation::Pooled => instance.requests < POOLED_REQUESTS_MAX,
            Isolation::Resident => true,
        };
        let mut idle = self.idle.lock();
        if !may_stay || idle.instances.len() >= IDLE_INSTANCES_MAX {
            return false;
        }
        idle.instances.push(instance);
        idle.puts += 1;
        true
    }

    /// Drops all instances if none was put since `seen`; gives the new count, or `None` when there
    /// is nothing left to look after.
    fn sweep(&self, seen: u64) -> Option<u64> {
        let mut idle = self.idle.lock();
        if idle.puts == seen {
            idle.instances.clear();
        }
        if idle.instances.is_empty() {
            idle.has_sweeper = false;
            return None;
        }
        Some(idle.puts)
    }
}

impl HttpContainer {
    /// Makes the instance of a resident container before the first request.
    pub(super) async fn make_resident(self: &Arc<Self>) -> Result<(), StartError> {
        match Instance::make(&self.core).await {
            Ok(instance) => {
                self.reuse.put(instance);
                Ok(())
            }
            Err(error) => {
                let message = format!("{error:#}");
                self.cut_off(crate::exit::Exit::killed(message.clone()));
                Err(StartError::Instance { container: self.core.spec.name.clone(), message })
            }
        }
    }

    /// Keeps an instance that has served, and sees to it that it is not kept for ever.
    pub(super) fn keep(self: &Arc<Self>, instance: Instance) {
        if self.killed.is_cancelled()
            || !self.reuse.put(instance)
            || self.reuse.isolation == Isolation::Resident
        {
            return;
        }
        let seen = {
            let mut idle = self.reuse.idle.lock();
            if std::mem::replace(&mut idle.has_sweeper, true) {
                return;
            }
            idle.puts
        };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let this = Arc::downgrade(self);
            runtime.spawn(async move {
                let mut seen = seen;
                loop {
                    tokio::time::sleep(IDLE_TIME_MAX).await;
                    let Some(this) = this.upgrade() else { return };
                    let Some(now_seen) = this.reuse.sweep(seen) else { return };
                    seen = now_seen;
                }
            });
        }
    }
}
