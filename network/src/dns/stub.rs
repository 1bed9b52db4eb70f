//! Asks the name servers that a pod names itself, from the pod's own network: what it may not reach,
//! it is not answered by. An edge.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coracle_vnet::{NetNs, ResolveError};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;

use super::message;

/// How long one name server may take for one try.
const TRY_TIME_MAX: Duration = Duration::from_secs(2);
/// How often each name server is asked. *Source:* `resolv.conf(5)`, `attempts`.
const ROUNDS: usize = 2;

/// Looks up the first of these absolute names that exists.
///
/// # Errors
/// `NotFound` when none does, `Temporary` when nobody answers.
pub(super) async fn resolve(
    ns: &Arc<NetNs>,
    servers: &[IpAddr],
    candidates: &[String],
    asked: &str,
) -> Result<Vec<IpAddr>, ResolveError> {
    let types = [(RecordType::A, true), (RecordType::AAAA, false)];
    let has = |v4: bool| ns.ips().iter().any(|ip| ip.is_ipv4() == v4);
    for candidate in candidates {
        let (mut found, mut exists) = (Vec::new(), false);
        for (record_type, _) in types.iter().filter(|(_, v4)| has(*v4)) {
            let answer = ask(ns, servers, candidate, *record_type).await.map_err(|error| {
                let reason = error.to_string();
                ResolveError::Temporary { name: asked.to_owned(), reason }
            })?;
            exists |= answer.metadata.response_code == ResponseCode::NoError;
            found.extend(message::addresses(&answer));
        }
        if exists {
            return Ok(found);
        }
    }
    Err(ResolveError::NotFound(asked.to_owned()))
}

async fn ask(
    ns: &Arc<NetNs>,
    servers: &[IpAddr],
    name: &str,
    record_type: RecordType,
) -> io::Result<Message> {
    let name = message::name(name).ok_or(io::ErrorKind::InvalidInput)?;
    let mut last = io::Error::other("the pod names no name server");
    for server in std::iter::repeat_n(servers, ROUNDS).flatten() {
        let question = message::question(rand::random(), name.clone(), record_type);
        let asking = ask_server(ns, *server, &question);
        let answer = tokio::time::timeout(TRY_TIME_MAX, asking).await;
        match answer.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(answer) => return Ok(answer),
            Err(error) => last = io::Error::new(error.kind(), format!("{server}: {error}")),
        }
    }
    Err(last)
}

async fn ask_server(ns: &Arc<NetNs>, server: IpAddr, question: &Message) -> io::Result<Message> {
    let any: IpAddr = match server {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = ns.bind_udp(SocketAddr::new(any, 0))?;
    let bytes = question.to_vec().map_err(io::Error::other)?;
    socket.send(SocketAddr::new(server, 53), Bytes::from(bytes))?;
    loop {
        std::future::poll_fn(|context| socket.poll_readable(context)).await;
        let Some(datagram) = socket.try_recv()? else { continue };
        match Message::from_vec(&datagram.data) {
            Ok(answer) if message::answers(&answer, question) => return Ok(answer),
            Ok(_) | Err(_) => {}
        }
    }
}
