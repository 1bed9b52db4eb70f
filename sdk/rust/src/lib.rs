//! What guests of Coracle can ask of it beyond WASI.
//!
//! Today that is the stop notice, [`lifecycle`], and [`exit`] with a code. A guest that uses the
//! notice imports `coracle:lifecycle/stop` and runs only where that is provided.

mod exit;
pub mod lifecycle;

pub use exit::exit;

#[allow(missing_docs, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({
        path: "../wit",
        world: "guest",
        with: { "wasi:io/poll@0.2.0": wasip2::io::poll },
    });
}
