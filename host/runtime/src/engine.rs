//! The engine: one per host process; compiles, holds the code, and lends instances their memory.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use wasmtime::component::Linker;

use crate::compile::cache::{Cache, CacheError};
use crate::image::{Image, Parts};
use crate::mapped::Mapped;
#[cfg(feature = "wasi-p3")]
use crate::p3::Concurrent;
use crate::store::State;
use crate::ticker::Ticker;
use crate::{config, store};

/// What an engine is made with.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// The folder for compiled code, made with mode 0700 when it is missing. Whoever can write
    /// there can run native code as this process.
    pub cache_dir: PathBuf,
    /// How the compiling child process is started.
    pub compiler: Compiler,
    /// What a compilation may take.
    pub compile: CompileLimits,
    /// Instances that the pool holds; each takes 4 GiB of address space, and none of memory until
    /// it is used. 0 maps memory for each instance anew.
    pub instances_max: u32,
}

impl EngineConfig {
    /// Gives the usual limits, with compiled code in `cache_dir` and `program compile …` as the
    /// compiler.
    #[must_use]
    pub fn new(cache_dir: impl Into<PathBuf>, program: impl Into<PathBuf>) -> Self {
        Self {
            cache_dir: cache_dir.into(),
            compiler: Compiler { program: program.into(), args: vec!["compile".into()] },
            compile: CompileLimits::default(),
            instances_max: INSTANCES_MAX,
        }
    }
}

/// A program that compiles: it must hand what follows `args` to [`crate::compile::child_main`].
#[derive(Debug, Clone)]
pub struct Compiler {
    /// The program; usually the host's own executable.
    pub program: PathBuf,
    /// The arguments before those of the compilation; usually `compile`.
    pub args: Vec<String>,
}

/// What one compilation may take before it is ended.
#[derive(Debug, Clone, Copy)]
pub struct CompileLimits {
    /// Bytes of address space.
    pub memory_bytes: u64,
    /// Seconds of CPU time, all threads together.
    pub cpu_seconds: u64,
    /// Time that passes.
    pub wall: Duration,
    /// Compilations at once; more wait.
    pub concurrency_max: usize,
    /// Bytes of WebAssembly.
    pub input_bytes_max: u64,
}

impl Default for CompileLimits {
    fn default() -> Self {
        Self {
            memory_bytes: 8 << 30,
            cpu_seconds: 300,
            wall: Duration::from_secs(300),
            concurrency_max: 2,
            input_bytes_max: 512 << 20,
        }
    }
}

/// Instances in the pool unless told otherwise: 16 TiB of the 128 TiB of address space.
pub const INSTANCES_MAX: u32 = 4096;

/// Sizes below which a smaller pool is not tried: mapping on demand is then the better choice.
const INSTANCES_MIN: u32 = 64;

/// Compiles components and runs them. Cheap to clone; all clones are the same engine.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    wasmtime: wasmtime::Engine,
    linker: Linker<State>,
    ticker: Ticker,
    config: EngineConfig,
    cache: Cache,
    compile_slots: Semaphore,
    pool_instances: u32,
    #[cfg(feature = "wasi-p3")]
    concurrent: Mutex<Option<Arc<Concurrent>>>,
    images: Mutex<HashMap<String, Weak<Image>>>,
    mapped: Mutex<Mapped>,
    preparing: Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>,
}

