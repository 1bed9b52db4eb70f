//! Names to addresses: the question and its answer.

use crate::tag::NsTag;
use futures::future::BoxFuture;
use std::net::IpAddr;

/// Why a name has no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// Nothing has this name.
    #[error("no such name '{0}'")]
    NotFound(String),
    /// No answer now; asking again may help.
    #[error("resolve '{name}': {reason}")]
    Temporary {
        /// The name asked for.
        name: String,
        /// What went wrong.
        reason: String,
    },
    /// The name may not be asked for, and how to mend it.
    #[error("resolve '{name}': {reason}")]
    Refused {
        /// The name asked for.
        name: String,
        /// Why, and what to change.
        reason: String,
    },
    /// It is not a name.
    #[error("'{0}' is not a host name")]
    Invalid(String),
}

/// Answers name lookups of guests.
///
/// It is not asked for addresses in text form, `localhost`, the namespace's own host name and the
/// entries of its hosts file: the namespace answers those.
pub trait Resolver: Send + Sync {
    /// Looks `name` up as seen from `from`; relative names are for the resolver to complete.
    ///
    /// # Errors
    /// See [`ResolveError`]. A name that exists without an address gives an empty list.
    fn resolve(
        &self,
        from: &NsTag,
        name: &str,
    ) -> BoxFuture<'static, Result<Vec<IpAddr>, ResolveError>>;
}
