//! What the images of a pod import and export, for whoever looks at the pod. Pure but for reading
//! the component's file.
//!
//! Shown as annotations `imports.coracle.dev/<container>` and `exports.coracle.dev/<container>`,
//! which programs and policies can read whole, and for each package that is imported one
//! `<package>.imports.coracle.dev/<container>`, short enough for `kubectl describe pod`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use coracle_runtime::Capabilities;

use super::program::PROGRAM_BYTES_MAX;

/// Most characters of one annotation; what is longer is cut off at a whole name.
///
/// Annotations of an object may have 256 KiB together, and a pod many containers.
const ANNOTATION_CHARS_MAX: usize = 4096;

/// Most characters of an annotation's value that `kubectl describe` prints.
///
/// *Source:* kubectl's `maxAnnotationLen`.
const DESCRIBED_CHARS_MAX: usize = 140;

/// Packages of one container that are told each by itself; a component has seldom more than ten.
const PACKAGES_MAX: usize = 32;

/// What stands between a package's name and a container's in an annotation.
const BY_PACKAGE: &str = ".imports.coracle.dev/";

/// Reads what a component imports and exports; nothing for a file that is none, or too large to run.
#[must_use]
pub fn read(wasm: &Path) -> Option<Capabilities> {
    if std::fs::metadata(wasm).ok()?.len() > PROGRAM_BYTES_MAX {
        return None;
    }
    coracle_runtime::capabilities(&std::fs::read(wasm).ok()?).ok()
}

/// Gives the annotations for one container.
#[must_use]
pub fn annotations(container: &str, found: &Capabilities) -> BTreeMap<String, String> {
    let whole =
        |names: &BTreeSet<String>| line(names.iter().map(String::as_str), ANNOTATION_CHARS_MAX);
    let mut all = BTreeMap::from([
        (format!("imports.coracle.dev/{container}"), whole(&found.imports)),
        (format!("exports.coracle.dev/{container}"), whole(&found.exports)),
    ]);
    for (package, interfaces) in by_package(&found.imports).into_iter().take(PACKAGES_MAX) {
        let shown = line(interfaces.into_iter(), DESCRIBED_CHARS_MAX - ", …".len());
        all.insert(format!("{package}{BY_PACKAGE}{container}"), shown);
    }
    all
}

/// Gives the annotations of `there` about a package that a container no longer imports: those about one of the
/// containers that `now` speaks of which are not in `now`.
#[must_use]
pub fn outdated(there: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> Vec<String> {
    let is_outdated = |key: &&String| {
        let container = key.split_once(BY_PACKAGE).map(|(_, container)| container);
        let is_known = |container| now.contains_key(&format!("imports.coracle.dev/{container}"));
        container.is_some_and(is_known) && !now.contains_key(*key)
    };
    there.keys().filter(is_outdated).cloned().collect()
}

/// The interfaces of each package, its version with the first of them; what has a name that is none of the component
/// model, such as a core module's import, is in no package.
fn by_package(imports: &BTreeSet<String>) -> BTreeMap<String, Vec<&str>> {
    let mut packages: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for import in imports {
        let Some((package, interface)) = import.split_once('/') else { continue };
        let label = package.replace(':', "-").to_ascii_lowercase();
        let is_label =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        // *Source:* the prefix of an annotation is a DNS name.
        let fits = (1..=63).contains(&label.len()) && label.bytes().all(is_label);
        if !fits || label.starts_with('-') || label.ends_with('-') {
            continue;
        }
        let interfaces = packages.entry(label).or_default();
        let name = interface.split_once('@').map_or(interface, |(name, _)| name);
        interfaces.push(if interfaces.is_empty() { interface } else { name });
    }
    packages
}

fn line<'a>(names: impl Iterator<Item = &'a str>, chars_max: usize) -> String {
    let mut out = String::new();
    for name in names {
        if out.len() + name.len() + 2 > chars_max {
            out.push_str(", …");
            break;
        }
        if !out.is_empty() {
            out.push_str(", ");
        }
        out.push_str(name);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_cut_at_a_whole_name() {
        let names = |n: usize| (0..n).map(|i| format!("acme:x/i{i:05}")).collect();
        let found = Capabilities { imports: names(2), exports: names(1000), kind: "library" };
        let shown = annotations("app", &found);
        assert_eq!(shown["imports.coracle.dev/app"], "acme:x/i00000, acme:x/i00001");
        assert_eq!(shown["acme-x.imports.coracle.dev/app"], "i00000, i00001");
        let long = &shown["exports.coracle.dev/app"];
        assert!(long.len() < ANNOTATION_CHARS_MAX + 8 && long.ends_with(", …"));
    }

    #[test]
    fn each_package_is_short_enough_to_be_described() {
        let sockets = [
            "instance-network",
            "ip-name-lookup",
            "network",
            "tcp",
            "tcp-create-socket",
            "udp",
            "udp-create-socket",
        ];
        let mut imports: BTreeSet<String> =
            sockets.iter().map(|name| format!("wasi:sockets/{name}@0.2.6")).collect();
        imports.extend(["wasi:cli/exit@0.2.0", "env", "a:/b"].map(str::to_owned));
        imports.extend((0..90).map(|n| format!("acme:many/i{n}@1.0.0")));
        let found = Capabilities { imports, exports: BTreeSet::new(), kind: "command" };
        let shown = annotations("app", &found);
        assert_eq!(
            shown["wasi-sockets.imports.coracle.dev/app"],
            "instance-network@0.2.6, ip-name-lookup, network, tcp-create-socket, tcp, udp-create-socket, udp"
        );
        assert_eq!(shown["wasi-cli.imports.coracle.dev/app"], "exit@0.2.0");
        let many = &shown["acme-many.imports.coracle.dev/app"];
        assert!(many.len() <= DESCRIBED_CHARS_MAX && many.ends_with(", …"), "{many}");
        assert_eq!(shown.len(), 5, "{shown:?}");
    }

    #[test]
    fn packages_that_are_no_longer_imported_are_forgotten() {
        let of = |container: &str, import: &str| {
            let imports = BTreeSet::from([import.to_owned()]);
            annotations(container, &Capabilities { imports, ..Capabilities::default() })
        };
        let mut there = of("app", "wasi:http/types@0.2.0");
        there.extend(of("other", "wasi:http/types@0.2.0"));
        there.insert("note".into(), "kept".into());
        let now = of("app", "wasi:cli/exit@0.2.0");
        assert_eq!(outdated(&there, &now), ["wasi-http.imports.coracle.dev/app"]);
        assert!(outdated(&there, &there).is_empty());
    }
}
