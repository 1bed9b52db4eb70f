//! Objects of users' kinds own and are owned.

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::core::{ApiResource, DynamicObject};

use super::*;

fn definition() -> CustomResourceDefinition {
    serde_json::from_value(json!({"metadata": {"name": "things.x.io"}, "spec": {
        "group": "x.io", "scope": "Namespaced",
        "names": {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"},
        "versions": [{"name": "v1", "served": true, "storage": true,
            "schema": {"openAPIV3Schema": {"type": "object"}}}]}}))
    .unwrap()
}

fn thing(name: &str, owner: Option<&DynamicObject>) -> DynamicObject {
    let mut object = json!({"apiVersion": "x.io/v1", "kind": "Thing", "metadata": {"name": name}});
    if let Some(owner) = owner {
        object["metadata"]["ownerReferences"] = json!([reference(owner)]);
    }
    serde_json::from_value(object).unwrap()
}

fn reference(owner: &DynamicObject) -> Value {
    json!({"apiVersion": "x.io/v1", "kind": "Thing", "name": owner.name_any(), "uid": owner.uid()})
}

/// Creates an object of a kind that is served a moment after its definition was taken.
async fn until_served(things: &Api<DynamicObject>, thing: &DynamicObject) -> DynamicObject {
    let made = async {
        loop {
            match things.create(&PostParams::default(), thing).await {
                Err(error) if error.is_not_found() => tokio::task::yield_now().await,
                made => break made.unwrap(),
            }
        }
    };
    tokio::time::timeout(PATIENCE, made).await.unwrap()
}

#[tokio::test]
async fn objects_of_users_kinds_are_collected() {
    let cluster = Cluster::start().await;
    let definitions = cluster.client.cluster::<CustomResourceDefinition>();
    definitions.create(&PostParams::default(), &definition()).await.unwrap();
    let resource = ApiResource {
        group: "x.io".into(),
        version: "v1".into(),
        api_version: "x.io/v1".into(),
        kind: "Thing".into(),
        plural: "things".into(),
    };
    let kube = cluster.client.kube().clone();
    let things: Api<DynamicObject> = Api::namespaced_with(kube, "default", &resource);
    let make = async |name: &str, owner: Option<&DynamicObject>| {
        until_served(&things, &thing(name, owner)).await
    };
    let parent = make("parent", None).await;
    let child = make("child", Some(&parent)).await;
    make("grandchild", Some(&child)).await;
    make("other", None).await;
    let owned = json!({"metadata": {"name": "owned", "ownerReferences": [reference(&child)]}});
    cluster.create::<ConfigMap>(owned).await;
    things.delete("parent", &DeleteParams::background()).await.unwrap();
    cluster
        .until("end of the ConfigMap", |all: &Cache<ConfigMap>| {
            all.get(Some("default"), "owned").is_none().then_some(())
        })
        .await;
    let left = async {
        loop {
            let all = things.list(&ListParams::default()).await.unwrap().items;
            if all.len() == 1 {
                break all[0].name_any();
            }
            tokio::task::yield_now().await;
        }
    };
    assert_eq!(tokio::time::timeout(PATIENCE, left).await.unwrap(), "other");
}

/// A user's kind with a subresource `scale` is as good a target of an autoscaler as a Deployment.
#[tokio::test]
async fn objects_of_users_kinds_are_scaled() {
    let cluster = Cluster::start().await;
    let mut definition = serde_json::to_value(definition()).unwrap();
    let version = &mut definition["spec"]["versions"][0];
    version["schema"]["openAPIV3Schema"] =
        json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    version["subresources"] = json!({"scale": {"specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas"}});
    let definitions = cluster.client.cluster::<CustomResourceDefinition>();
    let definition = serde_json::from_value(definition).unwrap();
    definitions.create(&PostParams::default(), &definition).await.unwrap();
    let resource = ApiResource {
        group: "x.io".into(),
        version: "v1".into(),
        api_version: "x.io/v1".into(),
        kind: "Thing".into(),
        plural: "things".into(),
    };
    let kube = cluster.client.kube().clone();
    let things: Api<DynamicObject> = Api::namespaced_with(kube, "default", &resource);
    let mut few = thing("few", None);
    few.data["spec"] = json!({"replicas": 1});
    until_served(&things, &few).await;
    let target = json!({"apiVersion": "x.io/v1", "kind": "Thing", "name": "few"});
    cluster
        .create::<HorizontalPodAutoscaler>(json!({"metadata": {"name": "few"},
            "spec": {"scaleTargetRef": target, "minReplicas": 3, "maxReplicas": 5}}))
        .await;
    let scaled = async {
        loop {
            let found = things.get("few").await.unwrap();
            if found.data["spec"]["replicas"] == 3 {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, scaled).await.unwrap();
}
