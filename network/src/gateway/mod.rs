//! Gateway API: Gateways and routes as listeners of the way in, and what their statuses say.
//!
//! Comes in: GatewayClasses, Gateways, HTTPRoutes, GRPCRoutes, TLSRoutes and ReferenceGrants. Goes
//! out: on every host [`crate::front`]'s listeners ([`compile`]), and once in the cluster statuses
//! ([`status`], [`publish`]). Both ask the same [`attach`], so a status never says what hosts do not.
//!
//! Words are the API's: a route *attaches* to a listener of a *parent*; a *reference* to another
//! namespace needs a *grant* there.

pub mod attach;
pub mod compile;
pub mod follow;
pub mod objects;
pub mod publish;
pub mod status;
pub mod world;

#[cfg(test)]
mod tests;
