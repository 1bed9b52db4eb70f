//! Commands beside a container, and clients at its own streams.

use std::sync::Arc;

use coracle_runtime::exec::{EXECS_MAX, Reader};
use coracle_runtime::mounts::{Mount, MountTable};
use coracle_runtime::{
    Container, ContainerSpec, Exec, ExecError, ExecSpec, Image, Limits, Programs, Stdin,
};
use coracle_vnet::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::world::{Pod, image, until};

/// Every guest of the tests is a program by its name.
struct Guests;

impl Programs for Guests {
    fn find<'a>(&'a self, command: &'a str) -> BoxFuture<'a, Result<Option<Arc<Image>>, String>> {
        Box::pin(async move {
            match command {
                "behave" | "fs-probe" | "hello_http" => Ok(Some(image(command).await)),
                "broken" => Err("it is broken".to_owned()),
                _ => Ok(None),
            }
        })
    }
}

async fn start(pod: &Pod, args: &[&str], change: impl FnOnce(&mut ContainerSpec)) -> Container {
    let mut spec = pod.spec("behave", args).await;
    spec.programs = Some(Arc::new(Guests));
    change(&mut spec);
    pod.sandbox.start(spec).await.unwrap()
}

fn command(words: &[&str]) -> ExecSpec {
    ExecSpec { argv: words.iter().map(|word| (*word).to_owned()).collect(), ..ExecSpec::default() }
}

async fn read(mut reader: Reader) -> String {
    let mut text = String::new();
    reader.read_to_string(&mut text).await.unwrap();
    text
}

