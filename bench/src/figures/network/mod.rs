//! Several hosts and servers: what is between pods of two hosts, the way in, the table of Services, and what
//! is lost with a server or a host.

pub(crate) mod between;
pub(crate) mod ingress;
pub(crate) mod lost;
pub(crate) mod secure;
pub(crate) mod servers;
pub(crate) mod services;
pub(crate) mod table;
