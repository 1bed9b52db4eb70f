//! `nodes/proxy`: a node's agent, through the server; and how the server itself calls an agent.

use coracle_api::status::Status;
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, HeaderValue};
use http::{Method, Request, Response};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use crate::body::{self, Body};
use crate::context::Context;
use crate::respond::Answer;
use crate::server::Core;

impl Core {
    /// Forwards a request to a node's agent and its answer back.
    pub(super) async fn node_proxy(
        &self,
        context: &Context,
        method: Method,
        body: Body,
    ) -> Result<Answer, Status> {
        self.current(context)?;
        let options = context.query.encode_without(|_| false);
        let separator = if options.is_empty() { "" } else { "?" };
        let path = format!("/{}{separator}{options}", context.path.rest);
        let mut answer = self.call_agent(&context.path.name, method, &path, body).await?;
        // Headers about this hop, not about the answer.
        answer.headers_mut().remove(CONNECTION);
        answer.headers_mut().remove(http::header::TRANSFER_ENCODING);
        Ok(answer)
    }

    /// Sends a request to a node's agent.
    ///
    /// # Errors
    /// 500 when the node cannot be reached or does not speak HTTP; what it answers is for the caller to judge.
    pub(super) async fn call_agent(
        &self,
        node: &str,
        method: Method,
        path: &str,
        request: Body,
    ) -> Result<Response<Body>, Status> {
        let failed = |error: &dyn std::fmt::Display| {
            Status::internal(format!("cannot reach node {node:?}: {error}"))
        };
        let stream = self.nodes.dial(node).await.map_err(|error| failed(&error))?;
        let handshake = http1::handshake::<_, Body>(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| failed(&error))?;
        let open = self.long_running();
        // The task ends with the connection, which ends when the answer was read or its reader went away.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection to a node's agent ended with an error");
            }
            drop(open);
        });
        let mut outgoing = Request::new(request);
        *outgoing.method_mut() = method;
        *outgoing.uri_mut() = path.parse().map_err(|_| Status::bad_request("malformed path"))?;
        outgoing.headers_mut().insert(HOST, HeaderValue::from_static("agent"));
        outgoing.headers_mut().remove(AUTHORIZATION);
        outgoing
            .headers_mut()
            .entry(CONTENT_TYPE)
            .or_insert(HeaderValue::from_static("application/json"));
        let answer = sender.send_request(outgoing).await.map_err(|error| failed(&error))?;
        Ok(answer.map(body::boxed))
    }
}
