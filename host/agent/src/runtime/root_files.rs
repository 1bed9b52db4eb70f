//! The made-up files below `/etc` that every container has.

use std::fmt::Write as _;

use bytes::Bytes;

use super::SandboxRequest;

/// Where distributions keep their bundle of CA certificates.
const CA_FILES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

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
            ("/etc/hostname".to_owned(), Bytes::from(format!("{}\n", pod.hostname))),
            ("/etc/hosts".to_owned(), Bytes::from(hosts(pod))),
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

/// *Source:* kubelet's managed hosts file.
fn hosts(pod: &SandboxRequest) -> String {
    let mut text = String::from(
        "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost \
         ip6-loopback\nfe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\n\
         fe00::2\tip6-allrouters\n",
    );
    for ip in &pod.ips {
        let _ = writeln!(text, "{ip}\t{}", pod.hostname);
    }
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
