//! Serves DNS in the network of the pods. An edge: one task for datagrams and one for connections of
//! each family; questions about names outside have tasks of their own.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coracle_vnet::{AddError, Fabric, Listener, NetNs, NetNsSpec, NsTag, UdpSocket, VStream};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

use super::lookup::why_not;
use super::message::{self, Asked, Read};
use super::upstream::Upstream;
use super::zone::{self, Found};
use crate::network::Network;

/// The port.
const PORT: u16 = 53;
/// Whose the server's network is, in messages.
const OWNER: &str = "kube-system/kube-dns";
/// Questions by datagram that are answered at once; one more is dropped, and asked again.
const DATAGRAMS_MAX: usize = 512;
/// Connections at once; one more waits.
const CONNECTIONS_MAX: usize = 256;
/// Connections that wait to be accepted.
const BACKLOG: usize = 128;
/// How long a connection may be silent. *Source:* RFC 7766 §6.2.3.
const IDLE_MAX: Duration = Duration::from_secs(10);
/// Bytes of the largest message.
const MESSAGE_BYTES_MAX: usize = u16::MAX as usize;

/// Why DNS is not served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// Something else has the address.
    #[error("take the cluster's DNS address")]
    Address(#[source] AddError),
    /// A port could not be opened.
    #[error("open port {PORT} of the cluster's DNS address")]
    Port(#[source] io::Error),
}

/// The server at work. Dropping it ends it and frees its addresses.
pub struct Serving {
    fabric: Arc<Fabric>,
    ns: Arc<NetNs>,
    network: Arc<Network>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        self.network.change(|table| table.set_dns(Vec::new()));
        self.fabric.remove(&self.ns);
    }
}

/// Starts to answer DNS at these addresses of the fabric, one for each family at most. Needs a tokio
/// runtime.
///
/// # Errors
/// [`ServeError`].
pub fn serve(
    network: &Arc<Network>,
    fabric: &Arc<Fabric>,
    addresses: Vec<IpAddr>,
) -> Result<Serving, ServeError> {
    serve_with(network, fabric, addresses, Upstream::of_this_machine())
}

pub(super) fn serve_with(
    network: &Arc<Network>,
    fabric: &Arc<Fabric>,
    addresses: Vec<IpAddr>,
    upstream: Upstream,
) -> Result<Serving, ServeError> {
    let spec = NetNsSpec::new(NsTag::new("cluster-dns", OWNER), addresses.clone());
    let ns = fabric.add(spec).map_err(ServeError::Address)?;
    let dns = Dns { network: Arc::clone(network), fabric: Arc::clone(fabric), upstream };
    let dns = Arc::new(dns);
    let mut serving = Serving {
        fabric: Arc::clone(fabric),
        ns: Arc::clone(&ns),
        network: Arc::clone(network),
        tasks: Vec::new(),
    };
    for any in [IpAddr::from(Ipv4Addr::UNSPECIFIED), Ipv6Addr::UNSPECIFIED.into()] {
        if !addresses.iter().any(|ip| ip.is_ipv4() == any.is_ipv4()) {
            continue;
        }
        let at = SocketAddr::new(any, PORT);
        let socket = ns.bind_udp(at).map_err(ServeError::Port)?;
        let listener = ns.bind_tcp(at).and_then(|port| port.listen(BACKLOG, None));
        let listener = listener.map_err(ServeError::Port)?;
        serving.tasks.push(tokio::spawn(serve_datagrams(Arc::clone(&dns), socket)));
        serving.tasks.push(tokio::spawn(serve_connections(Arc::clone(&dns), listener)));
    }
    network.change(|table| table.set_dns(addresses));
    Ok(serving)
}

async fn serve_datagrams(dns: Arc<Dns>, socket: UdpSocket) {
    let socket = Arc::new(socket);
    let slots = Arc::new(Semaphore::new(DATAGRAMS_MAX));
    let mut answering = JoinSet::new();
    loop {
        std::future::poll_fn(|context| socket.poll_readable(context)).await;
        while answering.try_join_next().is_some() {}
        let datagram = match socket.try_recv() {
            Ok(Some(datagram)) => datagram,
            Ok(None) => continue,
            Err(_ended) => return,
        };
        let asked = match message::read(&datagram.data) {
            Read::Asked(asked) => asked,
            Read::Refused(answer) => {
                send(&socket, datagram.source, answer);
                continue;
            }
            Read::Nothing => continue,
        };
        match dns.answer_here(&asked) {
            Here::Answer(answer) => {
                if let Some(bytes) = message::encode(&answer, asked.datagram_bytes) {
                    send(&socket, datagram.source, bytes);
                }
            }
            Here::Outside(found) => {
                let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else { continue };
                let (dns, socket) = (Arc::clone(&dns), Arc::clone(&socket));
                answering.spawn(async move {
                    let answer = dns.answer_outside(datagram.source.ip(), &asked, found).await;
                    if let Some(bytes) = message::encode(&answer, asked.datagram_bytes) {
                        send(&socket, datagram.source, bytes);
                    }
                    drop(slot);
                });
            }
        }
    }
}

