//! Counters at one moment. Pure.

use coracle_vnet::TrafficCounts;
use jiff::Timestamp;

use crate::eviction::signals::Level;
use crate::runtime::Usage;

/// What one container has used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ContainerSample {
    /// Its name.
    pub(crate) name: String,
    /// Its image, as the pod names it.
    pub(crate) image: String,
    /// When it began.
    pub(crate) started: Option<Timestamp>,
    /// CPU time since then, in nanoseconds.
    pub(crate) cpu_nanos: u64,
    /// Bytes held now.
    pub(crate) memory_bytes: u64,
    /// All that was counted.
    pub(crate) usage: Usage,
    /// `limits.memory` in bytes.
    pub(crate) memory_limit_bytes: Option<u64>,
    /// `limits.cpu` in thousandths of a core.
    pub(crate) cpu_limit_millis: Option<u32>,
}

/// The containers of one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PodSample {
    /// Its namespace.
    pub(crate) namespace: String,
    /// Its name.
    pub(crate) name: String,
    /// Its uid.
    pub(crate) uid: String,
    /// When it began.
    pub(crate) started: Option<Timestamp>,
    /// What it has sent and received, where that is counted.
    pub(crate) traffic: Option<TrafficCounts>,
    /// Those that run.
    pub(crate) containers: Vec<ContainerSample>,
}

/// What has gone over one interface of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct InterfaceSample {
    pub(crate) name: String,
    pub(crate) received_bytes: u64,
    pub(crate) receive_errors: u64,
    pub(crate) sent_bytes: u64,
    pub(crate) send_errors: u64,
}

/// What the machine has used, everything on it together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeSample {
    /// CPU time since the boot, in nanoseconds.
    pub(crate) cpu_nanos: u64,
    /// Bytes that cannot be given to others at once.
    pub(crate) memory_bytes: u64,
    /// Bytes of memory that the machine has.
    pub(crate) memory_bytes_max: u64,
    /// Cores.
    pub(crate) cores: usize,
    /// When it was booted.
    pub(crate) booted: Option<Timestamp>,
    /// Its interfaces but those within it; the one that leads out first.
    pub(crate) network: Vec<InterfaceSample>,
    /// Process identifiers: how many there may be, and how many are left.
    pub(crate) pids: Option<Level>,
}

/// What the agent's own process has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProcessSample {
    /// CPU time since its start, in nanoseconds.
    pub(crate) cpu_nanos: u64,
    /// Bytes in memory, those of its guests included.
    pub(crate) resident_bytes: u64,
    /// Bytes of address space.
    pub(crate) virtual_bytes: u64,
    /// Open descriptors.
    pub(crate) open_fds: usize,
}

/// Everything at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    /// The moment.
    pub(crate) at: Timestamp,
    /// The node's name.
    pub(crate) node_name: String,
    /// The machine.
    pub(crate) node: NodeSample,
    /// The agent's own process.
    pub(crate) process: ProcessSample,
    /// Components that are mapped to be run.
    pub(crate) components: usize,
    /// The disk on which files of containers are, such as `/dev/vda1`; empty when it is not known.
    pub(crate) device: String,
    /// The pods, in order of their names.
    pub(crate) pods: Vec<PodSample>,
}

impl PodSample {
    /// CPU time of all containers, in nanoseconds.
    pub(crate) fn cpu_nanos(&self) -> u64 {
        self.containers.iter().map(|container| container.cpu_nanos).sum()
    }

    /// Bytes of all containers.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.containers.iter().map(|container| container.memory_bytes).sum()
    }
}

/// Reads the machine's counters: the texts of `/proc/stat` and `/proc/meminfo`, and the kernel's
/// ticks per second.
pub(crate) fn node(stat: &str, meminfo: &str, ticks_per_second: u64, cores: usize) -> NodeSample {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu ")).unwrap_or_default();
    let ticks: Vec<u64> = line.split_whitespace().map_while(|word| word.parse().ok()).collect();
    // user, nice, system, [idle, iowait,] irq, softirq, steal; guest time is part of user.
    let busy: u64 = [0, 1, 2, 5, 6, 7].iter().filter_map(|at| ticks.get(*at)).sum();
    let kib = |name: &str| -> u64 {
        let value = meminfo.lines().find_map(|line| line.strip_prefix(name));
        value.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    };
    let total = kib("MemTotal:");
    NodeSample {
        cpu_nanos: busy.saturating_mul(1_000_000_000 / ticks_per_second.max(1)),
        memory_bytes: total.saturating_sub(kib("MemAvailable:")).saturating_mul(1024),
        memory_bytes_max: total.saturating_mul(1024),
        cores,
        booted: stat
            .lines()
            .find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
            .and_then(|second| Timestamp::from_second(second).ok()),
        ..NodeSample::default()
    }
}

/// Reads the machine's interfaces: the texts of `/proc/net/dev` and `/proc/net/route`.
pub(crate) fn network(dev: &str, route: &str) -> Vec<InterfaceSample> {
    let lines = dev.lines().filter_map(|line| {
        let (name, counts) = line.split_once(':')?;
        let counts: Vec<u64> = counts.split_whitespace().map_while(|n| n.parse().ok()).collect();
        let [received_bytes, _, receive_errors, _, _, _, _, _, sent_bytes, _, send_errors, ..] =
            counts[..]
        else {
            return None;
        };
        let name = name.trim().to_owned();
        Some(InterfaceSample { name, received_bytes, receive_errors, sent_bytes, send_errors })
    });
    let mut all: Vec<InterfaceSample> = lines.filter(|one| one.name != "lo").collect();
    let out = route.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let (name, to) = (words.next()?, words.next()?);
        (to == "00000000").then_some(name)
    });
    all.sort_by_key(|one| Some(one.name.as_str()) != out);
    all
}

