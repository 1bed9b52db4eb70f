//! What a host's node is and allows: flags, and the agent's settings that they become.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{ArgAction, Args};
use coracle_agent::AgentConfig;
use coracle_agent::pods::shutdown::ShutdownGrace;
use coracle_agent::volumes::nfs::NfsShare;
use coracle_api::names;
use coracle_apiserver::admission::is_restricted_label;
use k8s_openapi::api::core::v1::Taint;

/// Seconds that pods get when the machine goes down: the usual grace period of a pod.
const SHUTDOWN_SECONDS: u64 = 30;
/// The part of it that is for critical pods.
const SHUTDOWN_CRITICAL_SECONDS: u64 = 10;

/// What a host's node is and allows. The names are kubelet's where it has the same.
#[derive(Debug, Clone, Args)]
pub(crate) struct NodeFlags {
    /// Let pods mount paths of this host at and below PREFIX (hostPath, local volumes); may be
    /// given several times [default: none]
    #[arg(long, value_name = "PREFIX")]
    pub(crate) allow_host_path: Vec<PathBuf>,

    /// An NFS share that this machine has mounted in FOLDER: `nfs` volumes of this server and of this path
    /// or one below it are there; may be given several times [default: none]
    #[arg(long, value_name = "SERVER:/EXPORT=FOLDER")]
    pub(crate) nfs: Vec<NfsShare>,

    /// Let pods have this host's network (hostNetwork): what they listen at is open on the host's own
    /// addresses, and they reach whatever the host reaches but the host itself
    #[arg(long)]
    pub(crate) allow_host_network: bool,

    /// Labels for the Node
    #[arg(long, value_name = "KEY=VALUE", value_delimiter = ',', value_parser = label)]
    pub(crate) node_labels: Vec<String>,

    /// Taints that the Node gets when it is made
    #[arg(long, value_name = "KEY=VALUE:EFFECT", value_delimiter = ',')]
    pub(crate) register_with_taints: Vec<String>,

    /// Make the Node object; with `false` somebody else has to
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, default_value_t = true)]
    pub(crate) register_node: bool,

    /// The same as --register-node=false
    #[arg(long)]
    pub(crate) no_register_node: bool,

    /// What is kept from pods for the machine itself, such as cpu=500m,memory=1Gi
    #[arg(long, value_name = "RESOURCE=AMOUNT", value_delimiter = ',')]
    pub(crate) system_reserved: Vec<String>,

    /// When the machine is short of something and pods are evicted, such as
    /// memory.available<100Mi,nodefs.available<1Gi
    #[arg(long, value_name = "SIGNAL<AMOUNT,...")]
    pub(crate) eviction_hard: Option<String>,

    /// Percent of the disk in use from which images that nobody uses are removed
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=100))]
    pub(crate) image_gc_high_threshold: Option<u8>,

    /// Percent of the disk in use down to which they are removed
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) image_gc_low_threshold: Option<u8>,

    /// Run the pods of the manifests in DIR, with or without the API server (static pods)
    #[arg(long, value_name = "DIR")]
    pub(crate) pod_manifest_path: Option<PathBuf>,

    /// Seconds that all pods together may take to end when the machine goes down (see `--shutdown`)
    #[arg(long, value_name = "SECONDS", default_value_t = SHUTDOWN_SECONDS)]
    pub(crate) shutdown_grace_period: u64,

    /// Seconds of it that are for critical pods, which end last
    #[arg(long, value_name = "SECONDS", default_value_t = SHUTDOWN_CRITICAL_SECONDS)]
    pub(crate) shutdown_grace_period_critical_pods: u64,

    /// Port for HTTP from outside, by Ingress and Gateways [default: 80, or 8080 where that cannot be
    /// had]
    #[arg(long, value_name = "PORT")]
    pub(crate) http_port: Option<u16>,

    /// Port for HTTPS from outside [default: 443, or 8443 where that cannot be had]
    #[arg(long, value_name = "PORT")]
    pub(crate) https_port: Option<u16>,

    /// Mirrors, private authorities and credentials of registries: a TOML file
    #[arg(long, value_name = "FILE")]
    pub(crate) registries: Option<PathBuf>,
}

