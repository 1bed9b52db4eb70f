//! Requests to the API server, as they are.

use wstd::http::body::{Bytes, HttpBody};
use wstd::http::{Body, Client, Request, Response};

/// The API server's name within the cluster.
const SERVER: &str = "https://kubernetes.default.svc";

/// The pod's token; it is renewed while the pod runs.
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// Sends a request with the pod's token; `target` is path and query.
///
/// # Errors
/// Says why there is no answer.
pub async fn send(
    method: &str,
    target: &str,
    headers: &[(String, String)],
    body: Vec<u8>,
) -> Result<Response<Body>, String> {
    let token = std::fs::read_to_string(TOKEN).map_err(|error| format!("read {TOKEN}: {error}"))?;
    let mut request = Request::builder().method(method).uri(format!("{SERVER}{target}"));
    for (name, value) in headers {
        request = request.header(name, value);
    }
    request = request.header("authorization", format!("Bearer {}", token.trim()));
    let request = request.body(Body::from(body)).map_err(|error| error.to_string())?;
    Client::new().send(request).await.map_err(|error| format!("{SERVER}: {error:?}"))
}

/// The bytes of a body, as they come.
pub struct Chunks(Box<dyn HttpBody<Data = Bytes, Error = wstd::http::Error> + Unpin>);

impl Chunks {
    /// Of this body.
    pub fn of(body: Body) -> Self {
        Self(Box::new(body.into_boxed_body()))
    }

    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// Says why it breaks off.
    pub async fn next(&mut self) -> Result<Option<Bytes>, String> {
        loop {
            let frame = std::future::poll_fn(|cx| std::pin::Pin::new(&mut *self.0).poll_frame(cx)).await;
            match frame.transpose().map_err(|error| format!("{error:?}"))?.map(|frame| frame.into_data()) {
                Some(Ok(data)) => return Ok(Some(data)),
                // Trailers.
                Some(Err(_)) => {}
                None => return Ok(None),
            }
        }
    }
}
