//! The supervisor: keeps the host running, detached from whoever started it.
//!
//! It has its own session, so that neither a closed terminal nor the end of the server reaches it
//! or the host. It starts the host again when it ends, soon at first, more slowly if it keeps
//! ending at once, and stops it when it is told to stop (SIGTERM or SIGINT).

use std::fs::OpenOptions;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use crate::config::{DataDir, HostFlags};
use crate::signals::{MACHINE_GOES_DOWN, PowerOff};

/// The first pause before a host that ended is started again; it doubles up to the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(50);

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// A host that ran this long was well: the pause begins anew.
const WELL_AFTER: Duration = Duration::from_secs(30);

/// How long `coracle host --shutdown` waits at least.
const SHUT_DOWN_MAX: Duration = Duration::from_secs(120);

/// How often it is looked whether a process has ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How long a host may take to stop its pods before it is killed.
const STOP_MAX: Duration = Duration::from_secs(45);

/// A supervisor that this process has started, which goes on without it.
#[derive(Debug)]
pub(crate) struct Started(std::process::Child);

/// Starts the supervisor as a process of its own, unless one runs already. `arguments` are those
/// of `coracle host`.
pub(crate) fn start_detached(
    data: &DataDir,
    arguments: &[String],
) -> anyhow::Result<Option<Started>> {
    if let Some(pid) = data.holder("supervisor") {
        tracing::info!(pid = pid.as_raw_nonzero().get(), "the host runs already");
        return Ok(None);
    }
    std::fs::create_dir_all(data.host()).context("make the host's folder")?;
    let log = OpenOptions::new().create(true).append(true).open(data.host_log());
    let log = log.with_context(|| format!("open {}", data.host_log().display()))?;
    let mut command = Command::new(std::env::current_exe().context("find the own executable")?);
    command
        .args(["host", "--supervise", "--data-dir"])
        .arg(data.root())
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("share the host's log")?)
        .stderr(log);
    detach(&mut command);
    let child = command.spawn().context("start the supervisor of the host")?;
    tracing::info!(pid = child.id(), log = %data.host_log().display(), "started a host");
    Ok(Some(Started(child)))
}

/// Gives the child a session of its own, so that no terminal's signals reach it.
#[expect(unsafe_code, reason = "`pre_exec` is how std offers `setsid`; it is async-signal-safe")]
fn detach(command: &mut Command) {
    // SAFETY: between fork and exec only `setsid` is called, which allocates and locks nothing.
    unsafe {
        command.pre_exec(|| rustix::process::setsid().map(|_| ()).map_err(Into::into));
    }
}

/// How long the supervisor may take to stop its host and itself.
const SUPERVISOR_STOP_MAX: Duration = STOP_MAX.saturating_add(Duration::from_secs(5));

/// Asks the supervisor to stop its host and itself, and waits until it did. Says whether one ran.
pub(crate) async fn stop(data: &DataDir) -> anyhow::Result<bool> {
    stop_role(data, "supervisor", SUPERVISOR_STOP_MAX).await
}

