//! The server on a fabric, with a name server outside that says what the test lets it say.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use coracle_vnet::{Fabric, NetNs, NetNsSpec, NsTag, Resolver as _, UdpSocket};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::{A, TXT};
use hickory_proto::rr::{RData, Record, RecordType};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;

use super::lookup::PodDns;
use super::server::{Serving, serve_with};
use super::upstream::Upstream;
use super::{message, server};
use crate::cidr::Cidr;
use crate::egress::Egress;
use crate::network::{Answers, Network, Refusal};
use crate::switch::Ranges;
use crate::table::ServiceKey;

const DNS: &str = "10.96.0.10";

struct World {
    network: Arc<Network>,
    fabric: Arc<Fabric>,
    answers: Arc<Answers>,
    pod: Arc<NetNs>,
    refusals: tokio::sync::mpsc::Receiver<Refusal>,
    asked: Arc<AtomicUsize>,
    _outside: JoinHandle<()>,
    serving: Serving,
}

/// A name server outside: every name has the address 198.51.100.7, `nosuch.example` does not exist,
/// and `long.example` has a text that no datagram holds.
async fn outside(asked: Arc<AtomicUsize>) -> (SocketAddr, JoinHandle<()>) {
    // A port that is free for one protocol may be taken for the other.
    let (socket, listener) = loop {
        let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        if let Ok(listener) = tokio::net::TcpListener::bind(address).await {
            break (socket, listener);
        }
    };
    let address = socket.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut buffer = [0; 4096];
        loop {
            tokio::select! {
                received = socket.recv_from(&mut buffer) => {
                    let (length, from) = received.unwrap();
                    asked.fetch_add(1, Ordering::SeqCst);
                    let answer = say(&buffer[..length], false);
                    socket.send_to(&answer, from).await.unwrap();
                }
                accepted = listener.accept() => {
                    let mut stream = accepted.unwrap().0;
                    let mut question = vec![0; stream.read_u16().await.unwrap().into()];
                    stream.read_exact(&mut question).await.unwrap();
                    let answer = say(&question, true);
                    stream.write_u16(answer.len().try_into().unwrap()).await.unwrap();
                    stream.write_all(&answer).await.unwrap();
                }
            }
        }
    });
    (address, task)
}

fn say(question: &[u8], whole: bool) -> Vec<u8> {
    let question = Message::from_vec(question).unwrap();
    let name = question.queries[0].name().clone();
    let code = if name.to_ascii().starts_with("nosuch") {
        ResponseCode::NXDomain
    } else {
        ResponseCode::NoError
    };
    let mut answer = message::respond(&question, code);
    let long = name.to_ascii().starts_with("long");
    answer.metadata.truncation = long && !whole;
    if code == ResponseCode::NoError && !answer.metadata.truncation {
        let data = if question.queries[0].query_type() == RecordType::TXT {
            RData::TXT(TXT::new(vec!["x".repeat(200); 30]))
        } else {
            RData::A(A::new(198, 51, 100, 7))
        };
        answer.answers.push(Record::from_rdata(name, 60, data));
    }
    answer.to_vec().unwrap()
}

async fn world() -> World {
    let ranges = Ranges {
        pods: vec![Cidr::parse("10.128.0.0/9").unwrap()],
        services: vec![Cidr::parse("10.96.0.0/12").unwrap()],
        host: [].into(),
    };
    let (network, refusals) = Network::new(ranges);
    let answers = Arc::new(Answers(Arc::clone(&network)));
    let fabric = Fabric::new(Arc::clone(&answers) as _, Arc::clone(&answers) as _);
    let asked = Arc::new(AtomicUsize::new(0));
    let (address, outside) = outside(Arc::clone(&asked)).await;
    let upstream = Upstream::new(vec![address]);
    let serving = serve_with(&network, &fabric, vec![DNS.parse().unwrap()], upstream).unwrap();
    let services = [
        ("web", json!({"clusterIP": "10.96.0.20", "ports": [{"port": 80}]})),
        ("outer", json!({"type": "ExternalName", "externalName": "api.example"})),
    ];
    for (name, spec) in services {
        let key = ServiceKey { namespace: "default".into(), name: name.into() };
        let service = serde_json::from_value(json!({"spec": spec})).unwrap();
        network.change(|table| table.set_service(&key, &service));
    }
    let pod = pod_at(&fabric, "10.128.0.5");
    network.guard.follow(&fabric, true);
    World { network, fabric, answers, pod, refusals, asked, _outside: outside, serving }
}

