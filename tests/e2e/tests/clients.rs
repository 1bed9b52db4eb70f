//! Client libraries, unmodified: kube-rs, client-go, controller-runtime, and the official ones of Python and JavaScript.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use coracle_e2e::{Cluster, build_guests, eventually, go_client, node_client, pod, python, sh};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams,
    PostParams, WatchEvent, WatchParams,
};
use kube::runtime::controller::Action;
use kube::runtime::{Controller, wait, watcher};
use kube::{Api, Client, Config, Resource as _, ResourceExt as _};
use serde_json::{Value, json};

async fn client(cluster: &Cluster) -> Client {
    let kubeconfig = kube::config::Kubeconfig::read_from(cluster.kubeconfig()).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

#[test]
fn libraries_of_other_languages() {
    let guests = build_guests("tests/guests");
    let cluster = Cluster::start();
    cluster.push_guests(&guests);
    let tools = sh("tools", "echo begun; sleep 6000", &json!({}));
    cluster
        .make(&[pod("shell", &json!({"containers": [tools], "terminationGracePeriodSeconds": 1}))]);
    let kubeconfig = cluster.kubeconfig();
    let python = python("tests/e2e/tools/python/client.py", &[kubeconfig.to_str().unwrap()]);
    assert_eq!(python, "python client: ok\n");
    for name in ["informers", "controller"] {
        assert_eq!(go_client(&kubeconfig, name), format!("{name}: ok\n"));
    }
    cluster.ready("shell");
    eventually("the shell has begun", || {
        let said = cluster.kubectl(&["logs", "shell"]);
        if said.stdout == "begun\n" { Ok(()) } else { Err(said) }
    });
    assert_eq!(node_client(&kubeconfig, "shell"), "node client: ok\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn kube_rs() {
    let cluster = tokio::task::spawn_blocking(Cluster::start).await.unwrap();
    let client = client(&cluster).await;
    creates_lists_watches_and_deletes(client.clone()).await;
    a_controller_keeps_children(client.clone()).await;
    drift_is_seen_by_a_dry_run(client).await;
    tokio::task::spawn_blocking(move || drop(cluster)).await.unwrap();
}

fn config_map(name: &str, data: &Value) -> ConfigMap {
    let metadata = json!({"name": name, "labels": {"app": name}});
    serde_json::from_value(json!({"metadata": metadata, "data": data})).unwrap()
}

async fn creates_lists_watches_and_deletes(client: Client) {
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    let map = config_map("rust", &json!({"key": "value"}));
    let created = maps.create(&PostParams::default(), &map).await.unwrap();
    let since = created.resource_version().unwrap();
    let events = maps.watch(&WatchParams::default().labels("app=rust"), &since).await.unwrap();
    let listed = maps.list(&ListParams::default().labels("app=rust")).await.unwrap();
    assert_eq!(listed.items, [created]);

    let patch = Patch::Merge(json!({"data": {"key": "changed"}}));
    maps.patch("rust", &PatchParams::default(), &patch).await.unwrap();
    maps.delete("rust", &DeleteParams::default()).await.unwrap();
    assert!(maps.get_opt("rust").await.unwrap().is_none());

    // Bookmarks come when they come.
    let told =
        events.try_filter(|event| std::future::ready(!matches!(event, WatchEvent::Bookmark(_))));
    let events: Vec<_> = told.take(2).try_collect().await.unwrap();
    let [WatchEvent::Modified(first), WatchEvent::Deleted(second)] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(first.data, Some(BTreeMap::from([("key".to_owned(), "changed".to_owned())])));
    assert_eq!(second.name_any(), "rust");
}

/// Makes a Secret of a ConfigMap's data, as its controller.
async fn reconcile(map: Arc<ConfigMap>, client: Arc<Client>) -> Result<Action, kube::Error> {
    let secrets: Api<Secret> = Api::default_namespaced((*client).clone());
    let child = json!({"apiVersion": "v1", "kind": "Secret", "stringData": map.data,
        "metadata": {"name": map.name_any(), "ownerReferences": [map.controller_owner_ref(&())]}});
    let apply = PatchParams::apply("keeper").force();
    secrets.patch(&map.name_any(), &apply, &Patch::Apply(child)).await?;
    Ok(Action::await_change())
}

async fn a_controller_keeps_children(client: Client) {
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let secrets: Api<Secret> = Api::default_namespaced(client.clone());
    let controller = Controller::new(maps.clone(), watcher::Config::default().labels("app=parent"))
        .owns(secrets.clone(), watcher::Config::default())
        .run(reconcile, |_, _, _| Action::requeue(Duration::from_millis(200)), Arc::new(client))
        .for_each(|_| std::future::ready(()));
    let running = tokio::spawn(controller);

    let has = |wanted: &'static str| {
        move |secret: Option<&Secret>| {
            let data = secret.and_then(|secret| secret.data.as_ref()?.get("word"));
            data.is_some_and(|word| word.0 == wanted.as_bytes())
        }
    };
    let patience = Duration::from_secs(180);
    let child = |wanted| {
        let waiting = wait::await_condition(secrets.clone(), "parent", has(wanted));
        async move { tokio::time::timeout(patience, waiting).await.unwrap().unwrap().unwrap() }
    };
    maps.create(&PostParams::default(), &config_map("parent", &json!({"word": "one"})))
        .await
        .unwrap();
    let first = child("one").await;
    let patch = Patch::Merge(json!({"data": {"word": "two"}}));
    maps.patch("parent", &PatchParams::default(), &patch).await.unwrap();
    child("two").await;
    // What somebody else removes comes back; what belongs to nobody goes.
    secrets.delete("parent", &DeleteParams::default()).await.unwrap();
    let again = child("two").await;
    assert_ne!(again.uid(), first.uid());
    maps.delete("parent", &DeleteParams::default()).await.unwrap();
    let uid = again.uid().unwrap();
    let gone = wait::conditions::is_deleted(&uid);
    let waiting = wait::await_condition(secrets.clone(), "parent", gone);
    tokio::time::timeout(patience, waiting).await.unwrap().unwrap();
    running.abort();
}

/// A Deployment as people write it: what the server stores is spelled otherwise.
fn manifest(replicas: u32) -> Value {
    let container = json!({"name": "c", "image": "none", "ports": [{"containerPort": 80}],
        "resources": {"requests": {"cpu": 0.5, "memory": "1024Ki"}}});
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "drifts"}, "spec": {
        "replicas": replicas, "selector": {"matchLabels": {"app": "drifts"}},
        "template": {"metadata": {"labels": {"app": "drifts"}}, "spec": {"containers": [container]}}}})
}

