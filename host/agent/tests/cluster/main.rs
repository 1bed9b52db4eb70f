//! The agent against the real API server, in one process: the runtime alone is scripted.

mod harness;
mod images;
mod lifecycle;
mod restart;
mod volumes;
