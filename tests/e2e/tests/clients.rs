//! Client libraries, unmodified: kube-rs and the official Python client.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;

use coracle_e2e::{Cluster, python};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{
    DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams,
};
use kube::{Api, Client, Config, ResourceExt as _};

async fn client(cluster: &Cluster) -> Client {
    let kubeconfig = kube::config::Kubeconfig::read_from(cluster.kubeconfig()).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn kube_rs_creates_lists_watches_and_deletes() {
    let cluster = tokio::task::spawn_blocking(Cluster::start).await.unwrap();
    let maps: Api<ConfigMap> = Api::default_namespaced(client(&cluster).await);
    let map: ConfigMap = serde_json::from_value(serde_json::json!({
        "metadata": {"name": "rust", "labels": {"app": "rust"}}, "data": {"key": "value"},
    }))
    .unwrap();
    let created = maps.create(&PostParams::default(), &map).await.unwrap();
    let since = created.resource_version().unwrap();
    let events = maps.watch(&WatchParams::default().labels("app=rust"), &since).await.unwrap();
    let listed = maps.list(&ListParams::default().labels("app=rust")).await.unwrap();
    assert_eq!(listed.items, [created]);

    let patch = Patch::Merge(serde_json::json!({"data": {"key": "changed"}}));
    maps.patch("rust", &PatchParams::default(), &patch).await.unwrap();
    maps.delete("rust", &DeleteParams::default()).await.unwrap();
    assert!(maps.get_opt("rust").await.unwrap().is_none());

    let events: Vec<_> = events.take(2).try_collect().await.unwrap();
    let [WatchEvent::Modified(first), WatchEvent::Deleted(second)] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(first.data, Some(BTreeMap::from([("key".to_owned(), "changed".to_owned())])));
    assert_eq!(second.name_any(), "rust");
    tokio::task::spawn_blocking(move || drop(cluster)).await.unwrap();
}

#[test]
fn python_creates_lists_watches_and_deletes() {
    let cluster = Cluster::start();
    let output =
        python("tests/e2e/tools/python/client.py", &[cluster.kubeconfig().to_str().unwrap()]);
    assert_eq!(output, "python client: ok\n");
}
