//! The toolbox: a component with `sh` and the usual small tools that ships with this program.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use bytes::Bytes;
use coracle_runtime as engine;
use sha2::{Digest as _, Sha256};

use crate::images::program;
use crate::images::{ImageFault, LocalImage};
use crate::pods::state::Fault;

/// The component, packed. Made by the build script from `sdk/toolbox`.
static PACKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/toolbox.wasm.gz"));

/// The image that every host has: `kubectl run -it --rm t --restart=Never --image=coracle.dev/toolbox -- nslookup web`.
pub const IMAGE: &str = "coracle.dev/toolbox";

/// The names of its tools, which the component's own build reads too.
static TOOLS: &str = include_str!("../../../../sdk/toolbox/tools.txt");

/// The component and its digest.
#[derive(Debug)]
struct Unpacked {
    component: Bytes,
    digest: String,
}

fn unpacked() -> io::Result<&'static Unpacked> {
    static UNPACKED: OnceLock<Unpacked> = OnceLock::new();
    if let Some(unpacked) = UNPACKED.get() {
        return Ok(unpacked);
    }
    let mut component = Vec::new();
    flate2::read::GzDecoder::new(PACKED).read_to_end(&mut component)?;
    let digest: String =
        Sha256::digest(&component).iter().map(|byte| format!("{byte:02x}")).collect();
    let unpacked = Unpacked { component: component.into(), digest: format!("sha256:{digest}") };
    Ok(UNPACKED.get_or_init(|| unpacked))
}

/// Says whether a command's first word names a tool: `sh`, `/bin/sh`.
#[must_use]
pub fn has(command: &str) -> bool {
    let name = command.rsplit('/').next().unwrap_or(command);
    TOOLS.split_whitespace().any(|tool| tool == name)
}

/// Gives the component, for a command that [`has`] knows.
///
/// # Errors
/// The packed component cannot be read, which no build lets happen.
pub(super) fn source() -> io::Result<engine::ImageSource> {
    let Unpacked { component, digest } = unpacked()?;
    let wasm = engine::Wasm::Bytes(component.clone());
    Ok(engine::ImageSource { wasm, digest: digest.clone() })
}

/// Gives the image with the component that a container's `command` names: one of the image's own,
/// else the toolbox, whose file is put into `folder` when it is missing.
///
/// # Errors
/// A fault `CreateContainerError` when neither has such a component.
pub fn choose(
    image: LocalImage,
    command: Option<&String>,
    folder: &Path,
) -> Result<LocalImage, Fault> {
    let Some(tool) = command.filter(|command| has(command)) else {
        return program::choose(image, command);
    };
    if image.rootfs.is_some()
        && let Ok(own) = program::choose(image.clone(), Some(tool))
    {
        return Ok(own);
    }
    let (wasm, digest) = file(folder).map_err(|error| Fault {
        reason: "CreateContainerError".into(),
        message: format!("put the toolbox into {}: {error}", folder.display()),
    })?;
    Ok(LocalImage { wasm, wasm_digest: digest, ..image })
}

/// Says whether a pod names the toolbox as an image: [`IMAGE`] with any tag.
#[must_use]
pub fn is_image(name: &str) -> bool {
    let name = name.split_once('@').map_or(name, |(name, _)| name);
    name.strip_prefix(IMAGE).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
}

/// Gives the toolbox as an image of its own, for a pod that is nothing but tools; `None` when another image is named.
/// No registry is asked.
///
/// # Errors
/// When it cannot be put into `folder`, or another digest is asked for.
pub fn image(name: &str, folder: &Path) -> Result<Option<LocalImage>, ImageFault> {
    if !is_image(name) {
        return Ok(None);
    }
    let failed = |error: io::Error| {
        ImageFault::Pull(format!("put the toolbox into {}: {error}", folder.display()))
    };
    let (wasm, digest) = file(folder).map_err(failed)?;
    if let Some((_, wanted)) = name.split_once('@').filter(|(_, wanted)| *wanted != digest) {
        let why = format!("this host has the toolbox {digest}, and not {wanted}");
        return Err(ImageFault::Pull(why));
    }
    let size_bytes = std::fs::metadata(&wasm).map_err(failed)?.len();
    Ok(Some(LocalImage {
        image_id: format!("{IMAGE}@{digest}"),
        manifest_digest: digest.clone(),
        wasm,
        wasm_digest: digest,
        rootfs: None,
        // Its name as a program; the first argument says which tool it is then, and without any it is the shell.
        entrypoint: vec!["toolbox".to_owned()],
        arguments: Vec::new(),
        env: Vec::new(),
        working_dir: None,
        size_bytes,
    }))
}

/// Puts the component into a file of `folder`, once for each version.
fn file(folder: &Path) -> io::Result<(PathBuf, String)> {
    let Unpacked { component, digest } = unpacked()?;
    let name = digest.replace(':', "-");
    let path = folder.join(format!("toolbox-{name}.wasm"));
    let is_whole =
        std::fs::metadata(&path).is_ok_and(|found| found.len() == component.len() as u64);
    if !is_whole {
        std::fs::create_dir_all(folder)?;
        let new = tempfile::NamedTempFile::new_in(folder)?;
        std::fs::write(new.path(), component)?;
        new.persist(&path).map_err(|error| error.error)?;
    }
    Ok((path, digest.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_are_known_by_their_last_part() {
        for (command, known) in
            [("sh", true), ("/bin/sh", true), ("/usr/bin/[", true), ("bash", false), ("", false)]
        {
            assert_eq!(has(command), known, "{command}");
        }
    }

    #[test]
    fn it_is_an_image_without_a_registry() {
        let folder = tempfile::tempdir().unwrap();
        let check = |name: &str| image(name, folder.path());
        let found = check("coracle.dev/toolbox").unwrap().unwrap();
        assert_eq!(check("coracle.dev/toolbox:1").unwrap(), Some(found.clone()));
        assert_eq!(check(&found.image_id).unwrap(), Some(found));
        assert!(check(&format!("coracle.dev/toolbox@sha256:{}", "0".repeat(64))).is_err());
        for other in [format!("{IMAGE}es").as_str(), "toolbox", "registry.coracle.internal/toolbox"]
        {
            assert_eq!(check(other).unwrap(), None, "{other}");
        }
    }

    #[test]
    fn the_component_is_in_the_program_and_fits_its_promise() {
        const PACKED_BYTES_PROMISED: usize = 2 << 20;
        assert!(PACKED.len() < PACKED_BYTES_PROMISED, "{}", PACKED.len());
        let folder = tempfile::tempdir().unwrap();
        let (path, digest) = file(folder.path()).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), unpacked().unwrap().component);
        assert_eq!(file(folder.path()).unwrap(), (path, digest));
    }
}
