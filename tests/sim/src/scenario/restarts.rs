//! Each part of the control plane begins anew a hundred times, and the scheduler that forgot a pod once.

use std::time::Duration;

use coracle_simulate::objects::{PODS, text};
use coracle_simulate::server::{self, Part};
use http::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::Stage;
use crate::rest;

/// How often each part begins anew. *Source:* the row `cp.restart-any`.
const TIMES: usize = 100;

/// How long the cluster may take to come to rest afterwards; a host that was down for a while is not lost.
const REST_WITHIN: Duration = Duration::from_secs(300);

/// How long it is looked whether a forgotten pod stays where it is.
const FORGOTTEN_FOR: Duration = Duration::from_secs(120);

/// What begins anew.
#[derive(Debug, Clone, Copy)]
enum Begins {
    Server,
    Part(Part),
    Host,
}

const ALL: [Begins; 4] =
    [Begins::Server, Begins::Part(Part::Controllers), Begins::Part(Part::Scheduler), Begins::Host];

/// While users scale, roll out and delete: no pod too many or too few in the end, none that hangs. The promises of every
/// run hold as well: no pod is doubled, none deleted without a cause, no acknowledged write lost.
pub(super) async fn anything(stage: &Stage) -> Result<(), String> {
    stage.workload("Deployment", "web", json!({"replicas": 4})).await?;
    stage.service("web").await?;
    stage.workload("StatefulSet", "db", json!({"replicas": 2, "serviceName": "db"})).await?;
    for round in 0..TIMES {
        for begins in ALL {
            sleep(stage.world.millis(1.0..800.0)).await;
            restart(stage, begins);
        }
        if round % 5 == 0 {
            change(stage, round).await;
        }
    }
    let scaled = json!({"spec": {"replicas": 5}});
    stage.patch("/apis/apps/v1/namespaces/default/deployments/web", scaled).await?;
    let began = Instant::now();
    while let Some(why) = rest::unrest(&stage.world, &stage.hosts) {
        if began.elapsed() > REST_WITHIN {
            return Err(format!("no rest after everything began anew: {why}"));
        }
        sleep(Duration::from_millis(500)).await;
    }
    stage.until_ready("web", 5).await?;
    stage.until_ready("db", 2).await
}

fn restart(stage: &Stage, begins: Begins) {
    match begins {
        // Whoever keeps it running starts it again a moment later.
        Begins::Server => server::kill(&stage.world),
        Begins::Part(part) => {
            let server = stage.world.server.borrow().clone();
            if let Some(server) = server {
                server::restart_part(&stage.world, &server, part);
            }
        }
        Begins::Host => {
            let host = &stage.hosts[stage.world.pick(0..stage.hosts.len())];
            host.kill();
            host.start();
        }
    }
}

/// What users do meanwhile; one that meets no server is not asked for again.
async fn change(stage: &Stage, round: usize) {
    let web = "/apis/apps/v1/namespaces/default/deployments/web";
    let (method, path, body) = match round % 4 {
        0 => (Method::PATCH, web.to_owned(), json!({"spec": {"replicas": 2 + round % 5}})),
        1 => {
            let container = json!({"name": "main", "image": format!("sim/{round}"),
                "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}});
            let template = json!({"template": {"spec": {"containers": [container]}}});
            (Method::PATCH, web.to_owned(), json!({"spec": template}))
        }
        2 => {
            let db = "/apis/apps/v1/namespaces/default/statefulsets/db".to_owned();
            (Method::PATCH, db, json!({"spec": {"replicas": 2}}))
        }
        _ => {
            let key = {
                let oracle = stage.world.oracle.lock();
                oracle.objects.below(PODS).next().map(|(key, _)| key.to_owned())
            };
            let Some(key) = key else { return };
            stage.world.oracle.lock().known.deleted_by_user.insert(key.clone());
            let name = coracle_simulate::objects::name_of(&key);
            (Method::DELETE, format!("/api/v1/namespaces/default/pods/{name}"), Value::Null)
        }
    };
    let _ = stage.send(method, &path, &body).await;
}

/// Row `cp.restart-scheduler`: the event of a new pod is lost on its way to the scheduler, which finds the pod when it
/// begins anew.
pub(super) async fn forgotten(stage: &Stage) -> Result<(), String> {
    stage.workload("Deployment", "web", json!({"replicas": 2})).await?;
    stage.until_ready("web", 2).await?;
    let name = "forgotten-one";
    stage.world.weather.send_modify(|weather| {
        weather.lost = vec![("kube-controller-manager".to_owned(), format!("\"name\":\"{name}\""))];
    });
    stage.pod(name, &json!({})).await?;
    let key = format!("{PODS}default/{name}");
    let began = Instant::now();
    while began.elapsed() < FORGOTTEN_FOR {
        if !text(&stage.get(&key)?, "/spec/nodeName").is_empty() {
            return Err("the event was not lost: the pod was bound".to_owned());
        }
        sleep(Duration::from_secs(1)).await;
    }
    // The others are not forgotten.
    let scaled = json!({"spec": {"replicas": 3}});
    stage.patch("/apis/apps/v1/namespaces/default/deployments/web", scaled).await?;
    stage.until_ready("web", 3).await?;
    stage.world.weather.send_modify(|weather| weather.lost.clear());
    let server = stage.world.server.borrow().clone();
    let server = server.ok_or("no server runs")?;
    server::restart_part(&stage.world, &server, Part::Scheduler);
    stage.until_ready(name, 1).await
}
