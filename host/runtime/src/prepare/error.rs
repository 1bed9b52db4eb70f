//! Why an image cannot be prepared, in words for its owner.

use serde::{Deserialize, Serialize};

/// An image cannot be prepared.
///
/// Made in the compiling child or in the host; the child sends it as JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum PrepareError {
    /// The bytes are something else.
    #[error("not WebAssembly: found {found}")]
    NotWasm {
        /// What they are, with its article.
        found: String,
    },
    /// The binary ends too early.
    #[error("truncated WebAssembly: the binary ends at byte {at} in the middle of a section")]
    Truncated {
        /// Where it ends.
        at: u64,
    },
    /// The binary is not valid.
    #[error("invalid WebAssembly: {message}")]
    Invalid {
        /// What is wrong, and where.
        message: String,
    },
    /// Nothing in it can be started.
    #[error("nothing to run: {found}")]
    NoEntry {
        /// What it is and exports instead.
        found: String,
    },
    /// It needs something that this host does not have.
    #[error("imports that nothing satisfies: {}", .imports.join(", "))]
    Unsatisfied {
        /// The names of the imports.
        imports: Vec<String>,
    },
    /// The components given as plugs do not fit.
    #[error("cannot plug the components together: {message}")]
    Plug {
        /// What does not fit.
        message: String,
    },
    /// The binary is too large.
    #[error("too large: {bytes} bytes of WebAssembly, at most {bytes_max} are compiled")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// The compiler ended on the binary, as hostile input makes it. Only the compiling child was
    /// hurt.
    #[error("the compiler was ended on this binary: {how}")]
    Compiler {
        /// The limit or signal that ended it.
        how: String,
    },
    /// The compiler could not be run at all; worth a retry.
    #[error("run the compiler: {message}")]
    Spawn {
        /// Why not.
        message: String,
    },
    /// A file could not be read or written; worth a retry.
    #[error("{verb} {path}: {message}")]
    File {
        /// What was tried.
        verb: String,
        /// Which file.
        path: String,
        /// Why it failed.
        message: String,
    },
}

impl PrepareError {
    /// Says what to change, if there is something.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotWasm { .. } => Some(
                "Coracle runs WebAssembly components, not Linux images: build the program for \
                 `wasm32-wasip2` and push it with `coracle push`",
            ),
            Self::Truncated { .. } => {
                Some("push the image again; the file was not copied to its end")
            }
            Self::Invalid { .. } => Some("check the file with `wasm-tools validate`"),
            Self::NoEntry { .. } => Some(
                "export `wasi:cli/run` (a program) or `wasi:http/incoming-handler` (a service); a \
                 library is plugged into another component with the annotation \
                 `coracle.dev/compose.<container>`",
            ),
            Self::Unsatisfied { .. } => Some(
                "build against WASI 0.2, or plug in a component that exports them with the \
                 annotation `coracle.dev/compose.<container>`",
            ),
            Self::Plug { .. } => Some("a plug must export what the container's component imports"),
            Self::TooLarge { .. } => Some("strip debug sections (`wasm-tools strip`)"),
            Self::Compiler { .. } => Some(
                "other pods were not touched; if the component is yours, make it smaller, or raise \
                 the host's compile limits",
            ),
            Self::Spawn { .. } | Self::File { .. } => None,
        }
    }

    /// Says whether trying again with the same image can help.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Spawn { .. } | Self::File { .. })
    }

    pub(crate) fn file(verb: &str, path: &std::path::Path, error: &dyn std::fmt::Display) -> Self {
        Self::File {
            verb: verb.to_owned(),
            path: path.display().to_string(),
            message: error.to_string(),
        }
    }
}
