//! What only WASI 0.3 needs: an engine whose guests may have several calls on the way at once, the
//! linker of that engine, and the run of a command.
//!
//! It is an engine of its own, made when the first component for 0.3 is loaded, because code is
//! compiled differently for it and every call costs more: guests of 0.2 do not pay for it.
//!
//! An edge: it awaits the guest.

use wasmtime::component::{HasData, Linker};
use wasmtime_wasi::p3::bindings::CommandPre;
use wasmtime_wasi::p3::bindings::cli::environment;

use crate::config;
use crate::store::{self, State, Store};
use crate::wasi::{filesystem, sockets};

/// The part of the instances of the 0.2 pool that the pool for 0.3 holds besides.
const POOL_PART: u32 = 4;

/// Runs components for WASI 0.3.
pub(crate) struct Concurrent {
    wasmtime: wasmtime::Engine,
    linker: Linker<State>,
}

impl Concurrent {
    /// Makes one beside an engine whose pool holds `instances`.
    pub(crate) fn new(instances: u32) -> wasmtime::Result<Self> {
        let config = match instances / POOL_PART {
            0 => config::concurrent(config::on_demand()),
            instances => config::concurrent(config::pooled(instances)),
        };
        let wasmtime = wasmtime::Engine::new(&config)?;
        let linker = linker(&wasmtime)?;
        Ok(Self { wasmtime, linker })
    }

    pub(crate) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.wasmtime
    }

    pub(crate) fn linker(&self) -> &Linker<State> {
        &self.linker
    }
}

/// Makes the linker with everything that a guest may import: what 0.2 has, too, because the
/// standard libraries of guests still use it.
fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = store::linker(engine)?;
    wasmtime_wasi::p3::add_to_linker(&mut linker)?;
    wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
    environment::add_to_linker::<State, Environment>(&mut linker, |state| EnvironmentView {
        state,
    })?;
    sockets::add_p3_to_linker(&mut linker)?;
    filesystem::add_p3_to_linker(&mut linker)?;
    Ok(linker)
}

/// Arguments and environment, lent from the container's specification.
struct Environment;

impl HasData for Environment {
    type Data<'a> = EnvironmentView<'a>;
}

/// What [`Environment`] lends.
struct EnvironmentView<'a> {
    state: &'a State,
}

impl environment::Host for EnvironmentView<'_> {
    fn get_environment(&mut self) -> wasmtime::Result<Vec<(String, String)>> {
        Ok(self.state.core.spec.env.clone())
    }

    fn get_arguments(&mut self) -> wasmtime::Result<Vec<String>> {
        Ok(self.state.core.spec.argv.clone())
    }

    fn get_initial_cwd(&mut self) -> wasmtime::Result<Option<String>> {
        Ok(Some(self.state.core.spec.cwd.clone().unwrap_or_else(|| "/".to_owned())))
    }
}

/// Runs a command to its end: what it has begun besides ends with it, as a process does.
pub(crate) async fn run(
    pre: &CommandPre<State>,
    store: &mut Store,
) -> wasmtime::Result<Result<(), ()>> {
    let command = pre.instantiate_async(&mut *store).await?;
    store.run_concurrent(async |accessor| command.wasi_cli_run().call_run(accessor).await).await?
}
