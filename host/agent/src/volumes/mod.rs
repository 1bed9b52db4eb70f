//! A pod's volumes: what they hold, and making it so on disk or in memory.
//!
//! `payload` (pure) turns a volume's source and the objects it names into files; `write` puts them
//! into a folder with one atomic swap; `mounts` (pure) says what each container sees of it, `kept` what
//! the host's services keep for it there. Secrets
//! live in a folder of the memory file system and nowhere else. Never here: the API server.

pub mod claims;
pub mod kept;
pub mod mounts;
pub mod nfs;
pub mod payload;
pub mod plugin;
pub mod write;

pub use payload::{Content, Payload, VolumeFault};
pub use write::VolumeRoots;
