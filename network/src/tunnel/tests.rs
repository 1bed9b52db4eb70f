//! Two hosts in one process, over real connections.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use coracle_vnet::{
    BoxFuture, Fabric, Flow, NetNs, NetNsSpec, NsTag, Overlay as _, Protocol, ResolveError,
    Resolver, Route, Router, UdpSocket, VStream,
};
use futures::FutureExt as _;
use futures::future::{join_all, ready};
use parking_lot::{Mutex, RwLock};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use super::accept::{Inward, accept};
use super::overlay::Outward;
use super::peers::Peers;
use super::{Keys, PORT_ANNOTATION, Pem};
use crate::cidr::Cidr;
use crate::network::Network;
use crate::switch::Ranges;

/// Everything leads to the pod that was asked for, and no name means anything.
struct Straight;

impl Router for Straight {
    fn route(&self, flow: &Flow) -> Route {
        Route::Pod(flow.destination)
    }
}

impl Resolver for Straight {
    fn resolve(
        &self,
        _from: &NsTag,
        name: &str,
    ) -> BoxFuture<'static, Result<Vec<IpAddr>, ResolveError>> {
        ready(Err(ResolveError::NotFound(name.to_owned()))).boxed()
    }
}

/// A cluster's authority.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::from_ca_cert_pem(&pem, key).unwrap();
        Self { pem, issuer }
    }

    fn issue(&self, user: &str, names: &[&str], purpose: ExtendedKeyUsagePurpose) -> Pem {
        self.issue_until(user, names, purpose, 2999)
    }

    /// Until the end of a year.
    fn issue_until(
        &self,
        user: &str,
        names: &[&str],
        purpose: ExtendedKeyUsagePurpose,
        year: i32,
    ) -> Pem {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "system:nodes");
        params.distinguished_name.push(DnType::CommonName, user);
        params.extended_key_usages = vec![purpose];
        params.not_after = rcgen::date_time_ymd(year, 12, 31);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Pem { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    fn keys(&self, node: &str) -> Keys {
        let user = format!("system:node:{node}");
        let client = self.issue(&user, &[], ExtendedKeyUsagePurpose::ClientAuth);
        let serving = self.issue(&user, &[node], ExtendedKeyUsagePurpose::ServerAuth);
        Keys::new(&self.pem, &client, &serving).unwrap()
    }
}

fn ranges() -> Ranges {
    Ranges {
        pods: Cidr::parse_families("10.128.0.0/9,fd63:6f72::/32").unwrap(),
        services: Cidr::parse_families("10.96.0.0/12,fd63:6f73::/108").unwrap(),
        host: [].into(),
    }
}

/// Says of a node where its pods and its tunnel are.
fn announce(peers: &RwLock<Peers>, node: &str, range: &str, port: u16) {
    let node = json!({
        "metadata": {"name": node, "annotations": {PORT_ANNOTATION: port.to_string()}},
        "spec": {"podCIDR": range},
        "status": {"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}]},
    });
    peers.write().set(&serde_json::from_value(node).unwrap());
}

/// One host.
struct Host {
    fabric: Arc<Fabric>,
    outward: Arc<Outward>,
    inward: Arc<Inward>,
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Host {
    async fn start(node: &str, keys: Keys, peers: &Arc<RwLock<Peers>>) -> Self {
        Self::with(node, watch::channel(Some(keys)).1, peers).await
    }

    async fn with(
        node: &str,
        keys: watch::Receiver<Option<Keys>>,
        peers: &Arc<RwLock<Peers>>,
    ) -> Self {
        let fabric = Fabric::new(Arc::new(Straight), Arc::new(Straight));
        let outward = Arc::new(Outward {
            own: node.to_owned(),
            peers: Arc::clone(peers),
            keys: keys.clone(),
            links: Mutex::default(),
            flows: Arc::default(),
        });
        fabric.set_overlay(Arc::clone(&outward) as _);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let inward = Arc::new(Inward {
            fabric: Arc::clone(&fabric),
            network: Network::new(ranges()).0,
            peers: Arc::clone(peers),
            ranges: ranges(),
            keys,
            flows: Arc::default(),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&inward)));
        Self { fabric, outward, inward, address, accepting }
    }

    fn pod(&self, name: &str, ip: &str) -> Arc<NetNs> {
        let spec = NetNsSpec::new(NsTag::new(name, name), vec![ip.parse().unwrap()]);
        self.fabric.add(spec).unwrap()
    }
}

/// Answers everything with itself, and says first who it talks to.
fn serve_echo(pod: &Arc<NetNs>, address: &str) -> JoinHandle<()> {
    let listener = pod.bind_tcp(address.parse().unwrap()).unwrap().listen(512, None).unwrap();
    tokio::spawn(async move {
        while let Ok(mut stream) = listener.accept().await {
            tokio::spawn(async move {
                let hello = format!("{}\n", stream.peer_addr().ip());
                if stream.write_all(hello.as_bytes()).await.is_ok() {
                    let (mut read, mut write) = tokio::io::split(stream);
                    let _copied = tokio::io::copy(&mut read, &mut write).await;
                    let _closed = write.shutdown().await;
                }
            });
        }
    })
}

struct World {
    authority: Authority,
    peers: Arc<RwLock<Peers>>,
    a: Host,
    b: Host,
    from: Arc<NetNs>,
}

const SERVER: &str = "10.128.64.9:80";

async fn world() -> World {
    let authority = Authority::new();
    let peers = Arc::new(RwLock::new(Peers::default()));
    let a = Host::start("a", authority.keys("a"), &peers).await;
    let b = Host::start("b", authority.keys("b"), &peers).await;
    announce(&peers, "a", "10.128.0.0/18", a.address.port());
    announce(&peers, "b", "10.128.64.0/18", b.address.port());
    let from = a.pod("default/client", "10.128.0.5");
    serve_echo(&b.pod("default/server", "10.128.64.9"), "0.0.0.0:80");
    World { authority, peers, a, b, from }
}

/// Sends a text and gives all that comes back.
async fn exchange(stream: io::Result<VStream>, text: &[u8]) -> io::Result<String> {
    let (mut read, mut write) = tokio::io::split(stream?);
    let sending = async {
        write.write_all(text).await?;
        write.shutdown().await
    };
    let mut said = String::new();
    let (sent, received) = tokio::join!(sending, read.read_to_string(&mut said));
    sent.and(received).map(|_| said)
}

fn dial(pod: &Arc<NetNs>, to: &str) -> BoxFuture<'static, io::Result<VStream>> {
    pod.connect_tcp(to.parse().unwrap(), None)
}

