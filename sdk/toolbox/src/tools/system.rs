//! Tools that look at the surroundings: `env`, `hostname`, `id`, `sleep`, `timeout`, `uname`, `which`.

use std::future::Future as _;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::args::Args;
use crate::proc::{Done, Failure, Proc};

/// A sleeping stage of a pipeline lets the others run this often.
const SLEEP_SLICE: Duration = Duration::from_millis(200);

/// The same at a terminal, where somebody may want to interrupt.
const SLEEP_SLICE_AT_TERMINAL: Duration = Duration::from_millis(50);

pub(super) async fn env(p: &mut Proc) -> Done {
    let mut words = p.args[1..].to_vec();
    let mut inner = p.clone();
    while let Some(word) = words.first().cloned() {
        if word == "-i" || word == "-" {
            inner.env.clear();
        } else if word == "-u" {
            words.remove(0);
            let name = words.first().cloned().unwrap_or_default();
            inner.env.retain(|(known, _)| *known != name);
        } else if let Some((name, value)) = word.split_once('=') {
            inner.env.retain(|(known, _)| known != name);
            inner.env.push((name.to_owned(), value.to_owned()));
        } else {
            break;
        }
        words.remove(0);
    }
    if words.is_empty() {
        for (name, value) in &inner.env {
            p.print(&format!("{name}={value}\n")).await?;
        }
        return Ok(0);
    }
    inner.args = words;
    run_tool(&mut inner).await
}

/// Runs the tool that `p.args` names.
pub(super) async fn run_tool(p: &mut Proc) -> Done {
    let name = super::base(&p.args[0]).to_owned();
    let code = Box::pin(super::run(&name, p)).await;
    code.ok_or_else(|| Failure::Say(127, format!("{}: not found", p.args[0])))
}

pub(super) async fn printenv(p: &mut Proc) -> Done {
    if p.args.len() == 1 {
        for (name, value) in &p.env {
            p.print(&format!("{name}={value}\n")).await?;
        }
        return Ok(0);
    }
    let mut code = 0;
    for name in &p.args[1..] {
        match p.var(name) {
            Some(value) => p.print(&format!("{value}\n")).await?,
            None => code = 1,
        }
    }
    Ok(code)
}

fn host(p: &Proc) -> String {
    let file = std::fs::read_to_string("/etc/hostname").ok();
    let name = file.or_else(|| p.var("HOSTNAME").map(str::to_owned));
    name.map_or_else(|| "localhost".to_owned(), |name| name.trim().to_owned())
}

pub(super) async fn hostname(p: &mut Proc) -> Done {
    let name = host(p);
    p.print(&format!("{name}\n")).await?;
    Ok(0)
}

/// A guest has no user; all it may do, it may do as the owner of its files.
pub(super) async fn id(p: &mut Proc) -> Done {
    let args = Args::read(&p.args[1..], "ugGn", &[])?;
    let text = match (args.has('n'), args.has('u') || args.has('g') || args.has('G')) {
        (true, _) => "root\n",
        (false, true) => "0\n",
        (false, false) => "uid=0(root) gid=0(root) groups=0(root)\n",
    };
    p.print(text).await?;
    Ok(0)
}

pub(super) async fn whoami(p: &mut Proc) -> Done {
    p.print("root\n").await?;
    Ok(0)
}

pub(super) async fn uname(p: &mut Proc) -> Done {
    let args = Args::read(&p.args[1..], "asnrvmo", &[])?;
    let host = host(p);
    let all = args.has('a');
    let parts = [
        ('s', "WASI"),
        ('n', host.as_str()),
        ('r', "0.2"),
        ('v', "coracle"),
        ('m', "wasm32"),
        ('o', "WASI"),
    ];
    let wanted = |letter: char| all || args.has(letter);
    let mut shown: Vec<&str> =
        parts.iter().filter(|(letter, _)| wanted(*letter)).map(|(_, text)| *text).collect();
    if shown.is_empty() {
        shown.push("WASI");
    }
    p.print(&format!("{}\n", shown.join(" "))).await?;
    Ok(0)
}

pub(super) async fn which(p: &mut Proc) -> Done {
    let mut code = 0;
    for name in &p.args[1..] {
        if super::names().any(|tool| tool == name) {
            p.print(&format!("{name}\n")).await?;
        } else {
            code = 1;
        }
    }
    Ok(code)
}

/// As good as forever, and few enough for a clock.
const SECONDS_MAX: f64 = 1e12;

/// Reads a time: `5`, `1.5m`, `infinity`.
fn seconds(word: &str) -> Result<f64, String> {
    let (number, unit) = match word.strip_suffix(['s', 'm', 'h', 'd']) {
        Some(number) => (number, &word[number.len()..]),
        None => (word, "s"),
    };
    let number = if number == "infinity" { Ok(SECONDS_MAX) } else { number.parse::<f64>() };
    let number = number.ok().filter(|number| *number >= 0.0);
    let number = number.ok_or_else(|| format!("invalid number '{word}'"))?;
    Ok(number
        * match unit {
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            _ => 1.0,
        })
}

/// What a tool that took too long ends with. *Source:* GNU and busybox `timeout`.
const CODE_TIMED_OUT: i32 = 124;

/// `timeout [-s SIGNAL] [-k TIME] TIME TOOL…`. There are no signals: a tool that takes turns is no longer polled, and
/// one that waits for the outside is cut off when it comes back.
pub(super) async fn timeout(p: &mut Proc) -> Done {
    let mut words = &p.args[1..];
    while let Some(option) = words.first().filter(|word| word.starts_with('-')) {
        let takes_next = matches!(option.as_str(), "-s" | "-k" | "--signal" | "--kill-after");
        words = words.get(1 + usize::from(takes_next)..).unwrap_or_default();
    }
    let Some((time, words)) = words.split_first().filter(|(_, words)| !words.is_empty()) else {
        return Err(Failure::Say(125, "usage: [-s SIGNAL] [-k TIME] TIME TOOL...".to_owned()));
    };
    let time = seconds(time).map_err(|why| Failure::Say(125, why))?;
    let most = (time > 0.0).then(|| Duration::from_secs_f64(time.min(SECONDS_MAX)));
    let start = Instant::now();
    let mut inner = p.clone();
    inner.args = words.to_vec();
    let mut work = Box::pin(run_tool(&mut inner));
    std::future::poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(done),
        Poll::Pending if most.is_some_and(|most| start.elapsed() >= most) => {
            Poll::Ready(Ok(CODE_TIMED_OUT))
        }
        Poll::Pending => Poll::Pending,
    })
    .await
}

pub(super) async fn sleep(p: &mut Proc) -> Done {
    let seconds = p.args[1..].iter().map(|word| seconds(word)).sum::<Result<f64, String>>()?;
    if p.args.len() == 1 {
        return Err("a time is missing".into());
    }
    crate::io::flush();
    let at_terminal = crate::interrupt::has_terminal();
    let most = if at_terminal { SLEEP_SLICE_AT_TERMINAL } else { SLEEP_SLICE };
    let mut left = Duration::from_secs_f64(seconds.min(SECONDS_MAX));
    while !left.is_zero() {
        crate::io::turn().await;
        let slice = left.min(most);
        std::thread::sleep(slice);
        left -= slice;
    }
    Ok(0)
}
