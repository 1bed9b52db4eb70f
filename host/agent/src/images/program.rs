//! Which component of an image a container's `command` means.

use std::io::Read as _;

use cap_std::fs::Dir;

use super::LocalImage;
use super::store::digest_of;
use crate::pods::state::Fault;

/// Most bytes of a component that is named by a command.
const PROGRAM_BYTES_MAX: u64 = 512 << 20;

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
    let root = Dir::open_ambient_dir(&rootfs, cap_std::ambient_authority()).map_err(|_| fault())?;
    let relative = command.trim_start_matches('/');
    let file = root.open(relative).map_err(|_| fault())?;
    let mut bytes = Vec::new();
    file.take(PROGRAM_BYTES_MAX).read_to_end(&mut bytes).map_err(|_| fault())?;
    if !bytes.starts_with(b"\0asm") {
        return Err(fault());
    }
    let path = root.canonicalize(relative).map_err(|_| fault())?;
    Ok(LocalImage { wasm: rootfs.join(path), wasm_digest: digest_of(&bytes), ..image })
}
