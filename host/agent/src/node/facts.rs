//! What this machine has: read from the kernel.

use std::collections::BTreeMap;
use std::fs;

use coracle_api::quantity::Quantity;

use crate::eviction::thresholds::Signal;
use crate::settings::AgentConfig;

/// Facts about the machine.
#[derive(Clone, Debug, Default)]
pub(crate) struct Machine {
    /// Cores.
    pub cores: usize,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Bytes of the file system with the data folder.
    pub storage_bytes: u64,
    /// `/etc/machine-id`.
    pub machine_id: String,
    /// The boot's identifier.
    pub boot_id: String,
    /// Release of the kernel.
    pub kernel: String,
    /// Name of the operating system.
    pub os_image: String,
    /// Architecture as Go and OCI name it.
    pub arch: String,
}

/// Reads the facts.
pub(crate) fn machine(config: &AgentConfig) -> Machine {
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let name = rustix::system::uname();
    Machine {
        cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        memory_bytes: memory_bytes(),
        storage_bytes: storage_bytes(&config.data_dir),
        machine_id: text("/etc/machine-id"),
        boot_id: text("/proc/sys/kernel/random/boot_id"),
        kernel: name.release().to_string_lossy().into_owned(),
        os_image: os_image(),
        arch: arch(std::env::consts::ARCH).to_owned(),
    }
}

/// Gives what the machine has: `cpu`, `memory`, `ephemeral-storage`, `pods`.
pub(crate) fn capacity(config: &AgentConfig) -> BTreeMap<String, String> {
    amounts(config, &machine(config), |_, _| 0)
}

/// Gives what pods may use: the capacity less what is reserved, and less what eviction keeps free.
pub(crate) fn allocatable(config: &AgentConfig) -> BTreeMap<String, String> {
    let kept = |signal: Signal, capacity: u64| {
        let thresholds = config.eviction.thresholds.0.iter();
        let amounts = thresholds.filter(|(known, _)| *known == signal);
        amounts.map(|(_, amount)| amount.of(capacity)).sum::<u64>()
    };
    amounts(config, &machine(config), |resource, capacity| {
        let reserved = config.reserved.get(resource).and_then(|text| text.parse::<Quantity>().ok());
        let reserved = reserved.map_or(0, |quantity| match resource {
            "cpu" => quantity.milli_value(),
            _ => quantity.value(),
        });
        let free = match resource {
            "memory" => kept(Signal::Memory, capacity),
            "ephemeral-storage" => kept(Signal::Disk, capacity),
            _ => 0,
        };
        u64::try_from(reserved).unwrap_or(0).saturating_add(free)
    })
}

/// The machine's amounts less what `less` says of each: thousandths of a core, bytes.
fn amounts(
    config: &AgentConfig,
    machine: &Machine,
    less: impl Fn(&str, u64) -> u64,
) -> BTreeMap<String, String> {
    let left = |resource: &str, capacity: u64| capacity.saturating_sub(less(resource, capacity));
    let cores = left("cpu", 1000 * u64::try_from(machine.cores).unwrap_or(1));
    let cores =
        if cores.is_multiple_of(1000) { (cores / 1000).to_string() } else { format!("{cores}m") };
    let kibi = |resource: &str, bytes| format!("{}Ki", left(resource, bytes) >> 10);
    BTreeMap::from([
        ("cpu".into(), cores),
        ("memory".into(), kibi("memory", machine.memory_bytes)),
        ("ephemeral-storage".into(), kibi("ephemeral-storage", machine.storage_bytes)),
        ("pods".into(), config.pods_max.to_string()),
    ])
}

/// The machine's memory, or the limit of the process's own control group if that is lower.
fn memory_bytes() -> u64 {
    let info = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = info.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let total =
        total.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    let limit = fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let limit = limit.and_then(|text| text.trim().parse::<u64>().ok());
    total.map_or(0, |kib| kib << 10).min(limit.unwrap_or(u64::MAX))
}

fn storage_bytes(path: &std::path::Path) -> u64 {
    rustix::fs::statvfs(path).map_or(0, |stat| stat.f_blocks.saturating_mul(stat.f_frsize))
}

fn os_image() -> String {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or("Linux", |name| name.trim_matches('"')).to_owned()
}

fn arch(rust: &str) -> &str {
    match rust {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_get_what_is_neither_reserved_nor_kept_free() {
        let mut config =
            AgentConfig::new("h1", "/".into(), "/".into(), std::net::IpAddr::from([192, 0, 2, 1]));
        config.reserved =
            BTreeMap::from([("cpu".into(), "250m".into()), ("memory".into(), "1Mi".into())]);
        config.eviction.thresholds = "memory.available<1Mi,nodefs.available<50%".parse().unwrap();
        let machine = Machine {
            cores: 2,
            memory_bytes: 8 << 20,
            storage_bytes: 4 << 20,
            ..Machine::default()
        };
        let whole = amounts(&config, &machine, |_, _| 0);
        assert_eq!((whole["cpu"].as_str(), whole["memory"].as_str()), ("2", "8192Ki"));
        let (all, left) = (capacity(&config), allocatable(&config));
        let milli =
            |map: &BTreeMap<String, String>| map["cpu"].parse::<Quantity>().unwrap().milli_value();
        let bytes = |map: &BTreeMap<String, String>, name: &str| {
            map[name].parse::<Quantity>().unwrap().value()
        };
        assert_eq!(milli(&all) - milli(&left), 250);
        assert_eq!(bytes(&all, "memory") - bytes(&left, "memory"), 2 << 20);
        assert!(bytes(&left, "ephemeral-storage") <= bytes(&all, "ephemeral-storage") / 2);
        assert_eq!(all["pods"], left["pods"]);
    }
}