fn send(socket: &UdpSocket, to: SocketAddr, bytes: Vec<u8>) {
    if let Err(error) = socket.send(to, Bytes::from(bytes)) {
        tracing::debug!(%to, %error, "an answer of DNS was not sent");
    }
}

async fn serve_connections(dns: Arc<Dns>, listener: Listener) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut serving = JoinSet::new();
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let Ok(stream) = listener.accept().await else { return };
        while serving.try_join_next().is_some() {}
        let dns = Arc::clone(&dns);
        serving.spawn(async move {
            if let Err(error) = serve_connection(&dns, stream).await {
                tracing::debug!(%error, "a connection for DNS ended");
            }
            drop(slot);
        });
    }
}

/// Answers one question after the other. *Source:* RFC 7766.
async fn serve_connection(dns: &Dns, mut stream: VStream) -> io::Result<()> {
    let asker = stream.peer_addr().ip();
    loop {
        let question = tokio::time::timeout(IDLE_MAX, read_message(&mut stream)).await;
        let Some(question) = question.map_err(|_| io::ErrorKind::TimedOut)?? else {
            return Ok(());
        };
        let answer = match message::read(&question) {
            Read::Asked(asked) => {
                let answer = match dns.answer_here(&asked) {
                    Here::Answer(answer) => answer,
                    Here::Outside(found) => dns.answer_outside(asker, &asked, found).await,
                };
                message::encode(&answer, MESSAGE_BYTES_MAX)
            }
            Read::Refused(answer) => Some(answer),
            Read::Nothing => None,
        };
        let Some(answer) = answer else { return Ok(()) };
        let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
        let framed = [&length.to_be_bytes()[..], &answer].concat();
        let written = tokio::time::timeout(IDLE_MAX, stream.write_all(&framed)).await;
        written.map_err(|_| io::ErrorKind::TimedOut)??;
    }
}

/// One message with its length before it; `None` at the end.
async fn read_message(stream: &mut VStream) -> io::Result<Option<Vec<u8>>> {
    let length = match stream.read_u16().await {
        Ok(length) => length,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = vec![0; length.into()];
    stream.read_exact(&mut bytes).await?;
    Ok(Some(bytes))
}

/// What the answers are made from.
struct Dns {
    network: Arc<Network>,
    fabric: Arc<Fabric>,
    upstream: Upstream,
}

/// What can be said without asking anybody.
enum Here {
    Answer(Message),
    /// The whole name is outside, or what the zone found ends in a name outside.
    Outside(Found),
}

impl Dns {
    fn answer_here(&self, asked: &Asked) -> Here {
        let name = asked.query.name().to_ascii();
        let ours = |ip| self.network.is_ours(ip);
        let found = self.network.read(|table| zone::look_up(table, &name, asked.kind, ours));
        let beyond = matches!(&found, Found::Records { beyond: Some(_), .. });
        match message::of_zone(asked, &found) {
            Some(answer) if !beyond => Here::Answer(answer),
            Some(_) | None => Here::Outside(found),
        }
    }

    /// Asks upstream for what the pod with this address may know. An alias that leads to where it may
    /// not is all that it is told.
    async fn answer_outside(&self, asker: IpAddr, asked: &Asked, found: Found) -> Message {
        let query_type = asked.query.query_type();
        let Found::Records { beyond: Some(target), .. } = &found else {
            let name = asked.query.name().clone();
            return match self.ask(asker, &name, query_type).await {
                Ok((said, age)) => message::of_upstream(asked, &said, age),
                Err(code) => message::respond(&asked.message, code),
            };
        };
        let answer = message::of_zone(asked, &found);
        let mut answer =
            answer.unwrap_or_else(|| message::respond(&asked.message, ResponseCode::ServFail));
        if let Some(target) = message::name(target)
            && let Ok((said, age)) = self.ask(asker, &target, query_type).await
        {
            answer.answers.extend(message::of_upstream(asked, &said, age).answers);
        }
        answer
    }

    async fn ask(
        &self,
        asker: IpAddr,
        name: &Name,
        query_type: RecordType,
    ) -> Result<(Arc<Message>, Duration), ResponseCode> {
        let text = name.to_lowercase().to_ascii();
        let text = text.trim_end_matches('.');
        let pod = self.fabric.get(asker).ok_or(ResponseCode::Refused)?;
        // A name without a dot is nobody's outside.
        if !text.contains('.') {
            return Err(ResponseCode::NXDomain);
        }
        let Some(port) = self.network.allows_name(pod.tag(), text) else {
            let at = SocketAddr::new(asker, PORT);
            let message = format!("pod {} may not look up '{text}': {}", pod.tag(), why_not(text));
            self.network.tell(pod.tag(), at, &message);
            return Err(ResponseCode::Refused);
        };
        match self.upstream.ask(name, query_type).await {
            Ok((said, age)) => {
                self.network.remember(pod.tag(), &message::addresses(&said), port);
                Ok((said, age))
            }
            Err(error) => {
                tracing::debug!(name = text, %error, "a name outside was not resolved");
                Err(ResponseCode::ServFail)
            }
        }
    }
}
