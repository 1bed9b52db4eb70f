//! One run: a world from a seed, its faults, and what came of it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use coracle_apiserver::authn::UserInfo;
use coracle_simulate::host::{Capacity, Host};
use coracle_simulate::net::Link;
use coracle_simulate::note;
use coracle_simulate::server;
use coracle_simulate::trace::Trace;
use coracle_simulate::world::World;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::chaos::Fault;
use crate::promises::Promises;
use crate::sabotage::{self, Sabotage};
use crate::scenario::{self, Scenario, Stage};
use crate::watcher::{self, Watcher};
use crate::workload::{Size, Workload};
use crate::{chaos, rest};

/// How large a run is.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Hosts.
    pub(crate) hosts: usize,
    /// What each of them has.
    pub(crate) capacity: Capacity,
    /// What users make.
    pub(crate) size: Size,
    /// How long things go wrong.
    pub(crate) faults_for: Duration,
    /// What goes wrong, each as often as the others.
    pub(crate) faults: Vec<Fault>,
    /// What is broken on purpose.
    pub(crate) sabotage: Option<Sabotage>,
    /// What happens in place of users and faults.
    pub(crate) scenario: Option<Scenario>,
}

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Report {
    /// The promises that were broken; none in a good run.
    pub(crate) broken: Vec<String>,
    /// Hash of everything that happened.
    pub(crate) hash: u64,
    /// How much was noted.
    pub(crate) notes: u64,
    /// The last lines of the trace.
    pub(crate) last: Vec<String>,
    /// The same without requests and writes, which reaches further back.
    pub(crate) story: Vec<String>,
    /// How long it took in the world.
    pub(crate) simulated: Duration,
    /// The store's last revision.
    pub(crate) revision: u64,
}

/// How often it is looked whether a promise was broken.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long everything must be as asked for before that counts as rest.
const REST_SHOWN_FOR: Duration = Duration::from_secs(10);

/// How long nobody may then write but for heartbeats: longer than any controller's back-off.
const REST_KEPT_FOR: Duration = Duration::from_secs(60);

/// Runs a world to its end.
pub(crate) async fn run(seed: u64, plan: Plan, trace: Trace, folder: &Path) -> Report {
    let world = Arc::new(World::new(seed, trace));
    let hosts: Vec<Host> =
        (0..plan.hosts).map(|index| Host::new(&world, index, &plan.capacity)).collect();
    let hosts = Arc::new(hosts);
    world.oracle.lock().judges.push(Box::<Promises>::default());
    live(&world, &hosts, plan, folder).await;
    let trace = world.trace.lock();
    let oracle = world.oracle.lock();
    Report {
        broken: oracle.broken.clone(),
        hash: trace.hash(),
        notes: trace.count(),
        last: trace.last().map(str::to_owned).collect(),
        story: trace.story().map(str::to_owned).collect(),
        simulated: world.now(),
        revision: oracle.revision(),
    }
}

/// Lives through a world.
async fn live(world: &Arc<World>, hosts: &Arc<Vec<Host>>, plan: Plan, folder: &Path) {
    let mut tasks = JoinSet::new();
    tasks.spawn(keep_server(Arc::clone(world), folder.to_owned()));
    let idle = usize::from(plan.sabotage == Some(Sabotage::IdleHost));
    hosts.iter().skip(idle).for_each(Host::start);
    let admin = |peer: &str| {
        let user = UserInfo::new("admin", ["system:masters"]);
        Link::outside(world, peer, user).client()
    };
    for followed in watcher::ALL {
        tasks.spawn(Watcher::new(world, admin("watcher"), followed).run());
    }
    if let Some(scenario) = plan.scenario {
        let stage = Stage::new(world, hosts, admin("stage"));
        if let Err(why) = scenario::play(scenario, &stage).await {
            world.broken(why);
        }
        tasks.shutdown().await;
        return server::kill(world);
    }
    if let Some(sabotage) = plan.sabotage {
        sabotage::prepare(world, sabotage);
    }
    let mut workload = Workload::new(world, admin("user"), plan.size);
    workload.fill().await;
    let mut faults = JoinSet::new();
    faults.spawn(workload.run());
    if let Some(sabotage) = plan.sabotage {
        faults.spawn(sabotage::run(Arc::clone(world), admin("rogue"), sabotage));
    }
    faults.spawn(chaos::run(Arc::clone(world), Arc::clone(hosts), plan.faults));
    let until = Instant::now() + plan.faults_for;
    while Instant::now() < until && !is_broken(world) {
        sleep(LOOK_EVERY).await;
    }
    faults.shutdown().await;
    chaos::heal(world, &hosts[idle..]);
    if !is_broken(world) {
        come_to_rest(world, hosts).await;
    }
    tasks.shutdown().await;
    server::kill(world);
}

fn is_broken(world: &World) -> bool {
    !world.oracle.lock().broken.is_empty()
}

/// Starts the server whenever it is down.
async fn keep_server(world: Arc<World>, folder: std::path::PathBuf) {
    loop {
        server::start(&world, &folder).await;
        let server = world.server.borrow().clone();
        if let Some(server) = server {
            server.died().await;
        }
        server::kill(&world);
        sleep(world.millis(chaos::SERVER_DOWN_MILLIS)).await;
    }
}

async fn come_to_rest(world: &Arc<World>, hosts: &[Host]) {
    let calm = async {
        let mut calm_since = None;
        while calm_since.is_none_or(|since: Instant| since.elapsed() < REST_SHOWN_FOR) {
            let calm = rest::unrest(world, hosts).is_none();
            calm_since = calm.then(|| calm_since.unwrap_or_else(Instant::now));
            if is_broken(world) {
                return;
            }
            sleep(LOOK_EVERY).await;
        }
    };
    if timeout(chaos::REST_WITHIN, calm).await.is_err() {
        let why = rest::unrest(world, hosts).unwrap_or_else(|| "it goes on and off".to_owned());
        world.broken(format!("no rest {:?} after the last fault: {why}", chaos::REST_WITHIN));
        return;
    }
    note!(world, "everything is as it was asked for");
    let since = world.oracle.lock().log.len();
    sleep(REST_KEPT_FOR).await;
    if let Some(why) = rest::restless(world, since).or_else(|| rest::unrest(world, hosts)) {
        world.broken(why);
    }
}
