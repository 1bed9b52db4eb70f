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
    let Channels { stdin, stdout, stderr, resize, error, report } = channels;
    let mut sizes = resize.map(Sizes::new);
    let size = match &mut sizes {
        Some(sizes) => sizes.first().await,
        None => None,
    };
    let outcome = match program.await {
        Ok(program) => {
            if let (Some(size), Some(handle)) = (size, &program.handle) {
                handle.resize(size);
            }
            joined(program, stdin, (stdout, stderr), sizes).await
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
    sizes: Option<Sizes>,
) -> Outcome {
    let Program { stdin: input, stdout: output, stderr: errors, handle } = program;
    let to_program = async {
        if let (Some(channel), Some(writer)) = (stdin, input) {
            channel.copy_to(writer).await;
        }
    };
    let sizes = async {
        if let (Some(sizes), Some(handle)) = (sizes, &handle) {
            sizes.follow(handle).await;
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

/// Bytes of a size that has not come whole: more than this is no size.
const SIZE_BYTES_MAX: usize = 256;

/// How long a program with a terminal waits for the terminal's size before it begins.
const FIRST_SIZE_MAX: Duration = Duration::from_millis(100);

/// The sizes of a client's terminal, as they come.
///
/// *Source:* `remotecommand.TerminalSize`, one JSON object after the other.
struct Sizes {
    channel: Input,
    rest: Vec<u8>,
}

impl Sizes {
    fn new(channel: Input) -> Self {
        Self { channel, rest: Vec::new() }
    }

    /// The size that clients send first, so that the program knows it from the beginning; `None`
    /// when it does not come soon.
    async fn first(&mut self) -> Option<TerminalSize> {
        tokio::time::timeout(FIRST_SIZE_MAX, self.next()).await.ok()?
    }

    /// The next size, or the last of several; `None` at the end. Cancel safe.
    async fn next(&mut self) -> Option<TerminalSize> {
        loop {
            let piece = self.channel.next().await?;
            if let Some(size) = self.take(&piece) {
                return Some(size);
            }
        }
    }

    fn take(&mut self, piece: &[u8]) -> Option<TerminalSize> {
        self.rest.extend_from_slice(piece);
        let mut sizes = serde_json::Deserializer::from_slice(&self.rest).into_iter::<Size>();
        let (mut last, mut is_damaged) = (None, false);
        for size in &mut sizes {
            match size {
                Ok(Size { width, height }) => {
                    last = Some(TerminalSize { columns: width, rows: height });
                }
                Err(error) => {
                    is_damaged = !error.is_eof();
                    break;
                }
            }
        }
        let used = sizes.byte_offset();
        self.rest.drain(..used.min(self.rest.len()));
        if is_damaged || self.rest.len() > SIZE_BYTES_MAX {
            self.rest.clear();
        }
        last
    }

    /// Tells the program each further size.
    async fn follow(mut self, handle: &ExecHandle) {
        while let Some(size) = self.next().await {
            handle.resize(size);
        }
    }
}
