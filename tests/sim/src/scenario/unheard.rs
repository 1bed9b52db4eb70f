//! Events that are lost on their way: each part finds out by itself, though nothing begins anew and no stream breaks.

use std::time::Duration;

use coracle_simulate::objects::{Objects, PODS, is_ready, name_of, text};
use coracle_simulate::stage::pods_of;
use http::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::Stage;

/// Who the controllers and the scheduler are.
const PARTS: &str = "kube-controller-manager";

/// How long it is looked whether what nobody has heard of stays as it is.
const UNHEARD_FOR: Duration = Duration::from_secs(120);

/// A list is good for a quarter of an hour at most, and the watch after it lasts five minutes.
const FOUND_WITHIN: Duration = Duration::from_secs(25 * 60);

/// The scheduler does not hear of a new pod, a host not of a pod's deletion, the controllers not of a new size. All
/// three do what they should without being told again.
pub(super) async fn events(stage: &Stage) -> Result<(), String> {
    stage.workload("Deployment", "web", json!({"replicas": 2})).await?;
    stage.workload("Deployment", "size", json!({"replicas": 1})).await?;
    stage.until_ready("web", 2).await?;
    stage.until_ready("size", 1).await?;
    let all = |all: &Objects| pods_of(all, "web").next().cloned();
    let leaving = stage.until("a pod of web", UNHEARD_FOR, all).await?;
    let (name, host) = (text(&leaving, "/metadata/name"), text(&leaving, "/spec/nodeName"));
    let named = |name: &str| format!("\"name\":\"{name}\"");
    stage.world.weather.send_modify(|weather| {
        weather.lost = vec![
            (PARTS.to_owned(), named("new")),
            (PARTS.to_owned(), "\"name\":\"size\",\"namespace\"".to_owned()),
            (host.to_owned(), named(name)),
        ];
    });
    stage.pod("new", &json!({})).await?;
    let key = format!("{PODS}default/{name}");
    stage.world.oracle.lock().known.deleted_by_user.insert(key.clone());
    let path = format!("/api/v1/namespaces/default/pods/{name}");
    stage.send(Method::DELETE, &path, &Value::Null).await;
    let size = "/apis/apps/v1/namespaces/default/deployments/size";
    stage.patch(size, json!({"spec": {"replicas": 3}})).await?;
    let began = Instant::now();
    while began.elapsed() < UNHEARD_FOR {
        let new = stage.get(&format!("{PODS}default/new"))?;
        if !text(&new, "/spec/nodeName").is_empty() {
            return Err("the event was not lost: the new pod was bound".to_owned());
        }
        stage.get(&key).map_err(|_| "the event was not lost: the pod has ended".to_owned())?;
        if pods_of(&stage.world.oracle.lock().objects, "size").count() != 1 {
            return Err("the event was not lost: the Deployment was scaled".to_owned());
        }
        sleep(Duration::from_secs(1)).await;
    }
    stage.world.weather.send_modify(|weather| weather.lost.clear());
    let done = |all: &Objects| {
        let pods = || all.below(PODS).filter(|(_, pod)| is_ready(pod));
        let new = pods().any(|(key, _)| name_of(key) == "new");
        let sizes = pods_of(all, "size").filter(|pod| is_ready(pod)).count();
        (new && sizes == 3 && all.get(&key).is_none()).then_some(())
    };
    stage.until("all that nobody had heard of is done", FOUND_WITHIN, done).await
}
