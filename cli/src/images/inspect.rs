//! `coracle inspect`: what an image would touch, and what another one would touch beyond it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use coracle_agent::images::pull::Progress;
use coracle_agent::images::registry::{BuiltInRegistry, OciRegistry, Registries};
use coracle_agent::images::{ImageStore, Images, RegistryHosts, capabilities};
use coracle_runtime::Capabilities;

use super::name::ImageName;
use crate::client;
use crate::config::{DataDir, InspectFlags};
use crate::out;

/// An image as it was found.
struct Found {
    name: String,
    capabilities: Capabilities,
}

/// Prints imports and exports of an image, or what changes from one to another.
pub(crate) async fn inspect(data: &DataDir, flags: InspectFlags) -> anyhow::Result<()> {
    let first = find(data, &flags, &flags.image).await?;
    let text = match &flags.other {
        None => whole(&first),
        Some(other) => difference(&first, &find(data, &flags, other).await?),
    };
    out::line(text.trim_end());
    Ok(())
}

/// Reads a file, or pulls an image into a folder that goes again.
async fn find(data: &DataDir, flags: &InspectFlags, image: &str) -> anyhow::Result<Found> {
    if Path::new(image).is_file() {
        let bytes = tokio::fs::read(image).await.with_context(|| format!("read {image}"))?;
        let capabilities =
            coracle_runtime::capabilities(&bytes).with_context(|| format!("read {image}"))?;
        return Ok(Found { name: image.to_owned(), capabilities });
    }
    // What names no registry is in the built-in one.
    let name =
        image.parse::<ImageName>().map_or_else(|_| image.to_owned(), |name| name.to_string());
    let folder = tempfile::tempdir().context("make a folder for the image")?;
    let store =
        ImageStore::open(folder.path().to_owned()).context("make a folder for the image")?;
    let kubeconfig = flags.kubeconfig.clone().unwrap_or_else(|| data.kubeconfig());
    let other = Arc::new(OciRegistry::new(RegistryHosts::default()));
    let registries = match client::of_kubeconfig(&kubeconfig).await {
        Ok(client) => Registries::new(Arc::new(BuiltInRegistry::new(client)), other),
        Err(error) if name.starts_with(super::name::REGISTRY_HOST) => return Err(error),
        Err(_) => Registries::new(other.clone(), other),
    };
    let images = Images::new(Arc::new(store), registries);
    let pulled = images.pull(&name, None, &Progress::default()).await?;
    let capabilities = capabilities::read(&pulled.image.wasm)
        .with_context(|| format!("'{name}' is no WebAssembly component or module"))?;
    Ok(Found { name: pulled.image.image_id, capabilities })
}

fn whole(found: &Found) -> String {
    let Capabilities { imports, exports, kind } = &found.capabilities;
    let list = |names: &BTreeSet<String>| -> String {
        if names.is_empty() {
            return "  (none)\n".into();
        }
        names.iter().map(|name| format!("  {name}\n")).collect()
    };
    format!(
        "Image:   {}\nKind:    {kind}\nImports:\n{}Exports:\n{}",
        found.name,
        list(imports),
        list(exports)
    )
}

fn difference(old: &Found, new: &Found) -> String {
    let lines = |what: &str, old: &BTreeSet<String>, new: &BTreeSet<String>| -> String {
        let gained = new.difference(old).map(|name| format!("+ {what} {name}\n"));
        let lost = old.difference(new).map(|name| format!("- {what} {name}\n"));
        gained.chain(lost).collect()
    };
    let (a, b) = (&old.capabilities, &new.capabilities);
    let mut text = format!("--- {}\n+++ {}\n", old.name, new.name);
    if a.kind != b.kind {
        text.push_str(&format!("- kind {}\n+ kind {}\n", a.kind, b.kind));
    }
    let changes =
        lines("import", &a.imports, &b.imports) + &lines("export", &a.exports, &b.exports);
    text + if changes.is_empty() { "no change of imports or exports\n" } else { &changes }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn found(name: &str, kind: &'static str, imports: &[&str], exports: &[&str]) -> Found {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let capabilities = Capabilities { imports: set(imports), exports: set(exports), kind };
        Found { name: name.into(), capabilities }
    }

    #[test]
    fn what_an_update_gains_is_shown() {
        let old =
            found("a:1", "http", &["wasi:io/poll@0.2.0"], &["wasi:http/incoming-handler@0.2.0"]);
        let new = found(
            "a:2",
            "http",
            &["wasi:sockets/tcp@0.2.0"],
            &["wasi:http/incoming-handler@0.2.0"],
        );
        expect![[r#"
            --- a:1
            +++ a:2
            + import wasi:sockets/tcp@0.2.0
            - import wasi:io/poll@0.2.0
        "#]]
        .assert_eq(&difference(&old, &new));
        assert!(difference(&old, &old).ends_with("no change of imports or exports\n"));
        expect![[r#"
            Image:   a:1
            Kind:    http
            Imports:
              wasi:io/poll@0.2.0
            Exports:
              wasi:http/incoming-handler@0.2.0
        "#]]
        .assert_eq(&whole(&old));
    }
}
