//! TLS by `wasi:tls`, over a guest's own sockets.

use std::process::Command;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;

use crate::world::Pod;

/// What a machine's certificates are read from; the inner run of the test has its own.
const TRUSTED: &str = "SSL_CERT_FILE";
/// Says that this is the inner run, and where the server's key is.
const KEY: &str = "CORACLE_TEST_TLS_KEY";

/// What the machine trusts is read once in a process, so the test runs itself again with other
/// certificates.
#[test]
#[expect(clippy::disallowed_methods, reason = "it tells itself by the environment which run it is")]
fn a_guest_speaks_tls_with_whom_the_machine_trusts() {
    if let (Ok(trusted), Ok(key)) = (std::env::var(TRUSTED), std::env::var(KEY)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        return runtime.block_on(speak(&trusted, &key));
    }
    let folder = tempfile::tempdir().unwrap();
    let (trusted, key) = (folder.path().join("ca.pem"), folder.path().join("key.pem"));
    let made = rcgen::generate_simple_self_signed(["shop.test".to_owned()]).unwrap();
    std::fs::write(&trusted, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let name = format!("{}::a_guest_speaks_tls_with_whom_the_machine_trusts", module());
    let inner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &name, "--nocapture"])
        .envs([(TRUSTED, &trusted), (KEY, &key)])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&inner.stdout).into_owned();
    let why = String::from_utf8_lossy(&inner.stderr).into_owned();
    assert!(inner.status.success() && said.contains("1 passed"), "{said}\n{why}");
}

/// The path of this module in its test binary.
fn module() -> &'static str {
    module_path!().split_once("::").map_or("", |(_, rest)| rest)
}

async fn speak(trusted: &str, key: &str) {
    use rustls::pki_types::pem::PemObject as _;
    let certificate = CertificateDer::from_pem_file(trusted).unwrap();
    let key = PrivateKeyDer::from_pem_file(key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let server = Pod::new();
    let address = server.address(443);
    let listener = server.netns.bind_tcp(address).unwrap().listen(8, None).unwrap();
    let serving = tokio::spawn(async move {
        loop {
            let Ok(stream) = listener.accept().await else { return };
            // A client that does not trust ends the handshake.
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut text = String::new();
            stream.read_to_string(&mut text).await.unwrap();
            stream.write_all(format!("you said {text}").as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        }
    });
    let said = async |name: &str| {
        let pod = Pod::new();
        let exit =
            pod.start("tls-probe", &[&address.to_string(), name, "hello"]).await.wait().await;
        assert_eq!(exit.code, 0, "{exit:?}");
        pod.log()
    };
    assert_eq!(said("shop.test").await, "stdout F answer you said hello\n");
    let other = said("other.test").await;
    assert!(other.starts_with("stdout F error ") && other.contains("Certificate"), "{other}");
    serving.abort();
    // Nobody listens there, and TLS leads nowhere else.
    let pod = Pod::new();
    let nowhere = format!("{}:443", pod.address(0).ip());
    let exit = pod.start("tls-probe", &[&nowhere, "shop.test", "hello"]).await.wait().await;
    assert_eq!((exit.code, pod.log().contains("connection-refused")), (0, true), "{}", pod.log());
}
