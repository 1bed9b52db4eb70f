//! UDP through Services on a real fabric: flows keep their backends, from pods and from outside, and
//! a pod reaches itself through its own Service.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use coracle_network::cidr::Cidr;
use coracle_network::network::{Answers, Network};
use coracle_network::switch::Ranges;
use coracle_network::table::ServiceKey;
use coracle_vnet::{Fabric, NetNs, NetNsSpec, NsTag, UdpSocket, serve_datagrams};
use serde_json::json;

const SERVICE: &str = "10.96.0.53:53";

struct World {
    network: Arc<Network>,
    fabric: Arc<Fabric>,
}

impl World {
    fn new() -> World {
        let ranges = Ranges {
            pods: Cidr::parse_families("10.128.0.0/9,fd63:6f72::/32").unwrap(),
            services: Cidr::parse_families("10.96.0.0/12,fd63:6f73::/108").unwrap(),
            host: [].into(),
        };
        let (network, _refusals) = Network::new(ranges);
        let answers = Arc::new(Answers(Arc::clone(&network)));
        let fabric = Fabric::new(answers.clone(), answers);
        let world = World { network, fabric };
        let object = json!({"spec": {"clusterIP": "10.96.0.53", "ports": [
            {"name": "dns", "port": 53, "protocol": "UDP", "nodePort": 30053},
            {"name": "tcp", "port": 53, "protocol": "TCP"},
        ]}});
        let key = ServiceKey { namespace: "default".into(), name: "dns".into() };
        world.network.change(|table| {
            table.set_service(&key, &serde_json::from_value(object).unwrap());
        });
        world
    }

    fn backends(&self, pods: &[&str]) {
        let endpoints: Vec<_> = pods.iter().map(|ip| json!({"addresses": [ip]})).collect();
        let slice = json!({
            "metadata": {"labels": {"kubernetes.io/service-name": "dns"}},
            "addressType": "IPv4", "endpoints": endpoints, "ports": [
                {"name": "dns", "port": 5353, "protocol": "UDP"},
                {"name": "tcp", "port": 5353, "protocol": "TCP"},
            ],
        });
        let slice = serde_json::from_value(slice).unwrap();
        self.network.change(|table| table.set_slice("default", "dns-1", &slice));
        self.fabric.forget_flows();
    }

    fn pod(&self, ip: &str) -> Arc<NetNs> {
        let tag = NsTag::new(ip, &format!("default/{ip}"));
        self.fabric.add(NetNsSpec::new(tag, vec![ip.parse::<IpAddr>().unwrap()])).unwrap()
    }
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn server(pod: &Arc<NetNs>) -> UdpSocket {
    pod.bind_udp(at("0.0.0.0:5353")).unwrap()
}

/// Sends a question to the Service, lets the server that got it answer, and gives that server's
/// number and whom the client takes the answer to be from.
fn ask(client: &UdpSocket, servers: &[&UdpSocket]) -> (usize, String) {
    client.send(at(SERVICE), Bytes::from_static(b"question")).unwrap();
    let got = servers.iter().enumerate().find_map(|(number, server)| {
        let question = server.try_recv().unwrap()?;
        server.send(question.source, Bytes::from_static(b"answer")).unwrap();
        Some(number)
    });
    let answer = client.try_recv().unwrap().unwrap();
    assert_eq!(answer.data, "answer");
    (got.unwrap(), answer.source.to_string())
}

#[test]
fn a_flow_keeps_its_backend_until_that_is_gone() {
    let world = World::new();
    let (client, one, two) =
        (world.pod("10.128.0.9"), world.pod("10.128.0.1"), world.pod("10.128.0.2"));
    let client = client.bind_udp(at("0.0.0.0:0")).unwrap();
    let (one, two) = (server(&one), server(&two));
    world.backends(&["10.128.0.1"]);
    assert_eq!(ask(&client, &[&one, &two]), (0, SERVICE.to_owned()));
    world.backends(&["10.128.0.1", "10.128.0.2"]);
    // Anew it would be either; 32 times the same says that it stayed.
    for _ in 0..32 {
        world.fabric.forget_flows();
        assert_eq!(ask(&client, &[&one, &two]), (0, SERVICE.to_owned()));
    }
    world.backends(&["10.128.0.2"]);
    assert_eq!(ask(&client, &[&one, &two]), (1, SERVICE.to_owned()));
}

#[tokio::test]
async fn a_pod_reaches_itself_through_its_own_service() {
    let world = World::new();
    let pod = world.pod("10.128.0.1");
    world.backends(&["10.128.0.1"]);
    let (client, server) = (pod.bind_udp(at("0.0.0.0:0")).unwrap(), server(&pod));
    assert_eq!(ask(&client, &[&server]), (0, SERVICE.to_owned()));

    let listener = pod.bind_tcp(at("0.0.0.0:5353")).unwrap().listen(4, None).unwrap();
    let near = pod.connect_tcp(at(SERVICE), None).await.unwrap();
    let far = listener.accept().await.unwrap();
    assert_eq!(near.peer_addr(), at(SERVICE));
    assert_eq!(far.local_addr(), at("10.128.0.1:5353"));
    assert_eq!(far.peer_addr().ip(), at("10.128.0.1:0").ip());
}

#[tokio::test]
async fn a_client_outside_keeps_its_backend_and_is_answered_from_the_node_port() {
    let world = World::new();
    let (one, two) = (world.pod("10.128.0.1"), world.pod("10.128.0.2"));
    let servers = [server(&one), server(&two)];
    world.backends(&["10.128.0.1", "10.128.0.2"]);
    let door = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = door.local_addr().unwrap();
    let network = Arc::clone(&world.network);
    let pick = move |client: SocketAddr, before| network.keep_node_port(30053, client.ip(), before);
    let serving = tokio::spawn(serve_datagrams(door, Arc::clone(&world.fabric), pick));

    let client = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.connect(address).await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..32 {
        client.send(b"question").await.unwrap();
        let readable = std::future::poll_fn(|cx| {
            let ready = servers.iter().position(|server| server.poll_readable(cx).is_ready());
            ready.map_or(std::task::Poll::Pending, std::task::Poll::Ready)
        });
        let number = readable.await;
        let question = servers[number].try_recv().unwrap().unwrap();
        assert_eq!(question.source.port(), client.local_addr().unwrap().port());
        assert!(!question.source.ip().is_loopback(), "{question:?}");
        servers[number].send(question.source, Bytes::from_static(b"answer")).unwrap();
        let mut answer = [0; 16];
        let length = client.recv(&mut answer).await.unwrap();
        assert_eq!(&answer[..length], b"answer");
        seen.push(number);
    }
    assert!(seen.iter().all(|number| *number == seen[0]), "{seen:?}");
    // The other one takes over when the first leaves the Service.
    world.backends(&[["10.128.0.2", "10.128.0.1"][seen[0]]]);
    client.send(b"question").await.unwrap();
    let other = 1 - seen[0];
    std::future::poll_fn(|cx| servers[other].poll_readable(cx)).await;
    serving.abort();
}
