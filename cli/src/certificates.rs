//! Keeps the server's own certificates good while it runs: the one that it serves under, and the administrator's in the
//! kubeconfig. Hosts see to theirs (`join::rotate`), others ask by a `CertificateSigningRequest`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use coracle_apiserver::pki::{Kubeconfig, Pki, Serving, kubeconfig};
use jiff::Timestamp;

use crate::config::DataDir;

/// Name of the cluster and of the administrator in the kubeconfig.
const CLUSTER: &str = "coracle";
const ADMIN: &str = "coracle-admin";

/// The longest sleep: a machine that slept or whose clock was set looks again by then.
const SLEEP_MAX: Duration = Duration::from_secs(3600);
/// The pause after a certificate could not be made or written, as on a full disk.
const PAUSE: Duration = Duration::from_secs(10);

/// What the certificates are made of.
pub(crate) struct Certificates {
    /// Where kubeconfigs lie.
    pub(crate) data: DataDir,
    /// Who signs.
    pub(crate) pki: Arc<Pki>,
    /// Names of this server, besides the well-known ones.
    pub(crate) names: Vec<String>,
    /// Where it is reached from this machine.
    pub(crate) address: SocketAddr,
}

impl Certificates {
    /// Makes the first ones: serving, the administrator's, and one for the host of this machine, whose node it names.
    ///
    /// # Errors
    /// When one cannot be made or written.
    pub(crate) fn first(&self, node: &str) -> anyhow::Result<Arc<Serving>> {
        let node = format!("system:node:{node}");
        self.write(&self.data.kubeconfig(), (ADMIN, "system:masters", ADMIN))?;
        self.write(&self.data.host_kubeconfig(), (&node, "system:nodes", &node))?;
        Ok(Serving::new(&self.pki.issue_serving(&self.names)?)?)
    }

    /// Makes the next ones in time, for as long as it is polled.
    pub(crate) async fn keep(self, serving: Arc<Serving>) {
        let mut issued = now();
        loop {
            let age = Duration::try_from(now().duration_since(issued)).unwrap_or_default();
            let left = self.pki.renew_after().saturating_sub(age);
            if !left.is_zero() {
                tokio::time::sleep(left.min(SLEEP_MAX)).await;
                continue;
            }
            let at = now();
            match self.renew(&serving, at) {
                Ok(()) => issued = at,
                Err(error) => {
                    let error = format!("{error:#}");
                    tracing::error!(error, again_in = ?PAUSE, "cannot renew the server's certificates");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    fn renew(&self, serving: &Serving, at: Timestamp) -> anyhow::Result<()> {
        self.pki.set_now(at);
        serving.replace(&self.pki.issue_serving(&self.names)?)?;
        self.write(&self.data.kubeconfig(), (ADMIN, "system:masters", ADMIN))?;
        tracing::info!(kubeconfig = %self.data.kubeconfig().display(), "renewed the server's certificates");
        Ok(())
    }

    fn write(
        &self,
        path: &std::path::Path,
        (user, group, name): (&str, &str, &str),
    ) -> anyhow::Result<()> {
        let text = kubeconfig(&Kubeconfig {
            server: &format!("https://{}", self.address),
            ca_certificate: self.pki.ca_certificate(),
            cluster: CLUSTER,
            user: name,
            identity: &self.pki.issue_client(user, Some(group))?,
        });
        Ok(self.data.write_private(path, text.as_bytes())?)
    }
}

#[expect(clippy::disallowed_methods, reason = "certificates live by the clock")]
fn now() -> Timestamp {
    Timestamp::now()
}
