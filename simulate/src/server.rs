//! The server's process: store, API server, controllers and scheduler, wired as `coracle server` wires them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use coracle_apiserver::{ApiServer, Config};
use coracle_client::Caches;
use coracle_controllers::Controllers;
use coracle_scheduler::Running as Scheduling;
use coracle_store::backend::{Redb, Sequencer, Writer};
use coracle_store::{OpenError, Store};
use parking_lot::Mutex;
use redb::Builder;
use tokio::task::AbortHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::disk::Handle;
use crate::net::Link;
use crate::witness::Witness;
use crate::world::World;

/// The database's page cache: as small as redb lets it be useful, so that it reads from the disk too.
const CACHE_BYTES: usize = 1 << 20;

/// Pause before a server that could not start is started again, as a service manager does.
const RESTART_AFTER: Duration = Duration::from_secs(1);

/// How long a server that is asked to end may take: the longest request, and the slowest disk.
const STOPS_WITHIN: Duration = Duration::from_secs(90);

/// One life of the server.
pub struct Incarnation {
    /// Its API.
    pub api: ApiServer,
    died: CancellationToken,
    store: Store,
    writer: AbortHandle,
    /// Controllers and scheduler, while they run.
    parts: Mutex<(Option<Controllers>, Option<Scheduling>)>,
}

/// A part of the server that can be started anew alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All controllers.
    Controllers,
    /// The scheduler.
    Scheduler,
}

impl Incarnation {
    /// Whether it can still do or answer anything.
    pub fn is_alive(&self) -> bool {
        !self.died.is_cancelled()
    }

    /// Waits for its end.
    pub async fn died(&self) {
        self.died.cancelled().await;
    }
}

/// Starts a server and tries until one is up.
pub async fn start(world: &Arc<World>, folder: &Path) {
    loop {
        match try_start(world, folder).await {
            Ok(()) => return,
            Err(error) => {
                note!(world, "the server does not start: {error}");
                world.with_dice(|dice| world.disk.crash(dice));
                sleep(RESTART_AFTER).await;
            }
        }
    }
}

async fn try_start(world: &Arc<World>, folder: &Path) -> Result<(), String> {
    let was_well = world.disk.is_well();
    let (mvcc, journal) = open(world).map_err(|error| {
        if was_well && world.disk.is_well() {
            world.broken(format!("the store cannot be opened after the crash: {error}"));
        }
        error.to_string()
    })?;
    let (sequencer, writer) = Sequencer::driven(mvcc, journal);
    let died = CancellationToken::new();
    let writing = tokio::spawn(write(Arc::clone(world), writer, died.clone()));
    let writer = writing.abort_handle();
    let store = Store::over(sequencer);
    store.attach(Arc::new(Witness::new(world, died.clone())));
    let mut config = Config::new(([10, 0, 0, 1], 6443).into(), folder.join("registry"));
    config.describe = || Box::new(|_, _| None);
    let made = tokio::select! {
        biased;
        () = died.cancelled() => Err("its process died".to_owned()),
        made = ApiServer::new(config, store.clone()) => made.map_err(|error| format!("{error:?}")),
    };
    let api = match made {
        Ok(api) => api,
        Err(error) => {
            died.cancel();
            writer.abort();
            return Err(error);
        }
    };
    let server = Arc::new(Incarnation { api, died, store, writer, parts: Mutex::default() });
    start_parts(world, &server);
    note!(world, "the server is up at revision {}", world.oracle.lock().revision());
    world.server.send_replace(Some(server));
    Ok(())
}

fn open(world: &Arc<World>) -> Result<(coracle_store::Mvcc, Redb), OpenError> {
    let owner = world.disk.attach();
    let open = move || {
        let handle: Handle = owner.again();
        let mut builder = Builder::new();
        builder.set_cache_size(CACHE_BYTES);
        builder
            .create_with_backend(handle)
            .map_err(|error| OpenError::Format { path: "disk".into(), what: error.to_string() })
    };
    Redb::open_with(Box::new(open), Path::new("disk"))
}

/// Gives the store's writer its turns, at the speed of the disk, until the process dies.
async fn write(world: Arc<World>, mut writer: Writer, died: CancellationToken) {
    while let Some(turn) = writer.next().await {
        sleep(world.sync_time()).await;
        let next = writer.serve(turn);
        if world.disk.is_dead() {
            // Nothing that this turn has answered leaves the process any more.
            died.cancel();
            return;
        }
        let Some(next) = next else { return };
        writer = next;
    }
}

/// Starts controllers and scheduler over the same caches, as the binary does.
fn start_parts(world: &Arc<World>, server: &Arc<Incarnation>) {
    let caches = caches(world, server);
    let controllers = coracle_controllers::run(&caches, coracle_controllers::Config::default());
    let scheduler = coracle_scheduler::run(&caches, coracle_scheduler::Config::default());
    *server.parts.lock() = (Some(controllers), Some(scheduler));
}

fn caches(world: &Arc<World>, server: &Arc<Incarnation>) -> Caches {
    Caches::lean(Link::inside(world, "kube-controller-manager", server).client())
}

/// Ends a part in the middle of whatever it does, if it runs, and starts it anew with nothing that it knew.
pub fn restart_part(world: &Arc<World>, server: &Arc<Incarnation>, part: Part) {
    let caches = caches(world, server);
    let mut parts = server.parts.lock();
    match part {
        Part::Controllers => {
            parts.0 = None;
            let config = coracle_controllers::Config::default();
            parts.0 = Some(coracle_controllers::run(&caches, config));
        }
        Part::Scheduler => {
            parts.1 = None;
            parts.1 = Some(coracle_scheduler::run(&caches, coracle_scheduler::Config::default()));
        }
    }
}

/// Asks the server that runs to end, as SIGTERM does, and waits for it.
pub async fn stop(world: &World) {
    let Some(server) = world.server.borrow().clone() else { return };
    note!(world, "the server is asked to end");
    let (controllers, scheduler) = std::mem::take(&mut *server.parts.lock());
    let ending = async {
        if let Some(scheduler) = scheduler {
            scheduler.stop().await;
        }
        if let Some(controllers) = controllers {
            controllers.stop().await;
        }
        server.api.shut_down();
        server.store.close().await;
    };
    tokio::select! {
        () = server.died() => {}
        ended = tokio::time::timeout(STOPS_WITHIN, ending) => match ended {
            Ok(()) => note!(world, "the server has ended"),
            Err(_) => world.broken(format!("the server did not end within {STOPS_WITHIN:?}")),
        }
    }
    kill(world);
}

/// Kills the server that runs: nothing that it does from now on has an effect.
pub fn kill(world: &World) {
    let Some(server) = world.server.send_replace(None) else { return };
    note!(world, "the server dies");
    server.died.cancel();
    server.writer.abort();
    drop(std::mem::take(&mut *server.parts.lock()));
    world.with_dice(|dice| world.disk.crash(dice));
}
