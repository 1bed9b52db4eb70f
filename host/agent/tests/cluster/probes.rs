//! What counts as an answer to a probe, and what a probe asks.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::harness::{Cluster, container, pod};

const PORT: u16 = 8080;

fn probed(name: &str, probe: Value) -> Value {
    let mut probe = probe;
    probe["periodSeconds"] = json!(1);
    probe["failureThreshold"] = json!(1);
    let more = json!({"ports": [{"name": "web", "containerPort": PORT}], "readinessProbe": probe});
    pod(name, json!({"containers": [container("app", more)]}))
}

/// Row `probe.http`.
#[tokio::test]
async fn http_answers_from_200_to_399_pass() {
    let cluster = Cluster::start().await;
    let get = json!({"path": "/healthz?full", "port": "web",
        "httpHeaders": [{"name": "X-Probe", "value": "yes"}, {"name": "Host", "value": "app.example"}]});
    cluster.runtime.answer(PORT, Some("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"));
    cluster.create::<Pod>(probed("web", json!({"httpGet": get}))).await;
    let ready = "/status/containerStatuses/0/ready";
    cluster.shows("web", ready, true).await;
    // Each answer after one of the other kind.
    let rows = [
        ("HTTP/1.1 400 Bad\r\ncontent-length: 0\r\n\r\n", false),
        ("HTTP/1.1 399 Odd\r\ncontent-length: 0\r\n\r\n", true),
        ("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n", false),
        (
            "HTTP/1.1 302 Elsewhere\r\nlocation: http://nowhere.example/\r\ncontent-length: 0\r\n\r\n",
            true,
        ),
        ("HTTP/1.1 199 Early\r\n\r\n", false),
    ];
    for (answer, wanted) in rows {
        cluster.runtime.answer(PORT, Some(answer));
        cluster.shows("web", ready, wanted).await;
    }
    let asked = cluster.runtime.asked(PORT).unwrap().to_lowercase();
    for line in [
        "get /healthz?full http/1.1\r\n",
        "\r\nx-probe: yes\r\n",
        "\r\nhost: app.example\r\n",
        "\r\nuser-agent: kube-probe/1.35\r\n",
    ] {
        assert!(asked.contains(line), "{line}: {asked}");
    }
    assert_eq!(asked.matches("host:").count(), 1, "{asked}");
}

/// Row `probe.tcp`.
#[tokio::test]
async fn an_open_port_passes_whatever_comes_after() {
    let cluster = Cluster::start().await;
    cluster.create::<Pod>(probed("db", json!({"tcpSocket": {"port": "web"}}))).await;
    let message = cluster.event("Unhealthy").await;
    assert!(message.ends_with(":8080: connect: connection refused"), "{message}");
    let ready = "/status/containerStatuses/0/ready";
    // Opened and closed at once.
    cluster.runtime.answer(PORT, Some(""));
    cluster.shows("db", ready, true).await;
    cluster.runtime.answer(PORT, None);
    cluster.shows("db", ready, false).await;
    cluster.runtime.answer(PORT, Some("220 hello\r\n"));
    cluster.shows("db", ready, true).await;
}

/// HTTPS: the certificate is not checked, but it must be TLS.
#[tokio::test]
async fn a_probe_over_tls_takes_any_certificate() {
    let cluster = Cluster::start().await;
    cluster.runtime.answer(PORT, Some("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"));
    let get = json!({"port": PORT, "scheme": "HTTPS"});
    cluster.create::<Pod>(probed("tls", json!({"httpGet": get}))).await;
    let message = cluster.event("Unhealthy").await;
    assert!(message.starts_with("Readiness probe failed: Get \"https://10.128."), "{message}");
    assert!(message.contains("tls"), "{message}");
    cluster.runtime.serve(PORT, tls_server());
    cluster.is_ready("tls").await;
}

/// A server with a certificate that nobody has signed, for another name.
fn tls_server() -> coracle_agent::runtime::fake::Server {
    let made = rcgen::generate_simple_self_signed(["elsewhere.example".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
    std::sync::Arc::new(move |stream| {
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
            let mut stream = acceptor.accept(stream).await.unwrap();
            let mut request = [0; 4096];
            let length = stream.read(&mut request).await.unwrap();
            assert!(request[..length].starts_with(b"GET / HTTP/1.1\r\n"));
            let _ = stream.write_all(b"HTTP/1.1 204 Fine\r\n\r\n").await;
            let _ = stream.shutdown().await;
        });
    })
}

/// Row `probe.liveness-internal` has its own sample; here: probes that find what they found before
/// write nothing.
#[tokio::test]
async fn a_steady_probe_costs_no_write() {
    let cluster = Cluster::start().await;
    cluster.runtime.answer(PORT, Some("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"));
    let probe = json!({"httpGet": {"port": PORT}, "timeoutSeconds": 30});
    cluster.create::<Pod>(probed("calm", probe)).await;
    let before = cluster.is_ready("calm").await;
    // Three more rounds.
    for _ in 0..3 {
        cluster.runtime.forget_asked();
        cluster.eventually("another probe", || cluster.runtime.asked(PORT).is_some()).await;
    }
    let after = cluster.is_ready("calm").await;
    assert_eq!(before["metadata"]["resourceVersion"], after["metadata"]["resourceVersion"]);
    // And a change is still seen.
    cluster.runtime.answer(PORT, None);
    cluster.shows("calm", "/status/containerStatuses/0/ready", false).await;
}
