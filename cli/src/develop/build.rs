//! `coracle build`: calls what `coracle.toml` says, and looks at what it made.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::report::Busy;
use super::tools;
use crate::config::BuildFlags;
use crate::images::Recipe;
use crate::{out, signals};

/// How every WebAssembly binary begins.
const MAGIC: &[u8; 4] = b"\0asm";

/// A component that a build made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Made {
    /// The image that it is for.
    pub(crate) image: String,
    /// The file.
    pub(crate) wasm: PathBuf,
    /// Its size in bytes.
    pub(crate) size: usize,
    /// SHA-256 of its content, as the registry will know the layer.
    pub(crate) digest: String,
}

/// Builds a folder and says what came out.
pub(crate) async fn build(flags: &BuildFlags) -> anyhow::Result<()> {
    let recipe = Recipe::of_folder(&flags.folder)?;
    if recipe.images.is_empty() && recipe.build.is_empty() {
        bail!(
            "{} has no coracle.toml that says how its images are built: `coracle new` writes one",
            flags.folder.display()
        );
    }
    let mut stop = signals::Stop::listen_with_terminal()?;
    let made = tokio::select! {
        made = make(&recipe, &flags.folder) => made?,
        () = stop.wait() => bail!("stopped before the build had ended"),
    };
    if flags.output.is_json() {
        let images: Vec<_> = made
            .iter()
            .map(|m| json!({"image": m.image, "file": m.wasm, "bytes": m.size, "digest": m.digest}))
            .collect();
        out::line(serde_json::to_string_pretty(&json!({"images": images}))?);
        return Ok(());
    }
    for made in &made {
        let size = made.size.div_ceil(1024);
        out::line(format_args!("built {} {size} KiB {}", made.image, made.digest));
    }
    Ok(())
}

/// Runs the recipe in its folder; what it prints goes to standard error. Gives the components. Whoever gives it up
/// ends the commands with all that they started.
pub(crate) async fn make(recipe: &Recipe, folder: &Path) -> anyhow::Result<Vec<Made>> {
    if let Some(prepare) = &recipe.prepare
        && !folder.join(&prepare.makes).exists()
    {
        run("prepare", &prepare.run, recipe, folder).await?;
    }
    run("build", &recipe.build, recipe, folder).await?;
    recipe.images.iter().map(|image| look(&image.name, &folder.join(&image.wasm))).collect()
}

async fn run(what: &str, command: &[String], recipe: &Recipe, folder: &Path) -> anyhow::Result<()> {
    let Some((program, arguments)) = command.split_first() else { return Ok(()) };
    let Some(file) = tools::find(program, folder) else {
        bail!("{}", tools::missing(program));
    };
    let busy = Busy::with(&command.join(" "));
    let context = || format!("run the {what} command '{program}' of coracle.toml");
    let child = tokio::process::Command::new(file)
        .args(arguments)
        .envs(&recipe.env)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .with_context(context)?;
    let mut group = Group(child.id().and_then(|id| Pid::from_raw(id.cast_signed())));
    let output = child.wait_with_output().await.with_context(context)?;
    group.0 = None;
    drop(busy);
    out::error_bytes(&output.stdout);
    out::error_bytes(&output.stderr);
    if !output.status.success() {
        bail!(
            "the {what} command of coracle.toml failed ({}): see its output above, and `coracle doctor` for tools that are missing",
            output.status
        );
    }
    Ok(())
}

/// A command with what it started, a process group of its own. Dropping it ends all of them.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0
            && let Err(error) = kill_process_group(pid, Signal::TERM)
        {
            tracing::debug!(%error, "the build has ended already");
        }
    }
}

fn look(image: &str, path: &Path) -> anyhow::Result<Made> {
    let bytes = std::fs::read(path).with_context(|| {
        format!("read {}, which the build should make: mend `wasm` in coracle.toml", path.display())
    })?;
    if !bytes.starts_with(MAGIC) {
        bail!("{} is no WebAssembly binary: mend the build command", path.display());
    }
    let hash = Sha256::digest(&bytes);
    let digest = hash.iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"));
    Ok(Made { image: image.to_owned(), wasm: path.to_path_buf(), size: bytes.len(), digest })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn check(recipe: &str) -> Result<Vec<Made>, String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("coracle.toml"), recipe).unwrap();
        let recipe = Recipe::of_folder(folder.path()).unwrap();
        make(&recipe, folder.path()).await.map_err(|error| format!("{error:#}"))
    }

    #[tokio::test]
    async fn a_build_is_judged_by_what_it_makes() {
        let image = "[[image]]\nname = \"a:1\"\nwasm = \"a.wasm\"\n";
        let recipe = format!("build = ['sh', '-c', 'printf \"\\0asm\" > a.wasm']\n{image}");
        let made = check(&recipe).await.unwrap();
        assert_eq!((made[0].image.as_str(), made[0].size), ("a:1", 4));
        for (build, words) in [
            ("['no-such-tool']", "'no-such-tool' is missing"),
            ("['sh', '-c', 'exit 3']", "failed (exit status: 3)"),
            ("['true']", "which the build should make"),
            ("['sh', '-c', 'echo x > a.wasm']", "no WebAssembly binary"),
        ] {
            let error = check(&format!("build = {build}\n{image}")).await.unwrap_err();
            assert!(error.contains(words), "{build}: {error}");
        }
    }

    /// Whoever gives a build up has nothing of it left: the shell's own child would write for ever.
    #[tokio::test]
    async fn a_build_that_is_given_up_leaves_nothing_running() {
        let folder = tempfile::tempdir().unwrap();
        let (pipe, path) = (folder.path().join("pipe"), folder.path().to_owned());
        let build = "mkfifo pipe; (while true; do sleep 1000; done) > pipe & wait";
        std::fs::write(path.join("coracle.toml"), format!("build = ['sh', '-c', '{build}']\n"))
            .unwrap();
        let recipe = Recipe::of_folder(&path).unwrap();
        let mut building = Box::pin(make(&recipe, &path));
        // Opening it waits for who writes to it; reading, for the end of the last one of those.
        let reading = async {
            while !pipe.exists() {
                tokio::task::yield_now().await;
            }
            tokio::fs::File::open(&pipe).await.unwrap()
        };
        let mut reading = tokio::select! {
            made = &mut building => panic!("{made:?}"),
            reading = reading => reading,
        };
        drop(building);
        let mut read = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut reading, &mut read).await.unwrap();
        assert!(read.is_empty());
    }

    #[tokio::test]
    async fn what_a_folder_needs_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let text = "build = []\nprepare = {makes = 'deps', run = ['sh', '-c', 'echo x >> log; mkdir deps']}\n";
        std::fs::write(folder.path().join("coracle.toml"), text).unwrap();
        let recipe = Recipe::of_folder(folder.path()).unwrap();
        for _ in 0..2 {
            make(&recipe, folder.path()).await.unwrap();
        }
        assert_eq!(std::fs::read_to_string(folder.path().join("log")).unwrap(), "x\n");
    }
}
