//! What one instance carries: the state that host calls of the guest work on.
//!
//! A store is made for each run of a command and, unless its container says otherwise, for each
//! http request, so everything that does not change sits behind one `Arc`.

use std::sync::Arc;

use coracle_telemetry::{RequestId, SpanContext};
use wasmtime::UpdateDeadline;
use wasmtime::component::{HasData, Linker, ResourceTable};
use wasmtime_wasi::p2::bindings::cli::environment;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};
use wasmtime_wasi_io::IoView;
use wasmtime_wasi_tls::{WasiTlsCtx, WasiTlsCtxView, WasiTlsView};

use crate::container::Core;
use crate::http::outgoing::Outgoing;
use crate::interrupt;
use crate::lifecycle;
use crate::logs::{self, LogStream, Shipper, Within};
use crate::memory::MemoryHold;
use crate::mounts::{Service, Tree};
use crate::stdio::{GuestInput, Output, Taps};
use crate::wasi::filesystem::{self, FsCtx, FsView};
use crate::wasi::keyvalue::Place;
use crate::wasi::sockets::{self, NetCtx, NetState, NetView};
use crate::wasi::{self, fault, tls};

/// Resources (streams, sockets, files, requests) that one instance may hold at once.
const RESOURCES_MAX: usize = 64 << 10;

/// Bytes of a memory limit for each resource that one instance may hold: what the host keeps for a
/// resource is not charged, so a small container may hold fewer.
const RESOURCE_BYTES: u64 = 4 << 10;

/// Fewest resources, however small the container.
const RESOURCES_MAX_LEAST: usize = 2048;

/// Bytes of the headers of one request or response that a guest makes, as the host holds them.
///
/// *Source:* half of what nginx takes of a client, which is what most servers can read.
const FIELDS_BYTES_MAX: usize = 32 << 10;

/// Bytes that a guest may hand over in one host call, so that the host need not hold more.
const HOSTCALL_BYTES_MAX: usize = 64 << 20;

/// Ticks that a guest runs before it lets others run.
const SLICE_TICKS: u64 = 1;

/// The data of a store. What is optional is made when the guest first asks for it: most requests
/// touch neither clocks nor files nor sockets, and a store is made for each.
pub(crate) struct State {
    pub(crate) core: Arc<Core>,
    pub(crate) memory: MemoryHold,
    pub(crate) table: ResourceTable,
    http: WasiHttpCtx,
    hooks: Outgoing,
    wasi: Option<WasiCtx>,
    net: Option<NetState>,
    tree: Option<Tree>,
    tls: Option<WasiTlsCtx>,
    kept: Option<Arc<Tree>>,
    /// Where values are, once the guest asked for some.
    pub(crate) values: Option<Place>,
    /// For which request the guest's lines are written, where somebody wants to know.
    lines_within: Option<Arc<Within>>,
}

/// A store with its state.
pub(crate) type Store = wasmtime::Store<State>;

fn resources_max(core: &Core) -> usize {
    let fitting = core.memory.limit_bytes().map_or(RESOURCES_MAX, |limit| {
        usize::try_from(limit / RESOURCE_BYTES).unwrap_or(RESOURCES_MAX)
    });
    fitting.clamp(RESOURCES_MAX_LEAST, RESOURCES_MAX)
}

/// Makes a store for one instance of a container.
pub(crate) fn store(core: &Arc<Core>) -> Store {
    let mut table = ResourceTable::new();
    table.set_max_capacity(resources_max(core));
    let mut http = WasiHttpCtx::new();
    http.set_field_size_limit(FIELDS_BYTES_MAX);
    let state = State {
        memory: MemoryHold::new(core.memory.clone()),
        table,
        http,
        hooks: Outgoing::new(core.clone()),
        wasi: None,
        net: None,
        tree: None,
        tls: None,
        kept: None,
        values: None,
        lines_within: (core.spec.logger.is_some() || core.spec.requests.is_some())
            .then(Arc::default),
        core: core.clone(),
    };
    let mut store = wasmtime::Store::new(core.pre().wasmtime(), state);
    store.limiter(|state| &mut state.memory);
    store.set_hostcall_fuel(HOSTCALL_BYTES_MAX);
    store.set_epoch_deadline(SLICE_TICKS);
    // A plain yield would put the task back on the same worker, which then neither steals work
    // nor looks at sockets and timers.
    store.epoch_deadline_callback(|_| {
        Ok(UpdateDeadline::YieldCustom(SLICE_TICKS, Box::pin(tokio::task::yield_now())))
    });
    store
}

impl State {
    /// Says in which span and for which request the guest works from now on: what it sends belongs there.
    pub(crate) fn works_within(&mut self, span: Option<SpanContext>, request: Option<RequestId>) {
        if let Some(within) = &self.lines_within {
            within.set(span.clone(), request.clone());
        }
        self.hooks.within = span;
        self.hooks.request = request;
    }

