//! What goes wrong, and when: crashes, partitions, lost answers, broken streams, a slow, full or broken disk.

use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use coracle_simulate::disk::Health;
use coracle_simulate::host::Host;
use coracle_simulate::note;
use coracle_simulate::os;
use coracle_simulate::server::{self, Part};
use coracle_simulate::world::{Weather, World};
use tokio::time::sleep;

/// One thing that can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fault {
    /// The server is killed.
    Kill,
    /// The server is killed in the middle of a disk operation.
    KillAtDisk,
    /// The server is asked to end.
    Stop,
    /// A host is killed and comes back some time.
    KillHost,
    /// A host is cut off for some time.
    CutOff,
    /// All streams break.
    Streams,
    /// Answers are lost for some time.
    Answers,
    /// The disk is slow for some time.
    SlowDisk,
    /// The disk is full or broken for some time.
    IllDisk,
    /// The disk fails once.
    Hiccup,
    /// The disk fails once, and is broken for some time.
    Collapse,
    /// Everybody's wall clock jumps, forward or back.
    ClockJump,
    /// Controllers or scheduler end alone, and begin anew.
    Part,
}

/// What goes wrong if nothing else is asked for; twice is twice as often.
pub(crate) const USUAL: [Fault; 17] = [
    Fault::Kill,
    Fault::Kill,
    Fault::KillAtDisk,
    Fault::KillAtDisk,
    Fault::Stop,
    Fault::KillHost,
    Fault::KillHost,
    Fault::CutOff,
    Fault::CutOff,
    Fault::Streams,
    Fault::Answers,
    Fault::SlowDisk,
    Fault::IllDisk,
    Fault::Hiccup,
    Fault::Collapse,
    Fault::ClockJump,
    Fault::Part,
];

/// How far wall clocks jump: what a time daemon corrects, and what a machine that slept has missed.
const JUMPS_SECONDS: [i64; 6] = [-3_600, -60, -2, 2, 60, 3_600];

/// Lets one of `faults` after the other go wrong until it is dropped.
pub(crate) async fn run(world: Arc<World>, hosts: Arc<Vec<Host>>, faults: Vec<Fault>) {
    while !faults.is_empty() {
        sleep(world.millis(500.0..15_000.0)).await;
        befall(&world, &hosts, faults[world.pick(0..faults.len())]).await;
    }
}

async fn befall(world: &Arc<World>, hosts: &Arc<Vec<Host>>, fault: Fault) {
    match fault {
        Fault::Kill => server::kill(world),
        Fault::KillAtDisk => {
            let operations = world.pick(1..60) as u64;
            note!(world, "the server will die after {operations} disk operations");
            world.disk.die_after(operations);
        }
        Fault::Stop => server::stop(world).await,
        Fault::KillHost => kill_host(world, hosts, world.pick(0..hosts.len())),
        Fault::CutOff => cut_off(world, &hosts[world.pick(0..hosts.len())].name).await,
        Fault::Streams => change(world, "all streams break", |weather| weather.streams_cut += 1),
        Fault::Answers => {
            change(world, "answers get lost", |weather| weather.answers_lost = 0.2);
            sleep(world.millis(1_000.0..30_000.0)).await;
            change(world, "answers arrive again", |weather| weather.answers_lost = 0.0);
        }
        Fault::SlowDisk => {
            change(world, "the disk is slow", |weather| weather.disk_slow = true);
            sleep(world.millis(1_000.0..60_000.0)).await;
            change(world, "the disk is fast again", |weather| weather.disk_slow = false);
        }
        Fault::IllDisk => {
            let health = if world.chance(0.5) { Health::Full } else { Health::Broken };
            ill_disk(world, health).await;
        }
        Fault::Hiccup => {
            let health = Health::Hiccup(world.pick(0..40) as u64);
            note!(world, "the disk: {health:?}");
            world.disk.set_health(health);
        }
        Fault::Collapse => ill_disk(world, Health::Collapse(world.pick(0..40) as u64)).await,
        Fault::ClockJump => {
            let seconds = JUMPS_SECONDS[world.pick(0..JUMPS_SECONDS.len())];
            note!(world, "the wall clock jumps by {seconds} s");
            os::shift_wall_clock(seconds);
        }
        Fault::Part => {
            let part = [Part::Controllers, Part::Scheduler][world.pick(0..2)];
            let server = world.server.borrow().clone();
            if let Some(server) = server {
                note!(world, "{part:?} begin anew");
                server::restart_part(world, &server, part);
            }
        }
    }
}

async fn ill_disk(world: &World, health: Health) {
    note!(world, "the disk: {health:?}");
    world.disk.set_health(health);
    sleep(world.millis(50.0..20_000.0)).await;
    note!(world, "the disk is good again");
    world.disk.set_health(Health::Good);
}

fn kill_host(world: &Arc<World>, hosts: &Arc<Vec<Host>>, index: usize) {
    if !hosts[index].is_up() {
        return;
    }
    hosts[index].kill();
    let (world, hosts) = (Arc::clone(world), Arc::clone(hosts));
    tokio::spawn(async move {
        sleep(world.millis(100.0..600_000.0)).await;
        if !hosts[index].is_up() {
            hosts[index].start();
        }
    });
}

async fn cut_off(world: &Arc<World>, peer: &str) {
    change(world, &format!("{peer} is cut off"), |weather| {
        weather.cut_off.insert(peer.to_owned());
    });
    let lasts = world.millis(500.0..600_000.0);
    let (world, peer) = (Arc::clone(world), peer.to_owned());
    tokio::spawn(async move {
        sleep(lasts).await;
        change(&world, &format!("{peer} is back"), |weather| {
            weather.cut_off.remove(&peer);
        });
    });
}

fn change(world: &World, what: &str, how: impl FnOnce(&mut Weather)) {
    note!(world, "{what}");
    world.weather.send_modify(how);
}

/// Ends all faults, and starts what is down.
pub(crate) fn heal(world: &World, hosts: &[Host]) {
    note!(world, "all faults end");
    world.disk.set_health(Health::Good);
    world.disk.live_on();
    world.weather.send_modify(|weather| {
        let Weather { streams_cut, tampered, .. } = *weather;
        *weather = Weather { streams_cut, tampered, ..Weather::default() };
    });
    for host in hosts.iter().filter(|host| !host.is_up()) {
        host.start();
    }
}

/// Longest time that a server is down after a crash.
pub(crate) const SERVER_DOWN_MILLIS: std::ops::Range<f64> = 50.0..30_000.0;

/// How long a run without faults may take to come to rest: a lost node's pods go after 350 s, their replacements start
/// in some seconds.
pub(crate) const REST_WITHIN: Duration = Duration::from_secs(600);