/// The same, also for a supervisor that was started just now: before it holds its lock, nobody else finds it.
pub(crate) async fn stop_started(data: &DataDir, started: Option<Started>) -> anyhow::Result<()> {
    if let Some(Started(mut child)) = started
        && let Some(pid) = Pid::from_raw(child.id().cast_signed())
        && child.try_wait().context("look for the supervisor")?.is_none()
    {
        kill_process(pid, Signal::TERM).context("stop the supervisor")?;
        let deadline = Instant::now() + SUPERVISOR_STOP_MAX;
        while child.try_wait().context("wait for the supervisor")?.is_none() {
            if Instant::now() > deadline {
                anyhow::bail!("the supervisor (pid {}) does not stop", pid.as_raw_nonzero());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
    stop(data).await?;
    Ok(())
}

/// Asks the process that holds a role's lock to stop, and waits until the lock is free.
pub(crate) async fn stop_role(
    data: &DataDir,
    role: &'static str,
    patience: Duration,
) -> anyhow::Result<bool> {
    let Some(pid) = data.holder(role) else { return Ok(false) };
    kill_process(pid, Signal::TERM).with_context(|| format!("stop the {role}"))?;
    let deadline = Instant::now() + patience;
    while data.holder(role).is_some() {
        if Instant::now() > deadline {
            anyhow::bail!("the {role} (pid {}) does not stop", pid.as_raw_nonzero());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(true)
}

/// What the host may take beyond the grace period of its pods: their removal, and the last statuses.
const SHUT_DOWN_MARGIN: Duration = Duration::from_secs(15);

/// Tells the host that runs here that the machine goes down, and waits until it has ended.
pub(crate) async fn shut_down(data: &DataDir, flags: &HostFlags) -> anyhow::Result<()> {
    let role = if data.holder("supervisor").is_some() { "supervisor" } else { "host" };
    let Some(pid) = data.holder(role) else {
        anyhow::bail!("no host runs on {}", data.root().display());
    };
    kill_process(pid, MACHINE_GOES_DOWN).with_context(|| format!("tell the {role}"))?;
    // It has its own grace period, which may be longer than what the flags say here.
    let patience = SHUT_DOWN_MAX.max(shut_down_time(flags.limits.node.shutdown_grace_period) * 2);
    let deadline = Instant::now() + patience;
    while data.holder(role).is_some() {
        if Instant::now() > deadline {
            anyhow::bail!("the {role} (pid {}) does not end", pid.as_raw_nonzero());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

/// How long a host may take to end its pods for good.
fn shut_down_time(grace_seconds: u64) -> Duration {
    Duration::from_secs(grace_seconds) + SHUT_DOWN_MARGIN
}

/// The supervisor's whole life: runs `coracle host` with `arguments` until told to stop.
pub(crate) async fn run(
    data: &DataDir,
    arguments: &[String],
    grace_seconds: u64,
) -> anyhow::Result<()> {
    let _held = data.hold("supervisor")?;
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let mut power_off = PowerOff::listen()?;
    let mut pause = PAUSE_FIRST;
    loop {
        let started = Instant::now();
        let mut host = start_host(data, arguments)?;
        let ended = tokio::select! {
            status = host.wait() => status.context("wait for the host")?,
            _ = terminate.recv() => return stop_host(host, Signal::TERM, STOP_MAX).await,
            _ = interrupt.recv() => return stop_host(host, Signal::TERM, STOP_MAX).await,
            () = power_off.wait() => {
                return stop_host(host, MACHINE_GOES_DOWN, shut_down_time(grace_seconds)).await;
            }
        };
        if started.elapsed() > WELL_AFTER {
            pause = PAUSE_FIRST;
        }
        report(ended, pause);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            () = power_off.wait() => return Ok(()),
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

fn report(ended: ExitStatus, pause: Duration) {
    tracing::warn!(status = %ended, again_in = ?pause, "the host ended");
}

fn start_host(data: &DataDir, arguments: &[String]) -> anyhow::Result<Child> {
    let mut command =
        tokio::process::Command::new(std::env::current_exe().context("find the own executable")?);
    command.arg("host").arg("--data-dir").arg(data.root()).args(arguments).stdin(Stdio::null());
    command.kill_on_drop(true);
    command.spawn().context("start the host")
}

/// Lets the host stop its pods, and kills it if that takes too long.
async fn stop_host(mut host: Child, signal: Signal, time: Duration) -> anyhow::Result<()> {
    if let Some(pid) = host.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
        kill_process(pid, signal).context("stop the host")?;
    }
    if tokio::time::timeout(time, host.wait()).await.is_err() {
        tracing::warn!("the host did not stop in time: killing it");
        host.kill().await.context("kill the host")?;
    }
    Ok(())
}
