//! Memory, tables, stack, CPU and logs: whoever takes too much ends alone.

use coracle_runtime::{Image, Limits};
use std::sync::Arc;

use crate::world::{Neighbour, Pod, end, engine, image, kill, prepare, shown};

const MIB: u64 = 1 << 20;

/// A command whose `run` is `body`, over a core module with `parts`.
pub(crate) fn command(parts: &str, body: &str) -> Vec<u8> {
    wat::parse_str(format!(
        "(component
            (core module $m {parts} (func (export \"run\") (result i32) {body}))
            (core instance $i (instantiate $m))
            (func $run (result (result)) (canon lift (core func $i \"run\")))
            (instance $e (export \"run\" (func $run)))
            (export \"wasi:cli/run@0.2.0\" (instance $e)))"
    ))
    .unwrap()
}

async fn run(image: Arc<Image>, args: &[&str], memory_bytes: u64, case: &str) -> String {
    let pod = Pod::new();
    let mut spec = pod.spec(image, args);
    spec.limits = Limits { memory_bytes: Some(memory_bytes), cpu_millis: None };
    let container = pod.sandbox.start(spec).await.unwrap();
    let exit = end(&container, case).await;
    assert_eq!(pod.sandbox.memory_bytes(), 0, "{case}: memory is given back");
    shown(&exit)
}

/// A name, what a module has, what it does, and how it ends under a limit of 16 MiB.
const MODULES: [(&str, &str, &str, &str); 12] = [
    ("nothing", "", "i32.const 0", "0 Completed"),
    ("trap", "", "unreachable", "134 Error wasm trap: wasm `unreachable` instruction executed"),
    (
        "memory in one step",
        "(memory 1)",
        "(drop (memory.grow (i32.const 65535))) unreachable",
        "137 OOMKilled",
    ),
    (
        "memory in small steps",
        "(memory 1)",
        "(loop $l (br_if $l (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable",
        "137 OOMKilled",
    ),
    ("memory from the beginning", "(memory 1000)", "i32.const 0", "137 OOMKilled"),
    (
        "a table in one step",
        "(table 1 funcref)",
        "(drop (table.grow (ref.null func) (i32.const 100000000))) unreachable",
        "137 OOMKilled",
    ),
    (
        "a table in small steps",
        "(table 1 funcref)",
        "(loop $l (br_if $l (i32.ne (table.grow (ref.null func) (i32.const 1000)) (i32.const -1))))
         unreachable",
        "1",
    ),
    (
        "a deep stack",
        "(func $f (call $f))",
        "(call $f) i32.const 0",
        "139 Error wasm trap: call stack exhausted",
    ),
    (
        "a wide stack",
        "(func $f (param i64 i64 i64 i64) (call $f (local.get 0) (local.get 1) (local.get 2) (local.get 3)))",
        "(call $f (i64.const 0) (i64.const 0) (i64.const 0) (i64.const 0)) i32.const 0",
        "139 Error wasm trap: call stack exhausted",
    ),
    ("out of bounds", "(memory 1)", "(i32.load (i32.const 70000))", "139 Error"),
    ("a trap at the start", "(func $s unreachable) (start $s)", "i32.const 0", "134 Error"),
    ("a wrong result", "", "i32.const 7", "134 Error"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_takes_too_much_ends_alone() {
    let neighbour = Neighbour::start().await;
    for (case, parts, body, want) in MODULES {
        let image = prepare(&engine(), &command(parts, body)).await;
        let image = image.unwrap_or_else(|error| panic!("{case}: {error}"));
        let shown = run(image, &[], 16 * MIB, case).await;
        assert!(shown.starts_with(want), "{case}: {shown}");
        neighbour.answers(case).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_can_be_taken_well() {
    let neighbour = Neighbour::start().await;
    let hostile = image("hostile").await;
    for (attack, want) in [("grow", "0 Completed"), ("eat", "137 OOMKilled"), ("recurse", "139")] {
        let shown = run(hostile.clone(), &[attack], 16 * MIB, attack).await;
        assert!(shown.starts_with(want), "{attack}: {shown}");
        neighbour.answers(attack).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tight_loops_share_with_everyone_and_end_when_killed() {
    let neighbour = Neighbour::start().await;
    let spin = prepare(&engine(), &command("", "(loop $l (br $l)) i32.const 0")).await.unwrap();
    let parts = "(func $s (loop $l (br $l))) (start $s)";
    let start = prepare(&engine(), &command(parts, "i32.const 0")).await.unwrap();
    let copy = "(memory.copy (i32.const 0) (i32.const 16) (i32.const 60000000))";
    let body = format!("(loop $l {copy} (br $l)) i32.const 0");
    let copies = prepare(&engine(), &command("(memory 1000)", &body)).await.unwrap();
    let mut running = Vec::new();
    for (case, image) in [("spin", spin), ("spin at the start", start), ("copies", copies)] {
        for _ in 0..3 {
            let pod = Pod::new();
            let container = pod.sandbox.start(pod.spec(image.clone(), &[])).await.unwrap();
            running.push((case, pod, container));
        }
    }
    for _ in 0..20 {
        neighbour.answers("nine tight loops").await;
    }
    for (case, _, container) in &running {
        kill(container, case).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_output_are_cut_to_the_logs_size() {
    let neighbour = Neighbour::start().await;
    for attack in ["flood 64", "line 64"] {
        let pod = Pod::new();
        let mut spec = pod.spec(image("hostile").await, &[attack]);
        if let Some(log) = &mut spec.log {
            (log.bytes_max, log.files_max) = (MIB, 3);
        }
        let container = pod.sandbox.start(spec).await.unwrap();
        let exit = end(&container, attack).await;
        assert_eq!(exit.code, 0, "{attack}: {exit:?}");
        let sizes = std::fs::read_dir(pod.folder.path()).unwrap();
        let bytes: u64 = sizes.map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
        assert!(bytes < 5 * MIB, "{attack}: {bytes} bytes of log");
        neighbour.answers(attack).await;
    }
}

/// Start, fail, start again: what is left behind must not grow.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_restarts_leaves_nothing_behind() {
    let neighbour = Neighbour::start().await;
    let image = prepare(&engine(), &command("(memory 16)", "unreachable")).await.unwrap();
    let pod = Pod::new();
    for _ in 0..500 {
        let container = pod.sandbox.start(pod.spec(image.clone(), &[])).await.unwrap();
        assert_eq!(end(&container, "restarts").await.code, 134);
    }
    assert_eq!(pod.sandbox.memory_bytes(), 0);
    neighbour.answers("500 restarts").await;
}

/// What a mangled name stands for can be longer than any memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_of_functions_are_not_unfolded() {
    let neighbour = Neighbour::start().await;
    let doubled = |level: usize| {
        let digit = |n: usize| char::from_digit(n as u32, 36).unwrap().to_ascii_uppercase();
        let id = if level == 0 { String::new() } else { digit(level - 1).to_string() };
        format!("S_IS{id}_S{id}_E")
    };
    let cpp = "_Z1f1AIiiE".to_owned() + &(1..34).map(doubled).collect::<String>();
    let long = "x".repeat(90_000);
    for name in [cpp, long] {
        let parts = format!("(func $f (@name \"{name}\") unreachable)");
        let image = prepare(&engine(), &command(&parts, "(call $f) i32.const 0")).await.unwrap();
        let pod = Pod::new();
        let container = pod.sandbox.start(pod.spec(image, &[])).await.unwrap();
        let exit = end(&container, "a name").await;
        assert!(exit.code == 134 && exit.message.len() <= 4096, "{exit:?}");
        neighbour.answers("a name").await;
    }
}
