//! CPU time: counting what guests use, and holding them to their share.
//!
//! [`Share`] is pure and decides; [`Metered`] is the edge that reads the clocks around each poll of
//! a guest.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::engine::Engine;
use crate::ticker::TICK;

/// The period in which a limit must be kept.
///
/// *Source:* the CFS quota period that kubelet sets, 100 ms.
const PERIOD: Duration = Duration::from_millis(100);

/// A poll that took longer than this is worth a look at the thread's CPU clock the next time: a
/// reading costs half a microsecond, a request fifteen.
const LONG_POLL: Duration = Duration::from_micros(500);

/// How often a guest that used up its slice lets all others go first. Once would do if it were alone:
/// beside other such guests, whatever else becomes ready waits for a slice of each of them. A turn that
/// is let go costs about a microsecond when nobody else is ready.
const TURNS_GIVEN: u32 = 4;

/// What a container has used, and what it may use.
#[derive(Default)]
pub(crate) struct CpuMeter {
    used_nanos: AtomicU64,
    share: Option<Mutex<Share>>,
    /// The pod's, which counts too and whose limit holds too.
    parent: Option<Arc<CpuMeter>>,
}

impl CpuMeter {
    /// Makes a meter that holds its guests to `millis` thousandths of a core, if given, and to
    /// what `parent` allows.
    pub(crate) fn new(
        millis: Option<u32>,
        now: Instant,
        parent: Option<Arc<CpuMeter>>,
    ) -> Arc<Self> {
        let share = millis.map(|millis| Mutex::new(Share::new(millis, now)));
        Arc::new(Self { used_nanos: AtomicU64::new(0), share, parent })
    }

    /// Microseconds used so far.
    pub(crate) fn used_micros(&self) -> u64 {
        self.used_nanos.load(Ordering::Relaxed) / 1000
    }

    /// How often its limit, if it has one, made it wait.
    pub(crate) fn throttling(&self) -> Throttling {
        self.share.as_ref().map(|share| share.lock().throttling).unwrap_or_default()
    }

    fn wait_until(&self, now: Instant) -> Option<Instant> {
        let own = self.share.as_ref().and_then(|share| share.lock().wait_until(now));
        let above = self.parent.as_ref().and_then(|parent| parent.wait_until(now));
        own.max(above)
    }

    fn charge(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.used_nanos.fetch_add(nanos, Ordering::Relaxed);
        if let Some(share) = &self.share {
            share.lock().charge(time);
        }
        if let Some(parent) = &self.parent {
            parent.charge(time);
        }
    }
}

/// A quota of CPU time for each period; what was used over it is owed in the next.
pub(crate) struct Share {
    quota: Duration,
    used: Duration,
    period_start: Instant,
    /// The guest was made to wait in this period.
    waits: bool,
    throttling: Throttling,
}

/// How often a limit made guests wait.
///
/// *Source:* `cpu.stat` of control groups, which cAdvisor's `cfs` metrics show.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Throttling {
    /// Periods of 100 ms in which a guest ran, or wanted to.
    pub periods: u64,
    /// Those in which one had to wait.
    pub throttled_periods: u64,
    /// Microseconds that were waited.
    pub throttled_usec: u64,
}

impl Share {
    /// Gives a share of `millis` thousandths of a core.
    pub(crate) fn new(millis: u32, now: Instant) -> Self {
        // A share of zero would never run again; a thousandth is what Kubernetes' smallest limit is.
        let quota = PERIOD * millis.max(1) / 1000;
        let throttling = Throttling { periods: 1, ..Throttling::default() };
        Self { quota, used: Duration::ZERO, period_start: now, waits: false, throttling }
    }

    /// Says until when a guest must wait; `None` when it may run now.
    pub(crate) fn wait_until(&mut self, now: Instant) -> Option<Instant> {
        let periods =
            now.saturating_duration_since(self.period_start).as_nanos() / PERIOD.as_nanos();
        let periods = u32::try_from(periods).unwrap_or(u32::MAX);
        if periods > 0 {
            self.used = self.used.saturating_sub(self.quota.saturating_mul(periods));
            self.period_start += PERIOD.saturating_mul(periods);
            self.throttling.periods += 1;
            self.waits = false;
        }
        if self.used < self.quota {
            return None;
        }
        let until = self.period_start + PERIOD;
        if !self.waits {
            self.waits = true;
            self.throttling.throttled_periods += 1;
            let micros = until.saturating_duration_since(now).as_micros();
            self.throttling.throttled_usec += u64::try_from(micros).unwrap_or(u64::MAX);
        }
        Some(until)
    }

    /// Counts `time` as used.
    pub(crate) fn charge(&mut self, time: Duration) {
        self.used += time;
    }
}

/// A guest's future, counted, cut into slices by its engine's ticker, and held to its share.
pub(crate) struct Metered<F> {
    inner: F,
    engine: Engine,
    meter: Arc<CpuMeter>,
    pause: Option<Pin<Box<tokio::time::Sleep>>>,
    giving_way: Option<BoxFuture<'static, ()>>,
    exact: bool,
}

