//! Counters at one moment. Pure.

use jiff::Timestamp;

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
    /// Those that run.
    pub(crate) containers: Vec<ContainerSample>,
}

/// What the machine has used, everything on it together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeSample {
    /// CPU time since the boot, in nanoseconds.
    pub(crate) cpu_nanos: u64,
    /// Bytes that cannot be given to others at once.
    pub(crate) memory_bytes: u64,
    /// Bytes of memory that the machine has.
    pub(crate) memory_bytes_max: u64,
    /// Cores.
    pub(crate) cores: usize,
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_counters_are_read() {
        let stat = "cpu  10 1 5 1000 7 1 2 3 9 0\ncpu0 10 1 5 1000 7 1 2 3 9 0\n";
        let meminfo = "MemTotal:        1000 kB\nMemFree: 100 kB\nMemAvailable:    400 kB\n";
        let expected = NodeSample {
            cpu_nanos: 220_000_000,
            memory_bytes: 600 * 1024,
            memory_bytes_max: 1000 * 1024,
            cores: 2,
        };
        assert_eq!(node(stat, meminfo, 100, 2), expected);
        assert_eq!(node("", "", 0, 1), NodeSample { cores: 1, ..NodeSample::default() });
    }
}
