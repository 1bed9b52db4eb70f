//! From the bytes of an image to a component that is ready to run.
//!
//! Steps: look at the shape, wrap a preview-1 module, plug libraries in, compile, map, link. All
//! that reads the bytes happens in a child process ([`crate::compile`]); this process only loads
//! what that child wrote into a folder of its own.
//!
//! An edge: it waits for the child and reads files.

mod capabilities;
mod described;
mod error;
mod golang;
pub(crate) mod imports;
pub(crate) mod inspect;
pub(crate) mod plug;
pub(crate) mod wrap;

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use wasmtime::component::{Component, InstancePre};

use crate::compile;
use crate::engine::Engine;
use crate::image::{ComponentKind, Image, ImageSource, Parts, Pre};
use crate::store::State;

pub use capabilities::{Capabilities, capabilities};
pub use error::PrepareError;

/// Bytes of a page of linear memory.
///
/// *Source:* the WebAssembly core specification, memory instances.
const PAGE_BYTES: u64 = 64 << 10;

/// What an image is prepared for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To be started: a command or an http container.
    Run,
    /// To have its functions called: any component.
    Call,
}

impl Purpose {
    /// What the digests of such images begin with, and how the compiling child is told.
    pub(crate) const fn prefix(self) -> &'static str {
        match self {
            Self::Run => "",
            Self::Call => "library:",
        }
    }

    fn of(digest: &str) -> Self {
        if digest.starts_with(Self::Call.prefix()) { Self::Call } else { Self::Run }
    }
}

impl Engine {
    /// Makes an image ready to run: compiles it unless that was done before, and maps the code.
    ///
    /// `plugs` are library components whose exports are plugged into the imports of `source`. Calls
    /// for the same content wait for the first of them, and share one [`Image`] for as long as
    /// anybody holds it; some that nobody holds stay mapped for a while. Cancel safe: a dropped call
    /// ends its compiling child.
    ///
    /// # Errors
    /// See [`PrepareError`]; [`PrepareError::is_transient`] says which are worth a retry.
    pub async fn prepare(
        &self,
        source: ImageSource,
        plugs: &[ImageSource],
    ) -> Result<Arc<Image>, PrepareError> {
        self.prepare_for(Purpose::Run, source, plugs).await
    }

    /// Makes a library component ready for its functions to be called ([`crate::call`]); otherwise as
    /// [`Engine::prepare`].
    ///
    /// # Errors
    /// See [`PrepareError`].
    pub async fn prepare_library(
        &self,
        source: ImageSource,
        plugs: &[ImageSource],
    ) -> Result<Arc<Image>, PrepareError> {
        self.prepare_for(Purpose::Call, source, plugs).await
    }

    async fn prepare_for(
        &self,
        purpose: Purpose,
        source: ImageSource,
        plugs: &[ImageSource],
    ) -> Result<Arc<Image>, PrepareError> {
        let digest = format!("{}{}", purpose.prefix(), joined_digest(&source, plugs));
        let lock = self.preparing(&digest);
        let _first = lock.lock().await;
        if let Some(image) = self.loaded(&digest) {
            return Ok(image);
        }
        let parts = match self.mapped(&digest) {
            Some(parts) => parts,
            None => {
                let parts = self.load_or_compile(purpose, &digest, &source, plugs).await?;
                self.keep(&digest, &parts);
                parts
            }
        };
        let image = Arc::new(Image::of(&digest, parts, self));
        self.remember(&digest, &image);
        Ok(image)
    }

    async fn load_or_compile(
        &self,
        purpose: Purpose,
        digest: &str,
        source: &ImageSource,
        plugs: &[ImageSource],
    ) -> Result<Parts, PrepareError> {
        let code = self.cache().path(&key(digest));
        let missing_or_stale = match self.load(digest, &code) {
            Ok(parts) => return Ok(parts),
            Err(error) => error,
        };
        tracing::debug!(%digest, reason = %missing_or_stale, "compiling");
        compile::run(self, purpose, source, plugs, &code).await?;
        self.load(digest, &code)
    }

    /// Opens the compiled code of an image, for another process to map.
    ///
    /// # Errors
    /// It is gone from the cache; preparing the image once more compiles it anew.
    pub(crate) fn code(&self, image: &Image) -> std::io::Result<File> {
        let opened = File::open(self.cache().path(&key(&image.digest)));
        if opened.is_err() {
            self.forget(&image.digest);
        }
        opened
    }

    /// Makes an image of compiled code that this process was handed by the one that compiled it.
    ///
    /// # Errors
    /// [`PrepareError::File`] and its kin, when it was compiled by another program.
    pub(crate) fn load_open(
        &self,
        digest: &str,
        mut code: File,
    ) -> Result<Arc<Image>, PrepareError> {
        if let Some(image) = self.loaded(digest) {
            return Ok(image);
        }
        let failed = |error: &dyn std::fmt::Display| {
            PrepareError::file("load", Path::new(digest), &format!("{error:#}"))
        };
        let mut bytes = Vec::new();
        code.read_to_end(&mut bytes).map_err(|error| failed(&error))?;
        let component = copy_for(self, &bytes).map_err(|error| failed(&error))?;
        let image = Arc::new(Image::of(digest, self.parts(digest, &component)?, self));
        self.remember(digest, &image);
        Ok(image)
    }

