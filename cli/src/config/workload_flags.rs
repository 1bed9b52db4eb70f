//! Flags about where pods go and what is done when they have no room: profiles of the scheduler, hosts on demand.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Args;
use coracle_controllers::nodescaler::{Hook, HostHooks};
use coracle_scheduler::Profile;
use http::Uri;
use jiff::SignedDuration;

/// Bits of a file's mode of which a program has one.
const MAY_RUN: u32 = 0o111;

/// Where pods go, and hosts on demand.
#[derive(Debug, Clone, Args)]
pub(crate) struct WorkloadFlags {
    /// The scheduler's profiles: a KubeSchedulerConfiguration of kubescheduler.config.k8s.io/v1
    /// [default: one, `default-scheduler`, that spreads pods]
    #[arg(long, value_name = "FILE")]
    scheduler_config: Option<PathBuf>,

    /// How long a host may say nothing before it counts as lost; much less is needed when a majority of the
    /// hosts that watch it get no answer either
    #[arg(long, value_name = "DURATION", default_value = "50s", value_parser = duration)]
    pub(crate) node_monitor_grace_period: Duration,

    /// What adds a host when pods have no room: a program, which gets the pods as JSON on its standard
    /// input, or a URL, which gets them by POST
    #[arg(long, value_name = "PROGRAM|URL")]
    add_host_hook: Option<String>,

    /// What removes an idle host, which is drained already: a program, which gets the node's name as
    /// its argument, or a URL, which gets it by POST
    #[arg(long, value_name = "PROGRAM|URL")]
    remove_host_hook: Option<String>,

    /// How long a host is idle before it is drained and removed: little of it is requested, and all
    /// its pods may go and have room elsewhere
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration, requires = "remove_host_hook")]
    idle_host_after: Duration,

    /// How often is looked for pods without room and for idle hosts; a host is asked for when a pod had
    /// no room for that long
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    host_check_interval: Duration,

    /// How long to wait after a host was asked for before another one is
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = duration, requires = "add_host_hook")]
    add_host_again_after: Duration,
}

impl WorkloadFlags {
    /// The scheduler's profiles.
    ///
    /// # Errors
    /// The file cannot be read, or is none.
    pub(crate) fn profiles(&self) -> anyhow::Result<Vec<Profile>> {
        let Some(path) = &self.scheduler_config else {
            return Ok(coracle_scheduler::Config::default().profiles);
        };
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("read --scheduler-config {}", path.display()))?;
        coracle_scheduler::configuration::profiles(&text)
            .with_context(|| format!("--scheduler-config {}", path.display()))
    }

    /// What adds and removes hosts.
    ///
    /// # Errors
    /// A hook is neither a program nor a URL.
    pub(crate) fn hooks(&self) -> anyhow::Result<HostHooks> {
        let hook = |flag: &str, given: &Option<String>| {
            let hook = given.as_deref().map(hook).transpose();
            hook.with_context(|| format!("{flag} '{}'", given.as_deref().unwrap_or_default()))
        };
        Ok(HostHooks {
            add: hook("--add-host-hook", &self.add_host_hook)?,
            remove: hook("--remove-host-hook", &self.remove_host_hook)?,
            idle_after: self.idle_host_after,
            look_every: self.host_check_interval,
            add_again_after: self.add_host_again_after,
        })
    }
}

fn hook(text: &str) -> anyhow::Result<Hook> {
    use std::os::unix::fs::PermissionsExt as _;
    if text.contains("://") {
        let uri: Uri = text.parse().context("is no URL")?;
        let scheme = uri.scheme_str().unwrap_or_default();
        ensure!(matches!(scheme, "http" | "https"), "must be a program, or an http or https URL");
        return Ok(Hook::Webhook(uri));
    }
    let path = std::path::absolute(text).context("must be the path of a program, or a URL")?;
    let file = std::fs::metadata(&path).context("must be the path of a program, or a URL")?;
    let may_run = file.is_file() && file.permissions().mode() & MAY_RUN != 0;
    ensure!(may_run, "must be a program that may be executed (chmod +x), or a URL");
    Ok(Hook::Program(path))
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed = text.parse::<SignedDuration>().ok();
    let duration = parsed.and_then(|duration| Duration::try_from(duration).ok());
    let duration = duration.filter(|duration| *duration >= Duration::from_secs(1));
    duration.ok_or_else(|| "must be a duration of at least 1s, such as 30s or 10m".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        workload: WorkloadFlags,
    }

    fn hooks(arguments: &[&str]) -> Result<HostHooks, String> {
        let line = Line::try_parse_from(["server"].iter().chain(arguments));
        let line = line.map_err(|error| error.to_string())?;
        line.workload.hooks().map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn hooks_are_programs_or_urls() {
        assert_eq!(hooks(&[]), Ok(HostHooks::default()));
        let given = ["--add-host-hook=/bin/sh", "--remove-host-hook=http://localhost:1/x"];
        let given = hooks(&[&given[..], &["--idle-host-after=30s"]].concat()).unwrap();
        assert_eq!(given.add, Some(Hook::Program("/bin/sh".into())));
        assert!(matches!(given.remove, Some(Hook::Webhook(uri)) if uri.path() == "/x"));
        assert_eq!(given.idle_after, Duration::from_secs(30));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let check = |arguments: &[&str], expected: &str| {
            let error = hooks(arguments).unwrap_err();
            assert!(error.contains(expected), "{arguments:?}: {error}");
        };
        check(&["--add-host-hook=/no/such"], "--add-host-hook '/no/such': must be the path");
        let text = tempfile::NamedTempFile::new().unwrap();
        check(&[&format!("--add-host-hook={}", text.path().display())], "chmod +x");
        check(&["--remove-host-hook=ftp://x/y"], "http or https URL");
        check(&["--host-check-interval=0s"], "at least 1s");
        check(&["--idle-host-after=5m"], "--remove-host-hook");
    }

    #[test]
    fn a_file_of_profiles_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scheduler.yaml");
        let read = |path: &std::path::Path| {
            let flag = format!("--scheduler-config={}", path.display());
            let line = Line::try_parse_from(["server", &flag]).unwrap();
            line.workload.profiles().map_err(|error| format!("{error:#}"))
        };
        assert!(read(&path).unwrap_err().contains("read --scheduler-config"));
        std::fs::write(&path, "kind: Pod").unwrap();
        assert!(read(&path).unwrap_err().contains("KubeSchedulerConfiguration"));
        let text = "{apiVersion: kubescheduler.config.k8s.io/v1, kind: KubeSchedulerConfiguration, \
            profiles: [{schedulerName: mine}]}";
        std::fs::write(&path, text).unwrap();
        assert_eq!(read(&path).unwrap()[0].name, "mine");
    }
}
