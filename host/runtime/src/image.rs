//! A component that is ready to run: compiled, mapped, and known for what it is.

use std::path::PathBuf;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::engine::Engine;
use crate::store::State;

/// Where the WebAssembly of an image comes from.
#[derive(Debug, Clone)]
pub struct ImageSource {
    /// The binary itself, or the file that holds it.
    pub wasm: Wasm,
    /// The digest that names the content, such as `sha256:9f86…`; the key of the compiled code in
    /// the cache. The caller has verified it.
    pub digest: String,
}

impl ImageSource {
    /// Takes a binary that is in memory, under the digest of its content.
    #[must_use]
    pub fn of_bytes(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let digest: String =
            Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        Self { wasm: Wasm::Bytes(bytes), digest: format!("sha256:{digest}") }
    }
}

/// A WebAssembly binary, a module or a component.
#[derive(Debug, Clone)]
pub enum Wasm {
    /// In memory.
    Bytes(Bytes),
    /// In a file, which is read once.
    Path(PathBuf),
}

/// What a component is, told by what it exports.
///
/// *Source:* `design.md` §2, Kinds of component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ComponentKind {
    /// Exports `wasi:cli/run` (0.2, or 0.3 with the feature `wasi-p3`): one instance, started once, whose exit is the container's.
    Command,
    /// Exports `wasi:http/incoming-handler`, or `wasi:http/handler` of 0.3: instances are made as requests come.
    Http,
    /// Neither: only its functions can be called ([`crate::call`]), and no pod can run it.
    Library,
}

impl ComponentKind {
    /// Gives the kind's name as it is shown to people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Http => "http",
            Self::Library => "library",
        }
    }
}

/// A component that is compiled and can be started as often as wanted.
///
/// Shared by all containers that run it; the code and the initial memories are mapped once.
pub struct Image {
    /// The digest that it was prepared from, its plugs' digests included.
    pub digest: String,
    /// What it is.
    pub kind: ComponentKind,
    /// The names of its imports, such as `wasi:sockets/tcp@0.2.0`, in the component's order.
    pub imports: Vec<String>,
    /// The names of its exports, in the component's order.
    pub exports: Vec<String>,
    /// Bytes of linear memory that an instance begins with.
    pub memory_bytes_min: u64,
    pub(crate) engine: Engine,
    pub(crate) pre: Pre,
}

/// What an image is made of, but for its engine: that holds these while nobody holds the image.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) kind: ComponentKind,
    pub(crate) imports: Vec<String>,
    pub(crate) exports: Vec<String>,
    pub(crate) memory_bytes_min: u64,
    /// Bytes of compiled code that are mapped.
    pub(crate) code_bytes: usize,
    pub(crate) pre: Pre,
}

/// A component with its imports resolved, by kind.
#[derive(Clone)]
pub(crate) enum Pre {
    Command(wasmtime_wasi::p2::bindings::CommandPre<State>),
    Http(wasmtime_wasi_http::p2::bindings::ProxyPre<State>),
    Library(wasmtime::component::InstancePre<State>),
    #[cfg(feature = "wasi-p3")]
    CommandP3(wasmtime_wasi::p3::bindings::CommandPre<State>),
    #[cfg(feature = "wasi-p3")]
    HttpP3(wasmtime_wasi_http::p3::bindings::ServicePre<State>),
}

impl Pre {
    /// The wasmtime engine that instances of it live in.
    pub(crate) fn wasmtime(&self) -> &wasmtime::Engine {
        match self {
            Self::Command(pre) => pre.engine(),
            Self::Http(pre) => pre.engine(),
            Self::Library(pre) => pre.engine(),
            #[cfg(feature = "wasi-p3")]
            Self::CommandP3(pre) => pre.engine(),
            #[cfg(feature = "wasi-p3")]
            Self::HttpP3(pre) => pre.engine(),
        }
    }
}

impl Image {
    /// Puts an image together for `engine`.
    pub(crate) fn of(digest: &str, parts: Parts, engine: &Engine) -> Self {
        Self {
            digest: digest.to_owned(),
            kind: parts.kind,
            imports: parts.imports,
            exports: parts.exports,
            memory_bytes_min: parts.memory_bytes_min,
            engine: engine.clone(),
            pre: parts.pre,
        }
    }

    /// Says whether a guest of this image takes the stop notice itself.
    #[must_use]
    pub fn takes_stop_notice(&self) -> bool {
        self.imports.iter().any(|name| name.starts_with("coracle:lifecycle/"))
    }

    /// Says whether a guest of this image takes interrupts from its terminal itself.
    pub(crate) fn takes_interrupts(&self) -> bool {
        self.imports.iter().any(|name| name == crate::interrupt::INTERFACE)
    }

    /// Says whether it runs on the engine for WASI 0.3.
    #[cfg(feature = "wasi-p3")]
    pub(crate) fn is_concurrent(&self) -> bool {
        !wasmtime::Engine::same(self.pre.wasmtime(), self.engine.wasmtime())
    }

    /// Gives the engine that runs this image.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }
}

impl std::fmt::Debug for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Image").field("digest", &self.digest).field("kind", &self.kind).finish()
    }
}