    /// Maps compiled code and links it.
    fn load(&self, digest: &str, code: &Path) -> Result<Parts, PrepareError> {
        let component = map_for(self, code)
            .map_err(|error| PrepareError::file("load", code, &format!("{error:#}")))?;
        self.parts(digest, &component)
    }

    fn parts(&self, digest: &str, component: &Component) -> Result<Parts, PrepareError> {
        let names = names(component.engine(), component);
        let kind = match Purpose::of(digest) {
            Purpose::Run => inspect::kind(&names)?,
            Purpose::Call => ComponentKind::Library,
        };
        let pre = link(self, component, &names, kind)
            .map_err(|error| PrepareError::Unsatisfied { imports: vec![format!("{error:#}")] })?;
        let needs = component.resources_required();
        let memory_bytes_min = needs.map_or(0, |needs| {
            let pages = needs.max_initial_memory_size.unwrap_or(0);
            pages.saturating_mul(PAGE_BYTES).saturating_mul(u64::from(needs.num_memories))
        });
        let code = component.image_range();
        Ok(Parts {
            kind,
            imports: names.imports,
            exports: names.exports,
            memory_bytes_min,
            code_bytes: code.end.addr().saturating_sub(code.start.addr()),
            pre,
        })
    }
}

/// Maps compiled code into the engine that it was compiled for: each refuses the other's.
fn map_for(engine: &Engine, code: &Path) -> wasmtime::Result<Component> {
    let mapped = map(engine.wasmtime(), code);
    #[cfg(feature = "wasi-p3")]
    if mapped.is_err() && code.is_file() {
        return map(engine.concurrent()?.wasmtime(), code);
    }
    mapped
}

#[expect(unsafe_code, reason = "mapping compiled code is wasmtime's way to load it")]
fn map(engine: &wasmtime::Engine, code: &Path) -> wasmtime::Result<Component> {
    // SAFETY: the file lies in a folder that only this user may write to (checked when the cache
    // was opened), and was written there by our own compiler with the same wasmtime, which checks
    // its version and settings against the file's. Files are replaced by renaming, never changed.
    unsafe { Component::deserialize_file(engine, code) }
}

/// As [`map_for`], of code that can only be copied: wasmtime maps components by their path alone.
fn copy_for(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    let copied = copy(engine.wasmtime(), code);
    #[cfg(feature = "wasi-p3")]
    if copied.is_err() {
        return copy(engine.concurrent()?.wasmtime(), code);
    }
    copied
}

#[expect(unsafe_code, reason = "taking compiled code over is wasmtime's way to load it")]
fn copy(engine: &wasmtime::Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the code is what the host opened in the folder of which `map` tells; it came over a
    // socket that nobody else has.
    unsafe { Component::deserialize(engine, code) }
}

fn names(engine: &wasmtime::Engine, component: &Component) -> inspect::Names {
    let ty = component.component_type();
    inspect::Names {
        imports: ty.imports(engine).map(|(name, _)| name.to_owned()).collect(),
        exports: ty.exports(engine).map(|(name, _)| name.to_owned()).collect(),
    }
}

fn link(
    engine: &Engine,
    component: &Component,
    names: &inspect::Names,
    kind: ComponentKind,
) -> wasmtime::Result<Pre> {
    #[cfg(feature = "wasi-p3")]
    if inspect::is_for_p3(names) {
        let pre = engine.concurrent()?.linker().instantiate_pre(component)?;
        return link_concurrent(pre, inspect::is_entered_by_p3(names, kind), kind);
    }
    let _ = names;
    link_p2(engine.linker().instantiate_pre(component)?, kind)
}

#[cfg(feature = "wasi-p3")]
fn link_concurrent(
    pre: InstancePre<State>,
    is_entered_by_p3: bool,
    kind: ComponentKind,
) -> wasmtime::Result<Pre> {
    use wasmtime_wasi::p3::bindings::CommandPre;
    use wasmtime_wasi_http::p3::bindings::ServicePre;
    match kind {
        ComponentKind::Command if is_entered_by_p3 => Ok(Pre::CommandP3(CommandPre::new(pre)?)),
        ComponentKind::Http if is_entered_by_p3 => Ok(Pre::HttpP3(ServicePre::new(pre)?)),
        ComponentKind::Command | ComponentKind::Http | ComponentKind::Library => link_p2(pre, kind),
    }
}

fn link_p2(pre: InstancePre<State>, kind: ComponentKind) -> wasmtime::Result<Pre> {
    Ok(match kind {
        ComponentKind::Command => Pre::Command(wasmtime_wasi::p2::bindings::CommandPre::new(pre)?),
        ComponentKind::Http => Pre::Http(wasmtime_wasi_http::p2::bindings::ProxyPre::new(pre)?),
        ComponentKind::Library => Pre::Library(pre),
    })
}

/// Names the content that an image is made of.
fn joined_digest(source: &ImageSource, plugs: &[ImageSource]) -> String {
    let plugs = plugs.iter().map(|plug| plug.digest.as_str());
    std::iter::once(source.digest.as_str()).chain(plugs).collect::<Vec<_>>().join("+")
}

/// Turns a digest, which may hold any bytes, into a name for a file.
fn key(digest: &str) -> String {
    let hash = Sha256::digest(digest.as_bytes());
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}
