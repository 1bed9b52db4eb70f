//! The node agent: makes this node's pods true.
