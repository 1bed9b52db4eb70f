//! What an image is, told by its manifest and configuration: pure.
//!
//! *Source:* the OCI image spec; the CNCF Wasm artifact layout; container images with a `.wasm`
//! entry point as containerd's shims run them.

use serde::Deserialize;

/// Media type of the artifact's configuration.
const WASM_CONFIGS: [&str; 3] = [
    "application/vnd.wasm.config.v0+json",
    "application/vnd.wasm.config.v1+json",
    "application/vnd.bytecodealliance.wasm.component.config.v0+json",
];
/// Media types of a layer that is a component or module.
const WASM_LAYERS: [&str; 4] = [
    "application/wasm",
    "application/vnd.wasm.content.layer.v1+wasm",
    "application/vnd.module.wasm.content.layer.v1+wasm",
    "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm",
];

/// A manifest or an index: the fields that matter to us.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Its own media type, where it says so.
    pub media_type: Option<String>,
    /// Set for an image.
    pub config: Option<Descriptor>,
    /// Set for an image.
    #[serde(default)]
    pub layers: Vec<Descriptor>,
    /// Set for an index.
    #[serde(default)]
    pub manifests: Vec<Descriptor>,
}

/// Points at a blob or a manifest.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is.
    pub media_type: String,
    /// Its digest.
    pub digest: String,
    /// Its size in bytes.
    pub size: u64,
    /// For manifests in an index.
    pub platform: Option<Platform>,
}

/// For what machine an image is.
#[derive(Clone, Debug, Deserialize)]
pub struct Platform {
    /// `linux`, `wasip1`, `wasi`.
    pub os: String,
    /// `amd64`, `wasm`.
    pub architecture: String,
}

/// The configuration of an image: the fields that matter to us.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ImageConfig {
    /// For what system.
    #[serde(default)]
    pub os: String,
    /// For what processor.
    #[serde(default)]
    pub architecture: String,
    /// How it is started.
    #[serde(default)]
    pub config: Option<Execution>,
}

/// How an image is started.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Execution {
    /// `NAME=value`.
    #[serde(default)]
    pub env: Option<Vec<String>>,
    /// Program and fixed arguments.
    #[serde(default)]
    pub entrypoint: Option<Vec<String>>,
    /// Default arguments.
    #[serde(default)]
    pub cmd: Option<Vec<String>>,
    /// Working directory.
    #[serde(default)]
    pub working_dir: Option<String>,
}

/// What an image turned out to be.
#[derive(Clone, Debug)]
pub enum Content {
    /// A Wasm artifact: this layer is the component.
    Artifact(Descriptor),
    /// A container image: these layers make the files, and this path in them is the component.
    Container {
        /// Layers, lowest first.
        layers: Vec<Descriptor>,
        /// Path of the component, relative to `/`.
        program: String,
    },
}

/// An image that cannot run here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found}; {hint}")]
pub struct NotWasm {
    found: String,
    hint: &'static str,
}

const HINT_LINUX: &str = "Coracle runs WebAssembly components only: build the program for wasm32-wasip2 and \
     push it with `coracle push` or `wkg oci push`";
const HINT_ENTRYPOINT: &str = "a container image must have a .wasm file as its entry point (ENTRYPOINT [\"/app.wasm\"]), \
     or be a Wasm artifact with one layer of type application/wasm";

/// Picks the manifest of an index that runs here.
///
/// # Errors
/// When the index has images for other machines only.
pub fn pick(index: &Manifest) -> Result<&Descriptor, NotWasm> {
    let is_wasm = |descriptor: &&Descriptor| match &descriptor.platform {
        Some(platform) => platform.architecture == "wasm" || platform.os.starts_with("wasi"),
        None => true,
    };
    index.manifests.iter().find(is_wasm).ok_or_else(|| {
        let platforms: Vec<String> = index
            .manifests
            .iter()
            .filter_map(|descriptor| descriptor.platform.as_ref())
            .map(|platform| format!("{}/{}", platform.os, platform.architecture))
            .filter(|platform| platform != "unknown/unknown")
            .collect();
        let found = format!("image is for {} only", platforms.join(", "));
        NotWasm { found, hint: HINT_LINUX }
    })
}

