//! `nodes/proxy`, `pods/proxy` and `services/proxy`: HTTP to a node's agent or a pod, through this
//! server.
//!
//! An edge: nodes are called, and one of a Service's pods is drawn at random.

use bytes::Bytes;
use coracle_api::key::GroupResource;
use coracle_api::registry;
use coracle_api::selector::{FieldSelector, LabelSelector};
use coracle_api::status::Status;
use futures::stream;
use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HOST, HeaderName, HeaderValue,
    LOCATION,
};
use http::{Method, Response, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt as _;
use rand::seq::IndexedRandom as _;
use rustls_pki_types::ServerName;
use serde_json::Value;
use std::sync::Arc;
use tokio_rustls::TlsConnector;

use super::forward::Outgoing;
use super::links::Links;
use super::target::{Backend, Target, backends};
use crate::body::{self, Body, BoxError};
use crate::cache::Selection;
use crate::context::Context;
use crate::node_dialer::Duplex;
use crate::pki;
use crate::respond::Answer;
use crate::server::Core;

/// The label by which an EndpointSlice belongs to a Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

impl Core {
    /// Forwards a request to what the path names, and its answer back.
    ///
    /// # Errors
    /// 400 for a name that makes no sense, 404, 503 when there is nothing that answers.
    pub(crate) async fn proxy(
        &self,
        context: &Context,
        method: Method,
        body: Body,
    ) -> Result<Answer, Status> {
        if let Some(redirect) = redirect_to_root(context, &method) {
            return Ok(redirect);
        }
        let is_head = method == Method::HEAD;
        let mut outgoing = Outgoing::of(context, method, inner_path(context), body);
        forwarded_headers(context, &mut outgoing);
        let mut answer = match context.path.resource.as_str() {
            "nodes" => {
                let target = Target::parse("node", &context.path.name)?;
                self.find("nodes", "", target.name)?;
                self.call_node(target.name, outgoing).await?
            }
            "pods" => {
                let target = Target::parse("pod", &context.path.name)?;
                let pod = self.find("pods", &context.path.namespace, target.name)?;
                let port = target.pod_port(&pod)?;
                self.to_pod(&target, &pod, port, outgoing).await?
            }
            _ => {
                let target = Target::parse("service", &context.path.name)?;
                let (pod, port) = self.pod_behind(context, &target)?;
                self.to_pod(&target, &pod, port, outgoing).await?
            }
        };
        keep_inside(context, &mut answer);
        Ok(if is_head { answer } else { with_links_inside(context, answer) })
    }

    async fn to_pod(
        &self,
        target: &Target<'_>,
        pod: &Value,
        port: u16,
        outgoing: Outgoing,
    ) -> Result<Answer, Status> {
        let address = pod["status"]["podIP"].as_str().filter(|ip| !ip.is_empty());
        let address = address.ok_or_else(|| Status::bad_request("address not allowed"))?;
        let mut stream = self.dial_pod(pod, port).await?;
        if target.scheme == "https" {
            stream = over_tls(stream, address).await.map_err(|why| {
                Status::service_unavailable(format!("error trying to reach service: {why}"))
            })?;
        }
        let outcome = self.exchange(stream, &format!("{address}:{port}"), outgoing).await;
        outcome.map_err(|error| {
            error.status(|error| {
                Status::service_unavailable(format!("error trying to reach service: {error}"))
            })
        })
    }

    /// Draws one of the pods behind a Service's port.
    fn pod_behind(&self, context: &Context, target: &Target<'_>) -> Result<(Value, u16), Status> {
        let namespace = &context.path.namespace;
        let service = self.find("services", namespace, target.name)?;
        let port_name = target.service_port(&service)?;
        let selector = LabelSelector::parse(&format!("{SERVICE_NAME}={}", target.name))
            .map_err(|error| Status::bad_request(error.to_string()))?;
        let all = backends(&self.slices(namespace, selector)?, port_name);
        let none = || {
            let name = &context.path.name;
            Status::service_unavailable(format!("no endpoints available for service \"{name}\""))
        };
        let Backend { pod, port } = all.choose(&mut rand::rng()).ok_or_else(none)?;
        Ok((self.find("pods", namespace, pod)?, *port))
    }

    fn slices(&self, namespace: &str, selector: LabelSelector) -> Result<Vec<Value>, Status> {
        let kind = registry::by_resource("discovery.k8s.io", "v1", "endpointslices");
        let kind = kind.ok_or_else(Status::unknown_path)?;
        let everything = FieldSelector::default();
        let selection = Selection::new(kind, Some(namespace), selector, everything)?;
        let found = self.objects(kind)?.select(&selection);
        Ok(found.iter().map(|slice| slice.value()).collect())
    }

    fn find(&self, resource: &'static str, namespace: &str, name: &str) -> Result<Value, Status> {
        let kind = registry::by_resource("", "v1", resource).ok_or_else(Status::unknown_path)?;
        let found = self.objects(kind)?.get(namespace, name);
        let missing = || Status::not_found(&GroupResource::new("", resource), name);
        Ok(found.ok_or_else(missing)?.value())
    }
}

/// Speaks TLS with a pod, whoever vouches for it: the path names a pod, and the way to it is known.
///
/// *Source:* the proxy's transport upstream, which does not check certificates either.
async fn over_tls(stream: Box<dyn Duplex>, address: &str) -> Result<Box<dyn Duplex>, String> {
    let config = pki::client_config_for(&[], true, None).map_err(|error| error.to_string())?;
    let name = ServerName::try_from(address.to_owned()).map_err(|error| error.to_string())?;
    let connected = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    connected.map(|stream| Box::new(stream) as Box<dyn Duplex>).map_err(|error| error.to_string())
}

/// Path and query behind the proxy; a slash at the end counts.
fn inner_path(context: &Context) -> String {
    let rest = &context.path.rest;
    let slash = if !rest.is_empty() && context.uri.path().ends_with('/') { "/" } else { "" };
    let query = context.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    format!("/{rest}{slash}{query}")
}

/// The path up to and without the slash behind `proxy`.
fn outer_path(context: &Context) -> &str {
    let path = context.uri.path().trim_end_matches('/');
    path.strip_suffix(context.path.rest.as_str()).unwrap_or(path).trim_end_matches('/')
}

/// A browser that asks for the root without its slash is sent to where relative links are right.
///
/// *Source:* `proxyRedirectsforRootPath` of `k8s.io/apimachinery`.
fn redirect_to_root(context: &Context, method: &Method) -> Option<Answer> {
    let path = context.uri.path();
    let is_read = *method == Method::GET || *method == Method::HEAD;
    if !is_read || !context.path.rest.is_empty() || path.ends_with('/') {
        return None;
    }
    let query = context.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let location = HeaderValue::from_str(&format!("{path}/{query}")).ok()?;
    let mut answer = Response::new(body::empty());
    *answer.status_mut() = StatusCode::MOVED_PERMANENTLY;
    answer.headers_mut().insert(LOCATION, location);
    Some(answer)
}

/// Tells the other side by which path it was reached.
fn forwarded_headers(context: &Context, outgoing: &mut Outgoing) {
    let mut set = |name: &'static str, value: Option<HeaderValue>| {
        if let Some(value) = value {
            outgoing.headers.insert(HeaderName::from_static(name), value);
        }
    };
    set("x-forwarded-uri", HeaderValue::from_str(context.uri.path()).ok());
    set("x-forwarded-host", context.headers.get(HOST).cloned());
    set("x-forwarded-proto", Some(HeaderValue::from_static("https")));
}

