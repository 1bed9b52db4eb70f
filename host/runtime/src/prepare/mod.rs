//! From the bytes of an image to a component that is ready to run.
//!
//! Steps: look at the shape, wrap a preview-1 module, plug libraries in, compile, map, link. All
//! that reads the bytes happens in a child process ([`crate::compile`]); this process only loads
//! what that child wrote into a folder of its own.
//!
//! An edge: it waits for the child and reads files.

mod capabilities;
mod error;
pub(crate) mod imports;
pub(crate) mod inspect;
pub(crate) mod plug;
pub(crate) mod wrap;

use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use wasmtime::component::Component;

use crate::compile;
use crate::engine::Engine;
use crate::image::{ComponentKind, Image, ImageSource, Pre};
use crate::store::State;

pub use capabilities::{Capabilities, capabilities};
pub use error::PrepareError;

/// Bytes of a page of linear memory.
///
/// *Source:* the WebAssembly core specification, memory instances.
const PAGE_BYTES: u64 = 64 << 10;

impl Engine {
    /// Makes an image ready to run: compiles it unless that was done before, and maps the code.
    ///
    /// `plugs` are library components whose exports are plugged into the imports of `source`. Calls
    /// for the same content wait for the first of them, and share one [`Image`] for as long as
    /// anybody holds it. Cancel safe: a dropped call ends its compiling child.
    ///
    /// # Errors
    /// See [`PrepareError`]; [`PrepareError::is_transient`] says which are worth a retry.
    pub async fn prepare(
        &self,
        source: ImageSource,
        plugs: &[ImageSource],
    ) -> Result<Arc<Image>, PrepareError> {
        let digest = joined_digest(&source, plugs);
        let lock = self.preparing(&digest);
        let _first = lock.lock().await;
        if let Some(image) = self.loaded(&digest) {
            return Ok(image);
        }
        let code = self.cache().path(&key(&digest));
        let image = match self.load(&digest, &code) {
            Ok(image) => image,
            Err(missing_or_stale) => {
                tracing::debug!(%digest, reason = %missing_or_stale, "compiling");
                compile::run(self, &source, plugs, &code).await?;
                self.load(&digest, &code)?
            }
        };
        let image = Arc::new(image);
        self.remember(&digest, &image);
        Ok(image)
    }

    /// Maps compiled code and links it.
    fn load(&self, digest: &str, code: &Path) -> Result<Image, PrepareError> {
        let component = map(self.wasmtime(), code)
            .map_err(|error| PrepareError::file("load", code, &format!("{error:#}")))?;
        let names = names(self.wasmtime(), &component);
        let kind = inspect::kind(&names)?;
        let pre = link(self, &component, kind)
            .map_err(|error| PrepareError::Unsatisfied { imports: vec![format!("{error:#}")] })?;
        let needs = component.resources_required();
        let memory_bytes_min = needs.map_or(0, |needs| {
            let pages = needs.max_initial_memory_size.unwrap_or(0);
            pages.saturating_mul(PAGE_BYTES).saturating_mul(u64::from(needs.num_memories))
        });
        Ok(Image {
            digest: digest.to_owned(),
            kind,
            imports: names.imports,
            exports: names.exports,
            memory_bytes_min,
            engine: self.clone(),
            pre,
        })
    }
}

#[expect(unsafe_code, reason = "mapping compiled code is wasmtime's way to load it")]
fn map(engine: &wasmtime::Engine, code: &Path) -> wasmtime::Result<Component> {
    // SAFETY: the file lies in a folder that only this user may write to (checked when the cache
    // was opened), and was written there by our own compiler with the same wasmtime, which checks
    // its version and settings against the file's. Files are replaced by renaming, never changed.
    unsafe { Component::deserialize_file(engine, code) }
}

fn names(engine: &wasmtime::Engine, component: &Component) -> inspect::Names {
    let ty = component.component_type();
    inspect::Names {
        imports: ty.imports(engine).map(|(name, _)| name.to_owned()).collect(),
        exports: ty.exports(engine).map(|(name, _)| name.to_owned()).collect(),
    }
}

fn link(engine: &Engine, component: &Component, kind: ComponentKind) -> wasmtime::Result<Pre> {
    let pre: wasmtime::component::InstancePre<State> =
        engine.linker().instantiate_pre(component)?;
    Ok(match kind {
        ComponentKind::Command => Pre::Command(wasmtime_wasi::p2::bindings::CommandPre::new(pre)?),
        ComponentKind::Http => Pre::Http(wasmtime_wasi_http::p2::bindings::ProxyPre::new(pre)?),
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
