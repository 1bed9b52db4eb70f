//! Rules for kinds of which only the metadata is looked at.

use serde_json::Value;

use super::{Errors, metadata};
use crate::names;

/// Checks a new object in a namespace whose name is a DNS subdomain.
pub fn namespaced(object: &Value) -> Errors {
    metadata::validate(object, true, names::dns1123_subdomain)
}

/// Checks a new object without namespace whose name is a DNS subdomain.
pub fn cluster(object: &Value) -> Errors {
    metadata::validate(object, false, names::dns1123_subdomain)
}

/// Checks a new object in a namespace whose name may be any segment of a path.
pub fn namespaced_path(object: &Value) -> Errors {
    metadata::validate(object, true, names::path_segment)
}

/// Checks a new object without namespace whose name may be any segment of a path.
pub fn cluster_path(object: &Value) -> Errors {
    metadata::validate(object, false, names::path_segment)
}