fn pod_at(fabric: &Arc<Fabric>, ip: &str) -> Arc<NetNs> {
    let tag = NsTag::new(ip, &format!("default/{ip}"));
    fabric.add(NetNsSpec::new(tag, vec![ip.parse::<IpAddr>().unwrap()])).unwrap()
}

fn question(name: &str, record_type: RecordType) -> Message {
    message::question(7, message::name(name).unwrap(), record_type)
}

async fn receive(socket: &UdpSocket) -> Message {
    std::future::poll_fn(|context| socket.poll_readable(context)).await;
    let datagram = socket.try_recv().unwrap().unwrap();
    assert_eq!(datagram.source, format!("{DNS}:53").parse().unwrap());
    Message::from_vec(&datagram.data).unwrap()
}

impl World {
    async fn by_datagram(&self, name: &str, record_type: RecordType) -> Message {
        let socket = self.pod.bind_udp("0.0.0.0:0".parse().unwrap()).unwrap();
        let bytes = question(name, record_type).to_vec().unwrap();
        socket.send(format!("{DNS}:53").parse().unwrap(), Bytes::from(bytes)).unwrap();
        receive(&socket).await
    }

    async fn by_stream(&self, names: &[(&str, RecordType)]) -> Vec<Message> {
        let to = format!("{DNS}:53").parse().unwrap();
        let mut stream = self.pod.connect_tcp(to, None).await.unwrap();
        let mut answers = Vec::new();
        for (name, record_type) in names {
            let bytes = question(name, *record_type).to_vec().unwrap();
            stream.write_u16(bytes.len().try_into().unwrap()).await.unwrap();
            stream.write_all(&bytes).await.unwrap();
            let mut answer = vec![0; stream.read_u16().await.unwrap().into()];
            stream.read_exact(&mut answer).await.unwrap();
            answers.push(Message::from_vec(&answer).unwrap());
        }
        answers
    }
}

/// Code, whether it is cut off, and the addresses or the number of other records.
fn show(answer: &Message) -> String {
    let ips: Vec<String> = message::addresses(answer).iter().map(IpAddr::to_string).collect();
    let cut = if answer.metadata.truncation { " cut" } else { "" };
    let others = answer.answers.len() - ips.len();
    let others = if others > 0 { format!(" +{others}") } else { String::new() };
    let ips: String = ips.iter().map(|ip| format!(" {ip}")).collect();
    format!("{}{cut}{ips}{others}", answer.metadata.response_code)
}

#[tokio::test]
async fn pods_ask_by_datagram_and_by_stream() {
    let world = world().await;
    let web = "web.default.svc.cluster.local";
    let answer = world.by_datagram(web, RecordType::A).await;
    assert_eq!((show(&answer).as_str(), answer.metadata.id), ("No Error 10.96.0.20", 7));
    assert!(answer.metadata.authoritative && answer.metadata.recursion_available);
    let answer = world.by_datagram("nosuch.default.svc.cluster.local", RecordType::A).await;
    assert_eq!(show(&answer), "Non-Existent Domain");
    assert_eq!(answer.authorities[0].record_type(), RecordType::SOA);
    assert_eq!(show(&world.by_datagram(web, RecordType::MX).await), "No Error");
    let questions = [(web, RecordType::A), ("20.0.96.10.in-addr.arpa", RecordType::PTR)];
    let said: Vec<String> = world.by_stream(&questions).await.iter().map(show).collect();
    assert_eq!(said, ["No Error 10.96.0.20", "No Error +1"]);
    assert_eq!(world.asked.load(Ordering::SeqCst), 0, "nothing of the cluster is asked outside");
}

