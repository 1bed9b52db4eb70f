//! Tries probes: `httpGet`, `tcpSocket` and `grpc`, dialled into the pod's network namespace, and
//! `exec`, run beside the container.
//!
//! *Source:* kubelet's probers, for outcomes and their words.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Container, HTTPGetAction, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::command::{self, Ran};
use super::{Shared, Target, grpc, tls};
use crate::pods::plan::{self, Index};
use crate::pods::probe::{Outcome, ProbeKind, timeout};
use crate::pods::state::PodEvent;

/// Tries a probe of the life `id` once.
pub(crate) async fn probe(
    shared: &Shared,
    target: &Target,
    index: Index,
    kind: ProbeKind,
    id: String,
) {
    let found = plan::container(&target.pod, index)
        .and_then(|container| Some((container, kind.of(container)?)));
    let outcome = match found {
        Some((container, probe)) => attempt(shared, target, container, probe).await,
        None => Outcome::Unknown("the container declares no such probe".into()),
    };
    shared.tell(&target.key.uid, PodEvent::Probed { index, id, kind, outcome });
}

async fn attempt(
    shared: &Shared,
    target: &Target,
    container: &Container,
    probe: &Probe,
) -> Outcome {
    let time = timeout(probe);
    if let Some(action) = &probe.http_get {
        let call = match HttpCall::of(container, action, target.ip()) {
            Ok(call) => call,
            Err(message) => return Outcome::Unknown(message),
        };
        return match get(shared, target, &call, time).await {
            Ok(200..400) => Outcome::Success,
            Ok(code) => Outcome::Failure(format!("HTTP probe failed with statuscode: {code}")),
            Err(message) => Outcome::Failure(message),
        };
    }
    if let Some(action) = &probe.tcp_socket {
        return match address(container, &action.port, target.ip()) {
            Ok(address) => match dial(shared, target, address) {
                Ok(_) => Outcome::Success,
                Err(message) => Outcome::Failure(message),
            },
            Err(message) => Outcome::Unknown(message),
        };
    }
    if let Some(action) = &probe.grpc {
        let port = IntOrString::Int(action.port);
        let asked = async {
            let address = address(container, &port, target.ip())?;
            let stream = dial(shared, target, address)?;
            let service = action.service.as_deref().unwrap_or_default();
            grpc::check(stream, &address.to_string(), service).await
        };
        return match tokio::time::timeout(time, asked).await {
            Ok(Ok(())) => Outcome::Success,
            Ok(Err(message)) => Outcome::Failure(message),
            Err(_) => {
                let port = action.port;
                Outcome::Failure(format!("timeout: health rpc to port {port} did not end in time"))
            }
        };
    }
    if let Some(action) = &probe.exec {
        let command = action.command.as_deref().unwrap_or_default();
        return match command::run(shared, target, container, command, time).await {
            Ok(Ran::Ended { code: 0, .. }) => Outcome::Success,
            Ok(Ran::Ended { output, .. }) => Outcome::Failure(output),
            Ok(Ran::TimedOut) => {
                let (what, seconds) = (command::shown(command), time.as_secs());
                Outcome::Failure(format!(
                    "command timed out: \"{what}\" timed out after {seconds}s"
                ))
            }
            Err(message) => Outcome::Unknown(message),
        };
    }
    Outcome::Unknown("must have one of exec, httpGet, tcpSocket and grpc".into())
}

/// One HTTP request into a pod.
pub(crate) struct HttpCall {
    address: SocketAddr,
    is_tls: bool,
    host: String,
    path: String,
    headers: Vec<(String, String)>,
}