/// Makes a redirect to a path on the other side one that leads through here again.
fn keep_inside(context: &Context, answer: &mut Answer) {
    let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let Some(path) = location.filter(|to| to.starts_with('/') && !to.starts_with("//")) else {
        return;
    };
    let outer = outer_path(context);
    if path.starts_with(outer) {
        return;
    }
    if let Ok(inside) = HeaderValue::from_str(&format!("{outer}{path}")) {
        answer.headers_mut().insert(LOCATION, inside);
    }
}

/// Makes a page's links to paths on the other side lead through here again, while the page passes.
fn with_links_inside(context: &Context, mut answer: Answer) -> Answer {
    let headers = answer.headers();
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let kind = text(CONTENT_TYPE).and_then(|kind| kind.split(';').next()).unwrap_or_default();
    let encoding = text(CONTENT_ENCODING).unwrap_or_default();
    let is_page = kind.trim().eq_ignore_ascii_case("text/html");
    // Neither a part of a page nor what nobody here can unpack is looked into.
    if !is_page || headers.contains_key(CONTENT_RANGE) || !matches!(encoding, "" | "gzip") {
        return answer;
    }
    let links = Links::new(outer_path(context), encoding == "gzip");
    for name in [CONTENT_LENGTH, CONTENT_ENCODING] {
        answer.headers_mut().remove(name);
    }
    answer.map(|page| body::stream(stream::unfold(Some((page, links)), next_piece)))
}

/// A page that comes, and what rewrites it; `None` after its end.
type Page = Option<(Body, Links)>;

async fn next_piece(page: Page) -> Option<(Result<Bytes, BoxError>, Page)> {
    let (mut body, mut links) = page?;
    loop {
        // One connection's page leaves the others their turn, however much comes of a piece.
        tokio::task::consume_budget().await;
        match links.step() {
            Ok(Some(ready)) if ready.is_empty() => continue,
            Ok(Some(ready)) => return Some((Ok(ready.into()), Some((body, links)))),
            Ok(None) => {}
            Err(error) => return Some((Err(error.into()), None)),
        }
        let Some(frame) = body.frame().await else { break };
        match frame.map(Frame::into_data) {
            Ok(Ok(piece)) => links.push(piece),
            // Whatever comes after the page is left out, as with any body whose length changed.
            Ok(Err(_trailers)) => {}
            Err(error) => return Some((Err(error), None)),
        }
    }
    Some((links.end().map(Bytes::from).map_err(Into::into), None))
}
