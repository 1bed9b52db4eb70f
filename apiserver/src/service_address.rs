//! Which Service has which cluster IP and which node ports.
//!
//! Kept in memory only: the Services themselves hold the addresses, so the tables are rebuilt from them at start.
//! Pure but for its lock; the random choice comes in as a number.
//! *Source:* Kubernetes docs "Service ClusterIP allocation" (lower band for chosen addresses, upper band for
//! allocated ones) and "NodePort"; error texts as kube-apiserver words them.

pub(crate) mod objects;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::sync::Arc;

use coracle_api::field_error::{FieldError, Path};
use coracle_store::Revision;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::metadata;
use crate::service_families::{self, Family};

/// Addresses at the low end of the Service range that are left to those who choose one themselves, at most.
const STATIC_BAND_MAX: u32 = 256;

/// The ranges to allocate from.
#[derive(Clone, Debug)]
pub struct ServiceRanges {
    /// First address of the Service network, `10.96.0.0`.
    pub network: Ipv4Addr,
    /// Its prefix length in bits.
    pub prefix: u8,
    /// First address and prefix length of the IPv6 Service network, `fd63:6f73::` and 108; `None`:
    /// Services have IPv4 alone.
    pub second: Option<(Ipv6Addr, u8)>,
    /// Ports that Services of type `NodePort` may have.
    pub node_ports: RangeInclusive<u16>,
}

impl Default for ServiceRanges {
    fn default() -> ServiceRanges {
        ServiceRanges {
            network: Ipv4Addr::new(10, 96, 0, 0),
            prefix: 12,
            second: Some((Ipv6Addr::new(0xfd63, 0x6f73, 0, 0, 0, 0, 0, 0), 108)),
            node_ports: 30000..=32767,
        }
    }
}

impl ServiceRanges {
    /// The families that the cluster has, IPv4 first.
    fn served(&self) -> Vec<Family> {
        std::iter::once(Family::V4).chain(self.second.map(|_| Family::V6)).collect()
    }

    /// How many addresses of a family are looked at; of a large IPv6 range the first ones.
    fn size(&self, family: Family) -> u32 {
        let bits = match family {
            Family::V4 => 32 - self.prefix.min(32),
            Family::V6 => self.second.map_or(0, |(_, prefix)| 128 - prefix.min(128)),
        };
        1u32.checked_shl(u32::from(bits)).unwrap_or(u32::MAX)
    }

    /// The address at a distance from the network's own.
    fn at(&self, family: Family, offset: u32) -> IpAddr {
        match (family, self.second) {
            (Family::V6, Some((network, _))) => {
                Ipv6Addr::from_bits(network.to_bits() + u128::from(offset)).into()
            }
            (Family::V4 | Family::V6, _) => {
                Ipv4Addr::from(u32::from(self.network).saturating_add(offset)).into()
            }
        }
    }

    fn contains(&self, ip: IpAddr) -> bool {
        let offset = match (ip, self.second) {
            (IpAddr::V4(ip), _) => u32::from(ip).checked_sub(u32::from(self.network)),
            (IpAddr::V6(ip), Some((network, _))) => {
                let offset = ip.to_bits().checked_sub(network.to_bits());
                offset.and_then(|offset| u32::try_from(offset).ok())
            }
            (IpAddr::V6(_), None) => None,
        };
        // Neither the network's own address nor its last one can be a Service.
        offset.is_some_and(|offset| offset > 0 && offset < self.size(Family::of(ip)) - 1)
    }

    /// The range of a family as text.
    fn text(&self, family: Family) -> String {
        match (family, self.second) {
            (Family::V6, Some((network, prefix))) => format!("{network}/{prefix}"),
            (Family::V4 | Family::V6, _) => format!("{}/{}", self.network, self.prefix),
        }
    }
}

#[derive(Debug, Default)]
struct Taken {
    ips: BTreeSet<IpAddr>,
    ports: BTreeSet<u16>,
    /// The state of all servers' addresses that this is, where there are several; `None`: it is to be read anew.
    turn: Option<Option<Revision>>,
}

/// The addresses in use.
#[derive(Clone, Debug)]
pub struct ServiceAddresses {
    ranges: ServiceRanges,
    taken: Arc<Mutex<Taken>>,
}

