//! Ports of the host itself that lead to one pod (`hostPort`).
//!
//! Bound when the sandbox is made, so that a taken port is a reason why it cannot be, and closed
//! when it is removed.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use coracle_vnet::{Fabric, Protocol};
use tokio::task::JoinHandle;

use super::HostPort;

/// Pause after a failed accept: accepting again at once would spin when descriptors are short.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The open ports of one pod; dropping them closes them.
#[derive(Debug, Default)]
pub(super) struct HostPorts {
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for HostPorts {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl HostPorts {
    /// Opens all of a pod's ports, or none.
    ///
    /// # Errors
    /// A sentence that names the port that cannot be had.
    pub(super) fn open(
        wanted: &[HostPort],
        pod: &[IpAddr],
        fabric: &Arc<Fabric>,
    ) -> Result<Self, String> {
        let mut ports = Self::default();
        for port in wanted {
            let of_family = |ip: &&IpAddr| ip.is_ipv4() == port.address.is_ipv4();
            let ip = pod.iter().find(of_family).ok_or_else(|| no_family(port))?;
            let backend = SocketAddr::new(*ip, port.container_port);
            let opened = match port.protocol {
                Protocol::Tcp => listen(port.address).map(|it| serve(it, backend, fabric.clone())),
                Protocol::Udp => bind(port.address).map(|it| pass(it, backend, fabric.clone())),
            };
            ports.tasks.push(opened.map_err(|error| refused(port, &error))?);
        }
        Ok(ports)
    }
}

fn no_family(port: &HostPort) -> String {
    format!("open hostPort {}: the pod has no address of that family", port.address)
}

fn refused(port: &HostPort, error: &io::Error) -> String {
    let hint = if error.kind() == io::ErrorKind::PermissionDenied {
        "; ports below 1024 need a privileged host"
    } else if error.kind() == io::ErrorKind::AddrInUse {
        "; something else on this host listens there"
    } else {
        ""
    };
    let protocol = match port.protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
    };
    format!("open hostPort {} ({protocol}): {error}{hint}", port.address)
}

fn bind(address: SocketAddr) -> io::Result<tokio::net::UdpSocket> {
    let socket = UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    tokio::net::UdpSocket::from_std(socket)
}

fn pass(socket: tokio::net::UdpSocket, backend: SocketAddr, fabric: Arc<Fabric>) -> JoinHandle<()> {
    tokio::spawn(coracle_vnet::serve_datagrams(socket, fabric, move |_, _| Some(backend)))
}

fn listen(address: SocketAddr) -> io::Result<tokio::net::TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener)
}

fn serve(
    listener: tokio::net::TcpListener,
    backend: SocketAddr,
    fabric: Arc<Fabric>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            let Ok((stream, peer)) = listener.accept().await else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            if let Err((stream, error)) = fabric.deliver_real(backend, stream, peer) {
                tracing::debug!(%backend, %error, "connection to a hostPort refused");
                // A client sees a reset as "connection refused".
                let _ = stream.set_zero_linger();
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_vnet::{BoxFuture, Flow, NetNsSpec, NsTag, ResolveError, Resolver, Route, Router};
    use std::net::Ipv4Addr;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    struct Plain;

    impl Router for Plain {
        fn route(&self, flow: &Flow) -> Route {
            Route::Pod(flow.destination)
        }
    }

    impl Resolver for Plain {
        fn resolve(
            &self,
            _: &NsTag,
            name: &str,
        ) -> BoxFuture<'static, Result<Vec<IpAddr>, ResolveError>> {
            Box::pin(std::future::ready(Err(ResolveError::NotFound(name.to_owned()))))
        }
    }

    const POD: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 128, 0, 9));

    /// A port that is free, for TCP and UDP: the first is this process's own, and no machine gives it out by itself.
    fn free(number: u16) -> SocketAddr {
        let first = 10_000 + (std::process::id() % 400) as u16 * 2 + number;
        let addresses = (first..11_000).step_by(2).map(|port| ([127, 0, 0, 1], port).into());
        let is_free = |address: &SocketAddr| {
            TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok()
        };
        addresses.into_iter().find(is_free).unwrap()
    }

    #[tokio::test]
    async fn what_comes_to_the_hosts_port_ends_in_the_pod_until_it_is_closed() {
        let fabric = Fabric::new(Arc::new(Plain), Arc::new(Plain));
        let tag = NsTag::new("uid", "default/web");
        let netns = fabric.add(NetNsSpec::new(tag, vec![POD])).unwrap();
        let guard = netns.bind_tcp((POD, 80).into()).unwrap();
        let listener = guard.listen(4, None).unwrap();
        let address = free(0);
        let wanted = [HostPort { address, container_port: 80, protocol: Protocol::Tcp }];
        let six = [IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, 9])];
        let other = HostPorts::open(&wanted, &six, &fabric).unwrap_err();
        assert!(other.ends_with("the pod has no address of that family"), "{other}");
        let ports = HostPorts::open(&wanted, &[POD], &fabric).unwrap();
        let taken = HostPorts::open(&wanted, &[POD], &fabric).unwrap_err();
        assert!(taken.starts_with(&format!("open hostPort {address} (TCP): ")), "{taken}");
        assert!(taken.ends_with("something else on this host listens there"), "{taken}");
        let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
        client.write_all(b"hello").await.unwrap();
        let mut served = std::future::poll_fn(|cx| listener.poll_accept(cx)).await.unwrap();
        assert_eq!(served.peer_addr(), client.local_addr().unwrap());
        let mut got = [0; 5];
        served.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"hello");
        drop(ports);
        let mut tries = 0;
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tries += 1;
            assert!(tries < 1000, "the port stays open");
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn datagrams_to_the_hosts_port_are_answered_by_the_pod() {
        let fabric = Fabric::new(Arc::new(Plain), Arc::new(Plain));
        let tag = NsTag::new("uid", "default/dns");
        let netns = fabric.add(NetNsSpec::new(tag, vec![POD])).unwrap();
        let server = netns.bind_udp((POD, 53).into()).unwrap();
        let address = free(1);
        let wanted = [HostPort { address, container_port: 53, protocol: Protocol::Udp }];
        let ports = HostPorts::open(&wanted, &[POD], &fabric).unwrap();
        let taken = HostPorts::open(&wanted, &[POD], &fabric).unwrap_err();
        assert!(taken.starts_with(&format!("open hostPort {address} (UDP): ")), "{taken}");
        let client = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client.connect(address).await.unwrap();
        client.send(b"question").await.unwrap();
        std::future::poll_fn(|cx| server.poll_readable(cx)).await;
        let question = server.try_recv().unwrap().unwrap();
        assert_eq!(&*question.data, b"question");
        assert_eq!(question.source.port(), client.local_addr().unwrap().port());
        server.send(question.source, b"answer".as_slice().into()).unwrap();
        let mut answer = [0; 6];
        client.recv(&mut answer).await.unwrap();
        assert_eq!(&answer, b"answer");
        drop(ports);
    }
}
