//! Commands over `wasi:sockets`.
use std::net::{IpAddr, SocketAddr};

use futures::join;
use wasip3::sockets::ip_name_lookup::resolve_addresses;
use wasip3::sockets::types::{
    ErrorCode, IpAddress, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress,
    TcpSocket, UdpSocket,
};
use wasip3::wit_stream;

type Said = Result<String, ErrorCode>;

pub async fn run(words: &[&str]) -> Said {
    match *words {
        ["serve", address, count] => serve(address, count.parse().unwrap_or(0)).await,
        ["echo", address] => echo(address).await,
        ["ask", address, text] => ask(address, text).await,
        ["load", address, mib] => load(address, mib.parse().unwrap_or(0)).await,
        ["bind", address] => {
            let socket = TcpSocket::create(family(address))?;
            socket.bind(parse(address))?;
            Ok(show(socket.get_local_address()?))
        }
        ["listen-anywhere"] => listen_anywhere(),
        ["options"] => options(),
        ["states", address] => states(address).await,
        ["udp-serve", address, count] => udp_serve(address, count.parse().unwrap_or(0)).await,
        ["udp-ask", address, text] => udp_ask(address, text).await,
        ["resolve", name] => resolve(name).await,
        _ => Ok("no such command".to_owned()),
    }
}

fn family(address: &str) -> IpAddressFamily {
    if address.starts_with('[') { IpAddressFamily::Ipv6 } else { IpAddressFamily::Ipv4 }
}

fn parse(address: &str) -> IpSocketAddress {
    match address.parse().expect("an address") {
        SocketAddr::V4(address) => {
            let [a, b, c, d] = address.ip().octets();
            IpSocketAddress::Ipv4(Ipv4SocketAddress { port: address.port(), address: (a, b, c, d) })
        }
        SocketAddr::V6(address) => {
            let [a, b, c, d, e, f, g, h] = address.ip().segments();
            let ip = (a, b, c, d, e, f, g, h);
            let (port, flow_info, scope_id) = (address.port(), 0, 0);
            IpSocketAddress::Ipv6(Ipv6SocketAddress { port, flow_info, address: ip, scope_id })
        }
    }
}

fn ip(address: IpAddress) -> IpAddr {
    match address {
        IpAddress::Ipv4((a, b, c, d)) => [a, b, c, d].into(),
        IpAddress::Ipv6((a, b, c, d, e, f, g, h)) => [a, b, c, d, e, f, g, h].into(),
    }
}

fn show(address: IpSocketAddress) -> String {
    let (ip, port) = match address {
        IpSocketAddress::Ipv4(v4) => (ip(IpAddress::Ipv4(v4.address)), v4.port),
        IpSocketAddress::Ipv6(v6) => (ip(IpAddress::Ipv6(v6.address)), v6.port),
    };
    SocketAddr::new(ip, port).to_string()
}

async fn connect(address: &str) -> Result<TcpSocket, ErrorCode> {
    let socket = TcpSocket::create(family(address))?;
    socket.connect(parse(address)).await?;
    Ok(socket)
}

/// Sends all and ends that direction.
async fn send(socket: &TcpSocket, data: Vec<u8>) -> Result<(), ErrorCode> {
    let (mut writer, reader) = wit_stream::new();
    let ending = socket.send(reader);
    writer.write_all(data).await;
    drop(writer);
    ending.await
}

/// Answers each connection with what it sent, once it has sent all.
async fn serve(address: &str, count: usize) -> Said {
    let socket = TcpSocket::create(family(address))?;
    socket.bind(parse(address))?;
    let mut connections = socket.listen()?;
    for _ in 0..count {
        let Some(stream) = connections.next().await else { break };
        let (data, ending) = stream.receive();
        let text = data.collect().await;
        ending.await?;
        let (local, peer) = (stream.get_local_address()?, stream.get_remote_address()?);
        let peer: SocketAddr = show(peer).parse().expect("an address");
        let mut answer = format!("{} {} ", show(local), peer.ip()).into_bytes();
        answer.extend(text);
        send(&stream, answer).await?;
    }
    Ok("ok".to_owned())
}

/// Sends one connection's bytes back as they come, without looking at them.
async fn echo(address: &str) -> Said {
    let socket = TcpSocket::create(family(address))?;
    socket.bind(parse(address))?;
    let stream = socket.listen()?.next().await.ok_or(ErrorCode::InvalidState)?;
    let (data, ending) = stream.receive();
    stream.send(data).await?;
    ending.await?;
    Ok("ok".to_owned())
}