/// Reads `/proc/self/stat`: CPU time and memory. The name in it may have spaces and brackets.
pub(crate) fn process(stat: &str, ticks_per_second: u64, page_bytes: u64) -> ProcessSample {
    let after = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields: Vec<u64> =
        after.split_whitespace().map(|word| word.parse().unwrap_or_default()).collect();
    // Counted from `state`, the first after the name: utime, stime, vsize, rss.
    let field = |at: usize| fields.get(at).copied().unwrap_or_default();
    ProcessSample {
        cpu_nanos: (field(11) + field(12)).saturating_mul(1_000_000_000 / ticks_per_second.max(1)),
        virtual_bytes: field(20),
        resident_bytes: field(21).saturating_mul(page_bytes),
        open_fds: 0,
    }
}

/// A sample with one container, for the tests of the pages.
#[cfg(test)]
pub(super) fn example() -> Sample {
    let mut usage = Usage { memory_bytes_max: 9000, requests: 3, faults: 1, ..Usage::default() };
    usage.latencies.buckets[0] = 2;
    usage.latencies.buckets[16] = 1;
    usage.latencies.sum_usec = 12_000_500;
    usage.latencies.classes = [0, 0, 2, 0, 0, 1];
    usage.throttling.periods = 10;
    usage.throttling.throttled_periods = 4;
    usage.throttling.throttled_usec = 250_000;
    usage.disk.reads = 5;
    usage.disk.read_bytes = 500;
    usage.disk.writes = 6;
    usage.disk.written_bytes = 600;
    let container = ContainerSample {
        name: "web".into(),
        image: "web:1".into(),
        started: Some(Timestamp::from_second(50).unwrap()),
        cpu_nanos: 1_500_000_000,
        memory_bytes: 4096,
        usage,
        memory_limit_bytes: Some(16_384),
        cpu_limit_millis: Some(250),
    };
    let traffic = TrafficCounts { received_bytes: 10, sent_bytes: 20, received: 1, sent: 2 };
    let pod = PodSample {
        namespace: "default".into(),
        name: "web-0".into(),
        uid: "u".into(),
        started: None,
        traffic: Some(traffic),
        containers: vec![container],
    };
    let node = NodeSample {
        cpu_nanos: 2_000_000_001,
        memory_bytes: 8192,
        memory_bytes_max: 10_000,
        cores: 4,
        booted: Some(Timestamp::from_second(10).unwrap()),
        network: network("eth0: 7 1 2 0 0 0 0 0 8 1 3 0 0 0 0 0\n", ""),
        pids: Some(Level { capacity: 100, available: 60 }),
    };
    let process = ProcessSample {
        cpu_nanos: 3_000_000_000,
        resident_bytes: 1 << 20,
        virtual_bytes: 1 << 30,
        open_fds: 7,
    };
    let at = Timestamp::from_second(100).unwrap();
    let device = "/dev/vda1".into();
    Sample { at, node_name: "h1".into(), node, process, components: 2, device, pods: vec![pod] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_counters_are_read() {
        let stat = "cpu  10 1 5 1000 7 1 2 3 9 0\ncpu0 10 1 5 1000 7 1 2 3 9 0\nbtime 77\n";
        let meminfo = "MemTotal:        1000 kB\nMemFree: 100 kB\nMemAvailable:    400 kB\n";
        let expected = NodeSample {
            cpu_nanos: 220_000_000,
            memory_bytes: 600 * 1024,
            memory_bytes_max: 1000 * 1024,
            cores: 2,
            booted: Some(Timestamp::from_second(77).unwrap()),
            ..NodeSample::default()
        };
        assert_eq!(node(stat, meminfo, 100, 2), expected);
        assert_eq!(node("", "", 0, 1), NodeSample { cores: 1, ..NodeSample::default() });
    }

    #[test]
    fn the_interface_that_leads_out_comes_first() {
        let dev = "Inter-|   Receive  |  Transmit\n face |bytes packets errs|bytes packets errs\n\
             \x20   lo: 5 1 0 0 0 0 0 0 5 1 0 0 0 0 0 0\n  br0:1 0 0 0 0 0 0 0 2 0 0 0 0 0 0 0\n\
             \x20 eth0: 70 1 2 0 0 0 0 0 80 1 3 0 0 0 0 0\n";
        let route =
            "Iface\tDestination\tGateway\neth0\t0000FEA9\t00000000\neth0\t00000000\t010200C0\n";
        let found = network(dev, route);
        let names: Vec<&str> = found.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["eth0", "br0"]);
        let wanted = InterfaceSample {
            name: "eth0".into(),
            received_bytes: 70,
            receive_errors: 2,
            sent_bytes: 80,
            send_errors: 3,
        };
        assert_eq!(found[0], wanted);
        assert!(network("", "").is_empty());
    }

    #[test]
    fn the_processs_counters_are_read_whatever_its_name() {
        let stat =
            "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 9 0 12345 1000000 300 1";
        let expected = ProcessSample {
            cpu_nanos: 3_000_000_000,
            resident_bytes: 300 * 4096,
            virtual_bytes: 1_000_000,
            open_fds: 0,
        };
        assert_eq!(process(stat, 100, 4096), expected);
        assert_eq!(process("", 100, 4096), ProcessSample::default());
    }
}
