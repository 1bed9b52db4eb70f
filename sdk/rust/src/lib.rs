//! What guests of Coracle can ask of it beyond WASI.
//!
//! Today that is the stop notice, [`lifecycle`], and [`exit`] with a code. A guest that uses the
//! notice imports `coracle:lifecycle/stop` and runs only where that is provided.
//!
//! With the feature `kube` there is also a client of the cluster's API with the pod's own token, and
//! leader election by it, by standard `wasi:http` alone. [`config`] reads mounted ConfigMaps again.

pub mod config;
mod exit;
#[cfg(feature = "kube")]
pub mod kube;
#[cfg(feature = "kube")]
pub mod lease;
pub mod lifecycle;
pub mod time;

pub use exit::exit;

#[allow(missing_docs, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({
        path: "../wit",
        world: "guest",
        with: { "wasi:io/poll@0.2.0": wasip2::io::poll },
    });
}
