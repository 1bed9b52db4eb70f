//! The three client-made patches: JSON patch, JSON merge patch, strategic merge patch.
//!
//! Each takes the object as it is and the patch, and gives the object as it shall be. What comes
//! out has not been decoded or validated.

pub mod json;
pub mod merge;
mod order;
pub mod strategic;

/// Media type of a JSON patch (RFC 6902).
pub const JSON_PATCH: &str = "application/json-patch+json";
/// Media type of a JSON merge patch (RFC 7386).
pub const MERGE_PATCH: &str = "application/merge-patch+json";
/// Media type of a strategic merge patch.
pub const STRATEGIC_MERGE_PATCH: &str = "application/strategic-merge-patch+json";
/// Media type of a server-side apply configuration.
pub const APPLY_PATCH: &str = "application/apply-patch+yaml";
