//! Kubernetes nouns and their rules: schema, selectors, quantities, patches, defaults, validation.

pub mod apply;
pub mod capability;
pub mod cel;
pub mod condition;
pub mod custom;
pub mod decode;
pub mod defaults;
pub mod field_error;
pub mod fit;
pub mod key;
pub mod meta;
pub mod names;
pub mod ondemand;
pub mod openapi;
pub mod patch;
pub mod peers;
pub mod proto;
pub mod quantity;
pub mod quota;
pub mod registry;
pub mod schema;
pub mod selector;
pub mod status;
pub mod table;
pub mod text;
pub mod validate;
