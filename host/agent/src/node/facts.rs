//! What this machine has: read from the kernel.

use std::collections::BTreeMap;
use std::fs;

use crate::settings::AgentConfig;

/// Facts about the machine.
#[derive(Clone, Debug, Default)]
pub struct Machine {
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

/// Gives what pods may use: `cpu`, `memory`, `ephemeral-storage`, `pods`.
pub(crate) fn allocatable(config: &AgentConfig) -> BTreeMap<String, String> {
    let machine = machine(config);
    BTreeMap::from([
        ("cpu".into(), machine.cores.to_string()),
        ("memory".into(), format!("{}Ki", machine.memory_bytes >> 10)),
        ("ephemeral-storage".into(), format!("{}Ki", machine.storage_bytes >> 10)),
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