    /// A way into the container's log and to the collector, if one wants it.
    pub(crate) fn log_stream(&self, taps: &Arc<Taps>, output: logs::Output) -> LogStream {
        log_stream(&self.core, self.lines_within.as_ref(), taps, output)
    }

    /// In which span the guest works.
    pub(crate) fn within(&self) -> Option<&SpanContext> {
        self.hooks.within.as_ref()
    }

    /// What a service keeps for the guest; nothing when it was granted no place for it.
    pub(crate) fn kept(&mut self, service: Service) -> Option<Arc<Tree>> {
        let mounts = &self.core.spec.mounts;
        if !mounts.has_service(service) {
            return None;
        }
        if self.kept.is_none() {
            let memory = self.core.memory.clone();
            let tree = Tree::new(mounts.services()?.clone()).charging(memory);
            self.kept = Some(Arc::new(tree));
        }
        self.kept.clone()
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let (core, within) = (&self.core, self.lines_within.as_ref());
        let ctx = self.wasi.get_or_insert_with(|| wasi(core, within));
        WasiCtxView { ctx, table: &mut self.table }
    }
}

fn log_stream(
    core: &Core,
    within: Option<&Arc<Within>>,
    taps: &Arc<Taps>,
    output: logs::Output,
) -> LogStream {
    let shipper = core.spec.logger.clone().zip(within.cloned());
    let shipper = shipper.map(|(logger, within)| Shipper::new(logger, output, within));
    LogStream::new(core.log.as_ref(), (taps, output), shipper, within.cloned())
}

/// Makes clocks, random numbers and the streams of one instance.
fn wasi(core: &Core, within: Option<&Arc<Within>>) -> WasiCtx {
    let mut wasi = WasiCtx::builder();
    if let Some(input) = &core.stdio.input {
        wasi.stdin(GuestInput { input: input.clone(), tty: core.stdio.tty });
    }
    match &core.stdio.output {
        Output::Log(taps) => {
            let to = |output| log_stream(core, within, taps, output);
            wasi.stdout(to(logs::Output::Stdout)).stderr(to(logs::Output::Stderr));
        }
        Output::Pipes { stdout, stderr } => {
            wasi.stdout(stdout.clone()).stderr(stderr.clone());
        }
    }
    wasi.build()
}

impl IoView for State {
    fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.hooks }
    }
}

impl NetView for State {
    fn net(&mut self) -> NetCtx<'_> {
        let core = &self.core;
        let make = || NetState {
            ns: core.netns.clone(),
            scope: core.scope.clone(),
            interrupts: core.interrupts(),
        };
        NetCtx { net: self.net.get_or_insert_with(make), table: &mut self.table }
    }
}

impl FsView for State {
    fn fs(&mut self) -> FsCtx<'_> {
        let (mounts, memory) = (&self.core.spec.mounts, self.core.memory.clone());
        let tree = self.tree.get_or_insert_with(|| Tree::new(mounts.clone()).charging(memory));
        FsCtx { tree, table: &mut self.table }
    }
}

impl WasiTlsView for State {
    fn tls(&mut self) -> WasiTlsCtxView<'_> {
        WasiTlsCtxView { ctx: self.tls.get_or_insert_with(tls::context), table: &mut self.table }
    }
}

/// Makes the linker with everything that a guest may import.
pub(crate) fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    // What is added later takes the place of wasmtime's own.
    linker.allow_shadowing(true);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_io::add_to_linker_async(&mut linker)?;
    fault::add_to_linker(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    environment::add_to_linker::<State, Environment>(&mut linker, |state| EnvironmentView {
        core: &state.core,
    })?;
    sockets::add_to_linker(&mut linker)?;
    filesystem::add_to_linker(&mut linker)?;
    lifecycle::add_to_linker(&mut linker)?;
    interrupt::add_to_linker(&mut linker)?;
    tls::add_to_linker(&mut linker)?;
    wasi::add_drafts_to_linker(&mut linker)?;
    Ok(linker)
}

/// Arguments and environment, lent from the container's specification instead of copied for each
/// instance: most guests never ask for them.
struct Environment;

impl HasData for Environment {
    type Data<'a> = EnvironmentView<'a>;
}

/// What [`Environment`] lends.
struct EnvironmentView<'a> {
    core: &'a Core,
}

impl environment::Host for EnvironmentView<'_> {
    fn get_environment(&mut self) -> wasmtime::Result<Vec<(String, String)>> {
        Ok(self.core.spec.env.clone())
    }

    fn get_arguments(&mut self) -> wasmtime::Result<Vec<String>> {
        Ok(self.core.spec.argv.clone())
    }

    fn initial_cwd(&mut self) -> wasmtime::Result<Option<String>> {
        Ok(Some(self.core.spec.cwd.clone().unwrap_or_else(|| "/".to_owned())))
    }
}
