//! The interfaces that this host provides to guests.

/// The module that WASI preview-1 programs import from.
pub(crate) const PREVIEW1: &str = "wasi_snapshot_preview1";

/// The packages of which every 0.2 version is provided, whole.
///
/// *Source:* WASI 0.2: the worlds `wasi:cli/command` and `wasi:http/proxy`.
const WASI_02_PACKAGES: &[&str] = &[
    "wasi:cli/",
    "wasi:clocks/",
    "wasi:filesystem/",
    "wasi:http/",
    "wasi:io/",
    "wasi:random/",
    "wasi:sockets/",
];

/// Names the imports that this host does not provide, in order.
///
/// Looks at names only: an import whose name is known and whose type differs is found when the
/// component is linked.
pub(crate) fn unsatisfied(imports: &[String]) -> Vec<String> {
    imports.iter().filter(|name| !is_provided(name)).cloned().collect()
}

fn is_provided(import: &str) -> bool {
    if import == crate::lifecycle::INTERFACE {
        return true;
    }
    let Some((interface, version)) = import.split_once('@') else {
        return false;
    };
    version.starts_with("0.2.")
        && WASI_02_PACKAGES.iter().any(|package| interface.starts_with(package))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_is_missing() {
        let imports = [
            "wasi:io/poll@0.2.6",
            "coracle:lifecycle/stop@0.1.0",
            "wasi:nn/graph@0.2.0-rc-2024-10-28",
            "acme:auth/token@1.0.0",
            "wasi:cli/environment@0.3.0",
            "log",
        ];
        let imports: Vec<String> = imports.map(str::to_owned).to_vec();
        let want = [
            "wasi:nn/graph@0.2.0-rc-2024-10-28",
            "acme:auth/token@1.0.0",
            "wasi:cli/environment@0.3.0",
            "log",
        ];
        assert_eq!(unsatisfied(&imports), want);
    }
}
