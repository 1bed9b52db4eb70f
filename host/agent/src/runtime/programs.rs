//! What commands run beside a container: programs of its image, then the toolbox.

use std::sync::Arc;

use coracle_runtime as engine;
use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::toolbox;
use super::wasm::{prepare_fault, source};
use crate::images::{LocalImage, program};
use crate::pods::state::Fault;

/// Prepares images; the engine keeps those mapped that were used last.
pub(super) struct Prepared {
    engine: engine::Engine,
}

impl Prepared {
    pub(super) fn new(engine: engine::Engine) -> Arc<Self> {
        Arc::new(Self { engine })
    }

    pub(super) async fn image(
        &self,
        image: &LocalImage,
        plugs: &[LocalImage],
    ) -> Result<Arc<engine::Image>, Fault> {
        let plugs: Vec<_> = plugs.iter().map(source).collect();
        let prepared = self.engine.prepare(source(image), &plugs).await;
        prepared.map_err(|error| prepare_fault(&error))
    }

    async fn toolbox(&self) -> Result<Arc<engine::Image>, String> {
        let source = toolbox::source().map_err(|error| error.to_string())?;
        let prepared = self.engine.prepare(source, &[]).await;
        prepared.map_err(|error| error.to_string())
    }

    /// Gives how many components are mapped.
    pub(super) fn components(&self) -> usize {
        self.engine.components_mapped()
    }
}

/// The programs of one container.
pub(super) struct ContainerPrograms {
    pub(super) prepared: Arc<Prepared>,
    pub(super) image: LocalImage,
    /// The container's own component.
    pub(super) own: Arc<engine::Image>,
}

impl ContainerPrograms {
    async fn look_up(&self, command: &str) -> Result<Option<Arc<engine::Image>>, String> {
        if self.image.entrypoint.first().is_some_and(|entry| entry == command) {
            return Ok(Some(self.own.clone()));
        }
        if self.image.rootfs.is_some()
            && let Ok(chosen) = program::choose(self.image.clone(), Some(&command.to_owned()))
        {
            let image = self.prepared.image(&chosen, &[]).await;
            return image.map(Some).map_err(|fault| fault.message);
        }
        if toolbox::has(command) {
            return self.prepared.toolbox().await.map(Some);
        }
        Ok(is_name_of(command, &self.image).then(|| self.own.clone()))
    }
}

/// Whether a command names an image that is one component: the last part of its repository, as the file of that
/// program would be called in an image with files.
fn is_name_of(command: &str, image: &LocalImage) -> bool {
    let repository = image.image_id.split('@').next().unwrap_or_default();
    let name = repository.rsplit('/').next().unwrap_or_default();
    let is_named = command.strip_prefix('/').unwrap_or(command) == name;
    image.rootfs.is_none() && is_named && !name.is_empty()
}

impl engine::Programs for ContainerPrograms {
    fn find<'a>(
        &'a self,
        command: &'a str,
    ) -> BoxFuture<'a, Result<Option<Arc<engine::Image>>, String>> {
        self.look_up(command).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_component_is_found_by_its_images_name() {
        let image = |rootfs: Option<&str>| LocalImage {
            image_id: "registry.example.com:5000/team/app@sha256:00".into(),
            manifest_digest: String::new(),
            wasm: "app.wasm".into(),
            wasm_digest: String::new(),
            rootfs: rootfs.map(Into::into),
            entrypoint: Vec::new(),
            arguments: Vec::new(),
            env: Vec::new(),
            working_dir: None,
            size_bytes: 0,
        };
        let check = |command: &str| is_name_of(command, &image(None));
        assert!(check("app") && check("/app"));
        assert!(!check("ap") && !check("team/app") && !check("/bin/app") && !check(""));
        assert!(
            !is_name_of("app", &image(Some("files"))),
            "its files are looked for by their paths"
        );
    }
}
