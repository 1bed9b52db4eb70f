//! The Kubernetes API over HTTP.

pub mod body;
pub mod cache;
mod clock;
pub mod deletion;
pub mod discovery;
pub mod metadata;
mod metrics;
pub mod negotiate;
mod node_dialer;
pub mod oci;
pub mod options;
pub mod pod_profile;
pub mod query;
pub mod request_info;
pub mod respond;
pub mod service_address;
pub mod version;

pub use node_dialer::{Duplex, NoNodes, NodeDialer, UnixSocketDialer};
