//! The thread that a world lives on.

use std::future::Future;

use crate::os;

/// A world that did not come to an end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LifeError {
    /// The machine refused a thread, a runtime or a folder.
    #[error("make {what} for the simulation")]
    Start {
        /// What was asked for.
        what: &'static str,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The clock and the entropy of this process could not be replaced.
    #[error("take over this process's clock and entropy for the simulation")]
    Clock {
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A part of the simulation or of what it runs panicked, which is a defect.
    #[error(
        "the simulation panicked with seed {seed}, which is a defect: please report it with the manifests"
    )]
    Panicked {
        /// The seed that does it again.
        seed: u64,
    },
}

/// Lives through a world to its end, on a thread of its own whose clock and entropy follow from the seed from its first
/// moment on. Blocks until then.
///
/// Only the first world of a process is the same for the same seed: libraries count in statics. Call it while the
/// process has no other thread ([`os::take_over`]).
///
/// # Errors
/// The machine gives no thread or clock, or the world panicked.
pub fn live<T, F>(seed: u64, life: impl FnOnce() -> F + Send + 'static) -> Result<T, LifeError>
where
    T: Send + 'static,
    F: Future<Output = T>,
{
    os::take_over().map_err(|source| LifeError::Clock { source })?;
    let failed = |what| move |source| LifeError::Start { what, source };
    let thread = std::thread::Builder::new().name("world".to_owned());
    let world = thread.spawn(move || {
        os::simulate(seed);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .on_thread_unpark(os::follow_runtime)
            .build()
            .map_err(failed("a runtime"))?;
        Ok(runtime.block_on(async {
            os::begin();
            life().await
        }))
    });
    let world = world.map_err(failed("a thread"))?;
    world.join().unwrap_or(Err(LifeError::Panicked { seed }))
}
