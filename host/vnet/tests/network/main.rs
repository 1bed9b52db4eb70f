//! The virtual network as its users see it.

mod pipe;
mod real;
mod tcp;
mod udp;
mod world;
