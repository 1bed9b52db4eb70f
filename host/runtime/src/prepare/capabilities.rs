//! What a binary would touch and what it offers: its imports and exports, by name. Pure.
//!
//! Read from the outer shape alone, so it may be asked of bytes that nobody has compiled.

use std::collections::BTreeSet;

use super::error::PrepareError;
use super::inspect::{Shape, kind, shape};
use crate::image::ComponentKind;

/// Imports and exports of a component or core module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// What it asks for, such as `wasi:sockets/tcp@0.2.0`; of a core module, the modules' names.
    pub imports: BTreeSet<String>,
    /// What it offers, such as `wasi:http/incoming-handler@0.2.0`.
    pub exports: BTreeSet<String>,
    /// `command`, `http`, `module`, or `library` for anything else.
    pub kind: &'static str,
}

/// Reads what `bytes` import and export.
///
/// # Errors
/// `NotWasm` and `Invalid` when they are no WebAssembly.
pub fn capabilities(bytes: &[u8]) -> Result<Capabilities, PrepareError> {
    let (names, kind) = match shape(bytes)? {
        Shape::Module(names) => (names, "module"),
        Shape::Component(names) => {
            let kind = kind(&names).map_or("library", ComponentKind::as_str);
            (names, kind)
        }
    };
    let set = |names: Vec<String>| names.into_iter().collect();
    Ok(Capabilities { imports: set(names.imports), exports: set(names.exports), kind })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_names_what_it_imports() {
        // (module (import "wasi_snapshot_preview1" "f" (func)) (export "_start" (func 0)))
        let bytes = [
            b"\0asm\x01\0\0\0".as_slice(),
            b"\x01\x04\x01\x60\0\0",
            b"\x02\x1c\x01\x16wasi_snapshot_preview1\x01f\0\0",
            b"\x07\x0a\x01\x06_start\0\0",
        ]
        .concat();
        let found = capabilities(&bytes).unwrap();
        assert_eq!(found.kind, "module");
        assert_eq!(found.imports, BTreeSet::from(["wasi_snapshot_preview1".to_owned()]));
        assert_eq!(found.exports, BTreeSet::from(["_start".to_owned()]));
        assert!(capabilities(b"#!/bin/sh").is_err());
    }
}
