//! `pods/log`: a container's log, from the agent of the pod's node.

use std::fmt::Write as _;

use coracle_api::field_error::FieldError;
use coracle_api::key::{GroupKind, GroupResource};
use coracle_api::meta;
use coracle_api::status::Status;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Response, StatusCode};
use serde_json::Value;

use crate::body;
use crate::context::Context;
use crate::query::{self, Query};
use crate::respond::Answer;
use crate::server::Core;
use crate::streams::{Outgoing, container, node};

/// Longest error text taken over from an agent.
const ERROR_BYTES_MAX: usize = 16 * 1024;

impl Core {
    /// Streams a container's log.
    pub(super) async fn log(&self, context: &Context) -> Result<Answer, Status> {
        let pod = self.current(context)?.value();
        check_options(&context.query, &context.path.name)?;
        let container = container(&pod, context.query.get("container"))?;
        if pod["spec"]["nodeName"].as_str().is_none_or(str::is_empty) {
            // Where nothing runs, nothing was written. *Source:* `LogLocation` of kube-apiserver.
            let mut answer = Response::new(body::empty());
            *answer.status_mut() = StatusCode::NO_CONTENT;
            return Ok(answer);
        }
        let path = path(&pod, &container, &context.query);
        let outgoing = Outgoing::of(context, Method::GET, path, body::empty());
        let answer = self.call_node(node(&pod)?, outgoing).await?;
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(answer);
        }
        let (parts, agent_body) = answer.into_parts();
        if parts.status != StatusCode::OK {
            let text = body::read_up_to(agent_body, ERROR_BYTES_MAX).await?;
            let message = String::from_utf8_lossy(&text).trim().to_owned();
            return Err(agent_said(parts.status, &message, meta::name(&pod)));
        }
        let mut answer = Response::new(agent_body);
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        Ok(answer)
    }
}

/// What an agent's refusal means to the client.
fn agent_said(code: StatusCode, message: &str, pod: &str) -> Status {
    match code {
        StatusCode::BAD_REQUEST => Status::bad_request(message),
        StatusCode::NOT_FOUND if message.is_empty() => {
            Status::not_found(&GroupResource::new("", "pods"), pod)
        }
        StatusCode::NOT_FOUND => Status::bad_request(message),
        _ => Status::internal(message),
    }
}

fn path(pod: &Value, container: &str, options: &Query) -> String {
    let mut path = String::from("/containerLogs");
    for part in [meta::namespace(pod), meta::name(pod), container] {
        path.push('/');
        query::encode(part, &mut path);
    }
    let options = options.encode_without(|name| matches!(name, "container" | "pretty"));
    if !options.is_empty() {
        // Writing to a string cannot fail.
        let _infallible = write!(path, "?{options}");
    }
    path
}

fn check_options(options: &Query, pod: &str) -> Result<(), Status> {
    let mut errors = Vec::new();
    let mut at_least = |name: &str, least: i64, why: &str| match options.integer(name) {
        Ok(Some(value)) if value < least => errors.push(FieldError::invalid(name, value, why)),
        Ok(_) => {}
        Err(text) => errors.push(FieldError::invalid(name, text, "must be an integer")),
    };
    at_least("tailLines", 0, "must be greater than or equal to 0");
    at_least("limitBytes", 1, "must be greater than 0");
    at_least("sinceSeconds", 1, "must be greater than 0");
    // *Source:* KEP-3288, whose feature is on here.
    let streams = ["All", "Stderr", "Stdout"];
    if let Some(stream) = options.get("stream").filter(|stream| !streams.contains(stream)) {
        errors.push(FieldError::not_supported("stream", stream, &streams));
    }
    if options.get("sinceSeconds").is_some() && options.get("sinceTime").is_some() {
        errors.push(FieldError::forbidden(
            "sinceSeconds",
            "at most one of `sinceTime` or `sinceSeconds` may be specified",
        ));
    }
    if errors.is_empty() {
        return Ok(());
    }
    Err(Status::invalid(&GroupKind::new("", "PodLogOptions"), pod, errors))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn forwards_options_to_the_kubelets_path() {
        let pod = json!({"metadata": {"name": "p", "namespace": "n"}});
        let options = Query::parse("container=a&follow=true&tailLines=5");
        assert_eq!(path(&pod, "a", &options), "/containerLogs/n/p/a?follow=true&tailLines=5");
        assert_eq!(path(&pod, "a", &Query::default()), "/containerLogs/n/p/a");
    }

    #[test]
    fn refuses_options_that_make_no_sense() {
        for query in [
            "tailLines=-1",
            "stream=Foo",
            "sinceSeconds=0",
            "limitBytes=x",
            "sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z",
        ] {
            assert_eq!(
                check_options(&Query::parse(query), "p").unwrap_err().code(),
                422,
                "{query}"
            );
        }
    }
}
