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

/// The packages of which every final 0.3 version is provided, whole.
///
/// *Source:* WASI 0.3: the worlds `wasi:cli/command` and `wasi:http/service`.
const WASI_03_PACKAGES: &[&str] = &[
    "wasi:cli/",
    "wasi:clocks/",
    "wasi:filesystem/",
    "wasi:http/",
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
    let is_own = [crate::lifecycle::INTERFACE, crate::interrupt::INTERFACE].contains(&import);
    if is_own || crate::wasi::is_draft(import) {
        return true;
    }
    let Some((interface, version)) = import.split_once('@') else {
        return false;
    };
    let is_in = |packages: &[&str]| packages.iter().any(|package| interface.starts_with(package));
    if version.starts_with("0.3.") {
        // A version with a hyphen is a draft.
        return cfg!(feature = "wasi-p3") && !version.contains('-') && is_in(WASI_03_PACKAGES);
    }
    version.starts_with("0.2.") && is_in(WASI_02_PACKAGES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_final_0_3_is_provided_where_it_is_built_in() {
        let imports = ["wasi:cli/environment@0.3.0", "wasi:http/client@0.3.2"].map(str::to_owned);
        assert_eq!(unsatisfied(&imports).is_empty(), cfg!(feature = "wasi-p3"));
    }

    #[test]
    fn names_what_is_missing() {
        let imports = [
            "wasi:io/poll@0.2.6",
            "coracle:lifecycle/stop@0.1.0",
            "coracle:terminal/interrupt@0.1.0",
            "wasi:tls/types@0.2.0-draft",
            "wasi:config/store@0.2.0-rc.1",
            "wasi:keyvalue/atomics@0.2.0-draft2",
            "wasi:blobstore/container@0.2.0-draft",
            "wasi:logging/logging",
            "wasi:keyvalue/watcher@0.2.0-draft2",
            "wasi:nn/graph@0.2.0-rc-2024-10-28",
            "acme:auth/token@1.0.0",
            "wasi:cli/environment@0.3.0-rc-2025-09-16",
            "wasi:io/poll@0.3.0",
            "log",
        ];
        let imports: Vec<String> = imports.map(str::to_owned).to_vec();
        let want = [
            "wasi:keyvalue/watcher@0.2.0-draft2",
            "wasi:nn/graph@0.2.0-rc-2024-10-28",
            "acme:auth/token@1.0.0",
            "wasi:cli/environment@0.3.0-rc-2025-09-16",
            "wasi:io/poll@0.3.0",
            "log",
        ];
        assert_eq!(unsatisfied(&imports), want);
    }
}