/// An engine could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The folder for compiled code cannot be used.
    #[error("open the folder for compiled code")]
    Cache(#[source] CacheError),
    /// wasmtime refuses its settings on this machine.
    #[error("set up wasmtime: {0:#}")]
    Wasmtime(wasmtime::Error),
    /// The epoch thread cannot be started.
    #[error("start the epoch thread")]
    Thread(#[source] std::io::Error),
}

impl Engine {
    /// Makes an engine. A pool that the address space is too short for is made smaller, and given
    /// up for mapping on demand at last, with a line in the log.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub fn new(config: EngineConfig) -> Result<Self, EngineError> {
        let (wasmtime, pool_instances) =
            allocate(config.instances_max).map_err(EngineError::Wasmtime)?;
        let linker = store::linker(&wasmtime).map_err(EngineError::Wasmtime)?;
        let cache = Cache::open(&config.cache_dir, &compatibility(&wasmtime))
            .map_err(EngineError::Cache)?;
        let ticker = Ticker::start(&wasmtime).map_err(EngineError::Thread)?;
        let compile_slots = Semaphore::new(config.compile.concurrency_max.max(1));
        let inner = Inner {
            wasmtime,
            linker,
            ticker,
            config,
            cache,
            compile_slots,
            pool_instances,
            #[cfg(feature = "wasi-p3")]
            concurrent: Mutex::default(),
            images: Mutex::default(),
            mapped: Mutex::default(),
            preparing: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Makes the engine of a process that is confined by `confine` before it has a second thread; it
    /// can only run what was compiled by others. `instances_max` as in [`EngineConfig`].
    pub(crate) fn confined(
        instances_max: u32,
        confine: impl FnOnce() -> std::io::Result<()>,
    ) -> std::io::Result<Self> {
        let (wasmtime, pool_instances) =
            allocate(instances_max).map_err(|error| std::io::Error::other(format!("{error:#}")))?;
        let linker = store::linker(&wasmtime)
            .map_err(|error| std::io::Error::other(format!("{error:#}")))?;
        confine()?;
        let ticker = Ticker::start(&wasmtime)?;
        let inner = Inner {
            wasmtime,
            linker,
            ticker,
            config: EngineConfig::new("", ""),
            cache: Cache::none(),
            compile_slots: Semaphore::new(0),
            pool_instances,
            #[cfg(feature = "wasi-p3")]
            concurrent: Mutex::default(),
            images: Mutex::default(),
            mapped: Mutex::default(),
            preparing: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Instances that can live at once in the pool; 0 when memory is mapped on demand, where the
    /// kernel's `vm.max_map_count` is the bound.
    #[must_use]
    pub fn pool_instances(&self) -> u32 {
        self.inner.pool_instances
    }

    /// Gives how many components are mapped: those that somebody holds an image of, and those that stay
    /// mapped for the next start.
    #[must_use]
    pub fn components_mapped(&self) -> usize {
        let images = self.inner.images.lock();
        let held = images.iter().filter(|(_, image)| image.strong_count() > 0);
        let mut digests: HashSet<&str> = held.map(|(digest, _)| digest.as_str()).collect();
        let mapped = self.inner.mapped.lock();
        digests.extend(mapped.digests());
        digests.len()
    }

    pub(crate) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.inner.wasmtime
    }

    pub(crate) fn linker(&self) -> &Linker<State> {
        &self.inner.linker
    }

    /// The engine for components of WASI 0.3, made when it is first asked for.
    #[cfg(feature = "wasi-p3")]
    pub(crate) fn concurrent(&self) -> wasmtime::Result<Arc<Concurrent>> {
        let mut made = self.inner.concurrent.lock();
        if let Some(concurrent) = &*made {
            return Ok(concurrent.clone());
        }
        let concurrent = Arc::new(Concurrent::new(self.inner.pool_instances)?);
        self.inner.ticker.add(concurrent.wasmtime());
        *made = Some(concurrent.clone());
        Ok(concurrent)
    }

    pub(crate) fn ticker(&self) -> &Ticker {
        &self.inner.ticker
    }

    pub(crate) fn config(&self) -> &EngineConfig {
        &self.inner.config
    }

    pub(crate) fn cache(&self) -> &Cache {
        &self.inner.cache
    }

    pub(crate) fn compile_slots(&self) -> &Semaphore {
        &self.inner.compile_slots
    }

    /// The image of `key`, if somebody holds it.
    pub(crate) fn loaded(&self, key: &str) -> Option<Arc<Image>> {
        self.inner.images.lock().get(key).and_then(Weak::upgrade)
    }

    /// What an image is made of that stays mapped while nobody holds it.
    pub(crate) fn mapped(&self, key: &str) -> Option<Parts> {
        self.inner.mapped.lock().take_up(key)
    }

    /// Keeps what an image is made of, within bounds: the next start need not map it again.
    pub(crate) fn keep(&self, key: &str, parts: &Parts) {
        let gone = self.inner.mapped.lock().keep(key, parts.clone());
        // Unmapped after the lock is given back.
        drop(gone);
    }

    /// Forgets an image whose compiled code is gone, so that it is compiled anew.
    pub(crate) fn forget(&self, key: &str) {
        self.inner.images.lock().remove(key);
        let gone = self.inner.mapped.lock().forget(key);
        drop(gone);
    }

    /// Remembers an image for as long as somebody holds it.
    pub(crate) fn remember(&self, key: &str, image: &Arc<Image>) {
        let mut images = self.inner.images.lock();
        images.retain(|_, image| image.strong_count() > 0);
        images.insert(key.to_owned(), Arc::downgrade(image));
    }

    /// A lock that makes those who prepare the same key wait for the first.
    pub(crate) fn preparing(&self, key: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut preparing = self.inner.preparing.lock();
        preparing.retain(|_, lock| lock.strong_count() > 0);
        if let Some(lock) = preparing.get(key).and_then(Weak::upgrade) {
            return lock;
        }
        let lock = Arc::new(tokio::sync::Mutex::new(()));
        preparing.insert(key.to_owned(), Arc::downgrade(&lock));
        lock
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("pool_instances", &self.inner.pool_instances).finish()
    }
}

/// Makes the wasmtime engine with the largest pool that fits, and says how large that is.
fn allocate(instances_max: u32) -> wasmtime::Result<(wasmtime::Engine, u32)> {
    let mut instances = instances_max;
    while instances >= INSTANCES_MIN {
        match wasmtime::Engine::new(&config::pooled(instances)) {
            Ok(engine) => return Ok((engine, instances)),
            Err(error) => tracing::warn!(
                instances,
                error = format!("{error:#}"),
                "address space too short for this pool of instances; trying a smaller one"
            ),
        }
        instances /= 4;
    }
    if instances_max > 0 {
        tracing::warn!(
            "no pool of instances: each instance maps its memory anew, which is slower; \
             raise the address space limit (ulimit -v) or vm.overcommit_memory"
        );
    }
    Ok((wasmtime::Engine::new(&config::on_demand())?, 0))
}

/// Names everything that compiled code depends on: wasmtime, its settings, the CPU.
fn compatibility(engine: &wasmtime::Engine) -> String {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    env!("CARGO_PKG_VERSION").hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}
