//! `wasi:logging`: lines in the container's log, each a JSON object, so that whoever reads the log
//! can tell level and context from the message.
//!
//! *Source:* `wasi:logging@0.1.0-draft`.

use bytes::Bytes;
use coracle_telemetry::SpanContext;
use serde::Serialize;
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, Lower};
use wasmtime_wasi::cli::StdoutStream as _;
use wasmtime_wasi_io::streams::OutputStream;

use crate::logs;
use crate::stdio::Output;
use crate::store::State;

/// What guests import; the one without a version is of before it had any.
pub(crate) const INTERFACES: [&str; 2] =
    ["wasi:logging/logging@0.1.0-draft", "wasi:logging/logging"];

/// Bytes of a message and of a context; what is longer is cut.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// How much a message matters.
#[expect(dead_code, reason = "they are lifted out of what a guest gives")]
#[derive(ComponentType, Lift, Lower, Clone, Copy, Debug)]
#[component(enum)]
#[repr(u8)]
enum Level {
    /// How a program goes.
    #[component(name = "trace")]
    Trace,
    /// For who looks for a fault.
    #[component(name = "debug")]
    Debug,
    /// What a user would notice.
    #[component(name = "info")]
    Info,
    /// Unusual.
    #[component(name = "warn")]
    Warn,
    /// Wrong.
    #[component(name = "error")]
    Error,
    /// The end of the program.
    #[component(name = "critical")]
    Critical,
}

impl Level {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }
}

/// A line, as it is written.
#[derive(Serialize)]
struct Line<'a> {
    level: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    context: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    span_id: Option<String>,
}

/// Puts `wasi:logging` into a linker.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    for interface in INTERFACES {
        linker.instance(interface)?.func_wrap_async(
            "log",
            |store: StoreContextMut<'_, State>, said: (Level, String, String)| {
                let state = store.data();
                let line = line(&said, state.within());
                let stream = stream(state);
                Box::new(async move {
                    write(stream, line).await;
                    Ok(())
                })
            },
        )?;
    }
    Ok(())
}

fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(TEXT_BYTES_MAX)).unwrap_or_default()
}

fn line(
    (level, context, message): &(Level, String, String),
    within: Option<&SpanContext>,
) -> Bytes {
    let line = Line {
        level: level.as_str(),
        message: cut(message),
        context: cut(context),
        trace_id: within.map(|span| span.trace_id().to_string()),
        span_id: within.map(|span| span.span_id().to_string()),
    };
    // Texts alone can always be written.
    let mut text = serde_json::to_vec(&line).unwrap_or_default();
    text.push(b'\n');
    text.into()
}

/// A way of its own into what the guest's errors go to, so that no half of a line is in front.
fn stream(state: &State) -> Box<dyn OutputStream> {
    let core = &state.core;
    match &core.stdio.output {
        Output::Log(taps) => Box::new(state.log_stream(taps, logs::Output::Stderr)),
        Output::Pipes { stderr, .. } => stderr.p2_stream(),
    }
}

/// Writes as there is room. A reader that is gone misses it, and no guest ends for that.
async fn write(mut stream: Box<dyn OutputStream>, mut line: Bytes) {
    while !line.is_empty() {
        stream.ready().await;
        let Ok(room) = stream.check_write() else { return };
        let part = line.split_to(room.min(line.len()));
        if stream.write(part).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_whatever_it_says() {
        let said = (Level::Warn, "cart".to_owned(), "two\nlines \"quoted\"".to_owned());
        let want = "{\"level\":\"warn\",\"message\":\"two\\nlines \\\"quoted\\\"\",\
                    \"context\":\"cart\"}\n";
        assert_eq!(line(&said, None), want);
        let long = (Level::Info, String::new(), "é".repeat(TEXT_BYTES_MAX));
        let bounds = line(&long, None).len();
        assert!((TEXT_BYTES_MAX..TEXT_BYTES_MAX + 64).contains(&bounds), "{bounds}");
    }
}
