//! Pod to pod across two hosts, each in a network namespace of the kernel, beside TCP with rustls between the
//! same two namespaces.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use coracle_e2e::probe_pods::{PROBE, ask, ended, labelled, machines_with_images, wait_pod_ready};
use coracle_e2e::{Machines, within};
use rustls::{ClientConnection, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use super::secure::{NAME, Secure};
use crate::process::Process;

/// What is sent one way, in mebibytes.
const MEBIBYTES: usize = 1024;
/// What is written at once, as the guest does.
const BLOCK_BYTES: usize = 256 << 10;
const PINGS: u32 = 20_000;
/// Times that both are measured, one after the other: what else the machine does shall be in both.
const ROUNDS: usize = 3;
/// Streams at once over the one connection between the two hosts, and the pods that open them: one may
/// have 4,096.
const STREAMS: usize = 10_000;
const CLIENTS: usize = 4;
/// Where the tunnel of a host listens.
const TUNNEL_PORT: u16 = 15_008;
/// How long 10,000 streams may take until they are open.
const PATIENCE: Duration = Duration::from_secs(300);

pub(crate) fn measure() -> anyhow::Result<Vec<String>> {
    let machines = machines_with_images(3);
    let secure = Secure::new()?;
    let (mut ours, mut plain) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let cpu = host_cpu(&machines)?;
        let bytes = pods(&machines, round, "sink", &["send", &MEBIBYTES.to_string()])?;
        let cpu = (host_cpu(&machines)? - cpu).as_secs_f64();
        let trip = pods(&machines, round, "echo", &["ping", &PINGS.to_string()])?;
        ours.push((bytes, trip, cpu));
        plain.push((stream(&machines, &secure)?, round_trip(&machines, &secure)?));
    }
    let median = |mut all: Vec<f64>| {
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied().unwrap_or_default()
    };
    let of = |take: fn(&(f64, f64, f64)) -> f64| median(ours.iter().map(take).collect());
    let (bytes, trip, cpu) = (of(|one| one.0), of(|one| one.1), of(|one| one.2));
    let plain_bytes = median(plain.iter().map(|one| one.0).collect());
    let plain_trip = median(plain.iter().map(|one| one.1).collect());
    let (open, streams) = streams(&machines)?;
    Ok(vec![
        format!(
            "pod to pod across two hosts: {:.2} GB/s one way, TCP with rustls {:.2}, {:.2} x (promised 0.7); {:.2} s of both hosts' CPU for each GB",
            bytes / 1e9,
            plain_bytes / 1e9,
            bytes / plain_bytes,
            cpu * 1e9 / (MEBIBYTES << 20) as f64,
        ),
        format!(
            "  a round trip: {:.0} us, TCP with rustls {:.0} us, {:.0} us added (promised 60)",
            trip / 1e3,
            plain_trip / 1e3,
            (trip - plain_trip) / 1e3,
        ),
        format!(
            "  {streams} streams at once over {open} connection(s) between the hosts, each answered (promised 10000 over 1)"
        ),
    ])
}

fn host_cpu(machines: &Machines) -> anyhow::Result<Duration> {
    Ok(Process(machines.host_pid(1)).cpu()? + Process(machines.host_pid(2)).cpu()?)
}

/// Serves in a pod of host 2 what is asked for in one of host 1; the number that the asking one says.
fn pods(machines: &Machines, round: usize, serve: &str, words: &[&str]) -> anyhow::Result<f64> {
    let name = format!("{serve}-{round}");
    let container = json!({"name": "c", "image": PROBE, "args": [format!("{serve} 0.0.0.0:7000")]});
    let mut pod = labelled(&name, &machines.node(2), &container);
    pod["spec"]["restartPolicy"] = json!("Never");
    machines.apply(&pod.to_string());
    let ip = wait_pod_ready(machines, &name);
    let (verb, count) = (words.first().context("a verb")?, words.get(1).context("a count")?);
    let question = format!("{verb} {ip}:7000 {count}");
    for attempt in 0..20 {
        let (_, said) = ask(machines, &format!("{name}-ask-{attempt}"), 1, &[&question]);
        // It may be asked before it listens.
        if let Some(number) = said.trim().rsplit(' ').next().and_then(|word| word.parse().ok()) {
            machines.run(&["delete", "pod", &name, "--force", "--grace-period=0"]);
            return Ok(number);
        }
        ensure!(said.contains("ConnectionRefused"), "{question}: {said}");
    }
    anyhow::bail!("{question}: nobody listens")
}