/// Addresses that were taken for a write that is not committed yet; dropping it gives them back.
#[derive(Debug)]
#[must_use = "dropping a claim gives its addresses back"]
pub struct Claim {
    taken: Arc<Mutex<Taken>>,
    ips: Vec<IpAddr>,
    ports: Vec<u16>,
}

impl Claim {
    /// The write was committed: keeps the addresses, and gives back those that `old` had and `new` has not.
    pub fn commit(mut self, new: &Value, old: Option<&Value>) {
        {
            // Where there are several servers, the tables may have been read anew since.
            let mut taken = self.taken.lock();
            taken.ips.extend(self.ips.drain(..));
            taken.ports.extend(self.ports.drain(..));
        }
        if let Some(old) = old {
            let (kept_ips, kept_ports) = (cluster_ips(new), node_ports(new));
            let mut taken = self.taken.lock();
            for ip in cluster_ips(old).into_iter().filter(|ip| !kept_ips.contains(ip)) {
                taken.ips.remove(&ip);
            }
            for port in node_ports(old).into_iter().filter(|port| !kept_ports.contains(port)) {
                taken.ports.remove(&port);
            }
        }
    }
}

impl Claim {
    /// Whether it took nothing.
    pub fn is_empty(&self) -> bool {
        self.ips.is_empty() && self.ports.is_empty()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.is_empty() {
            return;
        }
        let mut taken = self.taken.lock();
        // Another server may have what is given back.
        taken.turn = None;
        for ip in &self.ips {
            taken.ips.remove(ip);
        }
        for port in &self.ports {
            taken.ports.remove(port);
        }
    }
}

impl ServiceAddresses {
    /// Starts with nothing taken.
    pub fn new(ranges: ServiceRanges) -> ServiceAddresses {
        ServiceAddresses { ranges, taken: Arc::default() }
    }

