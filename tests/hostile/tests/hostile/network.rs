//! Addresses that are not a pod's own, ports of others, and too many of everything.

use std::net::TcpListener;

use coracle_runtime::LogSpec;

use crate::world::{HOST_IP, Neighbour, Pod, end, image, kill, shown};

/// What the pod's annotation grants, an attack of `hostile net`, and what must come of it.
///
/// `PORT` is a port on which the host really listens, `NEIGHBOUR` the neighbour's address.
const CASES: [(&str, &str, &str); 24] = [
    ("", "connect 127.0.0.1:PORT", "ConnectionRefused"),
    ("*", "connect 127.0.0.1:PORT", "ConnectionRefused"),
    ("*", "connect [::1]:PORT", "ConnectionRefused"),
    ("*", "connect 0.0.0.0:PORT", "refused"),
    ("*", "connect 127.1.2.3:PORT", "ConnectionRefused"),
    ("*", "connect [::ffff:127.0.0.1]:PORT", "refused"),
    ("*", "connect HOST:PORT", "ConnectionRefused"),
    ("HOST", "connect HOST:PORT", "ConnectionRefused"),
    ("*", "connect 169.254.169.254:80", "ConnectionRefused"),
    ("169.254.169.254", "connect 169.254.169.254:80", "ConnectionRefused"),
    ("*", "connect [fe80::1]:80", "refused"),
    ("*", "connect 10.96.0.99:80", "ConnectionRefused"),
    ("*", "connect 10.128.200.200:80", "refused"),
    ("", "connect 198.51.100.7:443", "ConnectionRefused"),
    ("*", "connect 255.255.255.255:9", "refused"),
    ("*", "connect 224.0.0.1:9", "refused"),
    ("", "connect NEIGHBOUR:0", "refused"),
    ("", "listen NEIGHBOUR:80", "AddrNotAvailable"),
    ("*", "listen HOST:PORT", "AddrNotAvailable"),
    ("", "send 198.51.100.7:53", "refused"),
    ("*", "send HOST:PORT", "refused"),
    ("*", "send 169.254.169.254:53", "refused"),
    ("", "lookup metadata.google.internal", "refused"),
    ("", "lookup a..b", "refused"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_address_is_reached_that_was_not_granted() {
    let neighbour = Neighbour::start().await;
    let real = TcpListener::bind("0.0.0.0:0").unwrap();
    real.set_nonblocking(true).unwrap();
    let port = real.local_addr().unwrap().port().to_string();
    let filled = |text: &str| {
        text.replace("PORT", &port)
            .replace("HOST", &HOST_IP.to_string())
            .replace("NEIGHBOUR", &neighbour.pod.ip.to_string())
    };
    for (egress, attack, want) in CASES {
        let pod = Pod::with(&filled(egress), None);
        let attack = format!("net {}", filled(attack));
        let container = pod.start("hostile", &[&attack]).await;
        let exit = end(&container, &attack).await;
        let said = pod.log();
        let said = said.trim().strip_prefix(&format!("{attack} => ")).unwrap_or(&said).to_owned();
        let went_well = ["connected", "listening", "sent"].contains(&said.as_str());
        let is_as_wanted = if want == "refused" { !went_well } else { said == want };
        assert!(is_as_wanted, "egress '{egress}', {attack}: {said} {}", shown(&exit));
        assert!(real.accept().is_err(), "{attack} reached the host");
        neighbour.answers(&attack).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_of_another_pod_cannot_be_taken() {
    let neighbour = Neighbour::start().await;
    let pod = Pod::new();
    let attacks = ["net listen 0.0.0.0:80", "net listen [::]:80", "net listen 0.0.0.0:80"];
    let container = pod.start("hostile", &attacks).await;
    assert_eq!(end(&container, "listen").await.code, 0);
    neighbour.answers("listening on its port").await;
}

/// How many sockets, listeners and connections one pod gets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_and_connections_are_bounded() {
    let neighbour = Neighbour::start().await;
    let address = neighbour.pod.address(80);
    for (attack, want) in [
        ("net udp".to_owned(), "256 then "),
        (format!("net connections {address}"), "4096 then "),
        (format!("net dial {}:1 20000", neighbour.pod.ip), "20000 refused"),
        (format!("net datagrams {}:9 20000", neighbour.pod.ip), "sent"),
    ] {
        let pod = Pod::new();
        let container = pod.start("hostile", &[&attack]).await;
        let exit = end(&container, &attack).await;
        let log = pod.log();
        assert!(log.starts_with(&format!("{attack} => {want}")), "{log}{}", shown(&exit));
        neighbour.answers(&attack).await;
    }
    let pod = Pod::new();
    let container = pod.start("hostile", &["net listeners"]).await;
    // Ports or the table of resources run out, and the guest with them.
    end(&container, "listeners").await;
    neighbour.answers("listeners").await;
}

/// One pod holds as many connections to the neighbour as it gets, and asks nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_holds_all_its_connections_leaves_the_neighbour_some() {
    let neighbour = Neighbour::start().await;
    let pod = Pod::new();
    let attack = format!("net half {}", neighbour.pod.address(80));
    let container = pod.start("hostile", &[&attack]).await;
    pod.says("holding").await;
    neighbour.answers(&attack).await;
    let other = Pod::new();
    let mut spec = other.spec(image("hostile").await, &[]);
    spec.argv.push(format!("net connect {}", neighbour.pod.address(80)));
    spec.log = Some(LogSpec::new(other.folder.path().join("log")));
    let sound = other.sandbox.start(spec).await.unwrap();
    assert_eq!(end(&sound, "connect").await.code, 0);
    assert!(other.log().ends_with("connected\n"), "{}", other.log());
    kill(&container, &attack).await;
    neighbour.answers(&attack).await;
}
