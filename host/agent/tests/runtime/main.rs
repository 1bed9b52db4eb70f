//! What the agent asks of a runtime, asked of each that it has: components in the host's own process,
//! and in a process of the pod's own. Row `cri.role`: the whole life of a container is the runtime's.
//!
//! A program with a `main` of its own, because it is also the child that compiles and the worker.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "a test program says how it went")]

mod machine;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use coracle_agent::runtime::wasm::WasmRuntime;
use coracle_agent::runtime::{ExecError, ExecSpec, HANDLER_PROCESS, Runtime, Stdin};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use machine::{Machine, PATIENCE, Pod};

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|first| first == "worker") {
        return coracle_runtime::worker::child_main();
    }
    if let Some(code) = coracle_runtime::compile::child_if_asked(std::env::args_os()) {
        return code;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    for handler in ["", HANDLER_PROCESS] {
        runtime.block_on(a_runtime_does_what_the_agent_asks(handler));
        println!("test a_runtime_does_what_the_agent_asks (handler '{handler}') ... ok");
    }
    ExitCode::SUCCESS
}

/// The conformance test of [`Runtime`]; whoever writes another one lets it pass this.
async fn a_runtime_does_what_the_agent_asks(handler: &str) {
    let machine = Machine::new(handler);
    let runtime = &*machine.runtime;
    sandboxes_come_and_go(&machine).await;
    images_are_checked_before_they_run(&machine).await;
    containers_end_as_they_do(&machine).await;
    containers_are_stopped(&machine).await;
    commands_run_beside(&machine).await;
    input_and_output_are_attached_to(&machine).await;
    connections_lead_in(&machine).await;
    what_is_unknown_is_ignored(runtime).await;
}

async fn sandboxes_come_and_go(machine: &Machine) {
    let runtime = &machine.runtime;
    let one = Pod::new(1);
    runtime.create_sandbox(machine.sandbox(&one)).await.unwrap();
    let same_address = Pod { ip: one.ip, ..Pod::new(2) };
    let taken = runtime.create_sandbox(machine.sandbox(&same_address)).await;
    assert!(taken.is_err(), "two pods with one address");
    let mut other = machine.sandbox(&Pod::new(3));
    other.handler = "runc".to_owned();
    let refused = runtime.create_sandbox(other).await.unwrap_err();
    assert!(refused.contains("no runtime for \"runc\""), "{refused}");
    runtime.remove_sandbox(&one.key).await;
    runtime.create_sandbox(machine.sandbox(&same_address)).await.unwrap();
    runtime.remove_sandbox(&same_address.key).await;
}

async fn images_are_checked_before_they_run(machine: &Machine) {
    let linux = machine.image("linux", b"\x7fELF\x02\x01\x01 and more");
    let fault = machine.runtime.prepare(&linux, &[]).await.unwrap_err();
    assert_eq!(fault.reason, "ErrImageNotWasm", "{}", fault.message);
    for _ in 0..2 {
        machine.runtime.prepare(&machine.behave, &[]).await.unwrap();
    }
}

async fn containers_end_as_they_do(machine: &Machine) {
    let pod = Pod::new(4);
    let start = machine.start(&pod, "c", &["return"]);
    let fault = machine.runtime.start(start).await.err().unwrap();
    assert_eq!(fault.reason, "RunContainerError", "there is no sandbox");
    machine.runtime.create_sandbox(machine.sandbox(&pod)).await.unwrap();
    for (args, code, reason) in [
        (&["return"][..], 0, "Completed"),
        (&["exit", "7"], 7, "Error"),
        (&["panic"], 134, "Error"),
        (&["allocate", "64"], 137, "OOMKilled"),
    ] {
        let mut request = machine.start(&pod, "c", args);
        request.memory_bytes = Some(16 << 20);
        let exit = machine.ended(machine.runtime.start(request).await.unwrap()).await;
        assert_eq!((exit.code, exit.reason.as_str()), (code, reason), "{args:?}: {exit:?}");
    }
    let request = machine.start(&pod, "says", &["print", "a", "line"]);
    let log = request.log.clone();
    let exit = machine.ended(machine.runtime.start(request).await.unwrap()).await;
    assert_eq!(exit.code, 0);
    let written = std::fs::read_to_string(log).unwrap();
    assert!(written.ends_with(" stdout F a line\n"), "in the CRI's format: {written}");
    machine.runtime.remove_sandbox(&pod.key).await;
}

async fn containers_are_stopped(machine: &Machine) {
    let (runtime, pod) = (&machine.runtime, Pod::new(5));
    runtime.create_sandbox(machine.sandbox(&pod)).await.unwrap();
    let sleeps = |name| machine.start(&pod, name, &["sleep", "86400000"]);
    let asked = runtime.start(sleeps("asked")).await.unwrap();
    let cut_off = runtime.start(sleeps("cut-off")).await.unwrap();
    let left = runtime.start(sleeps("left")).await.unwrap();
    assert!(runtime.usage(&pod.key, "asked").is_some());
    runtime.stop(&pod.key, "asked", Duration::from_secs(30));
    assert_eq!(machine.ended(asked).await.code, 143, "nothing in flight");
    runtime.stop(&pod.key, "cut-off", Duration::ZERO);
    assert_eq!(machine.ended(cut_off).await.code, 137);
    runtime.remove_sandbox(&pod.key).await;
    assert_eq!(machine.ended(left).await.code, 137, "a sandbox takes its containers with it");
    assert!(runtime.usage(&pod.key, "left").is_none());
}

