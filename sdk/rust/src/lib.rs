//! What guests of Coracle can ask of it beyond WASI.
//!
//! Today that is the stop notice, [`lifecycle`], and [`exit`] with a code. A guest that uses the
//! notice imports `coracle:lifecycle/stop` and runs only where that is provided.
//!
//! Then there are drafts of WASI, which are not yet standard: [`log`] (`wasi:logging`), [`config::get`]
//! (`wasi:config`), [`kv`] (`wasi:keyvalue`) and [`blob`] (`wasi:blobstore`). A guest imports those
//! alone that it uses; the book's page "Keep values and objects" says what its pod must grant.
//!
//! With the feature `kube` there is also a client of the cluster's API with the pod's own token, and
//! leader election by it, by standard `wasi:http` alone. [`config`] reads mounted ConfigMaps again.

pub mod blob;
pub mod config;
mod exit;
#[cfg(feature = "kube")]
pub mod kube;
pub mod kv;
#[cfg(feature = "kube")]
pub mod lease;
pub mod lifecycle;
pub mod log;
pub mod time;

pub use exit::exit;

/// Keeps what says which interfaces a guest imports: where its crates are compiled in parts, as incremental
/// builds are, the linker takes only those parts that something calls.
mod linked {
    pub(crate) use crate::bindings::__link_custom_section_describing_imports as lifecycle;
    pub(crate) use crate::drafts::__link_custom_section_describing_imports as drafts;
}

#[allow(missing_docs, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({
        path: "../wit",
        world: "guest",
        with: { "wasi:io/poll@0.2.0": wasip2::io::poll },
    });
}

#[allow(missing_docs, reason = "generated")]
mod drafts {
    wit_bindgen::generate!({
        path: "../wit",
        inline: "
            package coracle:drafts;
            world drafts {
                import wasi:logging/logging@0.1.0-draft;
                import wasi:config/store@0.2.0-rc.1;
                import wasi:keyvalue/store@0.2.0-draft2;
                import wasi:keyvalue/atomics@0.2.0-draft2;
                import wasi:keyvalue/batch@0.2.0-draft2;
                import wasi:blobstore/blobstore@0.2.0-draft;
            }
        ",
        with: {
            "wasi:io/poll@0.2.0": wasip2::io::poll,
            "wasi:io/error@0.2.0": wasip2::io::error,
            "wasi:io/streams@0.2.0": wasip2::io::streams,
        },
        generate_all,
    });
}
