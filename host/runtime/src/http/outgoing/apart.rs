//! A call to a guest of WASI 0.3, in a task of its own: wasmtime lets no store of that kind work inside
//! another's work, and the caller's store waits for this answer and reads its body.
//!
//! An edge: it is a task, which ends with the answer or when nobody waits for it any more.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tokio::sync::{mpsc, oneshot};
use wasmtime_wasi_http::{Error, WasiBody};

use super::lingering::Lingering;
use crate::http::HttpContainer;

/// Pieces of a body between the two tasks: enough that neither waits for the other at each piece.
const FRAMES_MAX: usize = 4;

/// Calls a container's handler.
pub(super) async fn call(
    http: Arc<HttpContainer>,
    request: http::Request<Lingering>,
) -> Result<http::Response<WasiBody>, Error> {
    let (head, answer) = oneshot::channel();
    tokio::spawn(answer_to(http, request, head));
    // The task goes away without an answer only when the runtime does.
    answer.await.map_err(|_| Error::ConnectionTerminated)
}

async fn answer_to(
    http: Arc<HttpContainer>,
    request: http::Request<Lingering>,
    mut head: oneshot::Sender<http::Response<WasiBody>>,
) {
    let response = tokio::select! {
        response = http.call(request) => response,
        () = head.closed() => return,
    };
    let (parts, mut body) = response.into_parts();
    let (sender, frames) = mpsc::channel(FRAMES_MAX);
    let relayed = Relayed { frames };
    if head.send(http::Response::from_parts(parts, relayed.boxed_unsync())).is_err() {
        return;
    }
    while let Some(frame) = body.frame().await {
        if sender.send(frame).await.is_err() {
            return;
        }
    }
}

/// A body that another task reads.
struct Relayed {
    frames: mpsc::Receiver<Result<Frame<Bytes>, Error>>,
}

impl Body for Relayed {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.frames.poll_recv(cx)
    }
}