impl<F: Future + Unpin> Metered<F> {
    /// Wraps a guest of `engine` whose time goes to `meter`.
    pub(crate) fn new(inner: F, engine: Engine, meter: Arc<CpuMeter>) -> Self {
        Self { inner, engine, meter, pause: None, giving_way: None, exact: false }
    }
}

/// Lets whatever else is ready run, and the runtime look at sockets and timers.
async fn give_way() {
    for _ in 0..TURNS_GIVEN {
        tokio::task::yield_now().await;
    }
}

impl<F: Future + Unpin> Future for Metered<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        if let Some(giving_way) = &mut this.giving_way {
            std::task::ready!(giving_way.as_mut().poll(cx));
            this.giving_way = None;
        }
        let start = now();
        if let Some(until) = this.meter.wait_until(start) {
            let mut pause = Box::pin(tokio::time::sleep_until(until.into()));
            if pause.as_mut().poll(cx).is_pending() {
                this.pause = Some(pause);
                return Poll::Pending;
            }
        }
        this.pause = None;
        let cpu_start = this.exact.then(thread_cpu);
        let running = this.engine.ticker().enter();
        let result = Pin::new(&mut this.inner).poll(cx);
        drop(running);
        let wall = now().saturating_duration_since(start);
        // A guest is cut after a tick, so what is longer is time that others had on this core.
        let used = cpu_start
            .map_or_else(|| wall.min(TICK), |cpu_start| thread_cpu().saturating_sub(cpu_start));
        this.meter.charge(used);
        this.exact = wall > LONG_POLL;
        this.giving_way = (this.exact && result.is_pending()).then(|| give_way().boxed());
        result
    }
}

/// Reads the monotonic clock; the counting is around guests, which cannot bring their own.
#[expect(clippy::disallowed_methods, reason = "the meter is what measures time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

fn thread_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Computes for a slice again and again, and counts the slices.
    async fn hog(slices: Arc<AtomicU64>) {
        loop {
            let start = now();
            while now() - start <= LONG_POLL {}
            slices.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn whoever_is_ready_goes_before_those_that_use_up_their_slices() {
        const HOGS: u64 = 2;
        const HOPS: u64 = 50;
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::new(crate::EngineConfig {
            instances_max: 0,
            ..crate::EngineConfig::new(folder.path(), "")
        });
        let engine = engine.unwrap();
        let slices = Arc::new(AtomicU64::new(0));
        let hogs: Vec<_> = (0..HOGS)
            .map(|_| {
                let meter = CpuMeter::new(None, now(), None);
                let hog = Metered::new(hog(slices.clone()).boxed(), engine.clone(), meter);
                tokio::spawn(hog)
            })
            .collect();
        for _ in 0..HOPS {
            tokio::task::yield_now().await;
        }
        hogs.iter().for_each(tokio::task::JoinHandle::abort);
        let slices = slices.load(Ordering::Relaxed);
        let most = HOPS * HOGS / u64::from(TURNS_GIVEN);
        assert!(slices > 0 && slices <= most, "{slices} slices passed before {HOPS} turns");
    }

    #[test]
    fn containers_of_a_pod_share_its_limit_and_keep_their_own() {
        let start = now();
        let pod = CpuMeter::new(Some(500), start, None);
        let one = CpuMeter::new(Some(250), start, Some(pod.clone()));
        let other = CpuMeter::new(None, start, Some(pod.clone()));
        one.charge(25 * MS);
        assert_eq!(one.wait_until(start + 25 * MS), Some(start + PERIOD), "its own limit");
        assert_eq!(other.wait_until(start + 25 * MS), None);
        other.charge(25 * MS);
        assert_eq!(other.wait_until(start + 50 * MS), Some(start + PERIOD), "the pod's limit");
        assert_eq!(pod.used_micros(), 50_000);
    }

    #[test]
    fn a_share_is_spent_once_a_period_and_debt_is_carried() {
        let start = now();
        let mut share = Share::new(250, start);
        assert_eq!(share.wait_until(start), None);
        share.charge(20 * MS);
        assert_eq!(share.wait_until(start + 20 * MS), None);
        share.charge(40 * MS);
        assert_eq!(share.wait_until(start + 60 * MS), Some(start + 100 * MS));
        // 60 ms used against 25 ms a period: 35 ms owed, which takes the second period too.
        assert_eq!(share.wait_until(start + 100 * MS), Some(start + 200 * MS));
        assert_eq!(share.wait_until(start + 200 * MS), None);
        // Rest is not saved up.
        assert_eq!(share.wait_until(start + 900 * MS), None);
        share.charge(26 * MS);
        assert_eq!(share.wait_until(start + 930 * MS), Some(start + 1000 * MS));
        assert_eq!(share.wait_until(start + 990 * MS), Some(start + 1000 * MS), "counted once");
        let expected = Throttling {
            periods: 4,
            throttled_periods: 3,
            throttled_usec: 40_000 + 100_000 + 70_000,
        };
        assert_eq!(share.throttling, expected);
    }
}