#[tokio::test]
async fn a_pod_talks_to_a_pod_of_another_host_under_its_own_address() {
    let world = world().await;
    let said = exchange(dial(&world.from, SERVER).await, b"hello").await.unwrap();
    assert_eq!(said, "10.128.0.5\nhello");
    // A client of a node port keeps its address, too.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (real, _) = listener.accept().await.unwrap();
    let outside = "203.0.113.9:5000".parse().unwrap();
    let joined = world.a.fabric.deliver_real(SERVER.parse().unwrap(), real, outside);
    assert!(joined.is_ok());
    client.write_all(b"hi").await.unwrap();
    client.shutdown().await.unwrap();
    let mut said = String::new();
    client.read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "203.0.113.9\nhi");
}

#[tokio::test]
async fn a_connection_waits_for_the_first_certificate_of_its_host() {
    let world = world().await;
    let (told, keys) = watch::channel(None);
    let late = Host::with("c", keys, &world.peers).await;
    announce(&world.peers, "c", "10.128.128.0/18", late.address.port());
    let mut dialling = dial(&late.pod("default/late", "10.128.128.5"), SERVER);
    assert!(futures::poll!(&mut dialling).is_pending());
    let way = coracle_vnet::Overlay::way(&*late.outward, SERVER.parse().unwrap()).unwrap_err();
    assert!(way.contains("no certificate"), "{way}");
    told.send_replace(Some(world.authority.keys("c")));
    let said = exchange(dialling.await, b"hello").await.unwrap();
    assert_eq!(said, "10.128.128.5\nhello");
}

#[tokio::test]
async fn many_streams_share_one_connection() {
    let world = world().await;
    // More than a window each, so that flow control has its part.
    let text = "x".repeat(600 * 1024);
    let one = || async { exchange(dial(&world.from, SERVER).await, text.as_bytes()).await };
    for said in join_all((0..100).map(|_| one())).await {
        assert_eq!(said.unwrap().len(), text.len() + "10.128.0.5\n".len());
    }
    assert_eq!(world.a.outward.links.lock().len(), 1);
}

#[tokio::test]
async fn what_is_not_there_is_told_apart() {
    let world = world().await;
    for (to, kind, words) in [
        ("10.128.64.9:81", io::ErrorKind::ConnectionRefused, "connection refused"),
        ("10.128.64.10:80", io::ErrorKind::HostUnreachable, "no namespace has the address"),
        ("10.128.128.1:80", io::ErrorKind::HostUnreachable, "no host has a pod"),
        ("10.128.0.77:80", io::ErrorKind::HostUnreachable, "no host has a pod"),
    ] {
        let error = dial(&world.from, to).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{to}: {error}");
        assert!(error.to_string().contains(words), "{to}: {error}");
    }
}

