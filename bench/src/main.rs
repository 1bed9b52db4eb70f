//! Every promised figure, measured on a cluster of its own, beside its reference.
//!
//! `coracle-bench` prints our figures; `--with-references` also builds what we are measured
//! against, once, into the tests' cache, and prints ratios of one run. Absolute times are context:
//! the machine's other load moves them; ratios of one run hold.
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

mod figures;
mod load;
mod paced;
mod process;
mod reference;
mod sample;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use coracle_allocator::ByRole;

/// Measures Coracle.
#[derive(Debug, Parser)]
struct Flags {
    /// Also build and measure what we are compared with
    #[arg(long)]
    with_references: bool,

    /// Only these figures
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Figure>,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Figure {
    /// HTTP hello through a node port, a fresh instance for each request.
    Hello,
    /// From a pod's creation to Ready, seen by a watch.
    Ready,
    /// Memory of 1,000 idle http pods.
    Density,
    /// Every operation of the API over HTTPS, durable, on 10,000 objects.
    Api,
    /// Memory and CPU of an idle server and host, size of the binary, time of a start.
    Idle,
    /// Decisions of the scheduler alone.
    Schedule,
    /// Pods bound through the API, durable; server and scheduler in one process.
    Bind,
    /// A Deployment from 0 to 10,000 pods on hosts that only say that they run.
    Deployment,
    /// Rolling restarts of few and of many pods.
    Restart,
    /// Controllers and scheduler that have nothing to do, with 150,000 pods.
    Quiet,
    /// Start and memory of a server over 150,000 pods, and over 10,000 small objects.
    Large,
    /// 10,000 idle watches.
    Watches,
    /// The first request to a Service whose pods are at zero.
    Zero,
    /// `coracle simulate` of 100 nodes and 1,000 pods.
    Simulation,
    /// A container's start and a kill, the runtime alone.
    Start,
    /// Bytes and round trips between two pods' sockets, the runtime alone.
    Sockets,
    /// Requests between two pods by wasi:http, the runtime alone.
    Calls,
    /// What it costs a guest that it can be interrupted.
    Preempt,
    /// How close CPU limits are kept.
    Limits,
    /// JavaScript and Python, fresh and pooled.
    Languages,
    /// 1,000 pods created at once.
    AtOnce,
    /// 10,000 idle http pods.
    Crowd,
    /// 2,000 resident commands.
    Resident,
    /// What a hostile neighbour does to the requests of another pod.
    Neighbour,
    /// What the probes of 1,000 pods cost.
    Probes,
    /// How long a pod does not answer when its host is killed.
    Comeback,
    /// Bytes, round trips and 10,000 streams between pods of two hosts.
    Between,
    /// HTTP hello through an Ingress with TLS to a pod of another host.
    Ingress,
    /// A pick and a change among 5,000 endpoints, the table alone.
    Table,
    /// 10,000 Services with 100,000 endpoints on a host.
    Services,
    /// What stops while the leader of three servers is killed.
    Servers,
    /// When the endpoints of a lost host have left.
    Lost,
}

const ALL: [Figure; 32] = [
    Figure::Idle,
    Figure::Ready,
    Figure::Density,
    Figure::Api,
    Figure::Hello,
    Figure::Start,
    Figure::Sockets,
    Figure::Calls,
    Figure::Preempt,
    Figure::Limits,
    Figure::Languages,
    Figure::AtOnce,
    Figure::Crowd,
    Figure::Resident,
    Figure::Neighbour,
    Figure::Probes,
    Figure::Comeback,
    Figure::Between,
    Figure::Ingress,
    Figure::Table,
    Figure::Services,
    Figure::Servers,
    Figure::Lost,
    Figure::Schedule,
    Figure::Bind,
    Figure::Deployment,
    Figure::Restart,
    Figure::Quiet,
    Figure::Large,
    Figure::Watches,
    Figure::Zero,
    Figure::Simulation,
];

/// The figures that measure a server's parts in this process use what a server uses.
#[global_allocator]
static ALLOCATOR: ByRole = ByRole::new(&["schedule", "bind", "deployment", "restart", "quiet"]);

fn main() -> anyhow::Result<ExitCode> {
    // The runtime that is measured in this process compiles in a child of the same program.
    if let Some(code) = coracle_runtime::compile::child_if_asked(std::env::args_os()) {
        return Ok(code);
    }
    let flags = Flags::parse();
    let wanted = if flags.only.is_empty() { &ALL } else { flags.only.as_slice() };
    match wanted {
        [figure] => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(measure(*figure, flags.with_references))?;
        }
        several => {
            for figure in several {
                in_a_process_of_its_own(*figure, flags.with_references)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What one figure leaves in memory is not measured with the next one.
fn in_a_process_of_its_own(figure: Figure, with_references: bool) -> anyhow::Result<()> {
    let name = figure.to_possible_value().context("a figure has a name")?;
    let mut command = std::process::Command::new(std::env::current_exe()?);
    command.args(["--only", name.get_name()]);
    if with_references {
        command.arg("--with-references");
    }
    let status = command.status()?;
    anyhow::ensure!(status.success(), "{}: {status}", name.get_name());
    Ok(())
}

async fn measure(figure: Figure, with_references: bool) -> anyhow::Result<()> {
    let lines = match figure {
        Figure::Hello => figures::hello::measure(with_references).await?,
        Figure::Ready => figures::ready::measure().await?,
        Figure::Density => figures::density::measure().await?,
        Figure::Api => figures::api::measure(with_references).await?,
        Figure::Schedule => figures::schedule::measure()?,
        Figure::Bind => figures::control::scheduling::measure().await?,
        Figure::Deployment => figures::control::rollout::up().await?,
        Figure::Restart => figures::control::rollout::restart().await?,
        Figure::Quiet => figures::control::quiet::measure().await?,
        Figure::Large => figures::control::large::measure().await?,
        Figure::Watches => figures::watches::measure().await?,
        Figure::Zero => figures::zero::measure()?,
        Figure::Simulation => figures::simulation::measure()?,
        Figure::Start => figures::runtime::start::measure().await?,
        Figure::Sockets => figures::runtime::sockets::measure().await?,
        Figure::Calls => figures::runtime::calls::measure().await?,
        Figure::Preempt => figures::runtime::preempt::measure(with_references).await?,
        Figure::Limits => figures::runtime::limits::measure().await?,
        Figure::Languages => figures::runtime::languages::measure().await?,
        Figure::AtOnce => figures::crowd::at_once().await?,
        Figure::Crowd => figures::crowd::idle().await?,
        Figure::Resident => figures::crowd::resident()?,
        Figure::Neighbour => figures::neighbour::measure().await?,
        Figure::Probes => figures::probes::measure().await?,
        Figure::Comeback => figures::comeback::measure().await?,
        Figure::Between => figures::network::between::measure()?,
        Figure::Ingress => figures::network::ingress::measure(with_references).await?,
        Figure::Table => figures::network::table::measure()?,
        Figure::Services => figures::network::services::measure().await?,
        Figure::Servers => figures::network::servers::measure().await?,
        Figure::Lost => figures::network::lost::measure()?,
        Figure::Idle => figures::idle::measure().await?,
    };
    print(&lines);
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the report is what this program is for")]
fn print(lines: &[String]) {
    for line in lines {
        println!("{line}");
    }
}
