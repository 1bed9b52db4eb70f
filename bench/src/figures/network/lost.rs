//! A host that is lost: the time until its endpoints have left.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use coracle_e2e::probe_pods::{echo, machines_with_images, wait_pod_ready};
use coracle_e2e::{Machines, within};
use serde_json::json;

/// Longest time that is looked at: Kubernetes takes 50 s.
const PATIENCE: Duration = Duration::from_secs(120);
/// Hosts besides the server's machine: so many that a majority of the others is more than one.
const HOSTS: usize = 4;
/// Time for the hosts to find each other.
const REST: Duration = Duration::from_secs(15);

pub(crate) fn measure() -> anyhow::Result<Vec<String>> {
    let mut machines = machines_with_images(HOSTS + 1);
    let mut pods = Vec::new();
    for index in 1..=HOSTS {
        machines.apply(&echo(&format!("echo-{index}"), &machines.node(index)));
    }
    for index in 1..=HOSTS {
        pods.push(wait_pod_ready(&machines, &format!("echo-{index}")));
    }
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "echo"},
        "spec": {"selector": {"set": "echo"}, "ports": [{"port": 70, "targetPort": "echo"}]}});
    machines.apply(&service.to_string());
    machines.run(&["label", "pod", "--all", "set=echo"]);
    let all: BTreeSet<String> = pods.iter().cloned().collect();
    within(PATIENCE, "the Service has all", || {
        let there = ready(&machines);
        if there == all { Ok(()) } else { Err((there, machines.logs())) }
    });
    std::thread::sleep(REST);
    let of = |index: usize| pods.get(index - 1).context("a pod of that host");

    let start = Instant::now();
    machines.kill_host(HOSTS);
    let killed = left(&machines, of(HOSTS)?, start)?;
    // What is sent from there comes to nothing: a machine without power says no more.
    let start = Instant::now();
    for other in (0..=HOSTS).filter(|other| *other != HOSTS - 1) {
        machines.close_way(HOSTS - 1, other, true);
    }
    let silent = left(&machines, of(HOSTS - 1)?, start)?;
    let stay = ready(&machines);
    let stay = (1..HOSTS - 1).filter(|index| of(*index).is_ok_and(|ip| stay.contains(ip))).count();
    Ok(vec![format!(
        "a host of {HOSTS} is lost: its endpoints have left after {:.1} s when it was killed, after {:.1} s when its machine fell silent (promised 10); {stay} of {} others stayed",
        killed.as_secs_f64(),
        silent.as_secs_f64(),
        HOSTS - 2,
    )])
}

/// The time from `start` until an address is none of the Service's any more.
fn left(machines: &Machines, ip: &str, start: Instant) -> anyhow::Result<Duration> {
    while ready(machines).contains(ip) {
        ensure!(start.elapsed() < PATIENCE, "{ip} is there after {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(start.elapsed())
}

/// The addresses of the Service's endpoints that are ready.
fn ready(machines: &Machines) -> BTreeSet<String> {
    let slices = machines.get(&["endpointslices", "-l", "kubernetes.io/service-name=echo"]);
    let endpoints = slices["items"].as_array().into_iter().flatten();
    let endpoints = endpoints.filter_map(|slice| slice["endpoints"].as_array()).flatten();
    let ready = endpoints.filter(|endpoint| endpoint["conditions"]["ready"] == true);
    ready.filter_map(|one| Some(one["addresses"][0].as_str()?.to_owned())).collect()
}
