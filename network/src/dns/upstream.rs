//! The name servers of the machine, and what they said. An edge: it asks them over real sockets.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;

use super::cache::Cache;
use super::message;

/// How long one name server may take for one try. *Source:* `resolv.conf(5)` has 5 s, which is longer
/// than most guests wait for all.
const TRY_TIME_MAX: Duration = Duration::from_secs(2);
/// How often each name server is asked. *Source:* `resolv.conf(5)`, `attempts`.
const ROUNDS: usize = 2;
/// Name servers that are asked. *Source:* `resolv.conf(5)`.
const SERVERS_MAX: usize = 3;
/// Questions on their way at once; one more is answered with a failure at once, which guests repeat.
const QUESTIONS_MAX: usize = 512;
/// Bytes of the largest datagram that is read.
const DATAGRAM_BYTES_MAX: usize = 4096;
/// Where the machine says who its name servers are.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Asks the machine's name servers.
pub(super) struct Upstream {
    servers: Vec<SocketAddr>,
    cache: Mutex<Cache>,
    slots: Semaphore,
}

/// Why there is no answer from outside.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    /// There is nobody to ask.
    #[error("{RESOLV_CONF} of this machine names no name server")]
    Nobody,
    /// Too many questions are on their way.
    #[error("{QUESTIONS_MAX} questions are on their way already")]
    TooMany,
    /// Nobody answered in time.
    #[error("no name server answered")]
    Silent(#[source] io::Error),
}

impl Upstream {
    /// The name servers that the machine has now.
    pub(super) fn of_this_machine() -> Self {
        Self::new(name_servers(Path::new(RESOLV_CONF)))
    }

    pub(super) fn new(servers: Vec<SocketAddr>) -> Self {
        let slots = Semaphore::new(QUESTIONS_MAX);
        Self { servers, cache: Mutex::default(), slots }
    }

    /// Asks for a name; the answer comes with its age.
    pub(super) async fn ask(
        &self,
        name: &Name,
        record_type: RecordType,
    ) -> Result<(Arc<Message>, Duration), AskError> {
        let question = (name.to_lowercase().to_ascii(), record_type);
        if let Some(kept) = self.cache.lock().get(&question, now()) {
            return Ok(kept);
        }
        let _slot = self.slots.try_acquire().map_err(|_| AskError::TooMany)?;
        let mut last = None;
        for server in std::iter::repeat_n(&self.servers, ROUNDS).flatten() {
            let asking = ask_server(*server, name, record_type);
            let answer = tokio::time::timeout(TRY_TIME_MAX, asking).await;
            match answer.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                // Another server may know better than one that failed or would not say.
                Ok(answer) if is_final(&answer) => {
                    let answer = Arc::new(answer);
                    self.cache.lock().put(question, Arc::clone(&answer), now());
                    return Ok((answer, Duration::ZERO));
                }
                Ok(answer) => {
                    let code = answer.metadata.response_code;
                    last = Some(io::Error::other(format!("{server} says {code}")));
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.map_or(AskError::Nobody, AskError::Silent))
    }
}

fn is_final(answer: &Message) -> bool {
    matches!(answer.metadata.response_code, ResponseCode::NoError | ResponseCode::NXDomain)
}

async fn ask_server(
    server: SocketAddr,
    name: &Name,
    record_type: RecordType,
) -> io::Result<Message> {
    // A number and a port of its own for each question: an answer that is guessed is not believed.
    let question = message::question(rand::random(), name.clone(), record_type);
    let bytes = question.to_vec().map_err(io::Error::other)?;
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(&bytes).await?;
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        let length = socket.recv(&mut buffer).await?;
        let Ok(answer) = Message::from_vec(buffer.get(..length).unwrap_or_default()) else {
            continue;
        };
        if !message::answers(&answer, &question) {
            continue;
        }
        if answer.metadata.truncation {
            return ask_by_tcp(server, &question, &bytes).await;
        }
        return Ok(answer);
    }
}

/// For an answer that does not fit into a datagram. *Source:* RFC 7766.
async fn ask_by_tcp(server: SocketAddr, question: &Message, bytes: &[u8]) -> io::Result<Message> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes()[..], bytes].concat()).await?;
    let mut answer = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut answer).await?;
    let answer = Message::from_vec(&answer).map_err(io::Error::other)?;
    if message::answers(&answer, question) {
        Ok(answer)
    } else {
        Err(io::Error::other("the answer is to another question"))
    }
}

/// The name servers of a `resolv.conf`; none when it cannot be read.
fn name_servers(path: &Path) -> Vec<SocketAddr> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let ips = super::lookup::name_servers(&text);
    ips.into_iter().take(SERVERS_MAX).map(|ip| SocketAddr::new(ip, 53)).collect()
}

#[expect(clippy::disallowed_methods, reason = "how long an answer holds")]
fn now() -> Instant {
    Instant::now()
}
