//! How a host becomes part of a cluster, and stays one.
//!
//! `coracle host --server URL --token T`: [`discover`] asks the server who vouches for it and checks
//! the answer with the token; [`csr`] asks for a certificate under the node's name; the kubeconfig
//! with it stays in the data directory, and from then on no token is needed. [`rotate`] gets the
//! next certificate before this one ends, without a restart. [`servers`] knows the cluster's servers,
//! and [`switch`] asks another one when one fails.

mod certificate;
mod csr;
mod discover;
mod ensure;
mod member;
mod rotate;
mod servers;
mod switch;

pub(crate) use certificate::ca_hash;
pub(crate) use member::open;
