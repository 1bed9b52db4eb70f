//! The namespace of pods with the host's network (`hostNetwork`): one for all of them, as the machine
//! has one. It has the machine's address, and what listens in it is reached at real sockets.

use std::net::IpAddr;
use std::sync::Arc;

use coracle_network::egress::Egress;
use coracle_network::network::Network;
use coracle_vnet::{Fabric, NetNs, NetNsSpec, NsTag};
use parking_lot::Mutex;

/// What pods with the host's network may reach outside: as much as can be granted, which is never the
/// host's own ports nor link-local addresses.
const EGRESS: &str = "*";

/// Made with the first pod that wants it, and removed with the last.
#[derive(Default)]
pub(super) struct HostNetwork {
    held: Mutex<Option<(Arc<NetNs>, usize)>>,
}

impl HostNetwork {
    /// Gives the namespace to one pod more. `ips`: the machine's.
    ///
    /// # Errors
    /// A sentence, when a pod of its own has such an address.
    pub(super) fn enter(
        &self,
        ips: &[IpAddr],
        hostname: &str,
        (fabric, network): (&Arc<Fabric>, &Network),
    ) -> Result<Arc<NetNs>, String> {
        let mut held = self.held.lock();
        if let Some((netns, pods)) = held.as_mut() {
            *pods += 1;
            return Ok(netns.clone());
        }
        let tag = NsTag::new("host-network", "host-network");
        let netns = fabric.add(NetNsSpec {
            hostname: hostname.to_owned(),
            is_of_machine: true,
            ..NetNsSpec::new(tag.clone(), ips.to_vec())
        });
        let netns = netns.map_err(|error| error.to_string())?;
        network.grant(&tag, Egress::parse(EGRESS).map_err(|error| error.to_string())?);
        network.set_machine(ips);
        *held = Some((netns.clone(), 1));
        Ok(netns)
    }

    /// Takes it from one pod.
    pub(super) fn leave(&self, fabric: &Fabric, network: &Network) {
        let mut held = self.held.lock();
        match held.as_mut() {
            Some((_, pods)) if *pods > 1 => *pods -= 1,
            Some((netns, _)) => {
                network.set_machine(&[]);
                network.forget(netns.tag());
                fabric.remove(netns);
                *held = None;
            }
            None => {}
        }
    }
}
