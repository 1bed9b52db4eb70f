//! Secrets are sealed in the store and plain everywhere else.

use coracle_apiserver::authn::UserInfo;
use coracle_apiserver::seal::{Sealer, generate};
use coracle_apiserver::{ApiServer, Config, StartError};
use coracle_store::{Revision, Store};

use crate::harness::Session;

const CREATE: &str = r#"
POST /api/v1/namespaces/default/secrets | /metadata/name
{"metadata":{"name":"s","labels":{"a":"b"}},"data":{"k":"cGxhaW50ZXh0"}}

PATCH /api/v1/namespaces/default/secrets/s | /data
Content-Type: application/merge-patch+json
{"data":{"l":"bW9yZQ=="}}

POST /api/v1/namespaces/default/configmaps | /metadata/name
{"metadata":{"name":"c"},"data":{"k":"cGxhaW50ZXh0"}}
"#;

async fn stored(store: &Store, key: &str) -> String {
    let kv = store.get(key.as_bytes()).await.unwrap().unwrap();
    String::from_utf8_lossy(&kv.value).into_owned()
}

async fn server(store: &Store, config: &str) -> Result<ApiServer, StartError> {
    let folder = tempfile::tempdir().unwrap();
    let mut made = Config::new("10.0.0.1:6443".parse().unwrap(), folder.path().join("registry"));
    made.sealer = Sealer::parse(config).unwrap();
    ApiServer::new(made, store.clone()).await
}

#[tokio::test]
async fn a_secret_is_never_stored_plain() {
    let config = generate().unwrap();
    let session = Session::with(|made| made.sealer = Sealer::parse(&config).unwrap()).await;
    let out = session.run(CREATE).await;
    assert!(out.contains(r#"{"k":"cGxhaW50ZXh0","l":"bW9yZQ=="}"#), "{out}");
    let sealed = stored(&session.store, "/registry/core/secrets/default/s").await;
    assert!(sealed.starts_with("k8s:enc:envelope:v1:key1:"), "{sealed}");
    assert!(!sealed.contains("cGxhaW50ZXh0") && !sealed.contains("resourceVersion"), "{sealed}");
    assert!(
        stored(&session.store, "/registry/core/configmaps/default/c")
            .await
            .contains("cGxhaW50ZXh0")
    );
    let list = session.value("GET /api/v1/secrets?labelSelector=a%3Db").await;
    let secret = &list["items"][0];
    assert_eq!(secret["data"]["k"], "cGxhaW50ZXh0");
    let revision =
        session.store.get(b"/registry/core/secrets/default/s").await.unwrap().unwrap().modified;
    assert_eq!(secret["metadata"]["resourceVersion"], revision.to_string());

    // Another server on the same store opens it.
    let again = server(&session.store, &config).await.unwrap();
    drop(again.in_process(UserInfo::anonymous()));
    // One without the key says so and does not start.
    let other = server(&session.store, &generate().unwrap().replace("key1", "key2")).await;
    let error = other.err().unwrap().to_string();
    assert!(
        error.contains("sealed by key \"key1\", which the encryption configuration does not have"),
        "{error}"
    );
}

#[tokio::test]
async fn what_was_plain_is_sealed_and_keys_rotate() {
    let session = Session::start().await;
    session.run(CREATE).await;
    let place = "/registry/core/secrets/default/s";
    assert!(stored(&session.store, place).await.contains("cGxhaW50ZXh0"));
    let first = generate().unwrap();
    server(&session.store, &first).await.unwrap();
    assert!(stored(&session.store, place).await.starts_with("k8s:enc:envelope:v1:key1:"));
    let line = first.lines().find(|line| line.contains("aesgcm")).unwrap();
    let new = generate().unwrap().replace("key1", "key2");
    let rotated = new.replace("  - identity: {}", line);
    server(&session.store, &rotated).await.unwrap();
    assert!(stored(&session.store, place).await.starts_with("k8s:enc:envelope:v1:key2:"));
    // The old key may go.
    server(&session.store, &new).await.unwrap();
    assert!(session.store.revision() > Revision(0));
}