/// Opens a stream from a source that the caller makes up.
async fn claim(host: &Host, source: &str) -> io::Result<()> {
    let destination: SocketAddr = SERVER.parse().unwrap();
    let source = source.parse().unwrap();
    let flow = Flow { from: None, source, destination, protocol: Protocol::Tcp };
    let (_near, far) = VStream::pair(source, destination);
    host.outward.connect(&flow, destination, far).await
}

#[tokio::test]
async fn a_host_answers_for_as_long_as_it_is_there() {
    let world = world().await;
    assert_eq!(world.a.outward.reachable(), ["a", "b"]);
    assert_eq!(world.a.outward.ask("b").await, Some(true));
    assert_eq!(world.a.outward.ask("nobody").await, None);
    world.b.accepting.abort();
    // Its connections end with it, in a moment.
    let gone = async {
        while world.a.outward.ask("b").await != Some(false) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), gone).await.unwrap();
}

#[tokio::test]
async fn a_host_cannot_speak_for_the_pods_of_another() {
    let world = world().await;
    let liar = Host::start("c", world.authority.keys("c"), &world.peers).await;
    announce(&world.peers, "c", "10.128.128.0/18", liar.address.port());
    claim(&liar, "10.128.128.5:1").await.unwrap();
    let error = claim(&liar, "10.128.0.5:1").await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    assert!(error.to_string().contains("node 'c' may not speak for 10.128.0.5:1"), "{error}");
}

#[tokio::test]
async fn strangers_are_refused() {
    let world = world().await;
    // Another cluster's certificates, by a name that is known here.
    let other = Host::start("a", Authority::new().keys("a"), &world.peers).await;
    let error = claim(&other, "10.128.0.5:1").await.unwrap_err();
    assert!(error.to_string().contains("invalid peer certificate"), "{error}");
    // The own authority's certificate, but for another node than the one that is dialled.
    let client = world.authority.issue("system:node:a", &[], ExtendedKeyUsagePurpose::ClientAuth);
    let wrong = world.authority.issue("system:node:c", &["c"], ExtendedKeyUsagePurpose::ServerAuth);
    let posing = Keys::new(&world.authority.pem, &client, &wrong).unwrap();
    let poser = Host::start("b", posing, &world.peers).await;
    announce(&world.peers, "b", "10.128.64.0/18", poser.address.port());
    let error = claim(&world.a, "10.128.0.5:1").await.unwrap_err();
    assert!(error.to_string().contains("not valid for name"), "{error}");
    // A certificate that is no node's, and none at all.
    let admin = world.authority.issue("admin", &[], ExtendedKeyUsagePurpose::ClientAuth);
    let serving =
        world.authority.issue("system:node:a", &["a"], ExtendedKeyUsagePurpose::ServerAuth);
    let keys = Keys::new(&world.authority.pem, &admin, &serving).unwrap();
    let user = Host::start("a", keys, &world.peers).await;
    announce(&world.peers, "b", "10.128.64.0/18", world.b.address.port());
    assert!(claim(&user, "10.128.0.5:1").await.is_err());
    let mut plain = TcpStream::connect(world.b.address).await.unwrap();
    plain.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // A TLS alert or nothing, and the end.
    let _cut = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"));
}

#[tokio::test]
async fn who_has_no_certificate_or_one_that_counts_no_more_is_refused() {
    let world = world().await;
    // TLS as it should be, but nothing that says who it is.
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(world.authority.pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let nameless = rustls::ClientConfig::builder_with_provider(provider);
    let nameless = nameless.with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
    let mut nameless = nameless.with_root_certificates(roots).with_no_client_auth();
    nameless.alpn_protocols = vec![b"h2".to_vec()];
    let tcp = TcpStream::connect(world.b.address).await.unwrap();
    let connector = TlsConnector::from(Arc::new(nameless));
    let mut tls = connector.connect("b".try_into().unwrap(), tcp).await.unwrap();
    let _cut = tls.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    let mut answer = Vec::new();
    let refused = tls.read_to_end(&mut answer).await.unwrap_err().to_string();
    assert!(answer.is_empty() && refused.contains("CertificateRequired"), "{refused}");
    // One that ended.
    let user = "system:node:a";
    let old = world.authority.issue_until(user, &[], ExtendedKeyUsagePurpose::ClientAuth, 2020);
    let serving = world.authority.issue(user, &["a"], ExtendedKeyUsagePurpose::ServerAuth);
    let keys = Keys::new(&world.authority.pem, &old, &serving).unwrap();
    let late = Host::start("a", keys, &world.peers).await;
    let error = claim(&late, "10.128.0.5:1").await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::HostUnreachable, "{error}");
    // One of a node that was deleted: it is good, and its node may speak for no pod, over no link.
    let gone = Host::start("c", world.authority.keys("c"), &world.peers).await;
    announce(&world.peers, "c", "10.128.128.0/18", gone.address.port());
    claim(&gone, "10.128.128.5:1").await.unwrap();
    world.peers.write().remove("c");
    let error = claim(&gone, "10.128.128.5:1").await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    assert!(error.to_string().contains("node 'c' may not speak for"), "{error}");
    // All the others go on.
    let said = exchange(dial(&world.from, SERVER).await, b"hello").await.unwrap();
    assert_eq!(said, "10.128.0.5\nhello");
}