/// Tells from its manifest alone whether an image is a Wasm artifact.
#[must_use]
pub fn artifact(manifest: &Manifest) -> Option<&Descriptor> {
    let of_wasm = |descriptor: &&Descriptor| WASM_LAYERS.contains(&descriptor.media_type.as_str());
    let config = manifest.config.as_ref().map(|config| config.media_type.as_str());
    let single = manifest.layers.len() == 1;
    let known = config.is_some_and(|config| WASM_CONFIGS.contains(&config));
    manifest.layers.iter().find(of_wasm).filter(|_| known || single)
}

/// Tells what a container image runs.
///
/// # Errors
/// When its entry point is not a Wasm file.
pub fn container(manifest: &Manifest, config: &ImageConfig) -> Result<Content, NotWasm> {
    let execution = config.config.clone().unwrap_or_default();
    let entrypoint = execution.entrypoint.unwrap_or_default();
    let program = entrypoint.first().cloned();
    let program = program.or_else(|| execution.cmd.unwrap_or_default().first().cloned());
    let platform = format!("{}/{}", config.os, config.architecture);
    match program {
        Some(program) if program.ends_with(".wasm") => Ok(Content::Container {
            layers: manifest.layers.clone(),
            program: in_root(execution.working_dir.as_deref(), &program),
        }),
        Some(program) if config.os == "linux" => Err(NotWasm {
            found: format!("image is a Linux image ({platform}) that runs '{program}'"),
            hint: HINT_LINUX,
        }),
        Some(program) => Err(NotWasm {
            found: format!("image ({platform}) runs '{program}'"),
            hint: HINT_ENTRYPOINT,
        }),
        None => Err(NotWasm {
            found: format!("image ({platform}) has no entry point"),
            hint: HINT_ENTRYPOINT,
        }),
    }
}

fn in_root(working_dir: Option<&str>, program: &str) -> String {
    let path = match program.strip_prefix('/') {
        Some(absolute) => absolute.to_owned(),
        None => format!("{}/{program}", working_dir.unwrap_or("/").trim_matches('/')),
    };
    let parts = path.split('/').filter(|part| !part.is_empty() && *part != ".");
    parts.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(manifest: &str, config: &str) -> String {
        let manifest: Manifest = serde_json::from_str(manifest).unwrap();
        if !manifest.manifests.is_empty() {
            return match pick(&manifest) {
                Ok(found) => format!("index {}", found.digest),
                Err(error) => error.to_string(),
            };
        }
        if let Some(layer) = artifact(&manifest) {
            return format!("artifact {}", layer.digest);
        }
        match container(&manifest, &serde_json::from_str(config).unwrap()) {
            Ok(Content::Container { program, layers }) => {
                format!("container {program} {}", layers.len())
            }
            Ok(Content::Artifact(_)) => "artifact".into(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn images_are_told_apart() {
        let wasm = r#"{"config":{"mediaType":"application/vnd.wasm.config.v0+json","digest":"c","size":1},
            "layers":[{"mediaType":"application/wasm","digest":"w","size":2}]}"#;
        assert_eq!(check(wasm, "{}"), "artifact w");
        let image = r#"{"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"c","size":1},
            "layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"l","size":2}]}"#;
        let with = |entry: &str| {
            format!(
                r#"{{"os":"linux","architecture":"amd64","config":{{"Entrypoint":["{entry}"],"WorkingDir":"/srv"}}}}"#
            )
        };
        assert_eq!(check(image, &with("/app.wasm")), "container app.wasm 1");
        assert_eq!(check(image, &with("./app.wasm")), "container srv/app.wasm 1");
        assert!(
            check(image, &with("/bin/sh")).starts_with(
                "image is a Linux image (linux/amd64) that runs '/bin/sh'; Coracle runs"
            )
        );
        assert!(
            check(image, r#"{"os":"wasip1","architecture":"wasm"}"#).contains("has no entry point")
        );
        let index = r#"{"manifests":[{"mediaType":"m","digest":"a","size":1,"platform":{"os":"linux","architecture":"amd64"}}]}"#;
        assert!(check(index, "{}").starts_with("image is for linux/amd64 only"));
        let index = r#"{"manifests":[{"mediaType":"m","digest":"a","size":1,"platform":{"os":"linux","architecture":"amd64"}},
            {"mediaType":"m","digest":"b","size":1,"platform":{"os":"wasip1","architecture":"wasm"}}]}"#;
        assert_eq!(check(index, "{}"), "index b");
    }
}
