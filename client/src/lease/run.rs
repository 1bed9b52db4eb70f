//! The task that asks for, renews and loses a Lease.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease as LeaseObject;
use kube::Api;
use kube::api::PostParams;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::LeaseConfig;
use super::elect::{Sighting, Step, released};
use crate::client::{Client, Failure};

/// A candidacy: asks for the Lease until it is dropped or stopped.
#[derive(Debug)]
pub struct Lease {
    api: Api<LeaseObject>,
    config: LeaseConfig,
    leading: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

/// How long giving the Lease back may take: whoever stops does not wait for a server that is gone.
const RELEASE_MAX: Duration = Duration::from_secs(2);

impl Drop for Lease {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Lease {
    /// Begins to ask for a Lease. Needs a tokio runtime.
    pub fn start(client: &Client, config: LeaseConfig) -> Lease {
        let api = client.namespaced(&config.namespace);
        let (sender, leading) = watch::channel(false);
        let task = tokio::spawn(hold(api.clone(), config.clone(), sender));
        Lease { api, config, leading, task }
    }

    /// Gives the Lease back if it is ours, so that another leads at once. What was done while leading must have ended.
    pub async fn release(self) {
        self.task.abort();
        let giving = give_back(&self.api, &self.config);
        match tokio::time::timeout(RELEASE_MAX, giving).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(error = error.message(), "lease not given back"),
            Err(_) => tracing::debug!("lease not given back in time"),
        }
    }

    /// Says whether we lead now. Before the holder's time is over without renewal it says no.
    pub fn is_leading(&self) -> bool {
        *self.leading.borrow()
    }

    /// Gives a receiver that follows whether we lead.
    pub fn leading(&self) -> watch::Receiver<bool> {
        self.leading.clone()
    }

    /// Waits until we lead. Cancel safe.
    pub async fn wait_leading(&self) {
        // The task keeps the sender for as long as `self` lives.
        let _ = self.leading.clone().wait_for(|leading| *leading).await;
    }
}

async fn hold(api: Api<LeaseObject>, config: LeaseConfig, leading: watch::Sender<bool>) {
    let began = Instant::now();
    let mut sighting = Sighting::default();
    let mut renewed: Option<Instant> = None;
    // Gives up before others may take over, by the time of one round.
    let trusted = config.duration.saturating_sub(config.renew_every);
    loop {
        let asked = Instant::now();
        let round = attempt(&api, &config, &mut sighting, began.elapsed());
        match tokio::time::timeout(config.renew_every, round).await {
            Ok(Ok(true)) => renewed = Some(asked),
            Ok(Ok(false)) => renewed = None,
            Ok(Err(error)) => tracing::debug!(error = error.message(), "lease not renewed"),
            Err(_) => tracing::debug!("lease not renewed in time"),
        }
        let leads = renewed.is_some_and(|renewed| renewed.elapsed() < trusted);
        leading.send_if_modified(|was| std::mem::replace(was, leads) != leads);
        tokio::time::sleep(config.renew_every.mul_f64(rand::random_range(0.9..=1.0))).await;
    }
}

#[expect(clippy::disallowed_methods, reason = "the edge that turns the clock into an input")]
async fn give_back(api: &Api<LeaseObject>, config: &LeaseConfig) -> Result<(), kube::Error> {
    let Some(found) = api.get_opt(&config.name).await? else { return Ok(()) };
    let Some(free) = released(config, &found, Timestamp::now()) else { return Ok(()) };
    api.replace(&config.name, &PostParams::default(), &free).await.map(|_| ())
}

/// Reads the Lease and takes one step; `true` when it is ours afterwards.
#[expect(clippy::disallowed_methods, reason = "the edge that turns the clock into an input")]
async fn attempt(
    api: &Api<LeaseObject>,
    config: &LeaseConfig,
    sighting: &mut Sighting,
    elapsed: Duration,
) -> Result<bool, kube::Error> {
    let found = api.get_opt(&config.name).await?;
    let parameters = PostParams::default();
    let written = match sighting.step(config, found.as_ref(), elapsed, Timestamp::now()) {
        Step::Create(lease) => api.create(&parameters, &lease).await,
        Step::Replace(lease) => api.replace(&config.name, &parameters, &lease).await,
        Step::Wait => return Ok(false),
    };
    match written {
        Ok(_) => Ok(true),
        Err(error) if error.is_conflict() || error.is_already_exists() => Ok(false),
        Err(error) => Err(error),
    }
}