/// An object without what changes by itself.
fn comparable(object: &DynamicObject) -> Value {
    let mut object = serde_json::to_value(object).unwrap();
    object.as_object_mut().unwrap().remove("status");
    let metadata = object["metadata"].as_object_mut().unwrap();
    for field in ["managedFields", "resourceVersion", "generation", "annotations"] {
        metadata.remove(field);
    }
    object
}

/// As Flux does it: a server-side apply that is not kept, compared with what is there.
async fn drift_is_seen_by_a_dry_run(client: Client) {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("apps", "v1", "Deployment"));
    let deployments: Api<DynamicObject> = Api::default_namespaced_with(client, &resource);
    let apply = PatchParams::apply("kustomize-controller").force();
    let dry = PatchParams { dry_run: true, ..apply.clone() };
    let would = async |replicas: u32| {
        let result = deployments.patch("drifts", &dry, &Patch::Apply(manifest(replicas))).await;
        comparable(&result.unwrap())
    };
    let is = async || comparable(&deployments.get("drifts").await.unwrap());
    let fresh = would(0).await;
    assert!(deployments.get_opt("drifts").await.unwrap().is_none(), "a dry run creates nothing");
    deployments.patch("drifts", &apply, &Patch::Apply(manifest(0))).await.unwrap();
    assert_eq!(fresh["spec"], is().await["spec"]);
    assert_eq!(would(0).await, is().await, "no drift");

    let by_hand = Patch::Merge(json!({"spec": {"minReadySeconds": 3, "replicas": 1,
        "template": {"spec": {"containers": [{"name": "c", "image": "other"}]}}}}));
    deployments.patch("drifts", &PatchParams::default(), &by_hand).await.unwrap();
    let (live, wanted) = (is().await, would(0).await);
    let differs: Vec<&str> = [
        "/spec/replicas",
        "/spec/minReadySeconds",
        "/spec/selector",
        "/spec/template/spec/containers/0/image",
        "/spec/template/spec/containers/0/ports/0/containerPort",
    ]
    .into_iter()
    .filter(|path| live.pointer(path) != wanted.pointer(path))
    .collect();
    // Nobody asked for a number of seconds: that is not drift.
    let expected = [
        "/spec/replicas",
        "/spec/template/spec/containers/0/image",
        "/spec/template/spec/containers/0/ports/0/containerPort",
    ];
    assert_eq!(differs, expected);
    assert_eq!(is().await, live, "a dry run changes nothing");
    deployments.patch("drifts", &apply, &Patch::Apply(manifest(0))).await.unwrap();
    assert_eq!(would(0).await, is().await, "no drift any more");
    deployments.delete("drifts", &DeleteParams::default()).await.unwrap();
}