impl NodeFlags {
    /// The same as arguments.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let mut all = Vec::new();
        let mut path =
            |name: &str, path: &PathBuf| all.push(format!("--{name}={}", path.display()));
        self.allow_host_path.iter().for_each(|prefix| path("allow-host-path", prefix));
        all.extend(self.nfs.iter().map(|share| format!("--nfs={share}")));
        if self.allow_host_network {
            all.push("--allow-host-network".to_owned());
        }
        let mut path =
            |name: &str, path: &PathBuf| all.push(format!("--{name}={}", path.display()));
        self.registries.iter().for_each(|file| path("registries", file));
        self.pod_manifest_path.iter().for_each(|folder| path("pod-manifest-path", folder));
        all.push(format!("--shutdown-grace-period={}", self.shutdown_grace_period));
        let critical = self.shutdown_grace_period_critical_pods;
        all.push(format!("--shutdown-grace-period-critical-pods={critical}"));
        for (name, list) in [
            ("node-labels", &self.node_labels),
            ("register-with-taints", &self.register_with_taints),
            ("system-reserved", &self.system_reserved),
        ] {
            all.extend(list.iter().map(|item| format!("--{name}={item}")));
        }
        all.extend(self.eviction_hard.iter().map(|text| format!("--eviction-hard={text}")));
        for (name, percent) in [
            ("image-gc-high-threshold", self.image_gc_high_threshold),
            ("image-gc-low-threshold", self.image_gc_low_threshold),
        ] {
            all.extend(percent.map(|percent| format!("--{name}={percent}")));
        }
        all.extend(self.http_port.map(|port| format!("--http-port={port}")));
        all.extend(self.https_port.map(|port| format!("--https-port={port}")));
        all.push(format!("--register-node={}", self.register_node && !self.no_register_node));
        all
    }

    /// Puts what the flags say into the agent's settings.
    ///
    /// # Errors
    /// Names the flag that cannot be read, and how it is written.
    pub(crate) fn apply(&self, config: &mut AgentConfig) -> anyhow::Result<()> {
        for prefix in &self.allow_host_path {
            if !prefix.is_absolute() {
                bail!("--allow-host-path '{}' must be an absolute path", prefix.display());
            }
        }
        config.host_path_prefixes.clone_from(&self.allow_host_path);
        config.nfs_shares.clone_from(&self.nfs);
        config.host_network = self.allow_host_network;
        config.labels = pairs("--node-labels", &self.node_labels)?;
        config.reserved = pairs("--system-reserved", &self.system_reserved)?;
        let taints = self.register_with_taints.iter().map(|text| taint(text));
        config.taints = taints.collect::<anyhow::Result<_>>()?;
        config.register = self.register_node && !self.no_register_node;
        if let Some(text) = &self.eviction_hard {
            config.eviction.thresholds = text.parse().context("--eviction-hard")?;
        }
        let images = &mut config.images;
        images.gc_high_percent = self.image_gc_high_threshold.unwrap_or(images.gc_high_percent);
        images.gc_low_percent = self.image_gc_low_threshold.unwrap_or(images.gc_low_percent);
        if images.gc_low_percent > images.gc_high_percent {
            bail!("--image-gc-low-threshold must not be above --image-gc-high-threshold");
        }
        if self.pod_manifest_path.as_ref().is_some_and(|folder| !folder.is_absolute()) {
            bail!("--pod-manifest-path must be an absolute path");
        }
        config.pod_manifest_path.clone_from(&self.pod_manifest_path);
        config.shutdown = ShutdownGrace {
            total: Duration::from_secs(self.shutdown_grace_period),
            critical: Duration::from_secs(self.shutdown_grace_period_critical_pods),
        };
        if config.shutdown.critical > config.shutdown.total {
            bail!(
                "--shutdown-grace-period-critical-pods must not be above --shutdown-grace-period"
            );
        }
        if let Some(path) = &self.registries {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("read --registries {}", path.display()))?;
            images.hosts =
                toml::from_str(&text).with_context(|| format!("read {}", path.display()))?;
        }
        Ok(())
    }
}

fn pairs(flag: &str, list: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    let pair = |text: &String| {
        let (key, value) =
            text.split_once('=').with_context(|| format!("{flag} '{text}' must be KEY=VALUE"))?;
        Ok((key.to_owned(), value.to_owned()))
    };
    list.iter().map(pair).collect()
}

/// Reads one label. One that the API server takes from no node is refused here: the node would come without it.
///
/// *Source:* kubelet's `ValidateKubeletFlags`.
fn label(text: &str) -> Result<String, String> {
    let (key, value) = text.split_once('=').ok_or("must be KEY=VALUE")?;
    let wrong = names::qualified_name(key).into_iter().chain(names::label_value(value)).next();
    if let Some(wrong) = wrong {
        return Err(wrong);
    }
    if is_restricted_label(key) {
        return Err(format!(
            "a node may not give itself the label {key} (NodeRestriction): of those of kubernetes.io and k8s.io only what \
             is below kubelet.kubernetes.io and node.kubernetes.io, and what kubelets set themselves, such as \
             topology.kubernetes.io/zone, is its own; give it this one with `kubectl label node`"
        ));
    }
    Ok(text.to_owned())
}

