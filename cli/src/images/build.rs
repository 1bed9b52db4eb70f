//! `coracle.toml`: how the images of a folder are built. Read by `up`, `build`, `dev` and `test`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// What a folder says about its images.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Recipe {
    /// Command and arguments, run in the folder before the images are read. Empty: nothing to run.
    #[serde(default)]
    pub(crate) build: Vec<String>,
    /// What the build needs to be there first.
    #[serde(default)]
    pub(crate) prepare: Option<Prepare>,
    /// Environment of the commands, beside the user's own.
    #[serde(default)]
    pub(crate) env: BTreeMap<String, String>,
    /// The images, each a component file and the name it is pushed under.
    #[serde(default, rename = "image")]
    pub(crate) images: Vec<RecipeImage>,
}

/// A command that is run once, before the first build.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Prepare {
    /// File or folder, relative to the folder, that tells by being there that it was run.
    pub(crate) makes: PathBuf,
    /// Command and arguments.
    pub(crate) run: Vec<String>,
}

/// One image of a [`Recipe`].
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecipeImage {
    /// Name in the built-in registry.
    pub(crate) name: String,
    /// The component, relative to the folder.
    pub(crate) wasm: PathBuf,
}

/// A `coracle.toml` that can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecipeError {
    /// The file could not be read.
    #[error("read {path}")]
    Read {
        /// Which file.
        path: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("{path}: {source}")]
    Parse {
        /// Which file.
        path: String,
        /// What is wrong and where.
        source: Box<toml::de::Error>,
    },
}

impl Recipe {
    /// Reads the folder's `coracle.toml`; a folder without one has no images to build.
    pub(crate) fn of_folder(folder: &Path) -> Result<Self, RecipeError> {
        let path = folder.join("coracle.toml");
        match fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).map_err(|source| RecipeError::Parse {
                path: path.display().to_string(),
                source: Box::new(source),
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(RecipeError::Read { path: path.display().to_string(), source }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_a_recipe_builds_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let recipe = Recipe::of_folder(folder.path()).unwrap();
        assert!(recipe.build.is_empty() && recipe.images.is_empty());
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("coracle.toml"), "build = []\nimages = []\n").unwrap();
        let error = Recipe::of_folder(folder.path()).unwrap_err().to_string();
        assert!(error.contains("line 2") && error.contains("unknown field `images`"), "{error}");
    }
}
