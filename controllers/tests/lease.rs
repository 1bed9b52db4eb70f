//! Leadership over the real API server: one leads, the next follows when it is gone.

use std::time::Duration;

use coracle_apiserver::authn::UserInfo;
use coracle_apiserver::{ApiServer, Config};
use coracle_client::{Client, Lease, LeaseConfig};
use coracle_store::Store;

/// How long a holder may be silent; longer than any machine keeps one from renewing.
const SILENCE: Duration = Duration::from_secs(600);

fn candidate(client: &Client, identity: &str) -> Lease {
    let config = LeaseConfig {
        alone: false,
        duration: SILENCE,
        renew_every: Duration::from_secs(1),
        ..LeaseConfig::new("kube-system", "kube-scheduler", identity)
    };
    Lease::start(client, config)
}

#[tokio::test]
async fn one_leads_and_the_next_takes_over() {
    let data = tempfile::tempdir().unwrap();
    let config = Config::new("127.0.0.1:6443".parse().unwrap(), data.path().to_owned());
    let server = ApiServer::new(config, Store::memory()).await.unwrap();
    let client = Client::in_process(server.in_process(UserInfo::component("kube-scheduler")));
    let first = candidate(&client, "a");
    first.wait_leading().await;
    let second = candidate(&client, "b");
    let api = client.namespaced::<k8s_openapi::api::coordination::v1::Lease>("kube-system");
    let holder = || async {
        let spec = api.get("kube-scheduler").await.unwrap().spec.unwrap();
        assert!(spec.acquire_time.is_some() && spec.renew_time.is_some());
        spec.holder_identity.unwrap()
    };
    assert_eq!(holder().await, "a");
    assert!(!second.is_leading());
    drop(first);
    let mut patience = Duration::from_millis(200);
    while !second.is_leading() {
        // Time passes for it alone, at once; then it goes on as usual, so that requests have theirs.
        tokio::time::pause();
        tokio::time::advance(SILENCE).await;
        tokio::time::resume();
        let _not_yet = tokio::time::timeout(patience, second.wait_leading()).await;
        // A slow machine's round was cut short by the next leap.
        patience *= 2;
    }
    assert_eq!(holder().await, "b");
}
