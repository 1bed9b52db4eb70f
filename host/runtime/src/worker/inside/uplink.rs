//! The way out of the pod's namespace: connections, datagrams and names by the link.
//!
//! An edge: a connection is a task.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use coracle_vnet::{
    BoxFuture, DatagramSink, NetNs, NsTag, ResolveError, Resolver, Uplink, VStream,
};
use futures::FutureExt as _;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::worker::calls::Calls;
use crate::worker::link::{self, DatagramHead, Link};
use crate::worker::wire::{IoError, ToHost, Unresolved};

/// The pod's way out.
pub(super) struct Out {
    pub(super) link: Arc<Link>,
    pub(super) lookups: Calls<Result<Vec<IpAddr>, Unresolved>>,
    connecting: Mutex<HashMap<u32, oneshot::Sender<Result<(), IoError>>>>,
    netns: Mutex<Weak<NetNs>>,
    /// What was told last of where the pod listens and receives.
    told: Mutex<(Vec<SocketAddr>, Vec<SocketAddr>)>,
}

impl Out {
    pub(super) fn new(link: Arc<Link>) -> Arc<Self> {
        Arc::new(Self {
            link,
            lookups: Calls::default(),
            connecting: Mutex::default(),
            netns: Mutex::default(),
            told: Mutex::default(),
        })
    }

    pub(super) fn set_netns(&self, netns: &Arc<NetNs>) {
        *self.netns.lock() = Arc::downgrade(netns);
    }

    /// How a connection went.
    pub(super) fn connected(&self, stream: u32, outcome: Result<(), IoError>) {
        if let Some(waiting) = self.connecting.lock().remove(&stream) {
            // Whoever connected may have given up.
            let _ = waiting.send(outcome);
        }
    }

    /// Tells the host where the pod listens and receives, if that has changed.
    pub(super) fn tell_ports(&self) {
        let Some(netns) = self.netns.lock().upgrade() else { return };
        let mut told = self.told.lock();
        let ports = (netns.listening(), netns.receiving());
        if *told != ports {
            (*told).clone_from(&ports);
            let (tcp, udp) = ports;
            self.send(&ToHost::Ports { tcp, udp });
        }
    }

    /// Says something to the host; a link that has ended is the end of this process anyway.
    pub(super) fn send(&self, message: &ToHost) {
        if self.link.send(message, Vec::new()).is_err() {
            self.link.end();
        }
    }
}

/// The uplink and the resolver of the worker's fabric.
pub(super) struct Way(pub(super) Arc<Out>);

impl Uplink for Way {
    fn connect(
        &self,
        source: SocketAddr,
        destination: SocketAddr,
    ) -> BoxFuture<'static, io::Result<VStream>> {
        let out = self.0.clone();
        let stream = out.link.open();
        let (tell, told) = oneshot::channel();
        out.connecting.lock().insert(stream.id(), tell);
        out.send(&ToHost::Connect { stream: stream.id(), source, destination });
        async move {
            match told.await {
                Ok(Ok(())) => {
                    let (near, far) = VStream::pair(source, destination);
                    tokio::spawn(link::join(far, stream));
                    Ok(near)
                }
                Ok(Err(error)) => Err(error.error()),
                Err(_) => Err(io::ErrorKind::NetworkUnreachable.into()),
            }
        }
        .boxed()
    }

    fn datagrams(&self, source: SocketAddr, destination: SocketAddr) -> Arc<dyn DatagramSink> {
        Arc::new(Datagrams {
            out: self.0.clone(),
            head: DatagramHead { local: source, remote: destination },
        })
    }

    fn ports_changed(&self) {
        self.0.tell_ports();
    }
}

impl Resolver for Way {
    fn resolve(
        &self,
        _from: &NsTag,
        name: &str,
    ) -> BoxFuture<'static, Result<Vec<IpAddr>, ResolveError>> {
        let (call, answer) = self.0.lookups.begin();
        self.0.send(&ToHost::Resolve { call, name: name.to_owned() });
        let name = name.to_owned();
        async move {
            match answer.await {
                Ok(outcome) => outcome.map_err(|error| error.error(&name)),
                Err(_) => Err(ResolveError::NotFound(name)),
            }
        }
        .boxed()
    }
}

/// Datagrams of one flow.
pub(super) struct Datagrams {
    pub(super) out: Arc<Out>,
    pub(super) head: DatagramHead,
}

impl DatagramSink for Datagrams {
    fn send(&self, data: Bytes) -> bool {
        self.out.link.send_datagram(&self.head, &data)
    }
}
