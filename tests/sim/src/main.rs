//! A simulated cluster with users, dice for faults and a model's promises around it: see the README.

mod chaos;
mod promises;
mod rest;
mod run;
mod sabotage;
mod scenario;
mod watcher;
mod workload;

use std::fs::File;
use std::io::{BufWriter, Write as _, stderr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use coracle_simulate::host::Capacity;
use coracle_simulate::life::live;
use coracle_simulate::os;
use coracle_simulate::trace::Trace;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::chaos::Fault;
use crate::run::{Plan, Report};
use crate::sabotage::Sabotage;
use crate::scenario::Scenario;
use crate::workload::Size;

/// Runs the control plane in a simulated world and checks its promises.
#[derive(Debug, Parser)]
struct Flags {
    /// Decides everything; the same seed is the same run.
    #[arg(long)]
    seed: u64,
    /// Hosts.
    #[arg(long, default_value_t = 4)]
    hosts: usize,
    /// Deployments at most.
    #[arg(long, default_value_t = 5)]
    deployments: usize,
    /// Replicas of a Deployment at most.
    #[arg(long, default_value_t = 5)]
    replicas: usize,
    /// Virtual seconds in which things go wrong.
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// Lets only this go wrong; may be given several times.
    #[arg(long)]
    only: Vec<Fault>,
    /// Breaks a promise on purpose, which must be found.
    #[arg(long)]
    sabotage: Option<Sabotage>,
    /// Plays a written course of events in place of users and faults.
    #[arg(long)]
    scenario: Option<Scenario>,
    /// CPU of each host
    #[arg(long, default_value = "1100m")]
    node_cpu: String,
    /// Memory of each host
    #[arg(long, default_value = "4Gi")]
    node_memory: String,
    /// Pods that each host takes
    #[arg(long, default_value_t = 20)]
    node_pods: u32,
    /// File for all that happened, line by line.
    #[arg(long)]
    trace: Option<PathBuf>,
}

fn main() -> anyhow::Result<ExitCode> {
    let flags = Flags::parse();
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::OFF.into());
    tracing_subscriber::fmt().with_env_filter(filter.from_env_lossy()).with_writer(stderr).init();
    let folder = tempfile::tempdir().context("make a folder for the image registry")?;
    let mut trace = Trace::default();
    if let Some(path) = &flags.trace {
        let file = File::create(path).with_context(|| format!("make {}", path.display()))?;
        trace.output = Some(BufWriter::new(file));
    }
    let size = Size { deployments: flags.deployments, replicas: flags.replicas, config_maps: 5 };
    let faults_for = Duration::from_secs(flags.seconds);
    let faults = if flags.only.is_empty() { chaos::USUAL.to_vec() } else { flags.only.clone() };
    let (hosts, sabotage, scenario) = (flags.hosts, flags.sabotage, flags.scenario);
    let (cpu, memory) = (flags.node_cpu.clone(), flags.node_memory.clone());
    let capacity = Capacity { cpu, memory, pods: flags.node_pods };
    let plan = Plan { hosts, capacity, size, faults_for, faults, sabotage, scenario };
    let began = os::real_time();
    let seed = flags.seed;
    let path = folder.path().to_owned();
    let report = live(seed, move || async move { run::run(seed, plan, trace, &path).await })?;
    tell(&flags, &report, os::real_time().saturating_sub(began))
}

fn tell(flags: &Flags, report: &Report, real: Duration) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    let ratio = report.simulated.as_secs_f64() / real.as_secs_f64().max(0.001);
    writeln!(
        out,
        "seed {} hash {:016x} notes {} revision {} simulated {:.1} s",
        flags.seed,
        report.hash,
        report.notes,
        report.revision,
        report.simulated.as_secs_f64(),
    )?;
    writeln!(out, "took {:.1} s, {ratio:.0} times as fast as real time", real.as_secs_f64())?;
    if report.broken.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    for (what, lines) in [("what happened", &report.story), ("the last of all", &report.last)] {
        writeln!(out, "{what}, in seconds since the begin:")?;
        for line in lines {
            writeln!(out, "{line}")?;
        }
    }
    for promise in &report.broken {
        writeln!(out, "BROKEN: {promise}")?;
    }
    let Flags { seed, hosts, deployments, replicas, seconds, .. } = flags;
    let names = flags.only.iter().filter_map(ValueEnum::to_possible_value);
    let only: String = names.map(|name| format!(" --only {}", name.get_name())).collect();
    let scenario = flags.scenario.as_ref().and_then(ValueEnum::to_possible_value);
    let scenario =
        scenario.map_or(String::new(), |name| format!(" --scenario {}", name.get_name()));
    writeln!(
        out,
        "replay: cargo run -p coracle-sim -- --seed {seed} --hosts {hosts} --deployments {deployments} \
         --replicas {replicas} --seconds {seconds}{only}{scenario} --trace trace.txt"
    )?;
    Ok(ExitCode::FAILURE)
}
