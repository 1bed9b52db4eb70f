//! What some bytes are, and what a component imports and exports.
//!
//! Pure. Only the outer shape of a binary is read here; whether it is valid is for the compiler.

use std::collections::HashSet;

use wasmparser::{Encoding, Parser, Payload};

use super::described;
use super::error::PrepareError;
use super::imports;
use crate::image::ComponentKind;

/// A WebAssembly binary, as far as its outer shape says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A core module.
    Module(Names),
    /// A component.
    Component(Names),
}

/// What a binary imports and exports, in its order. Of a core module, the imported modules' names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) imports: Vec<String>,
    pub(crate) exports: Vec<String>,
}

/// Most imports and exports of a binary: they are read in the host too, for people to see.
///
/// *Source:* ten times what the largest C++ modules export.
const NAMES_MAX: usize = 100_000;

/// Reads the outer shape of `bytes`.
pub(crate) fn shape(bytes: &[u8]) -> Result<Shape, PrepareError> {
    if !bytes.starts_with(b"\0asm") {
        return Err(PrepareError::NotWasm { found: other_format(bytes).to_owned() });
    }
    let mut names = Names::default();
    let mut encoding = Encoding::Module;
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(|error| parse_error(&error, bytes))?;
        if let Payload::Version { encoding: found, .. } = payload {
            if depth == 0 {
                encoding = found;
            }
            depth += 1;
        } else if let Payload::End(_) = payload {
            depth = depth.saturating_sub(1);
        } else if depth == 1 {
            // What is nested deeper is the component's own affair.
            names.add(payload).map_err(|error| parse_error(&error, bytes))?;
            if names.imports.len() + names.exports.len() > NAMES_MAX {
                let message = format!("must have at most {NAMES_MAX} imports and exports");
                return Err(PrepareError::Invalid { message });
            }
        }
    }
    let mut seen = HashSet::new();
    names.imports.retain(|name| seen.insert(name.clone()));
    Ok(match encoding {
        Encoding::Module => Shape::Module(names),
        Encoding::Component => Shape::Component(names),
    })
}

impl Names {
    /// The first export whose name begins so.
    fn export(&self, beginning: &str) -> Option<&str> {
        self.exports.iter().map(String::as_str).find(|name| name.starts_with(beginning))
    }

    fn add(&mut self, payload: Payload<'_>) -> wasmparser::Result<()> {
        if let Payload::ImportSection(section) = payload {
            for import in section.into_imports() {
                let module = import?.module;
                // One module's imports mostly follow one another; the others are found below.
                if self.imports.last().is_none_or(|last| last != module) {
                    self.imports.push(module.to_owned());
                }
            }
        } else if let Payload::ExportSection(section) = payload {
            for export in section {
                self.exports.push(export?.name.to_owned());
            }
        } else if let Payload::ComponentImportSection(section) = payload {
            for import in section {
                self.imports.push(import?.name.name.to_owned());
            }
        } else if let Payload::ComponentExportSection(section) = payload {
            for export in section {
                self.exports.push(export?.name.name.to_owned());
            }
        }
        Ok(())
    }
}

/// Says what a component is by its exports.
pub(crate) fn kind(names: &Names) -> Result<ComponentKind, PrepareError> {
    if names.export("wasi:http/incoming-handler@0.2.").is_some() {
        return Ok(ComponentKind::Http);
    }
    if names.export("wasi:cli/run@0.2.").is_some() {
        return Ok(ComponentKind::Command);
    }
    for (interface, kind) in [(HTTP_03, ComponentKind::Http), (RUN_03, ComponentKind::Command)] {
        match names.export(interface) {
            None => {}
            Some(name) if is_draft(name) => {
                let found = format!("a component for a draft of WASI 0.3 (it exports {name})");
                return Err(PrepareError::NoEntry { found });
            }
            Some(_) if cfg!(feature = "wasi-p3") => return Ok(kind),
            Some(_) => {
                let found = "a component for WASI 0.3, and this host is built for WASI 0.2";
                return Err(PrepareError::NoEntry { found: found.to_owned() });
            }
        }
    }
    let found = if names.exports.is_empty() {
        "a component that exports nothing".to_owned()
    } else {
        format!("a library component that exports {}", list(&names.exports))
    };
    Err(PrepareError::NoEntry { found })
}

/// The exports that make a component of WASI 0.3 one that can be run.
const HTTP_03: &str = "wasi:http/handler@0.3.";
/// As [`HTTP_03`], for a command.
const RUN_03: &str = "wasi:cli/run@0.3.";

/// Says whether a versioned name is that of a draft, such as `wasi:cli/run@0.3.0-rc-2025-09-16`.
fn is_draft(name: &str) -> bool {
    name.split_once('@').is_some_and(|(_, version)| version.contains('-'))
}

/// Says whether a component must be compiled and run as one of WASI 0.3: when it touches any of its
/// interfaces.
#[cfg(feature = "wasi-p3")]
pub(crate) fn is_for_p3(names: &Names) -> bool {
    let mut all = names.imports.iter().chain(&names.exports);
    all.any(|name| name.starts_with("wasi:") && name.contains("@0.3."))
}

/// Says whether a component that runs is entered by WASI 0.3, which is so unless it exports the
/// entry of 0.2.
#[cfg(feature = "wasi-p3")]
pub(crate) fn is_entered_by_p3(names: &Names, kind: ComponentKind) -> bool {
    match kind {
        ComponentKind::Http => names.export("wasi:http/incoming-handler@0.2.").is_none(),
        ComponentKind::Command => names.export("wasi:cli/run@0.2.").is_none(),
        ComponentKind::Library => false,
    }
}

