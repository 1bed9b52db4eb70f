//! What `up` applied, kept in the data directory so that `down` deletes just that.

use std::fs;
use std::io::ErrorKind;

use anyhow::Context as _;

use crate::apply::Applied;
use crate::config::DataDir;

/// The objects recorded, in the order of their application; none if there is no record.
pub(super) fn read(data: &DataDir) -> anyhow::Result<Vec<Applied>> {
    let path = data.applied();
    match fs::read(&path) {
        Ok(bytes) => {
            serde_json::from_slice(&bytes).with_context(|| format!("read {}", path.display()))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
    }
}

/// Adds objects to the record; those that stand in it already stay where they are.
pub(super) fn add(data: &DataDir, applied: &[Applied]) -> anyhow::Result<()> {
    let mut all = read(data)?;
    for object in applied {
        if !all.contains(object) {
            all.push(object.clone());
        }
    }
    let bytes = serde_json::to_vec_pretty(&all).context("write the record of applied objects")?;
    Ok(data.write_private(&data.applied(), &bytes)?)
}

/// Adds one object to the record.
pub(crate) fn remember(data: &DataDir, applied: &Applied) -> anyhow::Result<()> {
    add(data, std::slice::from_ref(applied))
}

/// Empties the record.
pub(super) fn clear(data: &DataDir) -> anyhow::Result<()> {
    match fs::remove_file(data.applied()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).context("remove the record of applied objects"),
    }
}
