//! Tells the API which Services on demand are used, by a condition in their status.

use std::sync::Arc;
use std::time::Instant;

use coracle_api::ondemand::IN_USE;
use coracle_client::{Client, Failure};
use coracle_vnet::Fabric;
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::demand::REPORT_EVERY;
use crate::network::Network;
use crate::table::ServiceKey;

/// Owns the condition under server-side apply, from whichever host.
const FIELD_MANAGER: &str = "coracle-host";

/// Reports for as long as it is polled. Costs nothing while there is no Service on demand.
pub(crate) async fn run(network: Arc<Network>, fabric: Arc<Fabric>, client: Client) {
    loop {
        wait(&network).await;
        note_open_connections(&network, &fabric);
        for service in network.demand.to_tell(now()) {
            if let Err(error) = tell(&client, &service).await
                && !error.is_not_found()
            {
                tracing::warn!(%service, error = error.message(), "use of a Service not told");
            }
        }
    }
}

/// Waits for news, and while there are Services on demand no longer than until the next look at
/// their open connections.
async fn wait(network: &Network) {
    let any = network.read(|table| table.on_demand().next().is_some());
    if any || !network.demand.is_quiet() {
        // An elapsed wait is as good as news.
        let _elapsed = tokio::time::timeout(REPORT_EVERY, network.demand.news()).await;
        return;
    }
    let mut changes = network.demand.changes();
    tokio::select! {
        () = network.demand.news() => {}
        _ = changes.changed() => {}
    }
}

/// A connection that stays open is use, too.
fn note_open_connections(network: &Network, fabric: &Fabric) {
    let ports: Vec<_> = network.read(|table| table.on_demand().cloned().collect());
    for port in ports {
        let busy = |ip| fabric.get(ip).is_some_and(|ns| ns.connections() > 0);
        if port.backends.iter().any(|backend| busy(backend.ip())) {
            network.demand.used(&port.service, now());
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the edge of the pure books of use")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "the time at which a condition was seen")]
async fn tell(client: &Client, service: &ServiceKey) -> Result<(), kube::Error> {
    let time = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let patch = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": service.name, "namespace": service.namespace},
        "status": {"conditions": [{
            "type": IN_USE, "status": "True", "reason": "Connection",
            "message": "A host saw a connection to this Service.",
            "lastTransitionTime": time,
        }]},
    });
    let api: Api<Service> = client.namespaced(&service.namespace);
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    api.patch_status(&service.name, &parameters, &Patch::Apply(patch)).await.map(drop)
}
