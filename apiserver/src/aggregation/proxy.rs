//! Passes requests on to the servers behind APIServices, watches and changes of protocol included.
//!
//! An edge: Services are dialled, and TLS is spoken.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use coracle_api::status::Status;
use http::Method;
use http::request::Parts;
use hyper::upgrade::OnUpgrade;
use rustls_pki_types::ServerName;
use tokio_rustls::TlsConnector;

use super::front_proxy::name_user;
use super::remote::Remote;
use crate::authn::UserInfo;
use crate::body::Body;
use crate::node_dialer::Duplex;
use crate::pki;
use crate::reach::{Unreachable, host_of};
use crate::respond::Answer;
use crate::server::Core;
use crate::streams::Outgoing;

impl Core {
    /// Passes a request on to the server of its path; `None` for paths that are this server's own.
    ///
    /// # Errors
    /// 503 when the server cannot be reached.
    pub(crate) async fn aggregated(
        &self,
        parts: &mut Parts,
        body: Body,
        user: &UserInfo,
    ) -> Result<Result<Answer, Body>, Status> {
        let Some(remote) = self.remotes.of_path(parts.uri.path()) else { return Ok(Err(body)) };
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let upgrade = parts.extensions.remove::<OnUpgrade>();
        let mut outgoing = Outgoing::new(&parts.headers, upgrade, parts.method.clone(), path, body);
        name_user(&mut outgoing.headers, user);
        let failed = |why: &dyn std::fmt::Display| {
            tracing::info!(service = remote.name, %why, "an aggregated API cannot be reached");
            Status::service_unavailable("service unavailable")
        };
        let stream = self.dial_remote(&remote).await.map_err(|error| failed(&error))?;
        let host = host_of(&remote.namespace, &remote.service);
        let answer = self.exchange(stream, &host, outgoing).await;
        answer.map(Ok).map_err(|error| error.status(|why| failed(why)))
    }

    /// Asks a server for a document in the aggregator's own name.
    pub(super) async fn ask_remote(
        &self,
        remote: &Remote,
        path: String,
    ) -> Result<Answer, Unreachable> {
        let stream = self.dial_remote(remote).await?;
        let mut outgoing = Outgoing::get(path);
        let own = UserInfo::new("system:kube-aggregator", [crate::authn::MASTERS]);
        name_user(&mut outgoing.headers, &own);
        debug_assert_eq!(outgoing.method, Method::GET);
        let host = host_of(&remote.namespace, &remote.service);
        let answer = self.exchange(stream, &host, outgoing).await;
        answer.map_err(|error| failed_check(&error))
    }

    async fn dial_remote(&self, remote: &Remote) -> Result<Box<dyn Duplex>, Unreachable> {
        let authority = STANDARD.decode(&remote.authority).map_err(|error| failed_check(&error))?;
        let identity = self.front_proxy.as_ref().map(|front| &front.identity);
        let config = pki::client_config_for(&authority, remote.insecure, identity);
        let config = config.map_err(|error| failed_check(&error))?;
        let host = host_of(&remote.namespace, &remote.service);
        let name = ServerName::try_from(host).map_err(|error| failed_check(&error))?;
        let stream = self.dial_service(&remote.namespace, &remote.service, remote.port).await?;
        let connector = TlsConnector::from(Arc::new(config));
        let stream = connector.connect(name, stream).await.map_err(|error| failed_check(&error))?;
        Ok(Box::new(stream))
    }
}

pub(super) fn failed_check(why: &dyn std::fmt::Display) -> Unreachable {
    let message = format!("failing or missing response from the server: {why}");
    Unreachable { reason: "FailedDiscoveryCheck", message }
}