/// Opens all streams and asks on each; how many connections there are between the hosts meanwhile, and
/// how many streams were answered.
fn streams(machines: &Machines) -> anyhow::Result<(usize, usize)> {
    let each = STREAMS / CLIENTS;
    let mut places = Vec::new();
    for number in 0..CLIENTS / 2 {
        let args = json!([format!("crowd 0.0.0.0:7000 {}", each * 2)]);
        let container = json!({"name": "c", "image": PROBE, "args": args});
        let name = format!("crowd-{number}");
        machines.apply(&labelled(&name, &machines.node(2), &container).to_string());
        places.push(wait_pod_ready(machines, &name));
    }
    let name = |number: usize| format!("many-{number}");
    for number in 0..CLIENTS {
        let place = places.get(number / 2).context("a place")?;
        let args = json!([format!("many {place}:7000 {each} all-are-open")]);
        let mut pod = labelled(
            &name(number),
            &machines.node(1),
            &json!({"name": "c", "image": PROBE, "args": args}),
        );
        pod["spec"]["restartPolicy"] = json!("Never");
        machines.apply(&pod.to_string());
    }
    for number in 0..CLIENTS {
        within(PATIENCE, "all streams are open", || {
            let said = machines.run(&["logs", &name(number)]);
            let there = said.contains(&format!("{each} open"));
            if there { Ok(()) } else { Err((said, machines.logs())) }
        });
    }
    let open = connections(machines.host_pid(1))?;
    let end: Value = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "all-are-open"},
        "spec": {"ports": [{"port": 1}]}});
    machines.apply(&end.to_string());
    let mut answered = 0;
    for number in 0..CLIENTS {
        let (_, said) = ended(machines, &name(number));
        let count = said.trim().rsplit(' ').next().and_then(|word| word.parse::<usize>().ok());
        answered += count.with_context(|| format!("the answered streams in '{said}'"))?;
    }
    Ok((open, answered))
}

/// Connections from a process' network namespace to a tunnel that are established.
fn connections(pid: u32) -> anyhow::Result<usize> {
    let table = std::fs::read_to_string(format!("/proc/{pid}/net/tcp"))?;
    let to_tunnel = |line: &&str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let port = words.get(2).and_then(|remote| remote.split_once(':')).map(|(_, port)| port);
        port.and_then(|port| u16::from_str_radix(port, 16).ok()) == Some(TUNNEL_PORT)
            && words.get(3) == Some(&"01")
    };
    Ok(table.lines().skip(1).filter(to_tunnel).count())
}

type Near = StreamOwned<ClientConnection, TcpStream>;
type Far = StreamOwned<ServerConnection, TcpStream>;

/// A connection between the machines of the two hosts, and what is done with its far end.
fn connect<T: Send + 'static>(
    machines: &Machines,
    secure: &Secure,
    serve: impl FnOnce(Far) -> std::io::Result<T> + Send + 'static,
) -> anyhow::Result<(Near, JoinHandle<std::io::Result<T>>)> {
    let listener = machines.on(2, || TcpListener::bind(("0.0.0.0", 0)))?;
    let to = format!("{}:{}", machines.address(2), listener.local_addr()?.port());
    let near = machines.on(1, || TcpStream::connect(to))?;
    near.set_nodelay(true)?;
    let (far, _) = listener.accept()?;
    far.set_nodelay(true)?;
    let server = ServerConnection::new(std::sync::Arc::clone(&secure.server))?;
    let serving = std::thread::spawn(move || serve(StreamOwned::new(server, far)));
    let client = ClientConnection::new(std::sync::Arc::clone(&secure.client), NAME.try_into()?)?;
    Ok((StreamOwned::new(client, near), serving))
}

/// Bytes a second over TCP with rustls.
fn stream(machines: &Machines, secure: &Secure) -> anyhow::Result<f64> {
    let count = MEBIBYTES << 20;
    let (mut near, serving) = connect(machines, secure, move |mut far| {
        let mut block = vec![0; BLOCK_BYTES];
        let mut rest = count;
        while rest > 0 {
            rest = rest.saturating_sub(far.read(&mut block)?);
        }
        far.write_all(b"x")?;
        far.flush()
    })?;
    let block = vec![7; BLOCK_BYTES];
    let start = Instant::now();
    for _ in 0..count / BLOCK_BYTES {
        near.write_all(&block)?;
    }
    near.flush()?;
    near.read_exact(&mut [0])?;
    let took = start.elapsed();
    serving.join().map_err(|_| anyhow::anyhow!("the far end panicked"))??;
    Ok(count as f64 / took.as_secs_f64())
}

/// Nanoseconds of a round trip over TCP with rustls.
fn round_trip(machines: &Machines, secure: &Secure) -> anyhow::Result<f64> {
    let (mut near, serving) = connect(machines, secure, |mut far| {
        for _ in 0..PINGS {
            far.read_exact(&mut [0])?;
            far.write_all(b"x")?;
            far.flush()?;
        }
        Ok(())
    })?;
    let start = Instant::now();
    for _ in 0..PINGS {
        near.write_all(b"x")?;
        near.flush()?;
        near.read_exact(&mut [0])?;
    }
    let took = start.elapsed();
    serving.join().map_err(|_| anyhow::anyhow!("the far end panicked"))??;
    Ok(took.as_secs_f64() * 1e9 / f64::from(PINGS))
}