/// Runs a command to its end: code, stdout, stderr.
async fn run(container: &Container, words: &[&str]) -> (i32, String, String) {
    let Exec { stdin, stdout, stderr, handle } = container.exec(command(words)).await.unwrap();
    assert!(stdin.is_none());
    let (out, err) = tokio::join!(read(stdout), read(stderr.unwrap()));
    (handle.wait().await.code, out, err)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_has_the_containers_files_environment_and_network() {
    let pod = Pod::new();
    let container = start(&pod, &["listen", "80"], |spec| {
        spec.env = vec![("WHO".into(), "crab".into())];
        let files = MountTable::builder().mount("/etc/motto", Mount::bytes("pinch")).unwrap();
        spec.mounts = files.build().unwrap();
    })
    .await;
    until(|| pod.netns.is_listening(pod.address(80))).await;
    let (code, out, _) = run(&container, &["behave", "environment"]).await;
    assert_eq!(code, 0);
    assert!(out.contains("[\"behave\", \"environment\"]"), "{out}");
    assert!(out.contains("[(\"WHO\", \"crab\")]"), "{out}");
    let (_, out, _) = run(&container, &["fs-probe", "cat /etc/motto"]).await;
    assert_eq!(out, "cat /etc/motto => pinch\n");
    // The port is taken, so it is the same network namespace.
    let (code, _, err) = run(&container, &["behave", "listen", "80"]).await;
    assert_eq!(code, 1, "{err}");
    // In a worker the log comes to the host on its own way.
    until(|| !pod.log().is_empty()).await;
    assert_eq!(pod.log(), "stdout F listening\n", "a command is not in the container's log");
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_and_outputs_are_the_commands_own() {
    let pod = Pod::new();
    let container = start(&pod, &["sleep", "600000"], |_| {}).await;
    let ended = |words: &'static [&'static str]| run(&container, words);
    assert_eq!(ended(&["behave", "exit", "7"]).await.0, 7);
    assert_eq!(ended(&["behave", "panic"]).await.0, 134);
    assert_eq!(ended(&["behave", "print", "a", "b"]).await, (0, "a b\n".into(), String::new()));
    assert_eq!(ended(&["behave", "complain", "no"]).await, (0, String::new(), "no\n".into()));
    let (_, out, _) = ended(&["behave", "flood", "100000"]).await;
    assert_eq!(out.lines().last(), Some("line 99999"));
    assert!(container.is_running());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_reads_what_its_client_sends() {
    let pod = Pod::new();
    let container = start(&pod, &["sleep", "600000"], |_| {}).await;
    let spec = ExecSpec { stdin: true, ..command(&["behave", "cat"]) };
    let Exec { stdin, stdout, handle, .. } = container.exec(spec).await.unwrap();
    let mut stdin = stdin.unwrap();
    stdin.write_all(b"one\ntwo\n").await.unwrap();
    stdin.shutdown().await.unwrap();
    assert_eq!(read(stdout).await, "one\ntwo\n");
    assert_eq!(handle.wait().await.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_echoes_edits_and_interrupts() {
    let pod = Pod::new();
    let container = start(&pod, &["sleep", "600000"], |_| {}).await;
    let spec = ExecSpec { stdin: true, tty: true, ..command(&["behave", "cat"]) };
    let Exec { stdin, stdout, stderr, handle } = container.exec(spec.clone()).await.unwrap();
    assert!(stderr.is_none());
    let mut keyboard = stdin.unwrap();
    keyboard.write_all(b"ox\x7fne\r\x04").await.unwrap();
    assert_eq!(read(stdout).await, "ox\x08 \x08ne\r\none\r\n");
    assert_eq!(handle.wait().await.code, 0);
    let spin = ExecSpec { argv: vec!["behave".into(), "spin".into()], ..spec };
    let Exec { stdin, stdout, handle, .. } = container.exec(spin).await.unwrap();
    let mut keyboard = stdin.unwrap();
    keyboard.write_all(b"\x03").await.unwrap();
    assert_eq!(handle.wait().await.code, 130);
    assert_eq!(read(stdout).await, "^C\r\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_ends_with_its_client_or_its_container() {
    let pod = Pod::new();
    let container = start(&pod, &["sleep", "600000"], |_| {}).await;
    let spin = command(&["behave", "spin"]);
    let killed = container.exec(spin.clone()).await.unwrap();
    killed.handle.kill();
    assert_eq!(killed.handle.wait().await.code, 137);
    let left = container.exec(spin.clone()).await.unwrap();
    let stdout = left.stdout;
    drop(left.handle);
    assert_eq!(read(stdout).await, "");
    let running = container.exec(spin.clone()).await.unwrap();
    container.kill();
    assert_eq!(running.handle.wait().await.message, "the container ended");
    container.wait().await;
    assert_eq!(container.exec(spin).await.err(), Some(ExecError::NotRunning));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_run_is_refused() {
    let pod = Pod::new();
    let container = start(&pod, &["sleep", "600000"], |_| {}).await;
    let refused = async |words: &[&str]| container.exec(command(words)).await.err().unwrap();
    assert_eq!(refused(&["nope"]).await, ExecError::NotFound { command: "nope".into() });
    assert_eq!(refused(&[]).await, ExecError::NotFound { command: String::new() });
    let error = refused(&["broken"]).await.to_string();
    assert_eq!(error, "start \"broken\": it is broken");
    let error = refused(&["hello_http"]).await.to_string();
    assert!(error.contains("serves http requests"), "{error}");
    let sleep = ["behave", "sleep", "600000"];
    let mut running = Vec::new();
    for _ in 0..EXECS_MAX {
        running.push(container.exec(command(&sleep)).await.unwrap());
    }
    assert_eq!(refused(&sleep).await, ExecError::TooMany { max: EXECS_MAX });
    let first = running.remove(0);
    first.handle.kill();
    first.handle.wait().await;
    assert_eq!(run(&container, &["behave", "exit", "3"]).await.0, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_held_to_the_containers_memory_and_alone_pays_for_it() {
    let pod = Pod::new();
    let container = start(&pod, &["sleep", "600000"], |spec| {
        spec.limits = Limits { memory_bytes: Some(16 << 20), cpu_millis: None };
    })
    .await;
    let exec = container.exec(command(&["behave", "allocate", "64"])).await.unwrap();
    let exit = exec.handle.wait().await;
    assert_eq!((exit.code, exit.reason.as_str()), (137, "OOMKilled"), "{exit:?}");
    assert!(container.is_running());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attached_client_is_the_guests_keyboard_once() {
    let pod = Pod::new();
    let container = start(&pod, &["cat"], |spec| spec.stdin = Stdin::Once).await;
    let attached = container.attach().unwrap();
    let mut stdin = attached.stdin.unwrap();
    stdin.write_all(b"typed").await.unwrap();
    drop(stdin);
    assert_eq!(read(attached.stdout).await, "typed");
    assert_eq!(container.wait().await.code, 0);
    assert_eq!(pod.log(), "stdout P typed\n", "a line without an end is a part");
    assert_eq!(container.attach().err(), Some(ExecError::NotRunning));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_stdin_a_guest_reads_the_end_and_with_it_waits_for_the_next_client() {
    let pod = Pod::new();
    let container = start(&pod, &["cat"], |_| {}).await;
    assert_eq!(container.wait().await.code, 0);
    let container = start(&pod, &["cat"], |spec| spec.stdin = Stdin::Open).await;
    for _ in 0..2 {
        let mut stdin = container.attach().unwrap().stdin.unwrap();
        stdin.write_all(b"x").await.unwrap();
        stdin.shutdown().await.unwrap();
    }
    assert!(container.is_running());
    container.kill();
    container.wait().await;
}
