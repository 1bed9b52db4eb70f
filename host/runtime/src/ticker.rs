//! The clock tick that cuts guests' time into slices; it stands still while no guest runs.
//!
//! An edge: it owns a thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use parking_lot::Mutex;

/// The length of a time slice: how soon a tight loop gives way to others, or to its own end.
pub(crate) const TICK: Duration = Duration::from_millis(1);

/// Ticks with no guest running after which the thread goes to sleep.
const IDLE_TICKS_MAX: u32 = 32;

/// Counts the guests that run at this moment, and wakes the ticking thread for the first.
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Thread,
    handle: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    running: AtomicUsize,
    asleep: AtomicBool,
    ended: AtomicBool,
    engines: Mutex<Vec<wasmtime::EngineWeak>>,
}

/// Says that a guest runs, for as long as it lives.
pub(crate) struct Running<'a>(&'a Shared);

impl Ticker {
    /// Starts a ticker that advances the epoch of `engine`.
    ///
    /// # Errors
    /// The operating system refuses a thread.
    pub(crate) fn start(engine: &wasmtime::Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        shared.engines.lock().push(engine.weak());
        let mine = shared.clone();
        let handle =
            std::thread::Builder::new().name("coracle-epoch".into()).spawn(move || mine.run())?;
        Ok(Self { shared, thread: handle.thread().clone(), handle: Some(handle) })
    }

    /// Advances the epoch of one more engine.
    #[cfg(feature = "wasi-p3")]
    pub(crate) fn add(&self, engine: &wasmtime::Engine) {
        self.shared.engines.lock().push(engine.weak());
    }

    /// Marks the calling thread as running a guest.
    pub(crate) fn enter(&self) -> Running<'_> {
        self.shared.running.fetch_add(1, Ordering::SeqCst);
        if self.shared.asleep.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
        Running(&self.shared)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Release);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.thread.unpark();
        if let Some(handle) = self.handle.take()
            && handle.thread().id() != std::thread::current().id()
        {
            let _ = handle.join();
        }
    }
}

impl Shared {
    fn run(&self) {
        let mut idle_ticks = 0;
        while !self.ended.load(Ordering::SeqCst) {
            pause(TICK);
            self.advance();
            if self.running.load(Ordering::SeqCst) > 0 {
                idle_ticks = 0;
                continue;
            }
            idle_ticks += 1;
            if idle_ticks >= IDLE_TICKS_MAX {
                self.sleep();
                idle_ticks = 0;
            }
        }
    }

    fn advance(&self) {
        for engine in self.engines.lock().iter().filter_map(wasmtime::EngineWeak::upgrade) {
            engine.increment_epoch();
        }
    }

    /// Sleeps until a guest runs. `asleep` is set before `running` is looked at and
    /// [`Ticker::enter`] does it the other way round, so that one of the two sees the other.
    fn sleep(&self) {
        self.asleep.store(true, Ordering::SeqCst);
        while self.running.load(Ordering::SeqCst) == 0 && !self.ended.load(Ordering::SeqCst) {
            std::thread::park();
        }
        self.asleep.store(false, Ordering::SeqCst);
    }
}

#[expect(clippy::disallowed_methods, reason = "this thread is the clock; it runs nothing else")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}
