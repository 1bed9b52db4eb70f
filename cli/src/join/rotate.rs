//! Keeps a host's certificates good: asks for the next ones in time, while it runs.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use tokio::sync::watch;

use super::certificate::{Pair, Validity};
use super::csr::{self, Use};
use super::ensure::Joined;
use super::switch::Switch;
use crate::config::DataDir;

/// The first pause after the cluster did not give a certificate; it doubles up to the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(200);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// The pause after new certificates: where a clock is wrong they may be due as soon as they are made, and the cluster
/// is asked for others all the same no more than once a second.
const PAUSE_RENEWED: Duration = Duration::from_secs(1);
/// The longest sleep: a machine that slept or whose clock was set looks again by then.
const SLEEP_MAX: Duration = Duration::from_secs(3600);

/// What rotation works with.
pub(crate) struct Rotation {
    /// Where kubeconfig and certificates lie.
    pub(crate) data: DataDir,
    /// Who this host is.
    pub(crate) joined: Joined,
    /// The host's client.
    pub(crate) switch: Switch,
    /// The address of the node.
    pub(crate) address: IpAddr,
    /// The certificates as they are; `None` for the serving one until the first has come.
    pub(crate) told: watch::Sender<(Joined, Option<Pair>)>,
}

/// The certificate under which the host served last, if it is still good for `address`.
pub(crate) fn serving_pair(data: &DataDir, address: IpAddr, now: Timestamp) -> Option<Pair> {
    let read = |name: &str| std::fs::read_to_string(data.host().join(name)).ok();
    let pair = Pair { certificate: read(&certificate_name(address))?, key: read(KEY)? };
    let validity = Validity::read(&pair.certificate).ok()?;
    (validity.until > now).then_some(pair)
}

/// The key of the certificate under which the host serves.
const KEY: &str = "serving.key";

/// The address is in the name, so that a host that moved asks for another one.
fn certificate_name(address: IpAddr) -> String {
    format!("serving-{address}.crt")
}

impl Rotation {
    /// Runs for as long as it is polled.
    pub(crate) async fn run(mut self) {
        let mut serving = self.told.borrow().1.clone();
        let mut pause = PAUSE_FIRST;
        let draw: u8 = rand::random();
        loop {
            let due = |pair: &Pair| due_in(pair, draw);
            let wait = match &serving {
                Some(pair) => due(pair).min(due(&self.joined.client)),
                None => Duration::ZERO,
            };
            if wait > Duration::ZERO {
                tokio::time::sleep(wait.min(SLEEP_MAX)).await;
                continue;
            }
            match self.renew(&mut serving, draw).await {
                Ok(()) => {
                    pause = PAUSE_FIRST;
                    tokio::time::sleep(PAUSE_RENEWED).await;
                }
                Err(error) => {
                    let error = format!("{error:#}");
                    tracing::debug!(error, again_in = ?pause, "no new certificate yet");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    /// Asks for what is due.
    async fn renew(&mut self, serving: &mut Option<Pair>, draw: u8) -> anyhow::Result<()> {
        if due_in(&self.joined.client, draw).is_zero() {
            self.renew_client().await?;
        }
        if serving.as_ref().is_none_or(|pair| due_in(pair, draw).is_zero()) {
            *serving = Some(self.renew_serving().await?);
        }
        self.told.send_replace((self.joined.clone(), serving.clone()));
        Ok(())
    }

    async fn renew_client(&mut self) -> anyhow::Result<()> {
        let api = self.switch.client().kube();
        self.joined.client = csr::obtain(api, &self.joined.node, &Use::Client).await?;
        let path = self.data.host_kubeconfig();
        self.data.write_private(&path, self.joined.kubeconfig().as_bytes())?;
        self.switch.renew(&path, &self.switch.urls()).await?;
        tracing::info!(node = self.joined.node, "has a new certificate to speak by");
        Ok(())
    }

    async fn renew_serving(&self) -> anyhow::Result<Pair> {
        let address = self.address.to_string();
        let api = self.switch.client().kube();
        let node = Api::<Node>::all(api.clone()).get(&self.joined.node).await;
        let status = node.context("read the own node")?.status.unwrap_or_default();
        // The cluster compares: a request before that would be denied.
        if !status.addresses.iter().flatten().any(|shown| shown.address == address) {
            bail!("the node does not show its address yet");
        }
        let names = vec![self.joined.node.clone(), address];
        let pair = csr::obtain(api, &self.joined.node, &Use::Serving(names)).await?;
        let place = |name: &str| -> PathBuf { self.data.host().join(name) };
        let key = self.data.write_private(&place(KEY), pair.key.as_bytes());
        key.context("keep the key of the serving certificate")?;
        let file = place(&certificate_name(self.address));
        self.data.write_private(&file, pair.certificate.as_bytes())?;
        tracing::info!(node = self.joined.node, "has a new certificate to serve under");
        Ok(pair)
    }
}

/// How long until the next certificate is to be asked for; at once when the dates cannot be read.
#[expect(clippy::disallowed_methods, reason = "certificates live by the clock")]
fn due_in(pair: &Pair, draw: u8) -> Duration {
    let now = Timestamp::now();
    let at = Validity::read(&pair.certificate).map_or(now, |validity| validity.rotate_at(draw));
    Duration::try_from(at.duration_since(now)).unwrap_or_default()
}
