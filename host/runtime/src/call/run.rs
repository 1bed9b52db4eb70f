//! One call: an instance, the function, its result, all within limits.
//!
//! An edge: it waits for the guest.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use wasmtime::component::{ComponentNamedList, Instance, Lift, Lower, TypedFunc};

use super::{CallError, CallLimits, Function};
use crate::container::Core;
use crate::exit;
use crate::image::Pre;
use crate::meter::Metered;
use crate::store::{self, Store};

/// What wasmtime says when a guest hands over more than it may; it has no type of its own.
const TOO_MUCH: &str = "too much data";

/// Calls a function of a plugin.
pub(super) async fn call<P, R>(
    core: &Arc<Core>,
    function: &Function,
    parameters: P,
    limits: CallLimits,
) -> Result<R, CallError>
where
    P: ComponentNamedList + Lower + Send + Sync + 'static,
    R: ComponentNamedList + Lift + Send + Sync + 'static,
{
    let counted = Counted::new(core);
    let engine = core.spec.image.engine.clone();
    let work = Box::pin(run(core.clone(), function.clone(), parameters, limits));
    let work = Metered::new(work, engine, core.cpu.clone());
    let result = match tokio::time::timeout(limits.time, work).await {
        Ok(result) => result,
        Err(_) => Err(CallError::Timeout { function: function.to_string(), limit: limits.time }),
    };
    counted.end(&result);
    result
}

async fn run<P, R>(
    core: Arc<Core>,
    function: Function,
    parameters: P,
    limits: CallLimits,
) -> Result<R, CallError>
where
    P: ComponentNamedList + Lower + Send + Sync + 'static,
    R: ComponentNamedList + Lift + Send + Sync + 'static,
{
    let failed = |error: &wasmtime::Error, store: &Store| fault(error, store, &function, limits);
    let mut store = store::store(&core);
    store.set_hostcall_fuel(limits.output_bytes_max);
    let Pre::Library(pre) = core.pre() else {
        return Err(CallError::NoFunction { function: function.to_string() });
    };
    let instance = match pre.instantiate_async(&mut store).await {
        Ok(instance) => instance,
        Err(error) => return Err(failed(&error, &store)),
    };
    let typed: TypedFunc<P, R> = find(&instance, &mut store, &function)?;
    typed.call_async(&mut store, parameters).await.map_err(|error| failed(&error, &store))
}

fn find<P, R>(
    instance: &Instance,
    store: &mut Store,
    function: &Function,
) -> Result<TypedFunc<P, R>, CallError>
where
    P: ComponentNamedList + Lower,
    R: ComponentNamedList + Lift,
{
    let missing = || CallError::NoFunction { function: function.to_string() };
    let interface = match &function.interface {
        Some(name) => Some(instance.get_export_index(&mut *store, None, name).ok_or_else(missing)?),
        None => None,
    };
    let index = instance.get_export_index(&mut *store, interface.as_ref(), &function.name);
    let found = instance.get_func(&mut *store, index.ok_or_else(missing)?).ok_or_else(missing)?;
    found.typed(&*store).map_err(|error| CallError::Type {
        function: function.to_string(),
        message: format!("{error:#}"),
    })
}

/// Puts what ended a guest into words.
fn fault(
    error: &wasmtime::Error,
    store: &Store,
    function: &Function,
    limits: CallLimits,
) -> CallError {
    let function = function.to_string();
    if error.is::<wasmtime::PoolConcurrencyLimitError>() {
        return CallError::NoSlot;
    }
    if let Some(limit_bytes) = store.data().memory.refused_at_bytes() {
        return CallError::Memory { function, limit_bytes };
    }
    if error.root_cause().to_string().contains(TOO_MUCH) {
        return CallError::Output { function, bytes_max: limits.output_bytes_max };
    }
    CallError::Trapped { function, message: exit::message_of(error) }
}

/// One call under way, for the plugin's usage.
struct Counted(Arc<Core>);

impl Counted {
    fn new(core: &Arc<Core>) -> Self {
        core.counters.requests.fetch_add(1, Ordering::Relaxed);
        core.counters.instances.fetch_add(1, Ordering::Relaxed);
        Self(core.clone())
    }

    fn end<T>(&self, result: &Result<T, CallError>) {
        if result.as_ref().is_err_and(CallError::is_guests) {
            self.0.counters.faults.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.counters.instances.fetch_sub(1, Ordering::Relaxed);
    }
}