#[tokio::test]
async fn names_outside_are_a_grant_and_are_asked_for_once() {
    let mut world = world().await;
    let refused = world.by_datagram("api.example", RecordType::A).await;
    assert_eq!(refused.metadata.response_code, ResponseCode::Refused);
    let told = world.refusals.try_recv().unwrap().message;
    assert!(told.contains("coracle.dev/egress: \"api.example\""), "{told}");
    // An alias is told to all; where it leads is not.
    let outer = "outer.default.svc.cluster.local";
    assert_eq!(show(&world.by_datagram(outer, RecordType::A).await), "No Error +1");
    assert_eq!(world.asked.load(Ordering::SeqCst), 0);

    world.network.grant(world.pod.tag(), Egress::parse("*.example:443 long.example").unwrap());
    for _ in 0..2 {
        let answer = world.by_datagram("API.example", RecordType::A).await;
        assert_eq!(show(&answer), "No Error 198.51.100.7");
    }
    assert_eq!(show(&world.by_datagram(outer, RecordType::A).await), "No Error 198.51.100.7 +1");
    assert_eq!(world.asked.load(Ordering::SeqCst), 1);
    let answer = world.by_datagram("nosuch.example", RecordType::A).await;
    assert_eq!(show(&answer), "Non-Existent Domain");
    assert_eq!(show(&world.by_datagram("single", RecordType::A).await), "Non-Existent Domain");
    // What is too long for a datagram comes by a stream, from outside and to the pod.
    let answer = world.by_datagram("long.example", RecordType::TXT).await;
    assert_eq!(show(&answer), "No Error cut");
    let answers = world.by_stream(&[("long.example", RecordType::TXT)]).await;
    assert_eq!(show(&answers[0]), "No Error +1");
}

#[tokio::test]
async fn nonsense_is_answered_by_an_error_or_not_at_all() {
    let world = world().await;
    let socket = world.pod.bind_udp("0.0.0.0:0".parse().unwrap()).unwrap();
    let to = format!("{DNS}:53").parse().unwrap();
    let send = |bytes: Vec<u8>| socket.send(to, Bytes::from(bytes)).unwrap();
    let good = question("web.default.svc.cluster.local", RecordType::A);
    let mut two = good.clone();
    two.queries.push(two.queries[0].clone());
    let mut response = good.clone();
    response.metadata.message_type = hickory_proto::op::MessageType::Response;
    let mut update = good.clone();
    update.metadata.op_code = hickory_proto::op::OpCode::Update;
    // Neither answers to others nor bytes that are no message are answered.
    send(vec![]);
    send(vec![0xff; 40]);
    send(response.to_vec().unwrap());
    send(two.to_vec().unwrap());
    assert_eq!(receive(&socket).await.metadata.response_code, ResponseCode::FormErr);
    send(update.to_vec().unwrap());
    assert_eq!(receive(&socket).await.metadata.response_code, ResponseCode::NotImp);
    send(good.to_vec().unwrap());
    assert_eq!(show(&receive(&socket).await), "No Error 10.96.0.20");
}

#[tokio::test]
async fn lookups_follow_the_resolv_conf_of_the_pod() {
    let world = world().await;
    let resolve = |name: &'static str| world.answers.resolve(world.pod.tag(), name);
    assert_eq!(resolve("web").await.unwrap(), ["10.96.0.20".parse::<IpAddr>().unwrap()]);
    // A name server of its own: another pod, which knows every name but one.
    let server = pod_at(&world.fabric, "10.128.0.9");
    let socket = server.bind_udp("0.0.0.0:53".parse().unwrap()).unwrap();
    tokio::spawn(async move {
        loop {
            std::future::poll_fn(|context| socket.poll_readable(context)).await;
            if let Some(datagram) = socket.try_recv().unwrap() {
                socket.send(datagram.source, Bytes::from(say(&datagram.data, false))).unwrap();
            }
        }
    });
    let text = "nameserver 10.128.0.9\nsearch nosuch.of nosuch.too\noptions ndots:2\n";
    let own = PodDns::of_resolv_conf("10.128.0.5".parse().unwrap(), text, |_| false, &[]);
    world.network.set_lookups(world.pod.tag(), own);
    let found = resolve("anything.else.here").await.unwrap();
    assert_eq!(found, ["198.51.100.7".parse::<IpAddr>().unwrap()]);
    assert!(resolve("nosuch.").await.is_err());
    world.network.forget(world.pod.tag());
    assert_eq!(resolve("web").await.unwrap(), ["10.96.0.20".parse::<IpAddr>().unwrap()]);
}

#[tokio::test]
async fn the_address_is_taken_once_and_given_back() {
    let world = world().await;
    let addresses = vec![DNS.parse().unwrap()];
    let taken = server::serve(&world.network, &world.fabric, addresses.clone());
    assert!(matches!(taken, Err(server::ServeError::Address(_))));
    drop(world.serving);
    assert!(server::serve(&world.network, &world.fabric, addresses).is_ok());
}
