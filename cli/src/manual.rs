//! What the command line says of itself: completion scripts and manual pages.

use std::path::Path;

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::config::Flags;
use crate::out;

/// Prints the completion script of a shell.
pub(crate) fn completion(shell: Shell) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Flags::command(), "coracle", &mut script);
    out::bytes(&script);
    Ok(())
}

/// Writes a page for each command into a folder, which is made if it is not there.
pub(crate) fn pages(folder: &Path) -> anyhow::Result<()> {
    let context = || format!("write manual pages into {}", folder.display());
    std::fs::create_dir_all(folder).with_context(context)?;
    clap_mangen::generate_to(Flags::command(), folder).with_context(context)
}
