//! A WASI preview-1 program, made into a component: a command, or one that answers requests.
//!
//! Pure. The adapter that comes with wasmtime answers preview-1 calls with WASI 0.2 ones, except
//! that it knows only two exit codes. `wasi:cli/exit` has `exit-with-code` for the rest, whose core
//! signature is that of `proc_exit`; so the module's own import is pointed there first.

use wasi_preview1_component_adapter_provider as adapter;
use wasm_encoder::reencode::{Reencode, RoundtripReencoder};
use wasmparser::{Parser, Payload};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

use super::described::{self, EXIT};
use super::error::PrepareError;
use super::golang;
use super::imports::PREVIEW1;
use super::inspect::{Entry, Names};

/// Wraps a preview-1 module with these names, which is entered so.
pub(crate) fn wrap(module: &[u8], names: &Names, entry: Entry) -> Result<Vec<u8>, PrepareError> {
    encode(module, names, entry)
        .map_err(|error| PrepareError::Invalid { message: format!("{error:#}") })
}

fn encode(module: &[u8], names: &Names, entry: Entry) -> anyhow::Result<Vec<u8>> {
    let (module, exits) = redirect_exit(module)?;
    let mut module = golang::make_room(module)?;
    let (resolve, package) = described::world(names, exits)?;
    let world = resolve.select_world(&[package], Some("program"))?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
    let adapter = match entry {
        Entry::Start => adapter::WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER,
        Entry::Initialize => adapter::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
    };
    ComponentEncoder::default()
        .validate(true)
        .module(&module)?
        .adapter(adapter::WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, adapter)?
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