fn command(words: &[&str], stdin: bool) -> ExecSpec {
    let argv = words.iter().map(|word| (*word).to_owned()).collect();
    ExecSpec { argv, tty: false, stdin }
}

async fn commands_run_beside(machine: &Machine) {
    let (runtime, pod) = (&machine.runtime, Pod::new(6));
    runtime.create_sandbox(machine.sandbox(&pod)).await.unwrap();
    let request = machine.start(&pod, "c", &["sleep", "86400000"]);
    let started = runtime.start(request).await.unwrap();
    let script = "cat; echo $WHO; echo no >&2; exit 3";
    let exec = runtime.exec(&pod.key, "c", command(&["sh", "-c", script], true)).await;
    let mut exec = exec.unwrap_or_else(|error| panic!("{error}"));
    let mut input = exec.stdin.take().unwrap();
    input.write_all(b"typed\n").await.unwrap();
    input.shutdown().await.unwrap();
    drop(input);
    let (mut out, mut err) = (String::new(), String::new());
    exec.stdout.read_to_string(&mut out).await.unwrap();
    exec.stderr.take().unwrap().read_to_string(&mut err).await.unwrap();
    assert_eq!((out.as_str(), err.as_str()), ("typed\nyou\n", "no\n"));
    assert_eq!(exec.handle.wait().await.code, 3);
    let missing = runtime.exec(&pod.key, "c", command(&["no-such-tool"], false)).await;
    assert!(matches!(missing, Err(ExecError::NotFound { .. })));
    runtime.stop(&pod.key, "c", Duration::ZERO);
    machine.ended(started).await;
    let late = runtime.exec(&pod.key, "c", command(&["echo"], false)).await;
    assert!(matches!(late, Err(ExecError::NotRunning)));
    runtime.remove_sandbox(&pod.key).await;
}

async fn input_and_output_are_attached_to(machine: &Machine) {
    let (runtime, pod) = (&machine.runtime, Pod::new(7));
    runtime.create_sandbox(machine.sandbox(&pod)).await.unwrap();
    let mut request = machine.start(&pod, "c", &["cat"]);
    request.stdin = Stdin::Once;
    let started = runtime.start(request).await.unwrap();
    let mut streams = runtime.attach(&pod.key, "c").unwrap();
    let mut input = streams.stdin.take().unwrap();
    input.write_all(b"to the guest\n").await.unwrap();
    input.shutdown().await.unwrap();
    drop(input);
    let mut out = String::new();
    streams.stdout.read_to_string(&mut out).await.unwrap();
    assert_eq!(out, "to the guest\n");
    assert_eq!(machine.ended(started).await.code, 0);
    runtime.remove_sandbox(&pod.key).await;
}

async fn connections_lead_in(machine: &Machine) {
    let (runtime, pod) = (&machine.runtime, Pod::new(8));
    runtime.create_sandbox(machine.sandbox(&pod)).await.unwrap();
    let started = runtime.start(machine.start(&pod, "c", &["listen", "7000"])).await.unwrap();
    let asked = async {
        loop {
            let Ok(mut stream) = runtime.dial(&pod.key, (pod.ip, 7000).into()) else {
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            };
            let mut answer = [0; 7];
            // In a pod's own process the refusal comes after the connection.
            if stream.write_all(b"?\n").await.is_ok()
                && stream.read_exact(&mut answer).await.is_ok()
            {
                return answer;
            }
        }
    };
    let answer = tokio::time::timeout(PATIENCE, asked).await;
    assert_eq!(answer.unwrap(), *b"answer\n");
    assert!(runtime.dial(&pod.key, (pod.ip, 7001).into()).is_err(), "nobody listens there");
    assert!(runtime.traffic(&pod.key).is_some());
    runtime.remove_sandbox(&pod.key).await;
    assert_eq!(machine.ended(started).await.code, 137);
}

async fn what_is_unknown_is_ignored(runtime: &WasmRuntime) {
    let nobody = Pod::new(9);
    runtime.stop(&nobody.key, "c", Duration::ZERO);
    runtime.resize_volume(&nobody.key, "v", 1);
    runtime.remove_sandbox(&nobody.key).await;
    assert!(runtime.dial(&nobody.key, (nobody.ip, 80).into()).is_err());
    assert!(matches!(runtime.attach(&nobody.key, "c"), Err(ExecError::NotRunning)));
    assert!(runtime.usage(&nobody.key, "c").is_none() && runtime.traffic(&nobody.key).is_none());
    runtime.measure().await;
    let runtime: Arc<dyn Runtime> = Arc::new(coracle_agent::runtime::fake::FakeRuntime::default());
    runtime.stop(&nobody.key, "c", Duration::ZERO);
    runtime.remove_sandbox(&nobody.key).await;
}
