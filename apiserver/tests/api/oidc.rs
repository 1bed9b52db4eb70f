//! Tokens of OpenID Connect issuers, from a real HTTPS issuer whose keys change.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use coracle_apiserver::authn::{Oidc, OidcFlags, TokenKeys, parse_configuration};
use coracle_apiserver::pki::Pki;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use parking_lot::Mutex;
use rcgen::KeyPair;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::harness::Session;
use crate::serve::{Served, serve_session, value};

/// An issuer on this machine.
struct Issuer {
    url: String,
    authority: String,
    /// What it publishes.
    keys: Arc<Mutex<Value>>,
    /// How often its keys were asked for.
    asked: Arc<Mutex<usize>>,
}

/// The key set of a pair, and its only key's id.
fn set_of(key: &KeyPair) -> (Value, String) {
    let pair = KeyPair::try_from(key.serialize_der()).unwrap();
    let set = TokenKeys::new(&[pair]).unwrap().jwks();
    let id = set["keys"][0]["kid"].as_str().unwrap().to_owned();
    (set, id)
}

fn now() -> i64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "the server checks tokens against the real clock"
    )]
    let now = jiff::Timestamp::now();
    now.as_second()
}

impl Issuer {
    async fn start(key: &KeyPair) -> Issuer {
        let folder = tempfile::tempdir().unwrap();
        #[expect(
            clippy::disallowed_methods,
            reason = "TLS checks certificates against the real clock"
        )]
        let pki = Pki::open(folder.path(), jiff::Timestamp::now()).unwrap();
        let tls = pki.server_config(&pki.issue_serving(&[]).unwrap()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://127.0.0.1:{}", listener.local_addr().unwrap().port());
        let acceptor = TlsAcceptor::from(tls);
        let keys = Arc::new(Mutex::new(set_of(key).0));
        let asked = Arc::new(Mutex::new(0));
        let (shown, count, own) = (Arc::clone(&keys), Arc::clone(&asked), url.clone());
        let answer = move |request: Request<Incoming>| {
            let found = match request.uri().path() {
                "/.well-known/openid-configuration" => {
                    json!({"issuer": own, "jwks_uri": format!("{own}/keys")})
                }
                "/keys" => {
                    *count.lock() += 1;
                    shown.lock().clone()
                }
                _ => Value::Null,
            };
            let answer = Response::new(Full::new(Bytes::from(found.to_string())));
            async move { Ok::<_, Infallible>(answer) }
        };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(stream) = acceptor.accept(stream).await else { continue };
                let answer = answer.clone();
                tokio::spawn(async move {
                    let builder = Builder::new(TokioExecutor::new());
                    let service = service_fn(answer);
                    let _ended = builder.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Issuer { url, authority: pki.ca_certificate().to_owned(), keys, asked }
    }

    fn token(&self, key: &KeyPair, change: &Value) -> String {
        let mut claims = json!({"iss": self.url, "sub": "ann", "aud": "cluster", "exp": now() + 600,
            "groups": ["dev"], "hd": "example.com"});
        for (name, value) in change.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(set_of(key).1);
        let signing = EncodingKey::from_ec_der(&key.serialize_der());
        jsonwebtoken::encode(&header, &claims, &signing).unwrap()
    }

    fn by_flags(&self) -> Oidc {
        let flags = OidcFlags {
            issuer_url: self.url.clone(),
            client_id: "cluster".into(),
            username_prefix: Some("oidc:".into()),
            groups_claim: "groups".into(),
            groups_prefix: "oidc:".into(),
            required_claims: vec!["hd=example.com".into()],
            signing_algorithms: vec!["ES256".into()],
            authority: self.authority.clone().into_bytes(),
            ..OidcFlags::default()
        };
        Oidc::new(vec![flags.rules().unwrap()])
    }
}

/// Who a token's bearer is, or the code of the refusal; over TLS, as a client from outside.
async fn whoami(served: &Served, token: &str) -> Result<String, u16> {
    let request =
        Request::post("https://localhost/apis/authentication.k8s.io/v1/selfsubjectreviews")
            .header("host", "localhost")
            .header("authorization", format!("Bearer {token}"))
            .body(Full::new(Bytes::from("{}")))
            .unwrap();
    let answer = served.http1(served.client(None), request).await;
    let code = answer.status();
    let body = value(answer).await;
    let text = format!(
        "POST /apis/authentication.k8s.io/v1/tokenreviews\n{}",
        json!({"spec": {"token": token}})
    );
    let reviewed = served.session.value(&text).await;
    if code == StatusCode::UNAUTHORIZED {
        assert_eq!(body["reason"], "Unauthorized");
        assert!(reviewed["status"]["authenticated"].is_null(), "{reviewed}");
        return Err(code.as_u16());
    }
    let user = &body["status"]["userInfo"];
    assert_eq!(reviewed["status"]["user"], *user, "a TokenReview says the same");
    Ok(format!("{} {}", user["username"], user["groups"]))
}

const ANN: &str = r#""oidc:ann" ["oidc:dev","system:authenticated"]"#;

#[tokio::test]
async fn an_issuers_tokens_are_users_and_others_are_refused() {
    let key = KeyPair::generate().unwrap();
    let issuer = Issuer::start(&key).await;
    let session = Session::with(|config| config.oidc = issuer.by_flags()).await;
    let session = serve_session(session).await;
    let check = async |change: Value, expected: Result<&str, u16>| {
        let found = whoami(&session, &issuer.token(&key, &change)).await;
        assert_eq!(found.as_deref().map_err(|code| *code), expected, "{change}");
    };
    check(json!({}), Ok(ANN)).await;
    check(json!({"exp": now() - 1}), Err(401)).await;
    check(json!({"aud": "other"}), Err(401)).await;
    check(json!({"hd": "elsewhere"}), Err(401)).await;
    check(json!({"iss": "https://other"}), Err(401)).await;
    check(json!({"sub": ""}), Err(401)).await;
    let forged = issuer.token(&KeyPair::generate().unwrap(), &json!({}));
    assert_eq!(whoami(&session, &forged).await, Err(401));
    assert_eq!(*issuer.asked.lock(), 1, "an invented key does not flood the issuer");
}

#[tokio::test]
async fn keys_may_change() {
    let (old, new) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let issuer = Issuer::start(&new).await;
    *issuer.keys.lock() = set_of(&old).0;
    let configuration = format!(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt:\n- issuer:\n    url: {}\n    audiences: [cluster]\n    certificateAuthority: |\n      {}\n  claimMappings:\n    username: {{expression: \"'oidc:' + claims.sub\"}}\n    groups: {{expression: \"claims.groups.map(g, 'oidc:' + g)\"}}\n",
        issuer.url,
        issuer.authority.replace('\n', "\n      ")
    );
    let trusting = || Oidc::new(parse_configuration(&configuration).unwrap());
    let session = Session::with(|config| config.oidc = trusting()).await;
    let session = serve_session(session).await;
    assert_eq!(whoami(&session, &issuer.token(&old, &json!({}))).await.as_deref(), Ok(ANN));
    *issuer.keys.lock() = set_of(&new).0;
    // Asked a moment ago: the unknown key is looked for again only after a while.
    assert_eq!(whoami(&session, &issuer.token(&new, &json!({}))).await, Err(401));
    let later = trusting();
    let session = Session::with(|config| config.oidc = later).await;
    let session = serve_session(session).await;
    assert_eq!(whoami(&session, &issuer.token(&new, &json!({}))).await.as_deref(), Ok(ANN));
    assert_eq!(whoami(&session, &issuer.token(&old, &json!({}))).await, Err(401));
}
