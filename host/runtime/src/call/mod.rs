//! Typed calls of what a component exports: plugins of customers inside of another program.
//!
//! [`Engine::prepare_library`](crate::Engine::prepare_library) takes a component that is neither a
//! command nor an http container, [`Plugin::new`] gives it its grants and limits, and [`Plugin::call`] calls one of its functions with Rust's own types. Each call has a
//! fresh instance, so that a call can leave nothing behind for the next, and ends in a result:
//! whatever the guest does, the caller gets its thread back in time.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use coracle_runtime::call::{CallLimits, Function, Plugin};
//! use coracle_runtime::{ContainerSpec, Engine, EngineConfig, ImageSource, Limits, Wasm};
//!
//! let engine = Engine::new(EngineConfig::new("/var/cache/app", std::env::current_exe()?))?;
//! let source = ImageSource { wasm: Wasm::Path("plugin.wasm".into()), digest: "sha256:…".into() };
//! let image = engine.prepare_library(source, &[]).await?;
//! let mut spec = ContainerSpec::new("plugin", image);
//! spec.limits = Limits { memory_bytes: Some(32 << 20), cpu_millis: Some(500) };
//! let plugin = Plugin::new(spec)?;
//! let greet = Function::of("acme:plugin/text@1.0.0", "greet");
//! let (said,): (String,) = plugin.call(&greet, ("world".to_owned(),), CallLimits::default()).await?;
//! # Ok(())
//! # }
//! ```

mod error;
mod run;

pub use error::CallError;
/// What a call's parameters and results are made of: tuples of types that derive
/// [`ComponentType`] with [`Lower`] or [`Lift`].
pub use wasmtime::component::{ComponentNamedList, ComponentType, Lift, Lower};

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use coracle_vnet::{
    AddError, BoxFuture, Fabric, Flow, NetNs, NetNsSpec, NsTag, ResolveError, Resolver, Route,
    Router,
};

use crate::container::{Above, Core};
use crate::memory::Account;
use crate::meter::{self, CpuMeter};
use crate::sandbox::StartError;
use crate::spec::{ContainerSpec, Usage};

/// A component whose functions can be called, with the grants and limits of all its calls together.
/// Cheap to clone; all clones are the same plugin. Between calls it has no instance and no task.
#[derive(Clone)]
pub struct Plugin {
    pub(crate) core: Arc<Core>,
}

/// The name of a function that a component exports.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Function {
    /// The interface that it is in, such as `acme:plugin/text@1.0.0`; `None` when the world exports
    /// the function itself.
    pub interface: Option<String>,
    /// Its name, as WIT has it.
    pub name: String,
}

impl Function {
    /// Names a function of an interface.
    #[must_use]
    pub fn of(interface: impl Into<String>, name: impl Into<String>) -> Self {
        Self { interface: Some(interface.into()), name: name.into() }
    }

    /// Names a function that the world itself exports.
    #[must_use]
    pub fn bare(name: impl Into<String>) -> Self {
        Self { interface: None, name: name.into() }
    }
}

impl std::fmt::Display for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.interface {
            Some(interface) => write!(f, "{interface}#{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// What one call may take, besides the plugin's own limits on memory and CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallLimits {
    /// How long the call may take, from making the instance to its result.
    pub time: Duration,
    /// Bytes that the guest may hand over in its result, and in each call of the host that it makes.
    pub output_bytes_max: usize,
}

impl Default for CallLimits {
    /// A second, and a mebibyte.
    fn default() -> Self {
        Self { time: Duration::from_secs(1), output_bytes_max: 1 << 20 }
    }
}

/// A network that leads nowhere.
struct Nowhere;

impl Router for Nowhere {
    fn route(&self, _flow: &Flow) -> Route {
        Route::Refused("a plugin has no network unless it is given one".to_owned())
    }
}

impl Resolver for Nowhere {
    fn resolve(
        &self,
        _from: &NsTag,
        name: &str,
    ) -> BoxFuture<'static, Result<Vec<IpAddr>, ResolveError>> {
        Box::pin(std::future::ready(Err(ResolveError::NotFound(name.to_owned()))))
    }
}

impl Plugin {
    /// Gives a library its grants and limits: those of `spec`, and a network that leads nowhere.
    ///
    /// # Errors
    /// [`StartError::Log`] when `spec` has a log that cannot be opened.
    pub fn new(spec: ContainerSpec) -> Result<Self, StartError> {
        let nowhere = Arc::new(Nowhere);
        let fabric = Fabric::new(nowhere.clone(), nowhere);
        let tag = NsTag::new(&spec.name, &spec.name);
        let failed = |error: &AddError| StartError::Instance {
            container: spec.name.clone(),
            message: error.to_string(),
        };
        let netns = fabric.add(NetNsSpec::new(tag, Vec::new())).map_err(|error| failed(&error))?;
        Self::within(spec, &netns)
    }

    /// Gives a library its grants and limits, and a network namespace of the caller's.
    ///
    /// # Errors
    /// As [`Plugin::new`].
    pub fn within(spec: ContainerSpec, netns: &Arc<NetNs>) -> Result<Self, StartError> {
        let memory = Account::new(None, None);
        let cpu = CpuMeter::new(None, meter::now(), None);
        let core = Core::new(spec, netns, Above { memory: &memory, cpu: &cpu }, None)?;
        Ok(Self { core })
    }

    /// Calls a function on a fresh instance.
    ///
    /// `P` and `R` are tuples of the function's parameters and of its result: `(String, u32)` and
    /// `(Result<Vec<u8>, String>,)`. Must be called on a tokio runtime with its timers. Cancel safe:
    /// a dropped call ends its instance.
    ///
    /// # Errors
    /// See [`CallError`]; [`CallError::is_guests`] tells the guest's faults from the caller's.
    pub async fn call<P, R>(
        &self,
        function: &Function,
        parameters: P,
        limits: CallLimits,
    ) -> Result<R, CallError>
    where
        P: ComponentNamedList + Lower + Send + Sync + 'static,
        R: ComponentNamedList + Lift + Send + Sync + 'static,
    {
        run::call(&self.core, function, parameters, limits).await
    }

    /// Gives what the plugin has used so far, all calls together.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.core.usage()
    }

    /// Gives the names of what the component imports: what it was granted.
    #[must_use]
    pub fn imports(&self) -> &[String] {
        &self.core.spec.image.imports
    }
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugin").field("image", &self.core.spec.image).finish_non_exhaustive()
    }
}
