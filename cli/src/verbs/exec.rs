//! `coracle exec`.

use anyhow::{Context as _, bail};
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use super::pods;
use super::query::Query;
use super::session::Session;
use super::socket::{content, message, open};
use super::terminal::Terminal;
use crate::config::ExecFlags;
use crate::out::{self, Ended};

/// What the channels are for.
const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const OUTCOME: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;

/// Bytes of standard input that are sent at once, and messages that may wait to be sent.
const CHUNK_BYTES: usize = 8 << 10;
const WAITING_MAX: usize = 16;

/// Runs a command in a container and ends with its exit code.
pub(crate) async fn exec(session: &Session, flags: &ExecFlags) -> anyhow::Result<()> {
    let (pod, _) = pods::one(session, &flags.pod).await?;
    let names = pods::containers(&pod, true);
    if let Some(wanted) = flags.container.as_ref().filter(|wanted| !names.contains(wanted)) {
        bail!("pod {} has no container {wanted}: it has {}", pods::name(&pod), names.join(", "));
    }
    let mut query = Query::default()
        .maybe("container", flags.container.as_deref())
        .flag("stdin", flags.stdin)
        .with("stdout", "true")
        .flag("stderr", !flags.tty)
        .flag("tty", flags.tty);
    for word in &flags.command {
        query = query.with("command", word);
    }
    let path = format!("/api/v1/namespaces/{}/pods/{}/exec", session.namespace, pods::name(&pod));
    let socket = open(session, &query.on(&path), "v5.channel.k8s.io").await?;
    let terminal = if flags.tty { Terminal::raw()? } else { None };
    let (mut sink, mut source) = socket.split();
    let (sender, mut waiting) = mpsc::channel::<Message>(WAITING_MAX);
    let sending = tokio::spawn(async move {
        while let Some(message) = waiting.recv().await {
            if sink.send(message).await.is_err() {
                break;
            }
        }
    });
    let input = flags.stdin.then(|| tokio::spawn(pass_input(sender.clone())));
    let sizes = terminal.is_some().then(|| tokio::spawn(pass_sizes(sender.clone())));
    drop(sender);
    let mut outcome = None;
    while let Some(Ok(message)) = source.next().await {
        match content(&message) {
            Some((STDOUT, bytes)) => out::bytes(bytes),
            Some((STDERR, bytes)) => out::error_bytes(bytes),
            Some((OUTCOME, bytes)) => outcome = serde_json::from_slice(bytes).ok(),
            Some(_) | None => {}
        }
    }
    for task in [Some(sending), input, sizes].into_iter().flatten() {
        task.abort();
    }
    drop(terminal);
    ended(&outcome.context("the connection broke off before the command ended")?)
}

/// Standard input to its end, and then the word that it has ended.
async fn pass_input(sender: mpsc::Sender<Message>) {
    let mut input = tokio::io::stdin();
    let mut chunk = vec![0; CHUNK_BYTES];
    while let Ok(length) = input.read(&mut chunk).await {
        let bytes = chunk.get(..length).unwrap_or_default();
        let next = if length == 0 { message(CLOSE, &[STDIN]) } else { message(STDIN, bytes) };
        if sender.send(next).await.is_err() || length == 0 {
            break;
        }
    }
}

/// The size of the terminal, now and whenever it changes.
async fn pass_sizes(sender: mpsc::Sender<Message>) {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut changes) = signal(SignalKind::window_change()) else { return };
    loop {
        if let Some((width, height)) = Terminal::size() {
            let size = json!({"Width": width, "Height": height}).to_string();
            if sender.send(message(RESIZE, size.as_bytes())).await.is_err() {
                return;
            }
        }
        if changes.recv().await.is_none() {
            return;
        }
    }
}

/// The outcome as our own: success, the command's exit code, or why it did not run.
fn ended(outcome: &Value) -> anyhow::Result<()> {
    if outcome["status"] == "Success" {
        return Ok(());
    }
    let causes = outcome["details"]["causes"].as_array().into_iter().flatten();
    let code = causes
        .filter(|cause| cause["reason"] == "ExitCode")
        .find_map(|cause| cause["message"].as_str().and_then(|code| code.parse::<u8>().ok()));
    match code {
        Some(code) => Err(Ended(code).into()),
        None => bail!("{}", outcome["message"].as_str().unwrap_or("the command did not run")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes() {
        assert!(ended(&json!({"status": "Success"})).is_ok());
        let failed = json!({"status": "Failure", "message": "command terminated",
            "details": {"causes": [{"reason": "ExitCode", "message": "7"}]}});
        assert_eq!(ended(&failed).unwrap_err().downcast_ref::<Ended>().map(|e| e.0), Some(7));
        let refused = json!({"status": "Failure", "message": "no such program"});
        assert_eq!(ended(&refused).unwrap_err().to_string(), "no such program");
    }
}
