//! The `coracle` binary: the one place where the parts are wired together.

mod apply;
mod backup;
mod certificates;
mod client;
mod config;
mod definitions;
mod develop;
mod findings;
mod host;
mod images;
mod join;
mod lead;
mod limits;
mod manual;
mod migrate;
mod nodes;
mod out;
mod program_pages;
mod schedule;
mod server;
mod shared_keys;
mod signals;
mod simulate;
mod supervise;
mod tenant;
mod token;
mod up;
mod upgrade;
mod verbs;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use anyhow::Context as _;
use coracle_allocator::ByRole;
use tracing_subscriber::EnvFilter;

use config::{Command, DataDir, Flags, PushFlags, ScheduleCommand};

/// A server has many short-lived objects, a host few that live long.
#[global_allocator]
static ALLOCATOR: ByRole = ByRole::new(&["server", "up", "dev", "test"]);

fn main() -> ExitCode {
    let flags = Flags::read();
    // A pod's worker and a compiler child have no runtime, no log and no data directory: they are
    // confined before they read their input.
    if matches!(flags.command, Command::Worker) {
        return coracle_runtime::worker::child_main();
    }
    if let Command::Compile { arguments } = flags.command {
        return coracle_runtime::compile::child_main(arguments);
    }
    match run(flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if let Some(out::Ended(code)) = error.downcast_ref() {
                return ExitCode::from(*code);
            }
            report(&error);
            ExitCode::FAILURE
        }
    }
}

/// Prints the chain of an error once, the outermost operation first.
#[expect(clippy::print_stderr, reason = "the last word of the program to its user")]
fn report(error: &anyhow::Error) {
    eprintln!("error: {error}");
    for cause in error.chain().skip(1) {
        eprintln!("  because: {cause}");
    }
}

fn run(flags: Flags) -> anyhow::Result<()> {
    let filter = flags.log_filter();
    let filter = EnvFilter::try_new(&filter).with_context(|| format!("--log '{filter}'"))?;
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colours)
        .with_writer(std::io::stderr)
        .init();
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("another TLS provider is installed already"))?;
    limits::raise_descriptors();
    if let Command::Simulate(flags) = &flags.command {
        // Before there is a second thread: it takes over the clock of its process.
        return simulate::run(flags);
    }
    let data = DataDir::open(flags.data_dir.as_deref())?;
    let runtime = tokio::runtime::Runtime::new().context("start the async runtime")?;
    runtime.block_on(dispatch(data, flags.command))
}

async fn dispatch(data: DataDir, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Up(flags) => up::up(data, flags).await,
        Command::Down(flags) => up::down(data, flags).await,
        Command::Server(flags) => server::run(&data, &flags).await,
        Command::Host(flags) if flags.shutdown => supervise::shut_down(&data, &flags).await,
        Command::Host(flags) if flags.supervise => {
            supervise::run(&data, &flags.passed_on(), flags.limits.node.shutdown_grace_period).await
        }
        Command::Host(flags) => host::run(&data, &flags).await,
        Command::Token(command) => token::run(&data, command).await,
        Command::Tenant(command) => tenant::run(&command),
        Command::Backup(flags) => backup::backup(&data, &flags).await,
        Command::Restore(flags) => backup::restore(&data, &flags),
        Command::Store(command) => migrate::run(&data, command).await,
        Command::Push(flags) => push(&data, flags).await,
        Command::Inspect(flags) => images::inspect(&data, flags).await,
        Command::Schedule(ScheduleCommand::Explain(flags)) => schedule::explain(&data, flags).await,
        Command::New(flags) => develop::create(&flags),
        Command::Build(flags) => develop::build(&flags).await,
        Command::Dev(flags) => develop::dev(data, *flags).await,
        Command::Test(flags) => develop::test(*flags).await,
        Command::Doctor(flags) => develop::doctor(&data, &flags).await,
        Command::Upgrade(flags) => upgrade::check(&data, &flags).await,
        Command::Completion(flags) => manual::completion(flags.shell),
        Command::Man(flags) => manual::pages(&flags.folder),
        Command::Verb(verb) => verbs::run(&data, verb).await,
        Command::Simulate(_) => anyhow::bail!("simulate runs without a runtime of the program's"),
        Command::Worker => anyhow::bail!("worker runs without a runtime of the program's"),
        Command::Compile { .. } => anyhow::bail!("compile runs without a runtime"),
    }
}

async fn push(data: &DataDir, flags: PushFlags) -> anyhow::Result<()> {
    let name = flags.name.parse()?;
    let kubeconfig = flags.kubeconfig.unwrap_or_else(|| data.kubeconfig());
    let client = client::of_kubeconfig(&kubeconfig).await?;
    up::push_file(&client, &name, &flags.file).await
}
