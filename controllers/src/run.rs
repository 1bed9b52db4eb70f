//! Starts all controllers of a process and owns them.

use std::sync::Arc;

use coracle_client::{Caches, Index};

use crate::context::{Config, Context, Running, node_of};
use crate::{
    bootstrap, certificate, clusterrole, cronjob, daemonset, deployment, disruption, endpoints,
    endpointslice, garbage, job, loadbalancer, namespace, node, nodescaler, ondemand,
    podautoscaler, podgc, replicaset, replicationcontroller, resourcequota, serviceaccount,
    statefulset, volumebinding,
};

/// All controllers at work. Dropping it ends them in the middle; [`stop`](Self::stop) waits.
#[derive(Debug)]
pub struct Controllers {
    running: Vec<Running>,
}

/// Starts every controller over shared caches. Returns at once; needs a tokio runtime.
///
/// Each controller waits by itself until the caches that it reads are synced. With several
/// servers, call it only while holding the lease (`coracle_client::Lease`).
pub fn run(caches: &Caches, config: Config) -> Controllers {
    let context = Context {
        client: caches.client().clone(),
        caches: caches.clone(),
        config: Arc::new(config),
        pods_by_node: Arc::new(Index::of(&caches.get(), node_of)),
    };
    let running = vec![
        deployment::run::start(&context),
        replicaset::run::start(&context),
        replicationcontroller::start(&context),
        daemonset::run::start(&context),
        job::run::start(&context),
        cronjob::run::start(&context),
        disruption::run::start(&context),
        resourcequota::run::start(&context),
        statefulset::run::start(&context),
        endpointslice::run::start(&context),
        endpoints::run::start(&context),
        serviceaccount::run::start(&context),
        node::run::start(&context),
        nodescaler::run::start(&context),
        namespace::run::start(&context),
        garbage::run::start(&context),
        podgc::run::start(&context),
        podautoscaler::run::start(&context),
        ondemand::run::start(&context),
        loadbalancer::run::start_services(&context),
        loadbalancer::run::start_ingresses(&context),
        clusterrole::run::start(&context),
        volumebinding::run::start(&context),
        certificate::run::start(&context),
        bootstrap::run::start(&context),
    ];
    Controllers { running }
}

impl Controllers {
    /// Ends all controllers at their next await and waits until every task is gone.
    pub async fn stop(self) {
        for running in self.running {
            drop(running.feeds);
            running.drive.stop().await;
        }
    }
}
