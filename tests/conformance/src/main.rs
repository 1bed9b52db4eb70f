//! Kubernetes' own conformance suite against a cluster of the real binary.
//!
//! Builds the suite once into the tests' cache, starts server and host in a folder of their own,
//! pushes the stand-ins of the suite's images, runs the cases and writes what came out into
//! `specs/conformance.md`. Not a part of `./test`: it takes an hour, and needs Go.

mod case;
mod cluster;
mod gateway;
mod report;
mod suite;
mod table;
mod work;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Parser;
use coracle_e2e::root;

use crate::case::{Case, Need};
use crate::cluster::Cluster;
use crate::suite::Suite;
use crate::table::Table;

/// Runs Kubernetes' conformance suite and writes specs/conformance.md.
#[derive(Debug, Parser)]
struct Flags {
    /// Only cases that have one of these texts in their names
    cases: Vec<String>,

    /// Only cases that need one of these
    #[arg(long, value_enum, value_delimiter = ',')]
    needs: Vec<Need>,

    /// Only cases that did not pass the last time
    #[arg(long)]
    again: bool,

    /// Processes of the suite at a time; cases that it calls serial run alone
    #[arg(long, default_value_t = 4)]
    jobs: usize,

    /// Seconds that a batch of cases may take for each of its cases
    #[arg(long, default_value_t = 300)]
    patience: u64,

    /// Run against this cluster, which is up and has the stand-ins, instead of one of its own
    #[arg(long)]
    kubeconfig: Option<PathBuf>,

    /// Where the suite's logs are kept
    #[arg(long, default_value = "target/conformance")]
    logs: PathBuf,

    /// Run the Gateway API's suite instead, or the case of it that is named; hosts must be able to listen on ports 80
    /// and 443. Writes specs/gateway-conformance.md
    #[arg(long)]
    gateway: bool,

    /// Print the names of the cases that would run
    #[arg(long)]
    list: bool,
}

fn main() -> Result<()> {
    let flags = Flags::parse();
    if flags.gateway {
        return gateway(&flags);
    }
    let suite = Suite::build(&root())?;
    let path = root().join("specs/conformance.md");
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let mut table = Table::parse(&text, suite.cases()?);
    let wanted: Vec<Case> = table.cases().filter(|case| flags.wants(case, &table)).collect();
    if flags.list {
        wanted.iter().for_each(|case| say(&case.name));
        return Ok(());
    }
    std::fs::create_dir_all(&flags.logs).context("create the folder of the logs")?;
    let own = match &flags.kubeconfig {
        Some(_) => None,
        None => Some(Cluster::start(&root())?),
    };
    let kubeconfig = own.as_ref().map(Cluster::kubeconfig).or(flags.kubeconfig).unwrap_or_default();
    let run = work::Run { suite, kubeconfig, logs: flags.logs, patience: flags.patience };
    let (mut passed, mut failed) = (0, 0);
    run.all(&wanted, flags.jobs.max(1), |outcome| {
        let word = if outcome.passed() { "pass" } else { "FAIL" };
        *(if outcome.passed() { &mut passed } else { &mut failed }) += 1;
        say(&format!("{word} {:4} s  {}", outcome.seconds, outcome.name));
        table.note(outcome);
        if let Err(error) = std::fs::write(&path, table.render()) {
            say(&format!("write {}: {error}", path.display()));
        }
    })?;
    say(&format!("{passed} passed, {failed} failed"));
    Ok(())
}

fn gateway(flags: &Flags) -> Result<()> {
    std::fs::create_dir_all(&flags.logs).context("create the folder of the logs")?;
    let own = match &flags.kubeconfig {
        Some(_) => None,
        None => Some(Cluster::start(&root())?),
    };
    let kubeconfig = own.as_ref().map(Cluster::kubeconfig).or(flags.kubeconfig.clone());
    let case = flags.cases.first().map(String::as_str);
    let passed = gateway::run(&root(), &kubeconfig.unwrap_or_default(), &flags.logs, case)?;
    anyhow::ensure!(passed, "cases failed: {}/gateway.log", flags.logs.display());
    Ok(())
}

impl Flags {
    fn wants(&self, case: &Case, table: &Table) -> bool {
        let named = self.cases.is_empty() || self.cases.iter().any(|text| case.name.contains(text));
        let needed = self.needs.is_empty() || self.needs.contains(&case.need);
        named && needed && !(self.again && table.passed(&case.name))
    }
}

#[expect(clippy::print_stdout, reason = "what came out is what this program is for")]
fn say(line: &str) {
    println!("{line}");
}