/// Sends all, says so, and reads the answer to its end.
async fn ask(address: &str, text: &str) -> Said {
    let socket = connect(address).await?;
    send(&socket, text.as_bytes().to_vec()).await?;
    let (data, ending) = socket.receive();
    let answer = String::from_utf8_lossy(&data.collect().await).into_owned();
    ending.await?;
    Ok(format!("{answer} from {}", show(socket.get_remote_address()?)))
}

/// Sends more than any buffer holds while it reads what comes back.
async fn load(address: &str, mib: usize) -> Said {
    let socket = connect(address).await?;
    let block: Vec<u8> = (0..1 << 20).map(|index: u32| index.wrapping_mul(31) as u8).collect();
    let (mut writer, reader) = wit_stream::new();
    let sent = socket.send(reader);
    let (data, ending) = socket.receive();
    let ((), answer) = join!(
        async {
            for _ in 0..mib {
                writer.write_all(block.clone()).await;
            }
            drop(writer);
        },
        data.collect()
    );
    sent.await?;
    ending.await?;
    let same = answer.chunks(1 << 20).all(|chunk| chunk == block);
    Ok(format!("{} bytes, same {same}", answer.len()))
}

fn listen_anywhere() -> Said {
    let socket = TcpSocket::create(IpAddressFamily::Ipv4)?;
    let _connections = socket.listen()?;
    let address: SocketAddr = show(socket.get_local_address()?).parse().expect("an address");
    Ok(format!("{} {} {}", socket.get_is_listening(), address.ip(), address.port() != 0))
}

fn options() -> Said {
    let socket = TcpSocket::create(IpAddressFamily::Ipv6)?;
    let zero = socket.set_hop_limit(0).expect_err("0 is no limit");
    socket.set_hop_limit(12)?;
    socket.set_keep_alive_enabled(true)?;
    socket.set_keep_alive_idle_time(5_000_000_000)?;
    socket.set_keep_alive_interval(1_000_000_000)?;
    socket.set_keep_alive_count(3)?;
    socket.set_receive_buffer_size(1 << 16)?;
    socket.set_send_buffer_size(1 << 17)?;
    Ok(format!(
        "{zero:?} {} {} {} {} {} {} {} {:?}",
        socket.get_hop_limit()?,
        socket.get_keep_alive_enabled()?,
        socket.get_keep_alive_idle_time()?,
        socket.get_keep_alive_interval()?,
        socket.get_keep_alive_count()?,
        socket.get_receive_buffer_size()?,
        socket.get_send_buffer_size()?,
        socket.get_address_family(),
    ))
}

/// What a socket answers to calls that come at the wrong time; somebody must listen at `address`.
async fn states(address: &str) -> Said {
    let fresh = TcpSocket::create(family(address))?;
    let mut said = vec![format!("{:?}", fresh.get_remote_address().map(show))];
    let (data, ending) = fresh.receive();
    said.push(format!("{} {:?}", data.collect().await.len(), ending.await));
    let socket = connect(address).await?;
    said.push(format!("{:?}", socket.connect(parse(address)).await));
    let (first, _ending) = socket.receive();
    let (_again, ending) = socket.receive();
    said.push(format!("{:?}", ending.await));
    drop(first);
    Ok(said.join("; "))
}

async fn udp_serve(address: &str, count: usize) -> Said {
    let socket = UdpSocket::create(family(address))?;
    socket.bind(parse(address))?;
    for _ in 0..count {
        let (data, from) = socket.receive().await?;
        socket.send(data, Some(from)).await?;
    }
    Ok("ok".to_owned())
}

async fn udp_ask(address: &str, text: &str) -> Said {
    let socket = UdpSocket::create(family(address))?;
    let unbound = socket.receive().await.expect_err("it has no port");
    socket.send(text.as_bytes().to_vec(), Some(parse(address))).await?;
    let (data, from) = socket.receive().await?;
    let first = String::from_utf8_lossy(&data).into_owned();
    socket.connect(parse(address))?;
    socket.send(text.as_bytes().to_vec(), None).await?;
    let (data, _) = socket.receive().await?;
    let peer = show(socket.get_remote_address()?);
    socket.disconnect()?;
    let nowhere = socket.send(Vec::new(), None).await.expect_err("it has no peer");
    let second = String::from_utf8_lossy(&data).into_owned();
    Ok(format!("{unbound:?}, {first} from {}, {second} from {peer}, {nowhere:?}", show(from)))
}

async fn resolve(name: &str) -> Said {
    match resolve_addresses(name.to_owned()).await {
        Ok(found) => {
            let found: Vec<String> = found.into_iter().map(|found| ip(found).to_string()).collect();
            Ok(found.join(" "))
        }
        Err(code) => Ok(format!("{code:?}")),
    }
}
