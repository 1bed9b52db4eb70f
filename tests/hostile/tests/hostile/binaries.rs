//! Bytes that are no sound component: each is refused in words, or compiled within limits.

use std::time::Duration;

use coracle_runtime::{CompileLimits, capabilities};

use crate::resources::command;
use crate::world::{Neighbour, Pod, end, engine, engine_with, guest, prepare};

/// A component's first bytes.
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
/// A core module's first bytes.
const MODULE: &[u8] = b"\0asm\x01\0\0\0";

/// An unsigned number as WebAssembly writes it.
fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [vec![id], leb(content.len()), content.to_vec()].concat()
}

/// A module with so many imports, each from a module of its own.
fn imports(count: usize) -> Vec<u8> {
    let mut content = leb(count);
    for number in 0..count {
        let name = format!("{number:06}");
        content.extend([&[6], name.as_bytes(), b"\x01f\0\0"].concat());
    }
    [MODULE.to_vec(), section(1, b"\x01\x60\0\0"), section(2, &content)].concat()
}

/// Components in one another, so deep.
fn nested(depth: usize) -> Vec<u8> {
    (0..depth).fold(COMPONENT.to_vec(), |inner, _| [COMPONENT, &section(4, &inner)].concat())
}

fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

/// A name, the bytes, and how the refusal begins.
fn refused() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let whole = std::fs::read(guest("hostile")).unwrap();
    let mut corrupt = whole.clone();
    let middle = corrupt.len() / 2;
    corrupt[middle..middle + 64].fill(0xff);
    let half = whole[..middle].to_vec();
    let cat = |parts: &[&[u8]]| parts.concat();
    vec![
        ("nothing", Vec::new(), "not WebAssembly: found nothing"),
        ("a Linux program", b"\x7fELF\x02\x01\x01".to_vec(), "not WebAssembly: found a Linux"),
        ("a script", b"#!/bin/sh\nrm -rf /\n".to_vec(), "not WebAssembly: found a script"),
        ("only the magic", b"\0asm".to_vec(), "truncated WebAssembly"),
        ("a future version", b"\0asm\xff\xff\xff\xff".to_vec(), "invalid WebAssembly"),
        ("half of a component", half, "truncated WebAssembly"),
        ("a corrupt component", corrupt, ""),
        ("noise", cat(&[COMPONENT, &[0xa5; 4096]]), "invalid WebAssembly"),
        (
            "a section that says it is huge",
            cat(&[COMPONENT, b"\x01\xff\xff\xff\xff\x0f"]),
            "invalid WebAssembly",
        ),
        ("a length without end", cat(&[COMPONENT, b"\x01\xff\xff\xff\xff\xff\xff\xff\xff"]), ""),
        ("a million types that are not there", cat(&[MODULE, b"\x01\x04\xc0\x84\x3d\x60"]), ""),
        ("components in components", nested(2_000), ""),
        ("too many imports", imports(200_000), "invalid WebAssembly: must have at most 100000"),
        ("imports nobody has", imports(90_000), "nothing to run"),
        (
            "a host's own door",
            wat("(component (import \"wasi:shell/exec@0.2.0\" (instance))
                 (core module $m (func (export \"run\") (result i32) i32.const 0))
                 (core instance $i (instantiate $m))
                 (func $run (result (result)) (canon lift (core func $i \"run\")))
                 (instance $e (export \"run\" (func $run)))
                 (export \"wasi:cli/run@0.2.0\" (instance $e)))"),
            "imports that nothing satisfies: wasi:shell/exec@0.2.0",
        ),
        (
            "a known import of another type",
            wat("(component
                 (import \"wasi:cli/environment@0.2.0\"
                    (instance (export \"get-environment\" (func (result u32)))))
                 (core module $m (func (export \"run\") (result i32) i32.const 0))
                 (core instance $i (instantiate $m))
                 (func $run (result (result)) (canon lift (core func $i \"run\")))
                 (instance $e (export \"run\" (func $run)))
                 (export \"wasi:cli/run@0.2.0\" (instance $e)))"),
            "imports that nothing satisfies",
        ),
        ("a library", wat("(component (instance $e) (export \"a:b/c\" (instance $e)))"), "nothing"),
        ("a module without a start", wat("(module (func (export \"main\")))"), "nothing to run"),
        (
            "a module with imports of its own",
            wat("(module (import \"env\" \"system\" (func)) (func (export \"_start\")))"),
            "imports that nothing satisfies: env",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unsound_bytes_are_refused_in_words() {
    let neighbour = Neighbour::start().await;
    for (case, bytes, want) in refused() {
        // What people see of a binary is read in the host itself.
        let _ = capabilities(&bytes);
        let error = match prepare(&engine(), &bytes).await {
            Err(error) => error.to_string(),
            Ok(image) => panic!("{case}: was prepared as {image:?}"),
        };
        assert!(error.starts_with(want) && error.len() < 32 << 10, "{case}: {error:.500}");
        neighbour.answers(case).await;
    }
}

/// What a machine may not have: refused beforehand or at the start.
fn never_run() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        (
            "a run of another type",
            wat("(component
                 (core module $m (func (export \"run\") (param i32)))
                 (core instance $i (instantiate $m))
                 (func $run (param \"x\" u32) (canon lift (core func $i \"run\")))
                 (instance $e (export \"run\" (func $run)))
                 (export \"wasi:cli/run@0.2.0\" (instance $e)))"),
        ),
        ("shared memory", command("(memory 1 1 shared)", "i32.const 0")),
        ("a hundred memories", command(&"(memory 1) ".repeat(100), "i32.const 0")),
        ("a hundred tables", command(&"(table 1 funcref) ".repeat(200), "i32.const 0")),
        ("a table of a billion", command("(table 1000000000 funcref)", "i32.const 0")),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_asks_for_too_much_never_runs() {
    let neighbour = Neighbour::start().await;
    for (case, bytes) in never_run() {
        if let Ok(image) = prepare(&engine(), &bytes).await {
            let pod = Pod::new();
            let container = pod.sandbox.start(pod.spec(image, &[])).await.unwrap();
            let exit = end(&container, case).await;
            assert!(exit.code != 0, "{case}: {exit:?}");
        }
        neighbour.answers(case).await;
    }
}

/// Binaries that take long or much to compile.
fn bombs() -> Vec<(&'static str, Vec<u8>)> {
    let adds = "i32.const 1 i32.add ".repeat(400_000);
    let blocks =
        format!("{}i32.const 0 {}", "block (result i32) ".repeat(40_000), "end ".repeat(40_000));
    let functions: String =
        (0..60_000).map(|n| format!("(func (result i32) i32.const {n})")).collect();
    let targets = "0 ".repeat(500_000);
    let locals = format!("(func (local {}) )", "v128 ".repeat(40_000));
    vec![
        ("one long function", command("", &format!("i32.const 0 {adds}"))),
        ("blocks in blocks", command("", &blocks)),
        ("many functions", command(&functions, "i32.const 0")),
        (
            "a wide jump",
            command("", &format!("(block (br_table {targets} (i32.const 0))) i32.const 0")),
        ),
        ("many locals", command(&locals, "i32.const 0")),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compiling_keeps_to_its_limits() {
    let neighbour = Neighbour::start().await;
    let tight = CompileLimits {
        memory_bytes: 1 << 30,
        cpu_seconds: 1,
        wall: Duration::from_secs(20),
        concurrency_max: 2,
        input_bytes_max: 64 << 20,
    };
    let engine = engine_with(tight);
    for (case, bytes) in bombs() {
        let compiling = tokio::spawn({
            let engine = engine.clone();
            async move { prepare(&engine, &bytes).await.map(|_| ()) }
        });
        while !compiling.is_finished() {
            neighbour.answers(case).await;
        }
        // Some are done in time, which is as well; the others are told why they were ended.
        if let Err(error) = compiling.await.unwrap() {
            let error = error.to_string();
            let is_told = error.starts_with("invalid") || error.contains("compil");
            assert!(is_told, "{case}: {error}");
        }
    }
    let error = prepare(&engine, &vec![0; 65 << 20]).await.unwrap_err().to_string();
    assert!(error.contains("67108864"), "{error}");
    neighbour.answers("compile bombs").await;
}
