//! What a process costs, from `/proc`.

use std::time::Duration;

use anyhow::Context as _;

/// A process that is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process(pub(crate) u32);

impl Process {
    /// CPU time that it has used since its start, in user and kernel mode.
    pub(crate) fn cpu(self) -> anyhow::Result<Duration> {
        let stat =
            std::fs::read_to_string(format!("/proc/{}/stat", self.0)).context("read stat")?;
        // The command may hold spaces; it ends with the last parenthesis.
        let fields = stat.rsplit_once(") ").context("parse stat")?.1;
        let ticks: Vec<u64> =
            fields.split(' ').skip(11).take(2).filter_map(|t| t.parse().ok()).collect();
        let hertz = rustix::param::clock_ticks_per_second();
        Ok(Duration::from_millis(ticks.iter().sum::<u64>() * 1000 / hertz))
    }

    /// Resident memory in bytes: own pages and shared ones that are mapped.
    pub(crate) fn resident_bytes(self) -> anyhow::Result<u64> {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.0)).context("read status")?;
        let line =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kibibytes: u64 =
            line.trim().trim_end_matches("kB").trim().parse().context("parse VmRSS")?;
        Ok(kibibytes * 1024)
    }
}

/// The processes of a cluster.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Processes {
    /// `coracle server`.
    pub(crate) server: Process,
    /// `coracle host`, without its supervisor.
    pub(crate) host: Process,
    /// The supervisor.
    pub(crate) supervisor: Process,
}

impl Processes {
    /// Finds them by the locks in the data directory.
    pub(crate) fn of(cluster: &coracle_e2e::Cluster) -> anyhow::Result<Self> {
        let of = |role: &str| -> anyhow::Result<Process> {
            let path = cluster.data().join(format!("{role}.lock"));
            let text =
                std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            Ok(Process(text.trim().parse().context("parse a lock file")?))
        };
        Ok(Self { server: of("server")?, host: of("host")?, supervisor: of("supervisor")? })
    }
}
