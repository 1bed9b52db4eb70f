//! Takes a connection apart into the channels of a program.
//!
//! An edge: SPDY streams are waited for.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use super::Options;
use super::report::Report;
use super::run::{Channels, Starting, run};
use crate::streams::channel::{Input, Output};
use crate::streams::handshake::{Speech, Spoken};
use crate::streams::spdy::{self, Opened};
use crate::streams::websocket::{self, Form, Wire};

/// What `exec` and `attach` speak.
///
/// *Source:* the kubelet's; `v5` is what the API server speaks for it upstream.
pub(crate) const SPOKEN: Spoken = Spoken {
    websocket: &[
        "",
        "channel.k8s.io",
        "base64.channel.k8s.io",
        "v4.channel.k8s.io",
        "v4.base64.channel.k8s.io",
        "v5.channel.k8s.io",
    ],
    spdy: &["v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io"],
    raw: false,
};

/// How long a SPDY client has to open its streams.
///
/// *Source:* the kubelet's `DefaultStreamCreationTimeout`.
const STREAM_CREATION_MAX: Duration = Duration::from_secs(30);

/// How long a WebSocket client gets to make its ends of the channels. kubectl 1.32 and older read before they have made
/// them, and drop what comes for one that is not there; a kubelet takes longer than this to start anything.
const CHANNELS_MADE_WITHIN: Duration = Duration::from_millis(10);

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;

/// Serves a client: starts the program once the channels are there, and ends with it.
pub(crate) async fn serve<S>(connection: S, speech: Speech, options: Options, program: Starting)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match speech {
        Speech::WebSocket(protocol) => {
            let form = if protocol.contains("base64") { Form::Base64 } else { Form::Binary };
            websocket::serve(connection, form, |wire| {
                let channels = numbered(wire, protocol, &options);
                async move {
                    tokio::time::sleep(CHANNELS_MADE_WITHIN).await;
                    greet(&channels).await;
                    run(program, channels).await;
                }
            })
            .await;
        }
        Speech::Spdy(protocol) => {
            spdy::serve(connection, |streams| async move {
                match tokio::time::timeout(STREAM_CREATION_MAX, named(streams, protocol, &options))
                    .await
                {
                    Ok(Some(channels)) => run(program, channels).await,
                    Ok(None) | Err(_) => {
                        tracing::debug!("a client did not open the streams that it announced");
                    }
                }
            })
            .await;
        }
        // Not spoken here.
        Speech::Raw => {}
    }
}

fn numbered(wire: &mut Wire, protocol: &str, options: &Options) -> Channels {
    let has_status = protocol.starts_with("v4.") || protocol.starts_with("v5.");
    Channels {
        stdin: options.stdin.then(|| wire.input(STDIN)),
        stdout: options.stdout.then(|| wire.output(STDOUT)),
        stderr: options.stderr.then(|| wire.output(STDERR)),
        resize: options.tty.then(|| wire.input(RESIZE)),
        error: wire.output(ERROR),
        report: if has_status { Report::Status } else { Report::Text },
    }
}

/// Sends an empty message on the first channel, by which clients see that the program is about to
/// run.
///
/// *Source:* the kubelet's `createWebSocketStreams`.
async fn greet(channels: &Channels) {
    let first = channels.stdout.as_ref().or(channels.stderr.as_ref()).unwrap_or(&channels.error);
    // A client that is gone is noticed where its connection is read.
    let _gone = first.send(bytes::Bytes::new()).await;
}

/// Waits for the streams that the options announce; `None` when the client goes before.
async fn named(
    mut opened: mpsc::Receiver<Opened>,
    protocol: &str,
    options: &Options,
) -> Option<Channels> {
    let has_resize = options.tty && protocol != "v2.channel.k8s.io";
    let wanted = 1
        + usize::from(options.stdin)
        + usize::from(options.stdout)
        + usize::from(options.stderr)
        + usize::from(has_resize);
    let mut error: Option<Output> = None;
    let (mut stdin, mut stdout, mut stderr): (Option<Input>, Option<Output>, Option<Output>) =
        (None, None, None);
    let mut resize: Option<Input> = None;
    for _ in 0..wanted {
        let Opened { headers, input, output } = opened.recv().await?;
        match headers.get("streamtype") {
            "error" => error = Some(output),
            "stdin" => stdin = Some(input),
            "stdout" => stdout = Some(output),
            "stderr" => stderr = Some(output),
            "resize" => resize = Some(input),
            other => {
                tracing::debug!(other, "a client opened a stream of a kind that is not known");
            }
        }
    }
    let is_v4 = protocol == "v4.channel.k8s.io";
    let report = if is_v4 { Report::Status } else { Report::Text };
    Some(Channels { stdin, stdout, stderr, resize, error: error?, report })
}