fn taint(text: &str) -> anyhow::Result<Taint> {
    const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
    let (rest, effect) = text.rsplit_once(':').unwrap_or((text, ""));
    let (key, value) = rest.split_once('=').map_or((rest, None), |(key, value)| (key, Some(value)));
    if key.is_empty() || !EFFECTS.contains(&effect) {
        bail!(
            "--register-with-taints '{text}' must be KEY=VALUE:EFFECT, where EFFECT is NoSchedule, \
             PreferNoSchedule or NoExecute"
        );
    }
    Ok(Taint {
        key: key.to_owned(),
        value: value.map(str::to_owned),
        effect: effect.to_owned(),
        time_added: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        node: NodeFlags,
    }

    fn read(arguments: &[&str]) -> anyhow::Result<AgentConfig> {
        let line = Line::try_parse_from(["host"].iter().chain(arguments))?;
        // What a supervisor passes on says the same.
        let again = line.node.arguments();
        let line = Line::try_parse_from([&["host".to_owned()], again.as_slice()].concat())?;
        let address = std::net::IpAddr::from([127, 0, 0, 1]);
        let mut config = AgentConfig::new("h1", "/data".into(), "/memory".into(), address);
        line.node.apply(&mut config)?;
        Ok(config)
    }

    #[test]
    fn flags_become_settings_also_when_passed_on() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("registries.toml");
        std::fs::write(&file, "[mirror]\n\"docker.io\" = [\"https://near.example\"]\n").unwrap();
        let file = file.display().to_string();
        let config = read(&[
            "--allow-host-path=/srv/a",
            "--allow-host-path=/srv/b",
            "--nfs=files:/exports=/mnt/files",
            "--allow-host-network",
            "--node-labels=gpu=true,zone=a",
            "--register-with-taints=dedicated=batch:NoSchedule,gpu:NoExecute",
            "--system-reserved=cpu=500m",
            "--eviction-hard=memory.available<1Gi",
            "--image-gc-high-threshold=90",
            "--registries",
            &file,
            "--no-register-node",
            "--pod-manifest-path=/etc/pods",
            "--shutdown-grace-period=60",
        ])
        .unwrap();
        assert_eq!(config.pod_manifest_path, Some("/etc/pods".into()));
        assert_eq!((config.shutdown.total.as_secs(), config.shutdown.critical.as_secs()), (60, 10));
        assert_eq!((config.host_path_prefixes.len(), config.host_network), (2, true));
        assert_eq!(config.nfs_shares[0].to_string(), "files:/exports=/mnt/files");
        assert_eq!(config.labels["zone"], "a");
        assert_eq!(config.reserved["cpu"], "500m");
        let taints: Vec<_> = config
            .taints
            .iter()
            .map(|t| (t.key.as_str(), t.value.as_deref(), t.effect.as_str()))
            .collect();
        assert_eq!(
            taints,
            [("dedicated", Some("batch"), "NoSchedule"), ("gpu", None, "NoExecute")]
        );
        assert!(config.eviction.thresholds.to_string().starts_with("memory.available<1073741824,"));
        assert_eq!((config.images.gc_high_percent, config.images.gc_low_percent), (90, 80));
        assert!(config.images.hosts.mirrors.contains_key("docker.io"));
        assert!(!config.register);
        assert!(!read(&["--register-node=false"]).unwrap().register);
        assert!(read(&[]).unwrap().register);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (flag, word) in [
            ("--allow-host-path=srv", "absolute"),
            ("--nfs=files=/mnt/files", "SERVER:/EXPORT=FOLDER"),
            ("--node-labels=gpu", "KEY=VALUE"),
            ("--node-labels=a/b/c=1", "a/b/c=1"),
            ("--node-labels=gpu=a b", "gpu=a b"),
            ("--node-labels=node-role.kubernetes.io/db=", "node-role.kubernetes.io/db"),
            ("--node-labels=x.node-restriction.kubernetes.io/y=1", "NodeRestriction"),
            ("--register-with-taints=gpu:Never", "EFFECT"),
            ("--eviction-hard=memory<1", "--eviction-hard"),
            ("--image-gc-low-threshold=99", "must not be above"),
            ("--registries=/none", "/none"),
            ("--pod-manifest-path=pods", "absolute"),
            ("--shutdown-grace-period=5", "must not be above"),
        ] {
            let error = format!("{:#}", read(&[flag]).unwrap_err());
            assert!(error.contains(word), "{error}");
        }
    }
}
