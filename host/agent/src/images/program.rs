//! Which component of an image runs: its entry point, or what a container's `command` names.
//!
//! Opened beneath the image's folder, so that no link in an image leads to a file of the host's.

use std::io::{self, Read as _, Seek as _};
use std::path::{Path, PathBuf};

use cap_std::fs::Dir;

use super::LocalImage;
use super::store::digest_of_reader;
use crate::pods::state::Fault;

/// Most bytes of a component; the compiler takes no more either.
pub const PROGRAM_BYTES_MAX: u64 = 512 << 20;

/// A component in an image's folder.
pub(super) struct Program {
    /// Its file, links followed.
    pub(super) path: PathBuf,
    /// Its digest.
    pub(super) digest: String,
    /// Whether it begins as WebAssembly does.
    pub(super) is_wasm: bool,
}

/// Finds a component below `rootfs`. Blocking calls.
pub(super) fn find(rootfs: &Path, program: &str) -> io::Result<Program> {
    let root = Dir::open_ambient_dir(rootfs, cap_std::ambient_authority())?;
    let relative = program.trim_start_matches('/');
    let mut file = root.open(relative)?;
    let facts = file.metadata()?;
    if !facts.is_file() {
        return Err(io::Error::other("it must be a file"));
    }
    if facts.len() > PROGRAM_BYTES_MAX {
        let bytes = facts.len();
        return Err(io::Error::other(format!(
            "it has {bytes} bytes; must have at most {PROGRAM_BYTES_MAX}"
        )));
    }
    let mut magic = Vec::new();
    (&mut file).take(4).read_to_end(&mut magic)?;
    file.rewind()?;
    Ok(Program {
        path: rootfs.join(root.canonicalize(relative)?),
        digest: digest_of_reader(&mut file)?,
        is_wasm: magic == b"\0asm",
    })
}

/// Gives the image with the component that `command` names in place of its entry point.
///
/// An image without files is one component: there the command is only its first argument.
///
/// # Errors
/// A fault `CreateContainerError` when the image has no such component.
pub fn choose(image: LocalImage, command: Option<&String>) -> Result<LocalImage, Fault> {
    let (Some(command), Some(rootfs)) = (command, image.rootfs.clone()) else { return Ok(image) };
    if image.entrypoint.first() == Some(command) {
        return Ok(image);
    }
    let fault = || Fault {
        reason: "CreateContainerError".into(),
        message: format!(
            "exec: \"{command}\": no such component in the image; name a .wasm file of the image, or \
             leave `command` out"
        ),
    };
    let found = find(&rootfs, command).ok().filter(|found| found.is_wasm).ok_or_else(fault)?;
    Ok(LocalImage { wasm: found.path, wasm_digest: found.digest, ..image })
}