    /// The first address of the range, which the `kubernetes` Service has.
    pub fn first(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.ranges.network).saturating_add(1))
    }

    /// The ranges of addresses, one for each family: `10.96.0.0/12`.
    pub fn ranges(&self) -> Vec<String> {
        self.ranges.served().into_iter().map(|family| self.ranges.text(family)).collect()
    }

    /// Notes the addresses of a Service that exists already.
    pub fn restore(&self, service: &Value) {
        let mut taken = self.taken.lock();
        taken.ips.extend(cluster_ips(service));
        taken.ports.extend(node_ports(service));
    }

    /// Takes up the addresses of all Services at a state of all servers' addresses, unless it is the one that is known.
    pub(crate) fn renew(&self, turn: Option<Revision>, services: impl FnOnce() -> Vec<Value>) {
        if self.taken.lock().turn == Some(turn) {
            return;
        }
        let services = services();
        let mut taken = self.taken.lock();
        *taken = Taken { turn: Some(turn), ..Taken::default() };
        for service in &services {
            taken.ips.extend(cluster_ips(service));
            taken.ports.extend(node_ports(service));
        }
    }

    /// Notes that this server's own commit led from one state of all servers' addresses to another.
    pub(crate) fn turned(&self, from: Option<Revision>, to: Revision) {
        let mut taken = self.taken.lock();
        let known = taken.turn == Some(from);
        taken.turn = known.then_some(Some(to));
    }

    /// Whether a change of a Service gives addresses back.
    pub(crate) fn frees(&self, old: &Value, new: &Value) -> bool {
        let (ips, ports) = (cluster_ips(new), node_ports(new));
        metadata::is_finished(new)
            || cluster_ips(old).iter().any(|ip| !ips.contains(ip))
            || node_ports(old).iter().any(|port| !ports.contains(port))
    }

    /// Frees the addresses of a Service that was deleted.
    pub fn release(&self, service: &Value) {
        let mut taken = self.taken.lock();
        for ip in cluster_ips(service) {
            taken.ips.remove(&ip);
        }
        for port in node_ports(service) {
            taken.ports.remove(&port);
        }
    }

    /// Fills in what a new or changed Service needs, honouring what it asks for.
    ///
    /// An update must have taken over the addresses that it leaves out before (the kind's `prepare_update` does).
    ///
    /// `random` chooses where the search for a free address begins.
    ///
    /// # Errors
    /// One per field that asks for something that is taken or out of range, or when a range is full.
    pub fn assign(
        &self,
        new: &mut Value,
        old: Option<&Value>,
        random: u32,
    ) -> Result<Claim, Vec<FieldError>> {
        let mut claim = Claim { taken: self.taken.clone(), ips: Vec::new(), ports: Vec::new() };
        let mut errors = Vec::new();
        self.assign_ip(new, old, random, &mut claim, &mut errors);
        self.assign_ports(new, old, random, &mut claim, &mut errors);
        self.assign_health_port(new, old, random, &mut claim, &mut errors);
        if errors.is_empty() { Ok(claim) } else { Err(errors) }
    }

    fn assign_ip(
        &self,
        new: &mut Value,
        old: Option<&Value>,
        random: u32,
        claim: &mut Claim,
        errors: &mut Vec<FieldError>,
    ) {
        if new["spec"]["type"] == "ExternalName" {
            return;
        }
        let families = match service_families::settle(new, old, &self.ranges.served()) {
            Ok(families) => families,
            Err(error) => return errors.push(error),
        };
        if new["spec"]["clusterIP"] == "None" {
            new["spec"]["clusterIPs"] = json!(["None"]);
            return;
        }
        let (asked, had) = (asked(new), old.map(cluster_ips).unwrap_or_default());
        let mut ips: Vec<String> = Vec::new();
        for (index, family) in families.into_iter().enumerate() {
            let wish = asked.get(index).map_or("", String::as_str);
            match self.take_ip(family, wish, &had, random) {
                Ok((ip, fresh)) => {
                    ips.push(ip.to_string());
                    claim.ips.extend(fresh.then_some(ip));
                }
                Err(why) => {
                    let field = Path::root("spec");
                    errors.push(FieldError::invalid(field.child("clusterIPs"), json!(asked), why));
                    return;
                }
            }
        }
        new["spec"]["clusterIP"] = json!(ips.first());
        new["spec"]["clusterIPs"] = json!(ips);
    }

    /// Takes the address that was asked for, or any; also says whether it is newly taken.
    fn take_ip(
        &self,
        family: Family,
        asked: &str,
        had: &[IpAddr],
        random: u32,
    ) -> Result<(IpAddr, bool), String> {
        let mut taken = self.taken.lock();
        if asked.is_empty() {
            let ip = self.free_ip(family, &taken, random);
            let ip = ip.ok_or("failed to allocate a serviceIP: range is full")?;
            taken.ips.insert(ip);
            return Ok((ip, true));
        }
        let ip: IpAddr =
            asked.parse().map_err(|_| "must be a valid IP address, (e.g. 10.9.8.7)".to_owned())?;
        if had.contains(&ip) {
            return Ok((ip, false));
        }
        if !self.ranges.contains(ip) {
            let range = self.ranges.text(family);
            return Err(format!(
                "failed to allocate IP {ip}: the provided IP is not in the valid range. The range of valid IPs is \
                 {range}"
            ));
        }
        if !taken.ips.insert(ip) {
            return Err(format!("failed to allocate IP {ip}: provided IP is already allocated"));
        }
        Ok((ip, true))
    }

    /// A free address of the upper band, else of the lower one.
    fn free_ip(&self, family: Family, taken: &Taken, random: u32) -> Option<IpAddr> {
        let last = self.ranges.size(family).saturating_sub(1);
        let band = STATIC_BAND_MAX.min(last / 16).max(1);
        let upper = last.saturating_sub(band).max(1);
        let start = random % upper;
        let upper_band = (0..upper)
            .map(|i| band + ((u64::from(start) + u64::from(i)) % u64::from(upper)) as u32);
        let lower_band = 1..band;
        upper_band
            .chain(lower_band)
            .map(|offset| self.ranges.at(family, offset))
            .find(|ip| self.ranges.contains(*ip) && !taken.ips.contains(ip))
    }

    fn assign_ports(
        &self,
        new: &mut Value,
        old: Option<&Value>,
        random: u32,
        claim: &mut Claim,
        errors: &mut Vec<FieldError>,
    ) {
        if !needs_node_ports(new) {
            return;
        }
        let had = old.map(node_ports).unwrap_or_default();
        let mut own: Vec<(u16, String)> = Vec::new();
        let ports = new["spec"]["ports"].as_array_mut().map(Vec::as_mut_slice).unwrap_or_default();
        for (index, port) in ports.iter_mut().enumerate() {
            let asked = port["nodePort"].as_u64().unwrap_or(0);
            let protocol = port["protocol"].as_str().unwrap_or("TCP").to_owned();
            // One Service may use a number for TCP and for UDP.
            let shared =
                own.iter().any(|(number, other)| u64::from(*number) == asked && *other != protocol);
            let result = if shared {
                Ok((asked as u16, false))
            } else {
                self.take_port(asked, &had, random)
            };
            match result {
                Ok((number, fresh)) => {
                    port["nodePort"] = json!(number);
                    own.push((number, protocol));
                    claim.ports.extend(fresh.then_some(number));
                }
                Err(why) => {
                    let field = Path::root("spec");
                    let field = field.child("ports");
                    let field = field.index(index);
                    errors.push(FieldError::invalid(field.child("nodePort"), asked, why));
                }
            }
        }
    }

    /// Gives a Service that load balancers have to check the port at which they do.
    fn assign_health_port(
        &self,
        new: &mut Value,
        old: Option<&Value>,
        random: u32,
        claim: &mut Claim,
        errors: &mut Vec<FieldError>,
    ) {
        let spec = &new["spec"];
        if spec["type"] != "LoadBalancer" || spec["externalTrafficPolicy"] != "Local" {
            return;
        }
        let asked = spec["healthCheckNodePort"].as_u64().unwrap_or(0);
        let before = old.map_or(0, |old| old["spec"]["healthCheckNodePort"].as_u64().unwrap_or(0));
        let asked = if asked == 0 { before } else { asked };
        match self.take_port(asked, &old.map(node_ports).unwrap_or_default(), random) {
            Ok((port, fresh)) => {
                new["spec"]["healthCheckNodePort"] = json!(port);
                claim.ports.extend(fresh.then_some(port));
            }
            Err(why) => {
                let field = Path::root("spec");
                errors.push(FieldError::invalid(field.child("healthCheckNodePort"), asked, why));
            }
        }
    }

    fn take_port(&self, asked: u64, had: &[u16], random: u32) -> Result<(u16, bool), String> {
        let mut taken = self.taken.lock();
        let (first, last) = (*self.ranges.node_ports.start(), *self.ranges.node_ports.end());
        if asked == 0 {
            let count = u32::from(last - first) + 1;
            let candidates = (0..count).map(|i| first + ((random.wrapping_add(i)) % count) as u16);
            let free = candidates.into_iter().find(|port| !taken.ports.contains(port));
            let port = free.ok_or("failed to allocate a nodePort: range is full")?;
            taken.ports.insert(port);
            return Ok((port, true));
        }
        let port = u16::try_from(asked).ok().filter(|port| self.ranges.node_ports.contains(port));
        let port = port.ok_or(format!(
            "provided port is not in the valid range. The range of valid ports is {first}-{last}"
        ))?;
        if had.contains(&port) {
            return Ok((port, false));
        }
        if !taken.ports.insert(port) {
            return Err("provided port is already allocated".to_owned());
        }
        Ok((port, true))
    }
}

