//! The whole system with real clients: a cluster of its own for each test, started from the real
//! binary, and the clients that users have.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test's fixtures: what they can't do fails the test"
)]

mod binary;
mod browser;
mod clients;
mod cluster;
mod hosts;
mod http;
mod languages;
mod logs;
mod packages;
mod pods;
pub mod probe_pods;
mod servers;
mod tools;
mod wait;

pub use binary::{build_guests, coracle, root};
pub use browser::{in_chromium, in_node};
pub use clients::{go_client, node_client};
pub use cluster::{Cluster, Output};
pub use coracle_etcd::free_port;
pub use hosts::Machines;
pub use http::{Answer, get, request, shout};
pub use languages::{guest_in, javascript, javascript_packages, python_packages};
pub use pods::{BEHAVE, HELLO, HTTP, LIFECYCLE, container, pod, service, sh};
pub use servers::Servers;
pub use tools::{KUBECTL_NEW, KUBECTL_OLD, cache, helm, kubectl, kubectl_new, oras, python};
pub use wait::{eventually, within};
