//! Selectors: which objects a list, a watch or a controller means.
//!
//! Label selectors come as a query (`a=b,c in (d,e),!f`) or as an object (`matchLabels`,
//! `matchExpressions`); field selectors only as a query (`spec.nodeName=a,status.phase!=Running`).

mod field;
mod label;
mod lexer;
mod parse;

pub use field::{FieldOperator, FieldRequirement, FieldSelector, ParseFieldSelectorError};
pub use label::{LabelSelector, Labels, Operator, ParseSelectorError, Requirement};
