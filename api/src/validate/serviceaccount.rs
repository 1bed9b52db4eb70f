//! Rules for ServiceAccounts.

use serde_json::Value;

use super::{Errors, metadata};
use crate::names;

/// Checks a new ServiceAccount.
pub fn validate(object: &Value) -> Errors {
    metadata::validate(object, true, names::dns1123_subdomain)
}

/// Checks a changed ServiceAccount.
pub fn validate_update(new: &Value, old: &Value) -> Errors {
    metadata::validate_update(new, old)
}
