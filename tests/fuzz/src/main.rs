//! Throws mutated bytes at every parser that sees the network, for a fixed time: none may panic, and none may take long.
//!
//! Inputs are changed at random from a seed that is printed; those with an outcome that was not seen before are changed
//! further. It runs with the toolchain of everything else. An input that fails is printed and kept.

mod mutate;
mod targets;

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Parser;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use targets::{TARGETS, Target};

/// Most inputs that are kept for one parser.
const KEPT_MAX: usize = 4000;
/// Longest that one input may take; these are debug builds on busy machines.
const INPUT_TIME_MAX: Duration = Duration::from_secs(5);

/// Fuzzes the parsers.
#[derive(Debug, Parser)]
struct Flags {
    /// Time for each parser
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    seconds: u64,
    /// What the inputs are drawn from [default: drawn itself]
    #[arg(long)]
    seed: Option<u64>,
    /// Folder for inputs that fail
    #[arg(long, value_name = "DIR", default_value = "target/fuzz")]
    keep: PathBuf,
    /// Parsers [default: all]
    targets: Vec<String>,
}

fn main() -> anyhow::Result<()> {
    let flags = Flags::parse();
    let seed = flags.seed.unwrap_or_else(rand::random);
    say(format_args!("seed {seed}"));
    let wanted = |target: &&Target| {
        flags.targets.is_empty() || flags.targets.iter().any(|name| name == target.name)
    };
    let chosen: Vec<&Target> = TARGETS.iter().filter(wanted).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        bail!("there is no such parser; there are {}", names.join(", "));
    }
    for target in chosen {
        fuzz(target, seed, &flags)?;
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a run takes a fixed time")]
fn fuzz(target: &Target, seed: u64, flags: &Flags) -> anyhow::Result<()> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut inputs = (target.seeds)();
    let mut outcomes = HashSet::new();
    for input in &inputs {
        outcomes.insert(run(target, input, flags)?);
    }
    let end = Instant::now() + Duration::from_secs(flags.seconds);
    let mut runs = 0_u64;
    while Instant::now() < end {
        let mut draw = || inputs.get(random.random_range(0..inputs.len())).cloned();
        let (input, other) = (draw().unwrap_or_default(), draw().unwrap_or_default());
        let input = mutate::mutate(&input, &other, target.words, &mut random);
        let outcome = run(target, &input, flags)?;
        runs += 1;
        if inputs.len() < KEPT_MAX && outcomes.insert(outcome) {
            inputs.push(input);
        }
    }
    say(format_args!("{}: {runs} inputs, {} outcomes", target.name, outcomes.len()));
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "an input must not take long")]
fn run(target: &Target, input: &[u8], flags: &Flags) -> anyhow::Result<String> {
    let begin = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    let took = begin.elapsed();
    let what = match outcome {
        Ok(outcome) if took <= INPUT_TIME_MAX => return Ok(outcome),
        Ok(_) => format!("takes {took:?}"),
        Err(_) => "panics".to_owned(),
    };
    std::fs::create_dir_all(&flags.keep).with_context(|| flags.keep.display().to_string())?;
    let path = flags.keep.join(target.name);
    std::fs::write(&path, input).with_context(|| path.display().to_string())?;
    bail!(
        "{} {what} at {:?}; it is in {}",
        target.name,
        input.escape_ascii().to_string(),
        path.display()
    )
}

#[expect(clippy::print_stdout, reason = "what the program is for")]
fn say(text: std::fmt::Arguments<'_>) {
    println!("{text}");
}
