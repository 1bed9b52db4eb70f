//! A part of the server that only one server of the cluster runs: the one that holds a Lease.
//!
//! An edge: it starts the part when it leads, and stops it when it does not.

use std::time::Duration;

use coracle_client::{Client, Lease, LeaseConfig};
use coracle_controllers::Controllers;
use coracle_network::gateway::publish::Publishing;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::definitions::Defining;

/// The namespace of the Leases.
const NAMESPACE: &str = "kube-system";
/// Where there are several servers: how long the leader may be silent until another takes over.
const SILENT_MAX: Duration = Duration::from_secs(10);
/// Where there are several servers: how often the leader says that it lives, and the others look.
const RENEW_EVERY: Duration = Duration::from_secs(2);

/// What runs while this server leads.
pub(crate) trait Part: Send + 'static {
    /// Ends it, and waits until it has ended.
    fn end(self) -> impl Future<Output = ()> + Send;
}

/// The controllers, and beside them what serves the Gateway API and the kinds of our own.
impl Part for (Controllers, Publishing, Defining) {
    async fn end(self) {
        let (controllers, publishing, defining) = self;
        drop((publishing, defining));
        controllers.stop().await;
    }
}

impl Part for coracle_scheduler::run::Running {
    async fn end(self) {
        self.stop().await;
    }
}

/// A part that runs whenever this server leads.
pub(crate) struct Led {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// Runs a part under the Lease of a name; `alone` where no other server can be there.
pub(crate) fn lead<P: Part>(
    client: &Client,
    name: &'static str,
    identity: &str,
    alone: bool,
    start: impl Fn() -> P + Send + 'static,
) -> Led {
    let mut config = LeaseConfig::new(NAMESPACE, name, identity);
    config.alone = alone;
    if !alone {
        config.duration = SILENT_MAX;
        config.renew_every = RENEW_EVERY;
    }
    let lease = Lease::start(client, config);
    let (stop, stopped) = oneshot::channel();
    Led { stop, task: tokio::spawn(run(lease, name, start, stopped)) }
}

impl Led {
    /// Ends the part and gives the Lease back.
    pub(crate) async fn end(self) {
        drop(self.stop);
        if self.task.await.is_err() {
            tracing::error!("a part of the server panicked");
        }
    }
}

async fn run<P: Part>(
    lease: Lease,
    name: &'static str,
    start: impl Fn() -> P + Send + 'static,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut leading = lease.leading();
    loop {
        tokio::select! {
            () = lease.wait_leading() => {}
            _ended = &mut stopped => return lease.release().await,
        }
        tracing::info!(name, "this server leads");
        let part = start();
        tokio::select! {
            () = lost(&mut leading) => {
                tracing::warn!(name, "this server does not lead any more");
                part.end().await;
            }
            _ended = &mut stopped => {
                part.end().await;
                return lease.release().await;
            }
        }
    }
}

/// Waits until this server does not lead any more.
async fn lost(leading: &mut watch::Receiver<bool>) {
    // The Lease keeps the sender for as long as it is asked for.
    let _lost = leading.wait_for(|leads| !*leads).await;
}
