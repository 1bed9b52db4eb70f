//! The way in from outside: Ingress and Gateway API, and Services of type LoadBalancer.
//!
//! Comes in: Ingresses, Gateways and their routes, Services, and Secrets with certificates. Goes out:
//! open ports of the host, each request of which goes to a pod through the same table, picker and
//! policies as a connection to a Service. What must never be here: a decision in an edge; which rule
//! takes a request is [`routes`]', a pure table.
//!
//! Words: a *door* is a port that is open for clients; a *listener* is what an object asks for at a
//! port, as Gateway API has it; a *rule* is what happens to the requests that fit one of its matches.

pub mod annotations;
pub mod backend;
mod balance;
pub mod balanced;
mod body;
pub mod certificates;
pub mod doors;
mod exchange;
pub mod filter;
mod forward;
mod greeting;
mod headers;
pub mod hostname;
pub mod ingress;
pub mod matching;
mod pool;
pub mod routes;
mod run;
mod serve;
mod state;
mod upgrade;
mod upload;

pub use run::{FrontConfig, Running, start};
