//! What all parts of a simulation share: the dice, the time, the trace, the oracle, the faults in force.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::disk::Disk;
use crate::oracle::Oracle;
use crate::sabotage::Sabotage;
use crate::server::Incarnation;
use crate::trace::Trace;

/// Notes a line in the trace of a world.
macro_rules! note {
    ($world:expr, $($what:tt)*) => {
        $world.note(format_args!($($what)*))
    };
}
pub(crate) use note;

/// Which requests and streams fail without a crash.
#[derive(Debug, Default, Clone)]
pub(crate) struct Weather {
    /// Peers that cannot reach the server, nor be reached.
    pub(crate) cut_off: BTreeSet<String>,
    /// Share of the answers that are lost on the way, after the server has done its work.
    pub(crate) answers_lost: f64,
    /// The server's disk takes long.
    pub(crate) disk_slow: bool,
    /// Counts up when all streams break.
    pub(crate) streams_cut: u64,
}

/// One simulated world.
pub(crate) struct World {
    /// Decides everything that this run decides.
    dice: Mutex<StdRng>,
    began: Instant,
    /// What happened.
    pub(crate) trace: Mutex<Trace>,
    /// What must be so.
    pub(crate) oracle: Mutex<Oracle>,
    /// The server's disk.
    pub(crate) disk: Disk,
    /// The server that runs, if one does.
    pub(crate) server: watch::Sender<Option<std::sync::Arc<Incarnation>>>,
    /// The network's state.
    pub(crate) weather: watch::Sender<Weather>,
    /// What is broken on purpose.
    pub(crate) sabotage: Option<Sabotage>,
    /// How far each watcher has come, by what it follows.
    pub(crate) watchers: Mutex<BTreeMap<&'static str, u64>>,
    /// The pods that run on hosts: by namespace and name, then by uid, the host.
    pub(crate) running: Mutex<BTreeMap<String, BTreeMap<String, String>>>,
    /// Addresses that pods were given.
    addresses: AtomicU32,
}

impl World {
    /// A world at its begin. Needs the runtime.
    pub(crate) fn new(seed: u64, trace: Trace, sabotage: Option<Sabotage>) -> World {
        World {
            sabotage,
            watchers: Mutex::default(),
            running: Mutex::default(),
            addresses: AtomicU32::new(0),
            dice: Mutex::new(StdRng::seed_from_u64(seed)),
            began: Instant::now(),
            trace: Mutex::new(trace),
            oracle: Mutex::default(),
            disk: Disk::default(),
            server: watch::Sender::new(None),
            weather: watch::Sender::new(Weather::default()),
        }
    }

    /// The virtual time since the begin.
    pub(crate) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Notes what happened.
    pub(crate) fn note(&self, what: std::fmt::Arguments<'_>) {
        let now = self.now();
        self.trace.lock().note(now, what);
    }

    /// Notes that a promise was broken; the run ends with it.
    pub(crate) fn broken(&self, promise: String) {
        note!(self, "BROKEN {promise}");
        self.oracle.lock().broken.push(promise);
    }

    /// Throws the dice for something that happens in this share of the cases.
    pub(crate) fn chance(&self, share: f64) -> bool {
        share > 0.0 && self.dice.lock().random_bool(share.min(1.0))
    }

    /// Draws a number.
    pub(crate) fn pick(&self, range: Range<usize>) -> usize {
        self.dice.lock().random_range(range)
    }

    /// Draws a time in milliseconds, short ones as often as ten times longer ones.
    pub(crate) fn millis(&self, range: Range<f64>) -> Duration {
        let (low, high) = (range.start.max(0.001).ln(), range.end.ln());
        let drawn = self.dice.lock().random_range(low..high).exp();
        Duration::from_secs_f64(drawn / 1000.0)
    }

    /// Gives an address that no pod has had.
    pub(crate) fn pod_address(&self) -> String {
        let [_, a, b, c] = self.addresses.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        format!("10.{}.{b}.{c}", 128 + a)
    }

    /// Draws how long the disk takes for a sync.
    pub(crate) fn sync_time(&self) -> Duration {
        if self.weather.borrow().disk_slow {
            self.millis(50.0..3_000.0)
        } else {
            self.millis(0.05..5.0)
        }
    }

    /// Lends the dice.
    pub(crate) fn with_dice<T>(&self, use_dice: impl FnOnce(&mut StdRng) -> T) -> T {
        use_dice(&mut self.dice.lock())
    }
}
