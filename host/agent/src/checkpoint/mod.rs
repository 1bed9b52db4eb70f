//! What the agent needs to run its pods again with no server reachable.
//!
//! One file per pod (its object, address, counts), one per object that pods refer to (Secrets
//! sealed), one for the node. Each is written whole beside its place and renamed. `saved` (pure)
//! turns states into records and back; `seal` encrypts; `files` is the disk; `writer` the edge.

pub mod files;
pub mod saved;
pub mod seal;
pub mod writer;

pub use files::Files;
pub use saved::SavedPod;
pub use writer::Writer;
