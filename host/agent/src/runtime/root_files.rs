//! The made-up files below `/etc` that every container has.

use std::fmt::Write as _;

use bytes::Bytes;

use super::SandboxRequest;

/// Where distributions keep their bundle of CA certificates.
const CA_FILES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// The file of names, in containers and of the machine.
const HOSTS_FILE: &str = "/etc/hosts";

/// What is the same for all pods of a host.
#[derive(Clone, Debug)]
pub(super) struct Surroundings {
    pub(super) ca_certificates: Option<Bytes>,
}

/// Reads the host's CA certificates once; all containers share the bytes.
pub(super) fn ca_certificates() -> Option<Bytes> {
    CA_FILES.into_iter().find_map(|path| std::fs::read(path).ok()).map(Bytes::from)
}

impl Surroundings {
    /// Lists the files of one pod: absolute path and content.
    pub(super) fn files(&self, pod: &SandboxRequest) -> Vec<(String, Bytes)> {
        let mut files = vec![
            ("/etc/hostname".to_owned(), Bytes::from(format!("{}\n", pod.kernel_name))),
            (HOSTS_FILE.to_owned(), Bytes::from(hosts(pod, machine_hosts))),
        ];
        if let Some(text) = &pod.resolv_conf {
            files.push(("/etc/resolv.conf".to_owned(), Bytes::from(text.clone())));
        }
        if let Some(bundle) = &self.ca_certificates {
            files.push(("/etc/ssl/certs/ca-certificates.crt".to_owned(), bundle.clone()));
        }
        files
    }
}

/// What the machine's own file says; nothing where there is none.
fn machine_hosts() -> String {
    std::fs::read_to_string(HOSTS_FILE).unwrap_or_default()
}

/// A pod with the host's network has the machine's names.
///
/// *Source:* kubelet's managed hosts file.
fn hosts(pod: &SandboxRequest, machine: impl FnOnce() -> String) -> String {
    let mut text = if pod.host_network {
        format!("# Kubernetes-managed hosts file (host network).\n{}", machine())
    } else {
        own_names(pod)
    };
    if !pod.host_aliases.is_empty() {
        text.push_str("\n# Entries added by HostAliases.\n");
    }
    for names in pod.host_aliases.chunk_by(|(one, _), (next, _)| one == next) {
        if let Some((address, _)) = names.first() {
            let words: Vec<&str> = names.iter().map(|(_, name)| name.as_str()).collect();
            let _ = writeln!(text, "{address}\t{}", words.join("\t"));
        }
    }
    text
}

fn own_names(pod: &SandboxRequest) -> String {
    let mut text = String::from(
        "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost \
         ip6-loopback\nfe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\n\
         fe00::2\tip6-allrouters\n",
    );
    for ip in &pod.ips {
        let full = pod.full_name.iter().map(|name| format!("{name}\t"));
        let _ = writeln!(text, "{ip}\t{}{}", full.collect::<String>(), pod.hostname);
    }
    text
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::pods::plan::PodKey;

    fn check(host_network: bool, expected: &Expect) {
        let address = |text: &str| text.parse().unwrap();
        let pod = SandboxRequest {
            pod: PodKey { namespace: "default".into(), name: "a".into(), uid: "1".into() },
            ips: vec![address("10.128.0.5")],
            host_network,
            hostname: "a".into(),
            kernel_name: "a".into(),
            full_name: Some("a.sub.default.svc.cluster.local".into()),
            host_aliases: vec![
                (address("192.0.2.7"), "db".into()),
                (address("192.0.2.7"), "db.x".into()),
            ],
            egress: None,
            resolv_conf: None,
            memory_limit_bytes: None,
            cpu_millis: None,
            host_ports: Vec::new(),
            handler: String::new(),
        };
        expected.assert_eq(&hosts(&pod, || "192.0.2.1 machine\n".into()));
    }

    #[test]
    fn a_pod_has_its_own_names_or_the_machines() {
        check(
            false,
            &expect![[r#"
                # Kubernetes-managed hosts file.
                127.0.0.1	localhost
                ::1	localhost ip6-localhost ip6-loopback
                fe00::0	ip6-localnet
                fe00::0	ip6-mcastprefix
                fe00::1	ip6-allnodes
                fe00::2	ip6-allrouters
                10.128.0.5	a.sub.default.svc.cluster.local	a

                # Entries added by HostAliases.
                192.0.2.7	db	db.x
            "#]],
        );
        check(
            true,
            &expect![[r#"
                # Kubernetes-managed hosts file (host network).
                192.0.2.1 machine

                # Entries added by HostAliases.
                192.0.2.7	db	db.x
            "#]],
        );
    }
}
