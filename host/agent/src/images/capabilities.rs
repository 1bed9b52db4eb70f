//! What the images of a pod import and export, for whoever looks at the pod. Pure but for reading
//! the component's file.
//!
//! Shown as annotations `imports.coracle.dev/<container>` and `exports.coracle.dev/<container>`,
//! which `kubectl describe pod` prints and policies can read.

use std::collections::BTreeMap;
use std::path::Path;

use coracle_runtime::Capabilities;

use super::program::PROGRAM_BYTES_MAX;

/// Most characters of one annotation; what is longer is cut off at a whole name.
///
/// Annotations of an object may have 256 KiB together, and a pod many containers.
const ANNOTATION_CHARS_MAX: usize = 4096;

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
    BTreeMap::from([
        (format!("imports.coracle.dev/{container}"), line(found.imports.iter())),
        (format!("exports.coracle.dev/{container}"), line(found.exports.iter())),
    ])
}

fn line<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let mut out = String::new();
    for name in names {
        if out.len() + name.len() + 2 > ANNOTATION_CHARS_MAX {
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
        let long = &shown["exports.coracle.dev/app"];
        assert!(long.len() < ANNOTATION_CHARS_MAX + 8 && long.ends_with(", …"));
    }
}