impl HttpCall {
    /// Resolves the port and fills in what an action leaves out.
    pub(crate) fn of(
        container: &Container,
        action: &HTTPGetAction,
        ip: Option<&str>,
    ) -> Result<Self, String> {
        let is_tls = match action.scheme.as_deref() {
            None | Some("HTTP" | "") => false,
            Some("HTTPS") => true,
            Some(other) => return Err(format!("scheme \"{other}\" must be HTTP or HTTPS")),
        };
        // Hooks may call other pods, as far as they are on this host; nothing real is reached from here.
        let other = action.host.as_deref().filter(|host| !host.is_empty());
        if let Some(host) = other.filter(|host| host.parse::<IpAddr>().is_err()) {
            let cure = "name the address of a pod, or leave `host` out";
            return Err(format!("host \"{host}\" must be an IP address; {cure}"));
        }
        let address = address(container, &action.port, other.or(ip))?;
        let path =
            action.path.clone().filter(|path| !path.is_empty()).unwrap_or_else(|| "/".into());
        let path = if path.starts_with('/') { path } else { format!("/{path}") };
        let headers = action.http_headers.iter().flatten();
        let headers: Vec<_> =
            headers.map(|header| (header.name.clone(), header.value.clone())).collect();
        let host = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"));
        let host = host.map_or_else(|| address.to_string(), |(_, value)| value.clone());
        Ok(Self { address, is_tls, host, path, headers })
    }

    fn url(&self) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://{}{}", self.address, self.path)
    }

    fn request(&self) -> Result<http::Request<Empty<Bytes>>, String> {
        let mut request = http::Request::get(&self.path)
            .header(http::header::HOST, &self.host)
            .header(http::header::CONNECTION, "close");
        let named =
            |wanted: &str| self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted));
        if !named("user-agent") {
            request = request.header(http::header::USER_AGENT, "kube-probe/1.35");
        }
        if !named("accept") {
            request = request.header(http::header::ACCEPT, "*/*");
        }
        for (name, value) in &self.headers {
            if !name.eq_ignore_ascii_case("host") {
                request = request.header(name, value);
            }
        }
        request.body(Empty::new()).map_err(|error| error.to_string())
    }
}

/// Sends a request and gives the status code of the answer.
pub(crate) async fn get(
    shared: &Shared,
    target: &Target,
    call: &HttpCall,
    time: Duration,
) -> Result<u16, String> {
    let what = |problem: String| format!("Get \"{}\": {problem}", call.url());
    let stream = dial(shared, target, call.address).map_err(what)?;
    let asked = async {
        let stream = if call.is_tls {
            let secure = tls::connect(stream, call.address.ip()).await;
            secure.map_err(|error| format!("remote error: tls: {error}"))?
        } else {
            stream
        };
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
        let request = call.request()?;
        let answer = sender.send_request(request);
        tokio::pin!(connection, answer);
        let answered = tokio::select! {
            answered = &mut answer => answered,
            closed = &mut connection => match closed {
                // A server that answered and left at once cannot be told goodbye; its answer counts.
                Err(error) => match answer.as_mut().now_or_never() {
                    Some(Ok(answer)) => Ok(answer),
                    Some(Err(_)) | None => Err(error),
                },
                // An answer that came with the end of the connection is there by now.
                Ok(()) => answer.await,
            },
        };
        answered.map(|answer| answer.status().as_u16()).map_err(|error| error.to_string())
    };
    match tokio::time::timeout(time, asked).await {
        Ok(answer) => answer.map_err(what),
        Err(_) => Err(what(
            "context deadline exceeded (Client.Timeout exceeded while awaiting headers)".into(),
        )),
    }
}

fn dial(
    shared: &Shared,
    target: &Target,
    address: SocketAddr,
) -> Result<Box<dyn crate::runtime::Duplex>, String> {
    shared.runtime.dial(&target.key, address).map_err(|error| {
        let refused = error.kind() == std::io::ErrorKind::ConnectionRefused;
        let problem = if refused { "connection refused".to_owned() } else { error.to_string() };
        format!("dial tcp {address}: connect: {problem}")
    })
}

fn address(
    container: &Container,
    port: &IntOrString,
    ip: Option<&str>,
) -> Result<SocketAddr, String> {
    let ip: IpAddr = ip.and_then(|ip| ip.parse().ok()).ok_or("the pod has no address")?;
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => container
            .ports
            .iter()
            .flatten()
            .find(|port| port.name.as_deref() == Some(name))
            .map(|port| port.container_port)
            .or_else(|| name.parse().ok()),
    };
    let number = number.and_then(|number| u16::try_from(number).ok());
    let number = number.ok_or_else(|| format!("couldn't find port: {port:?}"))?;
    Ok(SocketAddr::new(ip, number))
}
