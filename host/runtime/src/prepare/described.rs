//! The interfaces that a core module may name beside preview 1, and the world that a module makes of them.
//!
//! Pure. A module built with the SDK for Go, say, names interfaces of the component model as it imports and
//! exports them; what their functions take and give is written in `sdk/wit` alone.

use wit_parser::{PackageId, Resolve, SourceMap};

use super::inspect::Names;

/// The interface with all exit codes. *Source:* `wasi:cli` since 0.2.4.
pub(crate) const EXIT: &str = "wasi:cli/exit@0.2.12";

/// The export that answers requests.
pub(crate) const HTTP_HANDLER: &str = "wasi:http/incoming-handler@0.2.0";

/// A package that is wholly here for what a wrapped module needs of it.
const EXIT_PACKAGE: &str = "
package wasi:cli@0.2.12;
interface exit { exit-with-code: func(status-code: u8); }
";

macro_rules! wit {
    ($path:literal) => {
        include_str!(concat!("../../../../sdk/wit/", $path))
    };
}

/// The packages, each after those that it uses, with the files of each.
const PACKAGES: &[&[&str]] = &[
    &[EXIT_PACKAGE],
    &[wit!("deps/io/error.wit"), wit!("deps/io/poll.wit"), wit!("deps/io/streams.wit")],
    &[wit!("deps/clocks/clocks.wit")],
    &[wit!("deps/http/http.wit")],
    &[wit!("lifecycle.wit")],
    &[wit!("deps/config/config.wit")],
    &[wit!("deps/keyvalue/keyvalue.wit")],
    &[wit!("deps/blobstore/blobstore.wit")],
    &[wit!("deps/logging/logging.wit")],
];

/// What modules may import beside preview 1.
const IMPORTS: &[&str] = &[
    "coracle:lifecycle/stop@0.1.0",
    "wasi:blobstore/blobstore@0.2.0-draft",
    "wasi:blobstore/container@0.2.0-draft",
    "wasi:blobstore/types@0.2.0-draft",
    "wasi:clocks/monotonic-clock@0.2.0",
    "wasi:config/store@0.2.0-rc.1",
    "wasi:http/outgoing-handler@0.2.0",
    "wasi:http/types@0.2.0",
    "wasi:io/error@0.2.0",
    "wasi:io/poll@0.2.0",
    "wasi:io/streams@0.2.0",
    "wasi:keyvalue/atomics@0.2.0-draft2",
    "wasi:keyvalue/batch@0.2.0-draft2",
    "wasi:keyvalue/store@0.2.0-draft2",
    "wasi:logging/logging@0.1.0-draft",
];

/// Says whether a module may import this and still be wrapped.
pub(crate) fn is_import(name: &str) -> bool {
    IMPORTS.contains(&name)
}

/// Says whether a module answers requests: it exports the function of the handler.
pub(crate) fn is_http(names: &Names) -> bool {
    let handler = |export: &String| export.split_once('#') == Some((HTTP_HANDLER, "handle"));
    names.exports.iter().any(handler)
}

/// The world of a module: the interfaces that it names, and the exit where `exits` says so.
///
/// # Errors
/// Never for names that [`is_import`] knows; the message is the parser's.
pub(crate) fn world(names: &Names, exits: bool) -> anyhow::Result<(Resolve, PackageId)> {
    let mut resolve = Resolve::default();
    for files in PACKAGES {
        let mut map = SourceMap::default();
        for (index, text) in files.iter().enumerate() {
            map.push_str(&format!("{index}.wit"), *text);
        }
        let parsed = map.parse().map_err(|(_, error)| anyhow::anyhow!("{error}"))?;
        resolve.push_group(parsed)?;
    }
    let known = names.imports.iter().map(String::as_str).filter(|name| is_import(name));
    let imports = known.chain(exits.then_some(EXIT)).map(|name| format!("import {name};"));
    let handler = is_http(names).then(|| format!("export {HTTP_HANDLER};"));
    let items: String = imports.chain(handler).collect();
    let text = format!("package coracle:wrapped; world program {{ {items} }}");
    let package = resolve.push_source("program.wit", &text)?;
    Ok((resolve, package))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_name_has_its_interface() {
        let imports = IMPORTS.iter().map(|name| (*name).to_owned()).collect();
        let exports = vec![format!("{HTTP_HANDLER}#handle")];
        let names = Names { imports, exports };
        let (resolve, package) = world(&names, true).unwrap();
        let world = resolve.select_world(&[package], Some("program")).unwrap();
        let world = &resolve.worlds[world];
        // With those that the named ones use, which are all named here.
        assert_eq!(world.imports.len(), IMPORTS.len() + 1);
        assert_eq!(world.exports.len(), 1);
        let host = super::super::imports::unsatisfied(&names.imports);
        assert!(host.is_empty(), "the host serves what it wraps: {host:?}");
    }

    #[test]
    fn other_names_are_none_of_ours() {
        assert!(!is_import("wasi:http/types@0.2.1"));
        assert!(!is_import("env"));
        let exports = vec!["wasi:http/incoming-handler@0.2.0#other".to_owned()];
        assert!(!is_http(&Names { imports: Vec::new(), exports }));
    }
}