fn needs_node_ports(service: &Value) -> bool {
    match service["spec"]["type"].as_str() {
        Some("NodePort") => true,
        Some("LoadBalancer") => service["spec"]["allocateLoadBalancerNodePorts"] != json!(false),
        _ => false,
    }
}

/// The cluster IPs that a Service asks for, in order.
fn asked(service: &Value) -> Vec<String> {
    let spec = &service["spec"];
    let listed = spec["clusterIPs"].as_array().into_iter().flatten();
    let listed: Vec<&str> = listed.filter_map(Value::as_str).collect();
    let first = spec["clusterIP"].as_str().filter(|ip| !ip.is_empty() && listed.is_empty());
    first.into_iter().chain(listed).map(str::to_owned).collect()
}

fn cluster_ips(service: &Value) -> Vec<IpAddr> {
    let all = service["spec"]["clusterIPs"].as_array().into_iter().flatten();
    let mut ips: Vec<IpAddr> = all
        .chain([&service["spec"]["clusterIP"]])
        .filter_map(Value::as_str)
        .filter_map(|ip| ip.parse().ok())
        .collect();
    ips.dedup();
    ips
}

fn node_ports(service: &Value) -> Vec<u16> {
    let ports = service["spec"]["ports"].as_array().into_iter().flatten();
    let numbers = ports.filter_map(|port| port["nodePort"].as_u64());
    let numbers = numbers.chain(service["spec"]["healthCheckNodePort"].as_u64());
    numbers.filter(|port| *port > 0).filter_map(|port| u16::try_from(port).ok()).collect()
}

#[cfg(test)]
mod tests;
