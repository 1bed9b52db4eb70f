//! People at terminals, with the toolbox's shell: beside a container, and as its own guest.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use coracle_runtime::exec::{Attached, Reader, Writer};
use coracle_runtime::{Exec, ExecSpec, Image, Programs, Stdin};
use coracle_vnet::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::world::{Pod, cargo, engine, source, until};

/// Builds the toolbox once, as the agent's build script does.
fn component() -> &'static [u8] {
    static BUILT: OnceLock<Vec<u8>> = OnceLock::new();
    BUILT.get_or_init(|| {
        let toolbox = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sdk/toolbox");
        cargo(&toolbox, &["build", "--release", "--quiet", "--target", "wasm32-wasip2"]);
        std::fs::read(toolbox.join("target/wasm32-wasip2/release/toolbox.wasm")).unwrap()
    })
}

async fn toolbox() -> Arc<Image> {
    engine().prepare(source(component().to_vec()), &[]).await.unwrap()
}

/// Every name is a tool's.
pub(crate) struct Tools;

impl Programs for Tools {
    fn find<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Option<Arc<Image>>, String>> {
        Box::pin(async { Ok(Some(toolbox().await)) })
    }
}

/// A person's hands and eyes.
struct Person {
    keyboard: Writer,
    screen: Reader,
    /// What has appeared and was not waited for yet.
    seen: String,
}

impl Person {
    fn new(keyboard: Option<Writer>, screen: Reader) -> Self {
        Self { keyboard: keyboard.unwrap(), screen, seen: String::new() }
    }

    /// Types, each time once what was waited for before has appeared.
    async fn talk(&mut self, talk: &[(&str, &str)]) {
        for (typed, shown) in talk {
            self.keyboard.write_all(typed.as_bytes()).await.unwrap();
            while !self.seen.contains(shown) {
                let mut piece = [0; 256];
                let length = self.screen.read(&mut piece).await.unwrap();
                assert!(length > 0, "{typed:?} shows {:?}", self.seen);
                self.seen.push_str(&String::from_utf8_lossy(&piece[..length]));
            }
            let end = self.seen.find(shown).unwrap() + shown.len();
            self.seen.drain(..end);
        }
    }
}

/// What a shell at a terminal must do.
const TALK: &[(&str, &str)] = &[
    ("echo hx\x7fi\r", "\r\nhi\r\n/ # "),
    // One end of input is one program's.
    ("cat\r", "cat\r\n"),
    ("abc\r", "abc\r\nabc\r\n"),
    ("\x04", "/ # "),
    // What runs in the foreground is interrupted, and the shell goes on.
    ("cat\r", "cat\r\n"),
    ("\x03", "^C\r\n/ # "),
    ("sleep 600000\r", "600000\r\n"),
    ("\x03", "^C\r\n/ # "),
    ("while :; do :; done\r", "done\r\n"),
    ("\x03", "^C\r\n/ # "),
    ("sleep 600000 | cat >/dev/null\r", "null\r\n"),
    ("\x03", "^C\r\n/ # "),
    ("echo $?\r", "\r\n130\r\n/ # "),
    ("half a line\x03", "^C\r\n/ # "),
    ("sh\r", "/ # "),
    ("\x04", "/ # "),
    ("exit 4\r", ""),
];

fn at_terminal(words: &[&str]) -> ExecSpec {
    let argv = words.iter().map(|word| (*word).to_owned()).collect();
    ExecSpec { argv, stdin: true, tty: true }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_beside_a_container_has_a_terminal() {
    let pod = Pod::new();
    let mut spec = pod.spec("behave", &["sleep", "600000"]).await;
    spec.programs = Some(Arc::new(Tools));
    let container = pod.sandbox.start(spec).await.unwrap();
    let Exec { stdin, stdout, handle, .. } = container.exec(at_terminal(&["sh"])).await.unwrap();
    let mut person = Person::new(stdin, stdout);
    person.talk(&[("", "/ # ")]).await;
    person.talk(TALK).await;
    assert_eq!(handle.wait().await.code, 4);
    // A tool without a shell ends with what an interrupt ends with.
    for tool in [&["sleep", "600000"][..], &["cat"], &["sh", "-c", "while :; do :; done"]] {
        let Exec { stdin, stdout, handle, .. } = container.exec(at_terminal(tool)).await.unwrap();
        let mut person = Person::new(stdin, stdout);
        person.talk(&[("\x03", "^C\r\n")]).await;
        assert_eq!(handle.wait().await.code, 130, "{tool:?}");
        drop(person);
    }
    container.kill();
    container.wait().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_with_a_terminal_is_the_same_to_whoever_is_attached() {
    let pod = Pod::new();
    let mut spec = pod.spec("behave", &[]).await;
    spec.image = toolbox().await;
    (spec.argv, spec.stdin, spec.tty) = (vec!["sh".into()], Stdin::Open, true);
    let container = pod.sandbox.start(spec).await.unwrap();
    let attach = || {
        let Attached { stdin, stdout, stderr } = container.attach().unwrap();
        assert!(stderr.is_none());
        Person::new(stdin, stdout)
    };
    // The prompt that was shown before is gone; Enter shows it anew.
    let mut first = attach();
    // What is computed is seen when the shell has come to it, whichever prompt was seen before.
    first.talk(&[("\r", "/ # "), ("echo $((20 + 3))x\r", "23x\r\n/ # ")]).await;
    let mut second = attach();
    second.talk(&[("echo two\r", "echo two\r\ntwo\r\n/ # ")]).await;
    first.talk(&[("", "echo two\r\ntwo\r\n/ # ")]).await;
    drop(first);
    second.talk(TALK).await;
    assert_eq!(container.wait().await.code, 4);
}

/// A connection that says nothing, and one that does not come.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_the_network_is_interrupted() {
    let (pod, other) = (Pod::new(), Pod::new());
    let silent = other.netns.bind_tcp(other.address(81)).unwrap().listen(4, None).unwrap();
    let mut spec = pod.spec("behave", &[]).await;
    spec.image = toolbox().await;
    (spec.argv, spec.stdin, spec.tty) = (vec!["sh".into()], Stdin::Open, true);
    let container = pod.sandbox.start(spec).await.unwrap();
    let Attached { stdin, stdout, .. } = container.attach().unwrap();
    let mut person = Person::new(stdin, stdout);
    let asks = format!("wget -q -O - http://pod-{}:81/\r", other.number);
    person.talk(&[("\r", "/ # "), (&asks, ":81/\r\n")]).await;
    let mut asked = silent.accept().await.unwrap();
    let mut request = [0; 3];
    asked.read_exact(&mut request).await.unwrap();
    assert_eq!(&request, b"GET");
    // What is typed at once after it is for the shell.
    person.talk(&[("\x03echo $?\r", "130\r\n/ # ")]).await;
    person.talk(&[("nc -l -p 99\r", "99\r\n")]).await;
    until(|| pod.netns.is_listening(pod.address(99))).await;
    person.talk(&[("\x03", "^C\r\n/ # "), ("exit 4\r", "")]).await;
    assert_eq!(container.wait().await.code, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_takes_no_interrupts_is_ended_by_one() {
    let pod = Pod::new();
    let mut spec = pod.spec("behave", &["spin"]).await;
    (spec.stdin, spec.tty) = (Stdin::Open, true);
    let container = pod.sandbox.start(spec).await.unwrap();
    let Attached { stdin, stdout, .. } = container.attach().unwrap();
    Person::new(stdin, stdout).talk(&[("\x03", "^C\r\n")]).await;
    assert_eq!(container.wait().await.code, 130);
}
