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
use crate::server::Incarnation;
use crate::trace::Trace;

/// Notes a line in the trace of a world: a world, then a format and its arguments.
#[macro_export]
macro_rules! note {
    ($world:expr, $($what:tt)*) => {
        $world.note(format_args!($($what)*))
    };
}

/// Which requests and streams fail without a crash.
#[derive(Debug, Default, Clone)]
pub struct Weather {
    /// Peers that cannot reach the server, nor be reached.
    pub cut_off: BTreeSet<String>,
    /// Share of the answers that are lost on the way, after the server has done its work.
    pub answers_lost: f64,
    /// The server's disk takes long.
    pub disk_slow: bool,
    /// Counts up when all streams break.
    pub streams_cut: u64,
    /// A peer whose watches are tampered with, one in ten changed objects.
    pub tampered: Option<(&'static str, Tampering)>,
    /// Events of watches that hold a text are lost on their way to a peer: the peer, and the text.
    pub lost: Vec<(String, String)>,
}

/// One time that a pod ran somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stay {
    /// Namespace and name.
    pub place: String,
    /// Which of that name.
    pub uid: String,
    /// Where.
    pub host: String,
    /// Since when.
    pub from: Duration,
    /// Until when; `None` while it runs.
    pub until: Option<Duration>,
}

/// What a network does that no network should: for tests of what notices it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tampering {
    /// It leaves a frame out.
    LeftOut,
    /// It sends a frame twice.
    Doubled,
}

/// One simulated world.
pub struct World {
    /// Decides everything that this run decides.
    dice: Mutex<StdRng>,
    began: Instant,
    /// What happened.
    pub trace: Mutex<Trace>,
    /// What must be so.
    pub oracle: Mutex<Oracle>,
    /// The server's disk.
    pub disk: Disk,
    /// The server that runs, if one does.
    pub server: watch::Sender<Option<std::sync::Arc<Incarnation>>>,
    /// The network's state.
    pub weather: watch::Sender<Weather>,
    /// How far each watcher has come, by what it follows.
    pub watchers: Mutex<BTreeMap<&'static str, u64>>,
    /// The pods that run on hosts: by namespace and name, then by uid, the host.
    pub running: Mutex<BTreeMap<String, BTreeMap<String, String>>>,
    /// Every time that a pod ran, in the order of their begins: what it would have written, it wrote then.
    pub stays: Mutex<Vec<Stay>>,
    /// CPU that the pods with a label `app` use together, in thousandths, for the metrics that autoscalers read.
    pub load: Mutex<BTreeMap<String, u64>>,
    /// Addresses that pods were given.
    addresses: AtomicU32,
}

impl World {
    /// A world at its begin. Needs the runtime.
    pub fn new(seed: u64, trace: Trace) -> World {
        World {
            watchers: Mutex::default(),
            running: Mutex::default(),
            stays: Mutex::default(),
            load: Mutex::default(),
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
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Notes what happened.
    pub fn note(&self, what: std::fmt::Arguments<'_>) {
        let now = self.now();
        self.trace.lock().note(now, what);
    }

    /// Notes that a promise was broken; the run ends with it.
    pub fn broken(&self, promise: String) {
        note!(self, "BROKEN {promise}");
        self.oracle.lock().broken.push(promise);
    }

    /// Throws the dice for something that happens in this share of the cases.
    pub fn chance(&self, share: f64) -> bool {
        share > 0.0 && self.dice.lock().random_bool(share.min(1.0))
    }

    /// Draws a number.
    pub fn pick(&self, range: Range<usize>) -> usize {
        self.dice.lock().random_range(range)
    }

    /// Draws a time in milliseconds, short ones as often as ten times longer ones.
    pub fn millis(&self, range: Range<f64>) -> Duration {
        let (low, high) = (range.start.max(0.001).ln(), range.end.ln());
        let drawn = self.dice.lock().random_range(low..high).exp();
        Duration::from_secs_f64(drawn / 1000.0)
    }

    /// Gives an address that no pod has had.
    pub fn pod_address(&self) -> String {
        let [_, a, b, c] = self.addresses.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        format!("10.{}.{b}.{c}", 128 + a)
    }

    /// Draws how long the disk takes for a sync.
    pub fn sync_time(&self) -> Duration {
        if self.weather.borrow().disk_slow {
            self.millis(50.0..3_000.0)
        } else {
            self.millis(0.05..5.0)
        }
    }

    /// Lends the dice.
    pub fn with_dice<T>(&self, use_dice: impl FnOnce(&mut StdRng) -> T) -> T {
        use_dice(&mut self.dice.lock())
    }
}
