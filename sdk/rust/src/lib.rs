//! What guests of Coracle can ask of it beyond WASI.
//!
//! Today that is the stop notice, [`lifecycle`]. A guest that uses it imports
//! `coracle:lifecycle/stop` and runs only where that is provided.

pub mod lifecycle;

#[allow(missing_docs, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({
        path: "../wit",
        world: "guest",
        with: { "wasi:io/poll@0.2.0": wasip2::io::poll },
    });
}
