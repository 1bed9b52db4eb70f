//! What the host knew of Services when it last ran, so that it routes and opens node ports again
//! with no server reachable.

use std::collections::HashMap;
use std::fs;
use std::io::{self, BufWriter};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use serde::{Deserialize, Serialize, Serializer};

use crate::endpoints::Slice;
use crate::table::{ServiceKey, Table};

/// All Services and EndpointSlices, as they were.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Saved {
    /// The zone of the host's own Node.
    #[serde(default)]
    pub(crate) zone: Option<String>,
    /// Where the nodes are.
    #[serde(default)]
    pub(crate) nodes: HashMap<String, Vec<IpAddr>>,
    pub(crate) services: Vec<Service>,
    pub(crate) slices: Vec<Slice>,
}

/// All Services and EndpointSlices, as they are: shared with those that follow them, as there may be very many.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Current {
    /// The zone of the host's own Node.
    pub(crate) zone: Option<String>,
    /// Where the nodes are.
    pub(crate) nodes: HashMap<String, Vec<IpAddr>>,
    #[serde(serialize_with = "each")]
    pub(crate) services: Vec<Arc<Service>>,
    #[serde(serialize_with = "each")]
    pub(crate) slices: Vec<Arc<Slice>>,
}

fn each<T: Serialize, S: Serializer>(all: &[Arc<T>], output: S) -> Result<S::Ok, S::Error> {
    output.collect_seq(all.iter().map(Arc::as_ref))
}

/// What was saved, by name: all that is needed of it once it is in the table.
#[derive(Debug, Default)]
pub(crate) struct Known {
    services: Vec<ServiceKey>,
    slices: Vec<ServiceKey>,
}

impl Saved {
    /// Reads the file; nothing if it is not there or is not whole, which is then said in the log.
    pub(crate) fn read(path: &Path) -> Self {
        let read = match fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        };
        read.unwrap_or_else(|error| {
            tracing::warn!(path = %path.display(), %error, "saved Services cannot be read; waiting for the server");
            Self::default()
        })
    }

    /// Puts everything into the table, and gives what that was.
    pub(crate) fn fill(&self, table: &mut Table) -> Known {
        for (node, addresses) in &self.nodes {
            table.set_node(node, addresses.clone());
        }
        for service in &self.services {
            table.set_service(&key(&service.metadata), service);
        }
        for slice in &self.slices {
            let key = key(&slice.metadata);
            table.set_slice(&key.namespace, &key.name, slice);
        }
        Known {
            services: self.services.iter().map(|service| key(&service.metadata)).collect(),
            slices: self.slices.iter().map(|slice| key(&slice.metadata)).collect(),
        }
    }
}

impl Current {
    /// Writes the file, whole or not at all.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let fresh = path.with_extension("new");
        let mut file = BufWriter::new(fs::File::create(&fresh)?);
        serde_json::to_writer(&mut file, self)?;
        file.into_inner()?.sync_all()?;
        fs::rename(fresh, path)
    }
}

impl Known {
    /// Takes out of the table what was saved and is no more.
    pub(crate) fn drop_stale(
        &self,
        table: &mut Table,
        has_service: impl Fn(&ServiceKey) -> bool,
        has_slice: impl Fn(&ServiceKey) -> bool,
    ) {
        let gone: Vec<&ServiceKey> = self.services.iter().filter(|key| !has_service(key)).collect();
        for key in &gone {
            table.remove_service(key);
        }
        // One that is gone may have stood before one that has its port or address now.
        if !gone.is_empty() {
            table.refresh_all();
        }
        for key in self.slices.iter().filter(|key| !has_slice(key)) {
            table.remove_slice(&key.namespace, &key.name);
        }
    }
}

fn key(metadata: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta) -> ServiceKey {
    ServiceKey {
        namespace: metadata.namespace.clone().unwrap_or_default(),
        name: metadata.name.clone().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Place;
    use coracle_vnet::Protocol;
    use serde_json::json;

    fn current() -> Current {
        let saved: Saved = serde_json::from_value(json!({
            "services": [{"metadata": {"name": "web", "namespace": "default"}, "spec": {"clusterIP": "10.96.0.20",
                "ports": [{"port": 80, "nodePort": 30080}]}}],
            "slices": [{"metadata": {"name": "web-a", "namespace": "default",
                "labels": {"kubernetes.io/service-name": "web"}}, "addressType": "IPv4",
                "endpoints": [{"addresses": ["10.128.0.5"]}], "ports": [{"port": 8080}]}],
        }))
        .unwrap();
        Current {
            services: saved.services.into_iter().map(Arc::new).collect(),
            slices: saved.slices.into_iter().map(Arc::new).collect(),
            ..Current::default()
        }
    }

    #[test]
    fn what_was_saved_routes_again_until_it_is_known_to_be_gone() {
        let folder = std::env::temp_dir().join(format!("coracle-saved-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("services.json");
        assert!(Saved::read(&path).services.is_empty());
        current().write(&path).unwrap();
        let (read, mut table) = (Saved::read(&path), Table::default());
        let known = read.fill(&mut table);
        let port = table.node_port(30080, Protocol::Tcp).unwrap();
        assert_eq!(port.backends, ["10.128.0.5:8080".parse().unwrap()]);
        known.drop_stale(&mut table, |_| true, |_| false);
        assert!(table.node_port(30080, Protocol::Tcp).unwrap().backends.is_empty());
        known.drop_stale(&mut table, |_| false, |_| false);
        assert!(table.node_ports().is_empty());
        fs::write(&path, "{").unwrap();
        assert!(Saved::read(&path).services.is_empty());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_port_leads_to_the_service_that_has_it_now() {
        let saved = |name: &str| {
            let service = json!({"metadata": {"name": name, "namespace": "default"},
                "spec": {"clusterIP": "10.96.0.20", "ports": [{"port": 80, "nodePort": 30080}]}});
            Saved { services: vec![serde_json::from_value(service).unwrap()], ..Saved::default() }
        };
        let check = |heir: &str, moves: bool| {
            let mut table = Table::default();
            let known = saved("web").fill(&mut table);
            saved(heir).fill(&mut table);
            if moves {
                table.set_place(Place { node: "n".to_owned(), zone: None });
            }
            known.drop_stale(&mut table, |key| key.name == heir, |_| true);
            let outer = table.node_port(30080, Protocol::Tcp).unwrap();
            let inner = table.virtual_port("10.96.0.20:80".parse().unwrap(), Protocol::Tcp);
            assert_eq!(
                (outer.service.name.as_str(), inner.unwrap().service.name.as_str()),
                (heir, heir)
            );
        };
        for heir in ["a", "z"] {
            check(heir, false);
            check(heir, true);
        }
    }
}
