//! The authority's files, and TLS between what it issued.

use super::*;
use crate::authn::{UserInfo, user_of_certificate};
use expect_test::expect;
use rustls_pki_types::ServerName;
use std::os::unix::fs::PermissionsExt;
use tokio_rustls::{TlsAcceptor, TlsConnector};

fn now() -> Timestamp {
    "2026-11-21T10:00:00Z".parse().unwrap()
}

/// TLS checks validity against the real clock.
#[expect(clippy::disallowed_methods, reason = "rustls reads the clock as well")]
fn today() -> Timestamp {
    Timestamp::now()
}

#[test]
fn the_authority_survives_a_restart_and_its_key_is_private() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("pki");
    let first = Pki::open(&folder, now()).unwrap();
    let second = Pki::open(&folder, now()).unwrap();
    assert_eq!(first.ca_certificate(), second.ca_certificate());
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder.join("ca.key")), 0o600);
    assert_eq!(mode(&folder), 0o700);
    std::fs::remove_file(folder.join("ca.key")).unwrap();
    let error = Pki::open(&folder, now()).err().unwrap();
    assert!(matches!(error, PkiError::KeyMissing { .. }), "{error}");
    std::fs::remove_file(folder.join("ca.crt")).unwrap();
    let third = Pki::open(&folder, now()).unwrap();
    assert_ne!(first.ca_certificate(), third.ca_certificate());
}

#[tokio::test]
async fn the_authority_is_renewed_in_time_and_nobody_notices() {
    let folder = tempfile::tempdir().unwrap();
    let years = |count: i64| today() + jiff::SignedDuration::from_hours(count * 365 * 24);
    let first = Pki::open(folder.path(), years(-6)).unwrap();
    let early = Pki::open(folder.path(), years(-2)).unwrap();
    assert_eq!(first.ca_certificate(), early.ca_certificate());
    let renewed = Pki::open(folder.path(), today()).unwrap();
    assert_ne!(first.ca_certificate(), renewed.ca_certificate());
    let again = Pki::open(folder.path(), today()).unwrap();
    assert_eq!(again.ca_certificate(), renewed.ca_certificate());
    // Whoever trusts one of them trusts what the other issued, on both sides.
    first.set_now(today());
    let of = |pki: &Pki| Some(pki.issue_client("admin", None).unwrap());
    for (server, client) in [(&renewed, &first), (&first, &renewed)] {
        let user = meet(server, client, "localhost", of(client)).await.unwrap().unwrap();
        assert_eq!(user.name, "admin");
    }
    // Somebody's own authority is left alone.
    let mut params = CertificateParams::default();
    params.distinguished_name = subject("Example Root", None);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    validity(&mut params, years(-2), DAY * 365 * 3);
    let key = KeyPair::generate().unwrap();
    let own = params.self_signed(&key).unwrap().pem();
    files::write_authority(folder.path(), &own, &key.serialize_pem()).unwrap();
    assert_eq!(Pki::open(folder.path(), today()).unwrap().ca_certificate(), own);
}

#[test]
fn no_certificate_ends_later_than_a_date_can_say() {
    let folder = tempfile::tempdir().unwrap();
    let end = |valid: Duration| {
        let pki = Pki::open(folder.path(), now()).unwrap().valid_for(valid);
        let identity = pki.issue_client("ann", None).unwrap();
        let der = tls::first_certificate(&identity.certificate).unwrap();
        X509Certificate::from_der(&der).unwrap().1.validity().not_after.timestamp()
    };
    assert_eq!(end(DAY), now().as_second() + 24 * 3600);
    for valid in [Duration::from_secs(80_000_000 * 3600), Duration::MAX] {
        assert_eq!(Ok(end(valid)), i64::try_from(LAST_DATE.as_secs()));
    }
}

#[tokio::test]
async fn a_serving_certificate_is_replaced_while_it_serves() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::open(folder.path(), today() - DAY * 2).unwrap().valid_for(DAY);
    assert_eq!(pki.renew_after(), DAY / 5 * 4);
    let serving = Serving::new(&pki.issue_serving(&[]).unwrap()).unwrap();
    let acceptor = TlsAcceptor::from(pki.server_config_under(serving.clone()).unwrap());
    let meets = async || {
        let (near, far) = tokio::io::duplex(64 << 10);
        let connector = TlsConnector::from(pki.client_config(None).unwrap());
        let name = ServerName::try_from("localhost").unwrap();
        tokio::join!(connector.connect(name, near), acceptor.accept(far)).0.map(drop)
    };
    let ended = meets().await.unwrap_err().to_string();
    assert!(ended.contains("expired"), "{ended}");
    pki.set_now(today());
    serving.replace(&pki.issue_serving(&[]).unwrap()).unwrap();
    meets().await.unwrap();
    let junk = Identity { certificate: "junk".to_owned(), key: "junk".to_owned() };
    assert!(serving.replace(&junk).is_err());
    meets().await.unwrap();
}

