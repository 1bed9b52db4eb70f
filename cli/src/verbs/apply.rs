//! `coracle apply`: what `kubectl apply` does, with the same annotation, so that both can take turns.

use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use serde_json::Value;

use super::session::Session;
use crate::apply::{self, Manifests};
use crate::config::ApplyFlags;
use crate::out;

/// Most bytes of manifests from standard input: as much as a store of small objects can hold.
const INPUT_BYTES_MAX: u64 = 64 << 20;

/// Applies the files in their order.
pub(crate) async fn apply(session: &Session, flags: &ApplyFlags) -> anyhow::Result<()> {
    for file in &flags.filename {
        for object in objects_of(file)? {
            let (applied, outcome) =
                apply::apply_in(&session.client, &object, &session.namespace).await?;
            out::line(format_args!("{applied} {outcome}"));
        }
    }
    Ok(())
}

/// The objects of a file or folder, or of standard input for `-`.
pub(crate) fn objects_of(file: &Path) -> anyhow::Result<Vec<Value>> {
    let manifests = if file == Path::new("-") {
        let mut text = String::new();
        let mut input = std::io::stdin().lock().take(INPUT_BYTES_MAX);
        input.read_to_string(&mut text).context("read standard input")?;
        Manifests::parse(Path::new("standard input"), &text)?
    } else {
        Manifests::read(file)?
    };
    Ok(manifests.objects.into_iter().map(|(_, object)| object).collect())
}
