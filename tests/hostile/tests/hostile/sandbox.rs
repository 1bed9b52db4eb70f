//! Everything at once: tight loops, memory, paths, a scan of ports and a name that changes its address,
//! beside a neighbour that must not notice. Row `sec.sandbox`.

use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use coracle_network::egress::Egress;
use coracle_network::network::Answers;
use coracle_runtime::{Container, Limits, Sandbox, SandboxSpec};
use coracle_vnet::{BoxFuture, Fabric, NetNsSpec, NsTag, ResolveError, Resolver};

use crate::files::{self, Ground};
use crate::world::{HOST_IP, Neighbour, Pod, end, kill, shown, wires};

/// Ports of a neighbour that are tried; it listens on 80 alone.
const PORTS: std::ops::Range<u16> = 1..200;

/// Requests of the neighbour while all of it goes on.
const REQUESTS: usize = 20;

/// Answers every question about a name with another address than before: the pod's own at first, then
/// what it must never reach.
struct Rebinding {
    answers: Vec<IpAddr>,
    asked: AtomicUsize,
}

impl Resolver for Rebinding {
    fn resolve(
        &self,
        _from: &NsTag,
        _name: &str,
    ) -> BoxFuture<'static, Result<Vec<IpAddr>, ResolveError>> {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        let answer = self.answers[asked % self.answers.len()];
        Box::pin(std::future::ready(Ok(vec![answer])))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_tried_at_once_no_neighbour_is_hurt() {
    let neighbour = Neighbour::start().await;
    let mut loops = Vec::new();
    for _ in 0..3 {
        let pod = Pod::new();
        loops.push((pod.start("hostile", &["spin"]).await, pod));
    }
    let (memory, files, scan, names, requests) = tokio::join!(
        takes_all_memory(),
        leaves_its_mounts(),
        scans(&neighbour),
        follows_a_name_that_moves(),
        asks(&neighbour),
    );
    assert!(memory.starts_with("137 OOMKilled"), "{memory}");
    assert!(files.ends_with("0 Completed"), "{files}");
    let open: Vec<&str> = scan.lines().filter(|line| line.ends_with("=> connected")).collect();
    assert_eq!(open, [format!("net connect {}:80 => connected", neighbour.pod.ip)]);
    assert_eq!(scan.lines().count(), PORTS.len(), "every port was tried: {scan}");
    assert!(!names.contains("=> connected"), "{names}");
    assert_eq!(requests, REQUESTS);
    for (container, _) in &loops {
        assert!(container.is_running(), "a loop ends by nobody but its owner");
        kill(container, "spin").await;
    }
    neighbour.answers("everything at once").await;
    assert!(neighbour.is_unhurt(), "the neighbour served all its requests, and well");
}

/// A pod that eats memory under a limit; gives how it ended.
async fn takes_all_memory() -> String {
    let pod = Pod::new();
    let mut spec = pod.spec(crate::world::image("hostile").await, &["eat"]);
    spec.limits = Limits { memory_bytes: Some(64 << 20), cpu_millis: None };
    let container = pod.sandbox.start(spec).await.unwrap();
    shown(&end(&container, "eat").await)
}

/// Ways out of a mount; gives what the guest said.
async fn leaves_its_mounts() -> String {
    let ground = Ground::new();
    let outside = ground.at("outside/secret");
    let (outside, link) = (outside.display(), format!("symlink {} /data/l", outside.display()));
    let commands = [
        format!("cat /../../../..{outside}"),
        link,
        "cat /data/l".to_owned(),
        "cat /data/planted".to_owned(),
    ];
    let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
    let said = files::run(&ground, "fs-probe", &commands, 1 << 20).await;
    assert!(!said.contains(files::SECRET), "{said}");
    ground.check("ways out");
    said
}

/// Tries the neighbour's ports; gives what came of each.
async fn scans(neighbour: &Neighbour) -> String {
    let attacks: Vec<String> =
        PORTS.map(|port| format!("net connect {}:{port}", neighbour.pod.ip)).collect();
    let attacks: Vec<&str> = attacks.iter().map(String::as_str).collect();
    let pod = Pod::new();
    let container = pod.start("hostile", &attacks).await;
    assert_eq!(end(&container, "scan").await.code, 0);
    pod.log()
}

/// A pod that may reach anything real looks a name up again and again, which soon is the host's own.
async fn follows_a_name_that_moves() -> String {
    let real = TcpListener::bind("0.0.0.0:0").unwrap();
    real.set_nonblocking(true).unwrap();
    let port = real.local_addr().unwrap().port();
    let own: IpAddr = Ipv4Addr::new(10, 128, 255, 1).into();
    let metadata = Ipv4Addr::new(169, 254, 169, 254).into();
    let answers =
        vec![own, Ipv4Addr::LOCALHOST.into(), metadata, HOST_IP, Ipv4Addr::UNSPECIFIED.into()];
    let attacks = vec![format!("net connect moves.example:{port}"); 2 * answers.len()];
    let resolver = Arc::new(Rebinding { answers, asked: AtomicUsize::new(0) });
    let fabric = Fabric::new(Arc::new(Answers(wires().network.clone())), resolver.clone());
    let tag = NsTag::new("uid-moves", "default/moves");
    wires().network.grant(&tag, Egress::parse("*").unwrap());
    let netns = fabric.add(NetNsSpec::new(tag.clone(), vec![own])).unwrap();
    let spec = SandboxSpec { netns: netns.clone(), memory_limit_bytes: None, cpu_millis: None };
    // Its log alone is that of a pod of the others' network.
    let folder = Pod::new();
    let attacks: Vec<&str> = attacks.iter().map(String::as_str).collect();
    let spec_of = folder.spec(crate::world::image("hostile").await, &attacks);
    let container: Container = Sandbox::new(spec).start(spec_of).await.unwrap();
    assert_eq!(end(&container, "rebinding").await.code, 0);
    assert_eq!(resolver.asked.load(Ordering::Relaxed), attacks.len(), "each looked it up anew");
    assert!(real.accept().is_err(), "the host was reached: {}", folder.log());
    wires().network.forget(&tag);
    fabric.remove(&netns);
    folder.log()
}

/// The neighbour's own clients meanwhile; gives how many were answered.
async fn asks(neighbour: &Neighbour) -> usize {
    for _ in 0..REQUESTS {
        neighbour.answers("everything at once").await;
    }
    REQUESTS
}
