//! A WASI preview-1 program, made into a command component.
//!
//! Pure. The adapter that comes with wasmtime answers preview-1 calls with WASI 0.2 ones, except
//! that it knows only two exit codes. `wasi:cli/exit` has `exit-with-code` for the rest, whose core
//! signature is that of `proc_exit`; so the module's own import is pointed there first.

use wasi_preview1_component_adapter_provider as adapter;
use wasm_encoder::reencode::{Reencode, RoundtripReencoder};
use wasmparser::{Parser, Payload};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

use super::error::PrepareError;
use super::imports::PREVIEW1;

/// The interface with all exit codes.
const EXIT: &str = "wasi:cli/exit@0.2.12";

/// What the wrapped module imports besides preview 1, as the encoder wants to be told.
const EXIT_WORLD: &str = "
package coracle:preview1;
world program { import wasi:cli/exit@0.2.12; }
package wasi:cli@0.2.12 {
    interface exit { exit-with-code: func(status-code: u8); }
}
";

/// Wraps a preview-1 module.
pub(crate) fn wrap(module: &[u8]) -> Result<Vec<u8>, PrepareError> {
    encode(module).map_err(|error| PrepareError::Invalid { message: format!("{error:#}") })
}

fn encode(module: &[u8]) -> anyhow::Result<Vec<u8>> {
    let (mut module, exits) = redirect_exit(module)?;
    if exits {
        let mut resolve = wit_parser::Resolve::default();
        let package = resolve.push_str("exit.wit", EXIT_WORLD)?;
        let world = resolve.select_world(&[package], Some("program"))?;
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
    }
    ComponentEncoder::default()
        .validate(true)
        .module(&module)?
        .adapter(
            adapter::WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME,
            adapter::WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER,
        )?
        .encode()
}

/// Points the import of `proc_exit` at `exit-with-code`, and says whether there was one.
fn redirect_exit(module: &[u8]) -> anyhow::Result<(Vec<u8>, bool)> {
    let mut out = wasm_encoder::Module::new();
    let mut exits = false;
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload?;
        if let Payload::ImportSection(section) = payload {
            let mut imports = wasm_encoder::ImportSection::new();
            for import in section.into_imports() {
                let import = import?;
                let is_exit = import.module == PREVIEW1 && import.name == "proc_exit";
                exits |= is_exit;
                let (from, name) =
                    if is_exit { (EXIT, "exit-with-code") } else { (import.module, import.name) };
                let ty = RoundtripReencoder.entity_type(import.ty);
                imports.import(from, name, ty.map_err(|error| anyhow::anyhow!("{error}"))?);
            }
            out.section(&imports);
        } else if let Some((id, range)) = payload.as_section() {
            let data = module.get(range).unwrap_or_default();
            out.section(&wasm_encoder::RawSection { id, data });
        }
    }
    Ok((out.finish(), exits))
}
