//! The shell and the small tools, run as a container's command.

use std::path::Path;
use std::sync::Arc;

use coracle_runtime::mounts::{Mount, MountTable, RootSpec};
use coracle_runtime::{Exec, ExecSpec};
use expect_test::{Expect, expect};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::terminal::Tools;
use crate::world::{Pod, cargo, until};

/// A shell with a folder of files, `/tmp` and a variable.
async fn run_with(pod: &Pod, script: &str, stdin: &str) -> String {
    let folder = pod.folder.path().join("files");
    std::fs::create_dir_all(folder.join("sub")).unwrap();
    std::fs::write(folder.join("f"), "abc\nxyz\nAxe\n").unwrap();
    std::fs::write(folder.join("sub/deep.txt"), "deep\n").unwrap();
    let scratch = pod.folder.path().join("scratch");
    std::fs::create_dir_all(&scratch).unwrap();
    let root =
        RootSpec { dirs: vec!["/tmp".into()], scratch: Some(scratch), ..RootSpec::default() };
    let files = MountTable::builder().root(root).mount("/data", Mount::host(&folder)).unwrap();
    let mut spec = pod.spec("behave", &["sleep", "600000"]).await;
    spec.env = vec![("WHO".into(), "crab".into())];
    spec.mounts = files.build().unwrap();
    spec.cwd = Some("/data".into());
    spec.programs = Some(Arc::new(Tools));
    let container = pod.sandbox.start(spec).await.unwrap();
    let argv = ["sh", "-c", script].map(str::to_owned).to_vec();
    let exec = container.exec(ExecSpec { argv, stdin: true, tty: false }).await.unwrap();
    let shown = finish(exec, stdin).await;
    container.kill();
    container.wait().await;
    shown
}

async fn finish(exec: Exec, input: &str) -> String {
    let Exec { stdin, mut stdout, stderr, handle } = exec;
    let (mut out, mut err) = (String::new(), String::new());
    let mut stdin = stdin.unwrap();
    let feed = async {
        // A command that reads nothing may be gone before.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
    };
    let mut stderr = stderr.unwrap();
    let (_, out_read, err_read) =
        tokio::join!(feed, stdout.read_to_string(&mut out), stderr.read_to_string(&mut err));
    out_read.unwrap();
    err_read.unwrap();
    for line in err.lines() {
        out.push_str(&format!("! {line}\n"));
    }
    match handle.wait().await.code {
        0 => out,
        code => format!("{out}= {code}\n"),
    }
}

