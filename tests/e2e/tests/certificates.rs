//! Row `sec.certs`: certificates are made at the first start, for users when they ask, and anew before they end.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use coracle_e2e::{Cluster, Output, eventually};
use rcgen::{CertificateParams, DnType, KeyPair};
use serde_json::json;

/// The value of a field of a kubeconfig, decoded.
fn field(kubeconfig: &str, name: &str) -> String {
    let name = format!("{name}: ");
    let line = kubeconfig.lines().find_map(|line| line.trim().strip_prefix(&name)).unwrap();
    String::from_utf8(STANDARD.decode(line.trim_matches('"')).unwrap()).unwrap()
}

/// Runs kubectl with a kubeconfig of this text and nothing else.
fn with(cluster: &Cluster, kubeconfig: &str, arguments: &[&str]) -> Output {
    let path = cluster.folder().join("other.kubeconfig");
    std::fs::write(&path, kubeconfig).unwrap();
    at(cluster, &path, arguments)
}

/// `kubectl --kubeconfig PATH …`
fn at(cluster: &Cluster, path: &Path, arguments: &[&str]) -> Output {
    let path = path.display().to_string();
    cluster.kubectl(&[&["--kubeconfig", &path], arguments].concat())
}

/// A user makes a key and asks; who may, approves.
fn a_user_asks(cluster: &Cluster, generated: &str) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "ann");
    let request = params.serialize_request(&key).unwrap().pem().unwrap();
    let object = json!({"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
        "metadata": {"name": "ann"}, "spec": {"signerName": "kubernetes.io/kube-apiserver-client",
        "request": STANDARD.encode(request), "usages": ["client auth"]}});
    cluster.apply(&object.to_string());
    cluster.run(&["certificate", "approve", "ann"]);
    cluster.run(&["create", "clusterrolebinding", "ann", "--clusterrole=view", "--user=ann"]);
    let path = "jsonpath={.status.certificate}";
    let certificate = eventually("the certificate is there", || {
        let got = cluster.run(&["get", "csr", "ann", "-o", path]);
        if got.is_empty() { Err("none yet") } else { Ok(got) }
    });
    let replaced = |name: &str, value: &str, text: &str| -> String {
        let before = STANDARD.encode(field(text, name));
        text.replace(&before, value)
    };
    let theirs = replaced("client-certificate-data", &certificate, generated);
    let theirs = replaced("client-key-data", &STANDARD.encode(key.serialize_pem()), &theirs);
    let who =
        with(cluster, &theirs, &["auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"]);
    assert!(who.ok && who.stdout == "ann", "{who:?}");
    let pods = eventually("the role is known", || {
        let got = with(cluster, &theirs, &["auth", "can-i", "list", "pods"]);
        if got.ok { Ok(got) } else { Err(got) }
    });
    assert_eq!(pods.stdout.trim(), "yes");
    let denied = with(cluster, &theirs, &["auth", "can-i", "delete", "pods"]);
    assert_eq!(denied.stdout.trim(), "no", "{denied:?}");
}

/// The certificate that the server shows.
fn shown(cluster: &Cluster) -> String {
    let server = cluster.run(&[
        "config",
        "view",
        "--minify",
        "-o",
        "jsonpath={.clusters[0].cluster.server}",
    ]);
    let address = server.strip_prefix("https://").unwrap();
    let output = Command::new("openssl")
        .args(["s_client", "-connect", address, "-showcerts"])
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (_, rest) = text.split_once("-----BEGIN CERTIFICATE-----").unwrap();
    rest.split_once("-----END CERTIFICATE-----").unwrap().0.to_owned()
}

/// The hosts' own are in `hosts.rs`, the authority's in `apiserver/src/pki/tests.rs`: it lives for ten years.
#[test]
fn certificates_are_there_from_the_start_and_follow_each_other() {
    let mut cluster = Cluster::start();
    let generated = std::fs::read_to_string(cluster.kubeconfig()).unwrap();
    let nodes = at(&cluster, &cluster.kubeconfig(), &["get", "no"]);
    assert!(nodes.ok && nodes.stdout.contains(" Ready "), "{nodes:?}");
    a_user_asks(&cluster, &generated);

    // The same cluster, whose certificates live for seconds.
    cluster.kill_server();
    cluster.set_flags(vec!["--certificate-validity-period=15s".to_owned()]);
    cluster.start_server();
    cluster.wait_ready();
    let before = (std::fs::read_to_string(cluster.kubeconfig()).unwrap(), shown(&cluster));
    // What kubectl says of it is up to when the connection is cut.
    eventually("the certificate ends", || {
        let got = with(&cluster, &before.0, &["get", "no"]);
        if got.ok { Err(got) } else { Ok(()) }
    });
    // The generated kubeconfig is good all the same, and so is the server: kubectl checks it.
    eventually("the next one is there", || {
        let got = at(&cluster, &cluster.kubeconfig(), &["get", "no"]);
        if got.ok && got.stdout.contains(" Ready ") { Ok(()) } else { Err(got) }
    });
    let certificate = |text: &str| field(text, "client-certificate-data");
    let after = eventually("the kubeconfig has another one", || {
        let after = std::fs::read_to_string(cluster.kubeconfig()).unwrap();
        if certificate(&before.0) == certificate(&after) { Err(after) } else { Ok(after) }
    });
    eventually("the server shows another one", || {
        let now = shown(&cluster);
        if now == before.1 { Err(now) } else { Ok(()) }
    });
    assert_eq!(
        field(&after, "certificate-authority-data"),
        field(&generated, "certificate-authority-data")
    );
}
