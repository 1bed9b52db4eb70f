//! Real guests, run by the real runtime.

mod command;
mod files;
mod http;
mod lifecycle;
mod limits;
mod logs;
mod prepare;
mod sockets;
mod world;