async fn check(script: &str, want: Expect) {
    want.assert_eq(&run_with(&Pod::new(), script, "").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelines_and_lists() {
    check(
        "cat f | grep x && exit 3",
        expect![["
        xyz
        Axe
        = 3
    "]],
    )
    .await;
    check(
        "grep -q nope f || echo none; ! true; echo $?",
        expect![["
        none
        1
    "]],
    )
    .await;
    check(
        "yes | head -n 2; seq 100000 | tail -n 1 | wc -c; (exit 4) | true; echo $?",
        expect![["
        y
        y
        7
        0
    "]],
    )
    .await;
    check(
        "set -o pipefail; false | true; echo $?; nothing; echo $?",
        expect![["
        1
        127
        ! sh: nothing: not found
    "]],
    )
    .await;
    check(
        "echo a; sleep 1 &",
        expect![["
        ! sh: syntax error: '&' is not supported: a WebAssembly guest does one thing at a time
        = 2
    "]],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn words_are_expanded() {
    check(
        r#"x='a  b'; echo $x "$x" '$x' \$x ${x#a} "${y:-none}" ${#x}"#,
        expect![["
        a b a  b $x $x b none 4
    "]],
    )
    .await;
    check(
        r#"set -- one "two three"; for i in "$@"; do echo "<$i>"; done; shift; echo $# $*"#,
        expect![["
        <one>
        <two three>
        1 two three
    "]],
    )
    .await;
    check(
        "echo *; echo '*' \"*\" nope* sub/*.txt; v=a.tar.gz; echo ${v%%.*} ${v##*.}",
        expect![["
        f sub
        * * nope* sub/deep.txt
        a gz
    "]],
    )
    .await;
    check(
        "echo $((2 * (3 + 4))) $(echo inner $(echo most)) `echo back`; echo $WHO",
        expect![["
        14 inner most back
        crab
    "]],
    )
    .await;
    check(
        "set -u; echo $missing; echo not here",
        expect![["
        ! sh: missing: parameter not set
        = 2
    "]],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn control_flow() {
    let script = r#"
        greet() { local name=$1; [ -n "$name" ] || return 5; echo "hello $name"; }
        name=outer; greet crab; greet; echo "$? $name"
        for n in 1 2 3 4; do
          case $n in 1) continue;; [23]*) echo "n $n";; *) break;; esac
        done
        i=0; while [ $i -lt 2 ]; do i=$((i + 1)); echo "i $i"; done; until true; do :; done
        if false; then echo no; elif [ -d sub ] && test -f f; then echo yes; else echo no; fi
        { echo grouped; cd sub; }; pwd; (cd /; x=1); pwd; echo "${x:-unset}"
        trap 'echo bye' EXIT; eval 'exit 6'
    "#;
    check(
        script,
        expect![["
        hello crab
        5 outer
        n 2
        n 3
        i 1
        i 2
        yes
        grouped
        /data/sub
        /data/sub
        unset
        bye
        = 6
    "]],
    )
    .await;
    check(
        "set -e; if false; then :; fi; false || true; echo on; false; echo never",
        expect![["
        on
        = 1
    "]],
    )
    .await;
    check(
        "f() { f; }; f",
        expect![["
        ! sh: functions call one another too deep
        = 2
    "]],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redirections() {
    let script = "echo one > new; echo two >> new; cat < new; nope 2> errors; cat errors
        cat <<E | tr a-z A-Z
who: $WHO
E
        cat <<'E'
$WHO
E
        { echo out; echo err >&2; } > both 2>&1; cat both; echo gone > /dev/null; cat < missing";
    check(
        script,
        expect![["
        one
        two
        sh: nope: not found
        WHO: CRAB
        $WHO
        out
        err
        ! sh: can't open missing: No such file or directory
        = 1
    "]],
    )
    .await;
    let pod = Pod::new();
    let script = "read first rest; echo \"$first|$rest\"; while read -r l; do echo \"<$l>\"; done";
    let shown = run_with(&pod, script, "a b c\nd\\x\nlast\n").await;
    assert_eq!(shown, "a|b c\n<d\\x>\n<last>\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_on_text() {
    check(
        "sed -n '2,$s/\\(.\\)x/[\\1]/p' f; sed '1d;s/e$/E/' f",
        expect![["
        [A]e
        xyz
        AxE
    "]],
    )
    .await;
    check(
        "grep -n -i '^a' f; grep -c x f; grep -v x f; grep -E 'a|z' -o f; grep -r deep .",
        expect![["
        1:abc
        3:Axe
        2
        abc
        a
        z
        ./sub/deep.txt:deep
    "]],
    )
    .await;
    check(
        "printf '3 c\\n10 a\\n2 b\\n2 b\\n' | sort -n | uniq -c; echo b,a | cut -d, -f2",
        expect![["
              2 2 b
              1 3 c
              1 10 a
        a
    "]],
    )
    .await;
    check(
        "wc -l f; head -1 f; tail -n +3 f; echo hello | tr -d l | tee copy; cat copy",
        expect![["
        3 f
        abc
        Axe
        heo
        heo
    "]],
    )
    .await;
    check(
        "find . -name '*.txt' -exec cat {} \\;; seq 3 | xargs -n 2 echo got; date -d @0 -Is",
        expect![["
        deep
        got 1 2
        got 3
        1970-01-01T00:00:00+00:00
    "]],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_on_files() {
    check(
        "mkdir -p a/b; touch a/b/c; cp -r a z; mv z/b/c z/d; ls -R z; rm -r a z; ls",
        expect![["
        z:
        b
        d

        z/b:
        f
        sub
    "]],
    )
    .await;
    check(
        "ln -s f link; readlink link; cat link; stat -c '%n %s %F' f; basename /a/b.c .c",
        expect![["
        f
        abc
        xyz
        Axe
        f 12 regular file
        b
    "]],
    )
    .await;
    check("tar cf - f sub | (mkdir /tmp/x && tar xf - -C /tmp/x); cd /tmp/x && find . -type f; cat sub/deep.txt", expect![["
        ./f
        ./sub/deep.txt
        deep
    "]])
    .await;
    check(
        "cat missing; rm missing; rm -f missing; mkdir sub; rmdir sub; cp sub x",
        expect![["
        ! cat: missing: No such file or directory
        ! rm: missing: No such file or directory
        ! mkdir: sub: File exists
        ! rmdir: sub: Directory not empty
        ! cp: sub: is a directory; use -r
        = 1
    "]],
    )
    .await;
    check(
        "echo keep > f2; f2() { echo fn; }; f2; env -i A=1 env; printenv WHO; id -u; hostname -x",
        expect![["
        fn
        A=1
        crab
        0
        localhost
    "]],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_that_encode_count_and_wait() {
    check(
        "printf hunter2 | base64; echo aHVudGVyMg== | base64 -d; echo; sha256sum f > /tmp/s; cat /tmp/s; sha256sum -c /tmp/s",
        expect![["
        aHVudGVyMg==
        hunter2
        32e9d8c00883521c570efe822882c0f06c448a1d1ade5cd5189baf17df79d790  f
        f: OK
    "]],
    )
    .await;
    check(
        "dd if=/dev/zero of=/tmp/z bs=1k count=3 status=none; du -b /tmp/z; head -c 5 /dev/urandom | wc -c; du -s; du -a sub; cat < /dev/null; echo x | dd bs=1 count=1",
        expect![["
        3072\t/tmp/z
        5
        1\t.
        1\tsub/deep.txt
        1\tsub
        x! 1+0 records in
        ! 1+0 records out
        ! 1 bytes copied
    "]],
    )
    .await;
    check(
        "seq 4 > /tmp/a; seq 2 5 | diff -U1 /tmp/a - && echo same; diff -q /tmp/a /tmp/a && echo same; diff /tmp/a none",
        expect![["
        --- /tmp/a
        +++ -
        @@ -1,2 +1 @@
        -1
         2
        @@ -4 +3,2 @@
         4
        +5
        same
        ! diff: none: No such file or directory
        = 2
    "]],
    )
    .await;
    check(
        "timeout 0.1 sleep 600; echo $?; timeout 600 sh -c 'exit 3'; echo $?; timeout 0.1 sh -c 'while :; do :; done'; echo $?; timeout 1",
        expect![["
        124
        3
        124
        ! timeout: usage: [-s SIGNAL] [-k TIME] TIME TOOL...
        = 125
    "]],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_on_the_network() {
    let server = Pod::new();
    let http = server.start("hello_http", &[]).await;
    until(|| server.netns.is_listening(server.address(80))).await;
    let name = format!("pod-{}", server.number);
    let pod = Pod::new();
    let shown = run_with(&pod, &format!("wget -q -O - http://{name}/"), "").await;
    assert!(shown.starts_with("hello"), "{shown}");
    let shown = run_with(&pod, &format!("nslookup {name}; nc -z {name} 80 && echo open"), "").await;
    let ip = server.address(0).ip();
    assert_eq!(shown, format!("Name:\t{name}\nAddress: {ip}\nopen\n"));
    let shown = run_with(&pod, &format!("nc -z {name} 81; nslookup nowhere"), "").await;
    assert!(shown.contains("Connection refused"), "{shown}");
    assert!(shown.ends_with("! nslookup: can't resolve 'nowhere'\n= 1\n"), "{shown}");
    http.kill();
    http.wait().await;
}

/// What is pure in the toolbox is tested where it is written.
#[test]
fn the_toolbox_passes_its_own_tests() {
    let toolbox = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sdk/toolbox");
    cargo(&toolbox, &["test", "--quiet"]);
}
