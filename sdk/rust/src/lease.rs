//! Leader election: of many pods that could do a piece of work, one does it at a time.
//!
//! A `Lease` of `coordination.k8s.io` names who leads. A leader renews it; when it was not renewed for
//! as long as it says, another takes it. Clocks of different pods are never compared: each measures
//! by its own clock since when it has seen the lease as it is. *Source:* client-go `leaderelection`.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::{Instant, SystemTime};

use serde_json::{Value, json};
use wstd::future::FutureExt as _;
use wstd::task::sleep;
use wstd::time::Duration;

use crate::kube::{Client, Error};
use crate::time::rfc3339;

/// A lease that this pod may come to hold. The pod's account needs `get`, `create` and `update` of
/// `leases` in `coordination.k8s.io`.
#[derive(Debug, Clone)]
pub struct Lease {
    client: Client,
    collection: String,
    name: String,
    holder: String,
    seconds: u64,
}

impl Lease {
    /// Names the lease, who would hold it (the pod's name), and after how many seconds without
    /// a renewal another may take it; at least 1.
    pub fn new(client: &Client, name: &str, holder: &str, seconds: u64) -> Self {
        let space = client.namespace();
        Self {
            client: client.clone(),
            collection: format!("/apis/coordination.k8s.io/v1/namespaces/{space}/leases"),
            name: name.to_owned(),
            holder: holder.to_owned(),
            seconds: seconds.max(1),
        }
    }

    /// Waits until this pod leads, and then does `work` for as long as it does. Gives what the work
    /// gave; `None` when the lease was lost, and with it the work dropped.
    ///
    /// # Errors
    /// When the lease can't be read or made at all.
    pub async fn lead<W: Future>(&self, work: W) -> Result<Option<W::Output>, Error> {
        let since = self.acquire().await?;
        let mut work = pin!(work);
        let mut keeping = pin!(self.keep(since));
        poll_fn(|context| {
            if let Poll::Ready(output) = work.as_mut().poll(context) {
                return Poll::Ready(Ok(Some(output)));
            }
            keeping.as_mut().poll(context).map(|()| Ok(None))
        })
        .await
    }

    /// Milliseconds between two looks, a third of the time that a lease is good for: one renewal may fail.
    fn pause(&self) -> u64 {
        self.seconds * 1000 / 3
    }

    /// For how many milliseconds more a lease is trusted that was asked for then. It ends before others may take it:
    /// they have seen it at the earliest when it was asked for, and wait for all of its time.
    fn trusted(&self, asked: Instant) -> u64 {
        let passed = u64::try_from(asked.elapsed().as_millis()).unwrap_or(u64::MAX);
        (self.seconds * 1000 * 5 / 6).saturating_sub(passed)
    }

    /// Waits until the lease is held; gives when that was asked for.
    async fn acquire(&self) -> Result<Instant, Error> {
        let mut seen: Option<(Value, Instant)> = None;
        loop {
            let asked = Instant::now();
            let lease = match self.client.get(&self.path()).await {
                Ok(lease) => lease,
                Err(error) if error.is_not_found() => match self.create().await {
                    Ok(_) => return Ok(asked),
                    // Another was faster.
                    Err(Error::Status { code: 409, .. }) => continue,
                    Err(error) => return Err(error),
                },
                Err(error) => return Err(error),
            };
            let version = lease["metadata"]["resourceVersion"].clone();
            let since = match &seen {
                Some((known, since)) if *known == version => *since,
                _ => Instant::now(),
            };
            seen = Some((version, since));
            let seconds = lease["spec"]["leaseDurationSeconds"].as_u64().unwrap_or(self.seconds);
            let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
            let free =
                holder.is_empty() || holder == self.holder || since.elapsed().as_secs() >= seconds;
            if free && self.write(lease).await.is_ok() {
                return Ok(asked);
            }
            sleep(Duration::from_millis(self.pause())).await;
        }
    }

    /// Renews until that has failed for as long as the lease is trusted, or another has it. A request without an answer
    /// holds nothing up.
    async fn keep(&self, mut renewed: Instant) {
        loop {
            let pause = self.pause().min(self.trusted(renewed));
            sleep(Duration::from_millis(pause)).await;
            let (asked, left) = (Instant::now(), self.trusted(renewed));
            if left == 0 {
                return;
            }
            match self.renew().timeout(Duration::from_millis(left)).await {
                Ok(Ok(true)) => renewed = asked,
                Ok(Ok(false)) | Err(_) => return,
                Ok(Err(_)) => {}
            }
        }
    }

    /// Renews the lease; `false` when it is another's.
    async fn renew(&self) -> Result<bool, Error> {
        let lease = self.client.get(&self.path()).await?;
        if lease["spec"]["holderIdentity"] != self.holder.as_str() {
            return Ok(false);
        }
        self.write(lease).await.map(|_| true)
    }

    fn path(&self) -> String {
        format!("{}/{}", self.collection, self.name)
    }

    fn spec(&self) -> Value {
        let now = rfc3339(SystemTime::now());
        json!({"holderIdentity": self.holder, "leaseDurationSeconds": self.seconds,
            "acquireTime": now, "renewTime": now})
    }

    async fn create(&self) -> Result<Value, Error> {
        let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": self.name}, "spec": self.spec()});
        self.client.create(&self.collection, &lease).await
    }

    /// Takes or renews a lease that is still as it was read.
    async fn write(&self, mut lease: Value) -> Result<Value, Error> {
        let (mut spec, before) = (self.spec(), lease["spec"].take());
        if before["holderIdentity"] == self.holder.as_str() {
            spec["acquireTime"] = before["acquireTime"].clone();
        }
        let taken = before["leaseTransitions"].as_u64().unwrap_or(0);
        let changes = before["holderIdentity"] != self.holder.as_str();
        spec["leaseTransitions"] = json!(taken + u64::from(changes));
        lease["spec"] = spec;
        self.client.replace(&self.path(), &lease).await
    }
}