#[test]
fn the_keys_of_tokens_survive_a_restart_and_are_private() {
    let folder = tempfile::tempdir().unwrap();
    let first = Pki::service_account_keys(folder.path()).unwrap();
    let second = Pki::service_account_keys(folder.path()).unwrap();
    assert_eq!(first.jwks(), second.jwks());
    let file = folder.path().join("sa.key");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let old = std::fs::read_to_string(&file).unwrap();
    let new = KeyPair::generate().unwrap().serialize_pem();
    std::fs::write(&file, format!("{new}{old}")).unwrap();
    let rotated = Pki::service_account_keys(folder.path()).unwrap().jwks();
    assert_eq!(rotated["keys"][1], first.jwks()["keys"][0]);
    std::fs::write(&file, "junk").unwrap();
    assert!(Pki::service_account_keys(folder.path()).is_err());
}

#[test]
fn damaged_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ca.crt"), "junk").unwrap();
    std::fs::write(folder.path().join("ca.key"), "junk").unwrap();
    let error = Pki::open(folder.path(), now()).err().unwrap();
    expect!["read the key of the cluster's CA"].assert_eq(&error.to_string());
}

#[test]
fn reads_the_token_file() {
    let folder = tempfile::tempdir().unwrap();
    assert!(Pki::tokens(folder.path()).is_ok());
    std::fs::write(folder.path().join("tokens.csv"), "only-a-token\n").unwrap();
    let error = Pki::tokens(folder.path()).err().unwrap();
    expect!["read the token file, line 1: it must have a token and a user name"]
        .assert_eq(&error.to_string());
}

#[test]
fn writes_kubeconfigs() {
    let identity = Identity { certificate: "C".to_owned(), key: "K".to_owned() };
    let config = Kubeconfig {
        server: "https://127.0.0.1:6443",
        ca_certificate: "A",
        cluster: "coracle",
        user: "admin",
        identity: &identity,
    };
    expect![[r#"
        apiVersion: v1
        kind: Config
        clusters:
        - name: "coracle"
          cluster:
            server: "https://127.0.0.1:6443"
            certificate-authority-data: QQ==
        users:
        - name: "admin"
          user:
            client-certificate-data: Qw==
            client-key-data: Sw==
        contexts:
        - name: "coracle"
          context:
            cluster: "coracle"
            user: "admin"
        current-context: "coracle"
    "#]]
    .assert_eq(&kubeconfig(&config));
}

/// Connects to a server at `name`, and gives whom the server saw.
async fn meet(
    server: &Pki,
    client: &Pki,
    name: &str,
    identity: Option<Identity>,
) -> Result<Option<UserInfo>, String> {
    let serving = server.issue_serving(&["node.example".to_owned()]).unwrap();
    let acceptor = TlsAcceptor::from(server.server_config(&serving).unwrap());
    let config = match &identity {
        Some(identity) => client.client_config(Some(identity)).unwrap(),
        None => client.client_config(None).unwrap(),
    };
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let (near, far) = tokio::io::duplex(64 << 10);
    let connector = TlsConnector::from(config);
    let (connected, accepted) = tokio::join!(connector.connect(name, near), acceptor.accept(far));
    connected.map_err(|error| error.to_string())?;
    let accepted = accepted.map_err(|error| error.to_string())?;
    let certificates = accepted.get_ref().1.peer_certificates().unwrap_or_default();
    Ok(certificates.first().map(|der| user_of_certificate(der).unwrap()))
}

#[tokio::test]
async fn tls_verifies_both_sides() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::open(&folder.path().join("a"), today()).unwrap();
    let stranger = Pki::open(&folder.path().join("b"), today()).unwrap();
    let admin = || pki.issue_client("admin", Some("system:masters")).unwrap();
    for name in
        ["localhost", "127.0.0.1", "::1", "kubernetes.default.svc", "10.96.0.1", "node.example"]
    {
        let user = meet(&pki, &pki, name, Some(admin())).await.unwrap().unwrap();
        assert_eq!((user.name.as_str(), user.is_in("system:masters")), ("admin", true));
    }
    assert_eq!(meet(&pki, &pki, "localhost", None).await.unwrap(), None);
    assert!(meet(&pki, &pki, "elsewhere.example", None).await.is_err());
    assert!(meet(&pki, &stranger, "localhost", None).await.is_err());
    // Issued by another authority, while the client trusts the server's.
    let forged = stranger.issue_client("admin", Some("system:masters")).unwrap();
    assert!(meet(&pki, &pki, "localhost", Some(forged)).await.is_err());
}