#[tokio::test]
async fn a_link_that_broke_is_made_again() {
    let mut world = world().await;
    let mut open = dial(&world.from, SERVER).await.unwrap();
    let mut hello = [0; 11];
    open.read_exact(&mut hello).await.unwrap();
    // The other host is killed: its connections are cut, and it comes back at the same place.
    world.b.accepting.abort();
    assert!((&mut world.b.accepting).await.is_err());
    assert!(open.read_to_end(&mut Vec::new()).await.is_err());
    assert!(dial(&world.from, SERVER).await.is_err());
    let listener = TcpListener::bind(world.b.address).await.unwrap();
    tokio::spawn(accept(listener, Arc::clone(&world.b.inward)));
    let said = loop {
        if let Ok(said) = exchange(dial(&world.from, SERVER).await, b"again").await {
            break said;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(said, "10.128.0.5\nagain");
}

/// Waits for a datagram, and gives its text and where it came from.
async fn receive(socket: &UdpSocket) -> (String, String) {
    std::future::poll_fn(|context| socket.poll_readable(context)).await;
    let datagram = socket.try_recv().unwrap().unwrap();
    (String::from_utf8_lossy(&datagram.data).into_owned(), datagram.source.to_string())
}

fn text(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

#[tokio::test]
async fn datagrams_reach_a_pod_of_another_host_and_are_answered() {
    let world = world().await;
    let to_pod = world.b.fabric.get("10.128.64.9".parse().unwrap()).unwrap();
    let server = to_pod.bind_udp("0.0.0.0:53".parse().unwrap()).unwrap();
    let client = world.from.bind_udp("0.0.0.0:5000".parse().unwrap()).unwrap();
    let to: SocketAddr = "10.128.64.9:53".parse().unwrap();
    // Those that wait for the link are sent in order.
    for word in ["one", "two"] {
        client.send(to, text(word)).unwrap();
    }
    for word in ["one", "two"] {
        assert_eq!(receive(&server).await, (word.to_owned(), "10.128.0.5:5000".to_owned()));
    }
    server.send("10.128.0.5:5000".parse().unwrap(), text("answer")).unwrap();
    assert_eq!(receive(&client).await, ("answer".to_owned(), to.to_string()));
    let largest = Bytes::from(vec![7; coracle_vnet::DATAGRAM_BYTES_MAX]);
    client.send(to, largest.clone()).unwrap();
    std::future::poll_fn(|context| server.poll_readable(context)).await;
    assert_eq!(server.try_recv().unwrap().unwrap().data, largest);
    // A pod may begin to talk to one of another host, too.
    let other = to_pod.bind_udp("0.0.0.0:54".parse().unwrap()).unwrap();
    other.send("10.128.0.5:5000".parse().unwrap(), text("hello")).unwrap();
    assert_eq!(receive(&client).await, ("hello".to_owned(), "10.128.64.9:54".to_owned()));
}

#[tokio::test]
async fn datagrams_from_outside_reach_a_pod_of_another_host() {
    let world = world().await;
    let to_pod = world.b.fabric.get("10.128.64.9".parse().unwrap()).unwrap();
    let server = to_pod.bind_udp("0.0.0.0:53".parse().unwrap()).unwrap();
    let entrance = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let door = entrance.local_addr().unwrap();
    let backend: SocketAddr = "10.128.64.9:53".parse().unwrap();
    let fabric = Arc::clone(&world.a.fabric);
    let serving =
        tokio::spawn(coracle_vnet::serve_datagrams(entrance, fabric, move |_, _| Some(backend)));
    let client = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.connect(door).await.unwrap();
    let mut seen = Vec::new();
    for word in ["one", "two"] {
        client.send(word.as_bytes()).await.unwrap();
        let (said, from) = receive(&server).await;
        assert_eq!(said, word);
        server.send(from.parse().unwrap(), text("answer")).unwrap();
        let mut answer = [0; 16];
        let length = client.recv(&mut answer).await.unwrap();
        assert_eq!(&answer[..length], b"answer");
        seen.push(from);
    }
    assert_eq!(seen[0], seen[1], "one client, one flow");
    serving.abort();
}
