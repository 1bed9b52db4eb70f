//! The way to namespaces of other fabrics: pods of other hosts.

use crate::fabric::Fabric;
use crate::route::{Flow, Protocol};
use crate::stream::VStream;
use crate::tag::NsTag;
use crate::udp::DatagramSink;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::net::TcpStream;

/// Carries what goes to pods that are not on this fabric. Whom it asks, and how it gets there, is
/// not known here.
pub trait Overlay: Send + Sync {
    /// Joins `far`, the other end of a connection that starts here, with whoever listens at
    /// `address` on another fabric. It is done when the other side has accepted; `far` is then
    /// served for as long as the connection lives. Dropping the future gives up.
    ///
    /// # Errors
    /// As a connection on this fabric would fail: `ConnectionRefused` when nobody listens or the
    /// other side refuses, `HostUnreachable` when no fabric has the address or it cannot be reached.
    fn connect(
        &self,
        flow: &Flow,
        address: SocketAddr,
        far: VStream,
    ) -> BoxFuture<'static, io::Result<()>>;

    /// Says by which way [`Overlay::connect`] would go to `address`, for people.
    ///
    /// # Errors
    /// Why there is none. By default nothing is known of ways.
    fn way(&self, address: SocketAddr) -> Result<String, String> {
        Err(format!("nothing is known of the way to {address}"))
    }

    /// Gives the way for datagrams of a flow to `address` on another fabric; what comes back goes to
    /// `answers`, for as long as that takes it. `None` when nothing leads there: by default nothing
    /// does.
    fn datagrams(
        &self,
        _flow: &Flow,
        _address: SocketAddr,
        _answers: Arc<dyn DatagramSink>,
    ) -> Option<Arc<dyn DatagramSink>> {
        None
    }
}

/// Where a connection to an address leads from this fabric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hop {
    /// To this namespace of the fabric itself.
    Here(NsTag),
    /// To another fabric, by this way.
    Beyond(String),
    /// Nowhere, and why.
    Nowhere(String),
}

impl Fabric {
    /// Says where a connection to an address leads, by the same look-up as a connection.
    #[must_use]
    pub fn hop(&self, address: SocketAddr) -> Hop {
        if let Some(ns) = self.get(address.ip()) {
            return Hop::Here(ns.tag().clone());
        }
        match self.overlay().map(|overlay| overlay.way(address)) {
            Some(Ok(way)) => Hop::Beyond(way),
            Some(Err(why)) => Hop::Nowhere(why),
            None => Hop::Nowhere(format!("no pod of this host has the address {}", address.ip())),
        }
    }

    /// Connects a flow to a pod that is not on this fabric; `None` when it is, or nothing leads to
    /// other fabrics. The end comes back that the one who connects holds.
    pub(crate) fn connect_beyond(
        &self,
        flow: &Flow,
        address: SocketAddr,
    ) -> Option<BoxFuture<'static, io::Result<VStream>>> {
        let overlay = self.overlay()?;
        if self.get(address.ip()).is_some() {
            return None;
        }
        let (near, far) = VStream::pair(flow.source, flow.destination);
        let joining = overlay.connect(flow, address, far);
        Some(async move { joining.await.map(|()| near) }.boxed())
    }

    /// As [`Fabric::deliver`], to a pod of this fabric or of another one.
    ///
    /// # Errors
    /// As [`Fabric::deliver`], and what the way to the other fabric adds.
    pub async fn deliver_anywhere(
        &self,
        destination: SocketAddr,
        source: SocketAddr,
    ) -> io::Result<VStream> {
        let flow = Flow { from: None, source, destination, protocol: Protocol::Tcp };
        match self.connect_beyond(&flow, destination) {
            Some(connecting) => connecting.await,
            None => self.deliver(destination, source),
        }
    }

    /// The way for datagrams to a pod that is not on this fabric; `None` when it is, or nothing leads
    /// there.
    pub(crate) fn datagrams_beyond(
        &self,
        flow: &Flow,
        address: SocketAddr,
        answers: Arc<dyn DatagramSink>,
    ) -> Option<Arc<dyn DatagramSink>> {
        let overlay = self.overlay()?;
        if self.get(address.ip()).is_some() {
            return None;
        }
        overlay.datagrams(flow, address, answers)
    }

    /// Whether a connection to this address has to leave the fabric.
    #[must_use]
    pub fn is_beyond(&self, ip: IpAddr) -> bool {
        self.overlay().is_some() && self.get(ip).is_none()
    }

    /// Joins a real connection, which came from `source`, with a pod that is not on this fabric, in
    /// a task of its own; the connection is cut when the pod does not take it. Nothing is done, and
    /// the connection comes back, when nothing leads to other fabrics.
    pub(crate) fn join_beyond(
        &self,
        destination: SocketAddr,
        stream: TcpStream,
        source: SocketAddr,
    ) -> Result<(), TcpStream> {
        let flow = Flow { from: None, source, destination, protocol: Protocol::Tcp };
        let Some(connecting) = self.connect_beyond(&flow, destination) else { return Err(stream) };
        tokio::spawn(async move {
            match connecting.await {
                Ok(far) => crate::splice::splice(stream, far).await,
                Err(error) => {
                    tracing::debug!(%error, %destination, "a pod of another host was not reached");
                    if let Err(error) = stream.set_zero_linger() {
                        tracing::debug!(%error, "set SO_LINGER on a refused connection");
                    }
                }
            }
        });
        Ok(())
    }
}
