//! ServiceAccount tokens, and what a host does with no server.

use std::sync::atomic::Ordering;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use k8s_openapi::api::authentication::v1::TokenReview;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, ServiceAccount};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::harness::{Cluster, container, pod};
use super::volumes::place;

fn with_token(name: &str) -> Value {
    let sources = json!([
        {"serviceAccountToken": {"path": "token"}},
        {"serviceAccountToken": {"path": "vault", "audience": "vault", "expirationSeconds": 600}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
    ]);
    let app = container("app", json!({"volumeMounts": [{"name": "sa", "mountPath": "/sa"}]}));
    let volumes = json!([{"name": "sa", "projected": {"sources": sources}}]);
    pod(name, json!({"containers": [app], "volumes": volumes}))
}

#[tokio::test]
async fn tokens_are_mounted_renewed_and_never_in_plain_text_on_disk() {
    let mut cluster = Cluster::start().await;
    cluster.gate.token_seconds.store(2, Ordering::SeqCst);
    cluster.create::<Pod>(with_token("web")).await;
    cluster.is_ready("web").await;
    let folder = place(&cluster, "web", "/sa");
    assert!(folder.starts_with(cluster.memory_dir()));
    let read = |file: &str| std::fs::read_to_string(folder.join(file)).unwrap();
    let (first, vault) = (read("token"), read("vault"));
    assert!(first.ends_with("-web-api") && vault.ends_with("-web-vault"), "{first} {vault}");
    assert_eq!(read("namespace"), "default");
    cluster.eventually("another token", || read("token") != first && read("vault") != vault).await;

    cluster.gate.token_seconds.store(3600, Ordering::SeqCst);
    let renewed = || read("token");
    let before = renewed();
    cluster.eventually("a token that lasts", || renewed() != before).await;
    let uid = cluster.is_ready("web").await["metadata"]["uid"].as_str().unwrap().to_owned();
    cluster.saved(&uid).await;
    let kept = cluster.agent_dir().join("checkpoint/tokens").join(&uid);
    cluster.eventually("a sealed copy", || kept.exists()).await;
    assert!(!cluster.on_disk("token-"), "a token is in plain text on disk");

    let held = read("token");
    cluster.kill_agent().await;
    // A write that was under way on a blocking thread outlives the aborted task for a moment.
    cluster.eventually("no folder", || std::fs::remove_dir_all(&folder).is_ok()).await;
    cluster.gate.shut.store(true, Ordering::SeqCst);
    cluster.start_agent();
    cluster
        .eventually("the kept token", || {
            std::fs::read_to_string(folder.join("token")).is_ok_and(|token| token == held)
        })
        .await;
}

#[tokio::test]
async fn an_account_that_is_not_there_is_named() {
    let cluster = Cluster::start().await;
    let accounts = cluster.admin.namespaced::<ServiceAccount>("default");
    accounts.delete("default", &DeleteParams::default()).await.unwrap();
    cluster.create::<Pod>(with_token("web")).await;
    let said = cluster.event("FailedMount").await;
    let expected = "MountVolume.SetUp failed for volume \"sa\" : failed to fetch token: ";
    assert!(said.starts_with(expected), "{said}");
    cluster.gate.token_seconds.store(3600, Ordering::SeqCst);
    cluster.is_ready("web").await;
}

#[tokio::test]
async fn every_pod_has_a_token_of_its_account() {
    let cluster = Cluster::start().await;
    cluster.create::<Pod>(pod("web", json!({}))).await;
    cluster.is_ready("web").await;
    let folder = place(&cluster, "web", "/var/run/secrets/kubernetes.io/serviceaccount");
    let read = |file: &str| std::fs::read_to_string(folder.join(file)).unwrap();
    assert_eq!((read("ca.crt"), read("namespace")), ("PEM".into(), "default".into()));
    let review: TokenReview =
        serde_json::from_value(json!({"spec": {"token": read("token")}})).unwrap();
    let reviews: kube::Api<TokenReview> = kube::Api::all(cluster.admin.kube());
    let status = reviews.create(&PostParams::default(), &review).await.unwrap().status.unwrap();
    assert_eq!(status.authenticated, Some(true), "{status:?}");
    let user = status.user.unwrap().username;
    assert_eq!(user.as_deref(), Some("system:serviceaccount:default:default"));
    let token = read("token");
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    let lasts = claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap();
    assert_eq!(lasts, 3607, "it expires: {claims}");
    // One that soon ends is soon another.
    cluster.gate.token_seconds.store(2, Ordering::SeqCst);
    cluster.create::<Pod>(pod("turns", json!({}))).await;
    cluster.is_ready("turns").await;
    let turns = place(&cluster, "turns", "/var/run/secrets/kubernetes.io/serviceaccount");
    let read = || std::fs::read_to_string(turns.join("token")).unwrap();
    let first = read();
    cluster.eventually("another token", || read() != first).await;
    let spec = json!({"automountServiceAccountToken": false});
    cluster.create::<Pod>(pod("bare", spec)).await;
    cluster.is_ready("bare").await;
    assert!(cluster.runtime.request("bare", "app").unwrap().mounts.is_empty());
}

#[tokio::test]
async fn with_no_server_what_was_optional_and_never_there_holds_up_nothing() {
    let mut cluster = Cluster::start().await;
    let env = json!([{"configMapRef": {"name": "maybe", "optional": true}}]);
    let mounts = json!([{"name": "none", "mountPath": "/none"}]);
    let app = container("app", json!({"envFrom": env, "volumeMounts": mounts}));
    let volumes = json!([{"name": "none", "secret": {"secretName": "never", "optional": true}}]);
    cluster.create::<Pod>(pod("web", json!({"containers": [app], "volumes": volumes}))).await;
    let uid = cluster.is_ready("web").await["metadata"]["uid"].as_str().unwrap().to_owned();
    cluster.saved(&uid).await;
    let objects = cluster.agent_dir().join("checkpoint/objects");
    let kept = ["configmap_default_maybe", "secret_default_never"].map(|name| objects.join(name));
    cluster.eventually("records", || kept.iter().all(|path| path.exists())).await;
    cluster.kill_agent().await;
    cluster.gate.shut.store(true, Ordering::SeqCst);
    cluster.start_agent();
    let started = || cluster.runtime.request("web", "app").is_some();
    cluster.eventually("a start without a server", started).await;
    // It appears in the end, and a later start has it.
    cluster.gate.shut.store(false, Ordering::SeqCst);
    cluster.create::<ConfigMap>(json!({"metadata": {"name": "maybe"}, "data": {"A": "1"}})).await;
    let has = || {
        cluster.runtime.exit("web", "app", 1);
        let request = cluster.runtime.request("web", "app").unwrap();
        request.env.contains(&("A".into(), "1".into()))
    };
    cluster.eventually("the variable", has).await;
}

#[tokio::test]
async fn what_a_namespace_grants_is_followed_live() {
    let cluster = Cluster::start().await;
    cluster.create::<Pod>(pod("web", json!({}))).await;
    cluster.is_ready("web").await;
    let note = |value: Value| json!({"metadata": {"annotations": {"coracle.dev/egress": value}}});
    let namespaces = cluster.admin.cluster::<Namespace>();
    let params = PatchParams::default();
    namespaces
        .patch("default", &params, &Patch::Merge(note("example.com:443".into())))
        .await
        .unwrap();
    cluster.heard("grant web example.com:443").await;
    cluster.patch::<Pod>("web", note("10.0.0.0/8".into())).await;
    cluster.heard("grant web 10.0.0.0/8,example.com:443").await;
    namespaces.patch("default", &params, &Patch::Merge(note(Value::Null))).await.unwrap();
    cluster.heard("grant web 10.0.0.0/8").await;
}
