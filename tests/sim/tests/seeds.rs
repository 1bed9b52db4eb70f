//! Runs of the simulation, each in a process of its own: some of always the same seeds, some of fresh ones.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test's own functions: what they cannot do fails it, and its runs tell of themselves"
)]

use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Seeds that run each time. One that found a defect stays here.
const FIXED: [u64; 20] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20];

/// How many seeds run that never ran before.
const FRESH: usize = 20;

/// Runs side by side.
const AT_ONCE: usize = 2;

fn run(seed: u64, flags: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coracle-sim"));
    command.args(["--seed", &seed.to_string()]).args(flags).output().unwrap()
}

/// Runs every seed and fails with what the first broken one printed: its seed and the command that replays it.
fn check(seeds: &[u64], flags: &[&str]) {
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
            let output = run(*seed, flags);
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            let why = String::from_utf8_lossy(&output.stderr).into_owned();
            println!("{said}");
            assert!(output.status.success(), "seed {seed}\n{said}\n{why}");
        }
    };
    thread::scope(|scope| (0..AT_ONCE).for_each(|_| drop(scope.spawn(work))));
}

#[test]
fn promises_hold_with_fixed_seeds() {
    check(&FIXED, &["--seconds", "60"]);
}

#[test]
fn promises_hold_with_fresh_seeds() {
    let seeds: Vec<u64> = (0..FRESH).map(|_| u64::from(rand::random::<u32>())).collect();
    println!("fresh seeds {seeds:?}");
    check(&seeds, &["--seconds", "60"]);
}

#[test]
fn a_seed_is_one_run() {
    let hash = |seed| {
        let output = run(seed, &["--seconds", "60"]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let first = said.lines().next().unwrap_or_default().to_owned();
        assert!(first.contains("hash"), "{said}");
        first
    };
    let once = hash(7);
    assert_eq!(once, hash(7), "the same seed gave two runs");
    assert_ne!(once.replace("seed 7 ", ""), hash(9).replace("seed 9 ", ""));
}

/// Worlds in which something is broken on purpose. What a lie does depends on what befalls the world: of a disk that has
/// not synced, a crash may leave all, or so little that no server starts any more.
const SABOTAGED: [u64; 4] = [1, 2, 3, 4];

/// A world in which something is broken on purpose must be found out, by the promise that was broken.
#[test]
fn broken_promises_are_found() {
    let check = |sabotage: &str, expected: &str| {
        let mut all = String::new();
        let found = SABOTAGED.iter().find(|seed| {
            let output = run(**seed, &["--seconds", "90", "--sabotage", sabotage]);
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            let broken = said.lines().filter(|line| line.starts_with("BROKEN"));
            let found = broken.into_iter().any(|line| line.contains(expected));
            assert!(!found || !output.status.success(), "{sabotage} was no failure:\n{said}");
            all.push_str(&said);
            found
        });
        let seed = found.unwrap_or_else(|| panic!("{sabotage} was not found:\n{all}"));
        // Whoever reads it finds the seed, the story and the way to see it again.
        for part in [format!("seed {seed} "), "what happened".to_owned(), format!("--seed {seed} ")]
        {
            assert!(all.contains(&part), "{sabotage}: no '{part}' in:\n{all}");
        }
    };
    check("lying-disk", "after the crash");
    check("lost-event", "was not sent");
    check("doubled-event", "was sent twice");
    check("deletion", "was deleted without a cause");
    check("pod", "of a ReplicaSet that asked for");
    check("placement", "has too little cpu");
    check("idle-host", "no rest");
}
