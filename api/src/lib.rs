//! Kubernetes nouns and their rules: schema, selectors, quantities, patches, defaults, validation.

pub mod condition;
pub mod field_error;
pub mod key;
pub mod meta;
pub mod status;
pub mod text;
pub mod names;
pub mod quantity;
pub mod selector;
pub mod decode;
pub mod registry;
pub mod schema;
pub mod patch;
pub mod defaults;
pub mod openapi;
pub mod validate;
pub mod proto;
pub mod table;
pub mod fit;
