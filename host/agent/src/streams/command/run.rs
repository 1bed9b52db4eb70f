//! Joins a program's streams with a client's channels.
//!
//! An edge: it copies until the program has ended.

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use coracle_runtime::exec::{ExecHandle, Reader, TerminalSize, Writer};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde::Deserialize;

use super::report::{Outcome, Report};
use crate::streams::channel::{Input, Output};

/// A program that runs, by `exec` or as the container's own. Dropping it ends what `exec` began.
pub(crate) struct Program {
    /// What it reads, if it reads.
    pub(crate) stdin: Option<Writer>,
    /// What it writes.
    pub(crate) stdout: Reader,
    /// What it writes as errors, if that is apart.
    pub(crate) stderr: Option<Reader>,
    /// The end of what `exec` began; a container that is attached to ends with its streams.
    pub(crate) handle: Option<ExecHandle>,
}

/// A program that is about to run, or the sentence that says why it is not.
pub(crate) type Starting = BoxFuture<'static, Result<Program, String>>;

/// What a client has of a program; what it did not ask for is missing.
pub(crate) struct Channels {
    /// From the client.
    pub(crate) stdin: Option<Input>,
    /// To the client.
    pub(crate) stdout: Option<Output>,
    /// To the client.
    pub(crate) stderr: Option<Output>,
    /// From the client: the size of its terminal.
    pub(crate) resize: Option<Input>,
    /// To the client: how the program ended.
    pub(crate) error: Output,
    /// In which form.
    pub(crate) report: Report,
}

/// Runs a program for a client, to its end; or tells the client why there is none.
pub(crate) async fn run(program: Starting, channels: Channels) {
    let Channels { stdin, stdout, stderr, mut resize, error, report } = channels;
    let size = match &mut resize {
        Some(channel) => first_size(channel).await,
        None => None,
    };
    let outcome = match program.await {
        Ok(program) => {
            if let (Some(size), Some(handle)) = (size, &program.handle) {
                handle.resize(size);
            }
            joined(program, stdin, (stdout, stderr), resize).await
        }
        Err(why) => Outcome::Failed(why),
    };
    let text = report.write(&outcome);
    if !text.is_empty() && error.send(text.into()).await.is_err() {
        return;
    }
    error.end().await;
}

async fn joined(
    program: Program,
    stdin: Option<Input>,
    (stdout, stderr): (Option<Output>, Option<Output>),
    resize: Option<Input>,
) -> Outcome {
    let Program { stdin: input, stdout: output, stderr: errors, handle } = program;
    let to_program = async {
        if let (Some(channel), Some(writer)) = (stdin, input) {
            channel.copy_to(writer).await;
        }
    };
    let sizes = async {
        if let (Some(channel), Some(handle)) = (resize, &handle) {
            follow_size(channel, handle).await;
        }
    };
    let from_program = futures::future::join(copy(stdout, Some(output)), copy(stderr, errors));
    let ended = async {
        match &handle {
            Some(handle) => handle.wait().await.code,
            None => 0,
        }
    };
    // What the client sends ends nothing; it stops when the program has ended.
    let meanwhile = futures::future::join(to_program, sizes).then(|_| pending::<Infallible>());
    tokio::select! {
        (_, code) = futures::future::join(from_program, ended) => Outcome::Exited(code),
        never = meanwhile => match never {},
    }
}

/// Copies a stream to its channel; without a channel what comes is read and thrown away, so that
/// the program goes on.
async fn copy(channel: Option<Output>, stream: Option<Reader>) {
    match (channel, stream) {
        (Some(channel), Some(stream)) => {
            // A client that is gone is noticed where its connection is read.
            let _gone = channel.copy_from(stream).await;
        }
        (None, Some(mut stream)) => {
            let _gone = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        }
        (Some(channel), None) => channel.end().await,
        (None, None) => {}
    }
}

#[derive(Deserialize)]
struct Size {
    #[serde(rename = "Width")]
    width: u16,
    #[serde(rename = "Height")]
    height: u16,
}

/// How long a program with a terminal waits for the terminal's size before it begins.
const FIRST_SIZE_MAX: Duration = Duration::from_millis(100);

/// Waits for the size that clients send first, so that the program knows it from the beginning.
async fn first_size(channel: &mut Input) -> Option<TerminalSize> {
    let piece = tokio::time::timeout(FIRST_SIZE_MAX, channel.next()).await.ok()??;
    let Size { width, height } = serde_json::from_slice(&piece).ok()?;
    Some(TerminalSize { columns: width, rows: height })
}

/// Bytes of a size that has not come whole: more than this is no size.
const SIZE_BYTES_MAX: usize = 256;

/// Tells the program each size of the client's terminal.
///
/// *Source:* `remotecommand.TerminalSize`, one JSON object after the other.
async fn follow_size(mut channel: Input, handle: &ExecHandle) {
    let mut rest = Vec::new();
    while let Some(piece) = channel.next().await {
        rest.extend_from_slice(&piece);
        let mut sizes = serde_json::Deserializer::from_slice(&rest).into_iter::<Size>();
        while let Some(Ok(Size { width, height })) = sizes.next() {
            handle.resize(TerminalSize { columns: width, rows: height });
        }
        let used = sizes.byte_offset();
        rest.drain(..used.min(rest.len()));
        if rest.len() > SIZE_BYTES_MAX {
            rest.clear();
        }
    }
}