/// How a core module that can be wrapped is entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// By `_start`, once: a command.
    Start,
    /// By `_initialize`, and then for each request.
    Initialize,
}

/// Says how a core module is entered, if it is a WASI preview-1 program that can be wrapped.
pub(crate) fn check_preview1(names: &Names) -> Result<Entry, PrepareError> {
    let has = |export: &str| names.exports.iter().any(|name| name == export);
    let entry = if has("_start") {
        Entry::Start
    } else if has("_initialize") && described::is_http(names) {
        Entry::Initialize
    } else {
        let exports = list(&names.exports);
        let found = format!("a core module without `_start` that exports {exports}");
        return Err(PrepareError::NoEntry { found });
    };
    let known = |name: &&String| *name != imports::PREVIEW1 && !described::is_import(name);
    let unknown: Vec<String> = names.imports.iter().filter(known).cloned().collect();
    if unknown.is_empty() { Ok(entry) } else { Err(PrepareError::Unsatisfied { imports: unknown }) }
}

fn list(names: &[String]) -> String {
    /// Names that are shown of a long list.
    const SHOWN_MAX: usize = 8;
    let mut shown = names.iter().take(SHOWN_MAX).cloned().collect::<Vec<_>>().join(", ");
    if shown.is_empty() {
        shown.push_str("nothing");
    }
    if names.len() > SHOWN_MAX {
        shown.push_str(", …");
    }
    shown
}

fn parse_error(error: &wasmparser::BinaryReaderError, bytes: &[u8]) -> PrepareError {
    if error.message().contains("unexpected end") {
        return PrepareError::Truncated { at: bytes.len() as u64 };
    }
    // Some of these messages have line breaks and indentation.
    let message = error.to_string();
    let words: Vec<&str> = message.split_whitespace().collect();
    PrepareError::Invalid { message: words.join(" ") }
}

/// The beginnings by which other formats are known.
const MAGICS: &[(&[u8], &str)] = &[
    (b"\x7fELF", "a Linux executable (ELF)"),
    (b"#!", "a script"),
    (b"MZ", "a Windows executable"),
    (b"\xcf\xfa\xed\xfe", "a macOS executable"),
    (b"\xca\xfe\xba\xbe", "a macOS executable or Java class"),
    (b"\x1f\x8b", "a gzip archive, such as a layer of a Linux container image"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive, such as a layer of a Linux container image"),
    (b"PK\x03\x04", "a zip archive"),
    (b"(module", "WebAssembly in text form"),
    (b"(component", "WebAssembly in text form"),
    (b"<", "a text in HTML or XML"),
    (b"{", "a JSON text"),
];

/// Where a tar archive says so.
const TAR_MAGIC_AT: usize = 257;

fn other_format(bytes: &[u8]) -> &'static str {
    if bytes.is_empty() {
        return "nothing: the file is empty";
    }
    let known = MAGICS.iter().find(|(magic, _)| bytes.starts_with(magic));
    if let Some((_, found)) = known {
        return found;
    }
    if bytes.get(TAR_MAGIC_AT..).is_some_and(|rest| rest.starts_with(b"ustar")) {
        return "a tar archive, such as a layer of a Linux container image";
    }
    "bytes of an unknown format"
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(bytes: &[u8], want: Expect) {
        let shown = match shape(bytes) {
            Ok(Shape::Component(names)) => match kind(&names) {
                Ok(kind) => kind.as_str().to_owned(),
                Err(error) => error.to_string(),
            },
            Ok(Shape::Module(names)) => match check_preview1(&names) {
                Ok(_) => "module".to_owned(),
                Err(error) => error.to_string(),
            },
            Err(error) => error.to_string(),
        };
        want.assert_eq(&shown);
    }

    #[test]
    fn other_formats_are_named() {
        check(b"", expect!["not WebAssembly: found nothing: the file is empty"]);
        check(b"\x7fELF\x02\x01", expect!["not WebAssembly: found a Linux executable (ELF)"]);
        check(b"#!/bin/sh\n", expect!["not WebAssembly: found a script"]);
        check(b"{\"layers\":[]}", expect!["not WebAssembly: found a JSON text"]);
        check(
            b"\x1f\x8b\x08\x00",
            expect![
                "not WebAssembly: found a gzip archive, such as a layer of a Linux container image"
            ],
        );
        check(b"whatever", expect!["not WebAssembly: found bytes of an unknown format"]);
    }

    #[test]
    fn broken_binaries_are_told_from_cut_ones() {
        check(
            b"\0asm\x01\0\0",
            expect!["truncated WebAssembly: the binary ends at byte 7 in the middle of a section"],
        );
        check(
            b"\0asm\x01\0\0\0\x01\x40",
            expect!["truncated WebAssembly: the binary ends at byte 10 in the middle of a section"],
        );
        check(
            b"\0asm\x63\0\0\0",
            expect!["invalid WebAssembly: unknown binary version: 0x63 (at offset 0x4)"],
        );
    }

    #[test]
    fn modules_and_components_that_cannot_run_are_named() {
        check(
            b"\0asm\x01\0\0\0",
            expect!["nothing to run: a core module without `_start` that exports nothing"],
        );
        check(b"\0asm\x0d\0\x01\0", expect!["nothing to run: a component that exports nothing"]);
    }
}
