//! What goes wrong, and when: crashes, partitions, lost answers, broken streams, a slow, full or broken disk.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::disk::Health;
use crate::host::Host;
use crate::server;
use crate::world::{Weather, World, note};

/// Lets one thing after the other go wrong until it is dropped.
pub(crate) async fn run(world: Arc<World>, hosts: Arc<Vec<Host>>) {
    loop {
        sleep(world.millis(500.0..15_000.0)).await;
        one_fault(&world, &hosts).await;
    }
}

async fn one_fault(world: &Arc<World>, hosts: &Arc<Vec<Host>>) {
    match world.pick(0..15) {
        13 | 14 => {
            let operations = world.pick(0..40) as u64;
            note!(world, "the disk fails once after {operations} operations");
            if world.chance(0.5) {
                world.disk.set_health(Health::Hiccup(operations));
                return;
            }
            world.disk.set_health(Health::Collapse(operations));
            sleep(world.millis(100.0..20_000.0)).await;
            note!(world, "the disk is good again");
            world.disk.set_health(Health::Good);
        }
        12 => server::stop(world).await,
        0 | 1 => server::kill(world),
        2 | 3 => {
            let operations = world.pick(1..60) as u64;
            note!(world, "the server will die after {operations} disk operations");
            world.disk.die_after(operations);
        }
        4 | 5 => {
            let host = world.pick(0..hosts.len());
            if hosts[host].is_up() {
                hosts[host].kill();
                let (world, hosts) = (Arc::clone(world), Arc::clone(hosts));
                tokio::spawn(async move {
                    sleep(world.millis(100.0..600_000.0)).await;
                    if !hosts[host].is_up() {
                        hosts[host].start();
                    }
                });
            }
        }
        6 | 7 => cut_off(world, &hosts[world.pick(0..hosts.len())].name).await,
        8 => change(world, "all streams break", |weather| weather.streams_cut += 1),
        9 => {
            change(world, "answers get lost", |weather| weather.answers_lost = 0.2);
            sleep(world.millis(1_000.0..30_000.0)).await;
            change(world, "answers arrive again", |weather| weather.answers_lost = 0.0);
        }
        10 => {
            change(world, "the disk is slow", |weather| weather.disk_slow = true);
            sleep(world.millis(1_000.0..60_000.0)).await;
            change(world, "the disk is fast again", |weather| weather.disk_slow = false);
        }
        _ => {
            let health = if world.chance(0.5) { Health::Full } else { Health::Broken };
            note!(world, "the disk is {health:?}");
            world.disk.set_health(health);
            sleep(world.millis(50.0..20_000.0)).await;
            note!(world, "the disk is good again");
            world.disk.set_health(Health::Good);
        }
    }
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
        *weather = Weather { streams_cut: weather.streams_cut, ..Weather::default() };
    });
    for host in hosts.iter().filter(|host| !host.is_up()) {
        host.start();
    }
}

/// Longest time that a server is down after a crash.
pub(crate) const SERVER_DOWN_MILLIS: std::ops::Range<f64> = 50.0..30_000.0;

/// How long a run without faults may take to come to rest: a lost node's pods go after 340 s, their replacements start
/// in some seconds.
pub(crate) const REST_WITHIN: Duration = Duration::from_secs(600);
