//! `coracle dev`: a cluster of its own with the manifests of production; each edit is built, pushed
//! and swapped in.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;
use tokio::time::Instant;

use super::build::make;
use super::changes::Changes;
use super::follow::follow;
use super::images::Pushed;
use super::report::Busy;
use crate::apply::{self, Applied, Manifests};
use crate::config::{DataDir, DevFlags};
use crate::images::{self, ImageName, Recipe};
use crate::server::Server;
use crate::{out, signals, up};

/// How long an object that is replaced may take to be gone.
const GONE_MAX: Duration = Duration::from_secs(120);

/// Runs until SIGINT or SIGTERM.
pub(crate) async fn dev(data: DataDir, flags: DevFlags) -> anyhow::Result<()> {
    let recipe = Recipe::of_folder(&flags.folder)?;
    let manifests = Manifests::read(&flags.folder)?;
    let mut stop = signals::Stop::listen_with_terminal()?;
    tokio::select! {
        made = make(&recipe, &flags.folder) => made?,
        () = stop.wait() => return Ok(()),
    };
    let mut server = Server::start(&data, &flags.server).await?;
    let client = server.client().clone();
    let mut work = Work::new(&client, &data, flags.folder.clone(), flags.timeout);
    let outcome = tokio::select! {
        outcome = work.run(manifests) => outcome,
        () = stop.wait() => Ok(()),
    };
    out::line("stopping");
    server.stop_host(&data).await?;
    server.stop().await;
    outcome
}

/// A folder, and what of it is in the cluster.
pub(super) struct Work<'a> {
    client: &'a kube::Client,
    data: &'a DataDir,
    folder: PathBuf,
    patience: Duration,
    pushed: Pushed,
    applied: Vec<(Applied, Value)>,
    quiet: bool,
}

impl<'a> Work<'a> {
    /// Nothing is in the cluster yet.
    pub(super) fn new(
        client: &'a kube::Client,
        data: &'a DataDir,
        folder: PathBuf,
        seconds: u64,
    ) -> Self {
        let patience = Duration::from_secs(seconds);
        let (pushed, applied) = (Pushed::default(), Vec::new());
        Self { client, data, folder, patience, pushed, applied, quiet: false }
    }

    /// Says nothing of what is applied.
    pub(super) fn quiet(mut self) -> Self {
        self.quiet = true;
        self
    }

    async fn run(&mut self, manifests: Manifests) -> anyhow::Result<()> {
        let recipe = Recipe::of_folder(&self.folder)?;
        let made = recipe.images.iter().map(|image| image.wasm.clone()).collect();
        let mut changes = Changes::of_folder(&self.folder, made)?;
        self.swap(&recipe, manifests).await?;
        let namespaces = self.namespaces();
        up::print_access(self.client, self.data, &namespaces, "ready").await?;
        out::line("\nwaiting for changes; Ctrl-C stops everything and keeps the data");
        let logs = tokio::spawn(follow(self.client.clone(), namespaces));
        while let Some(changed) = changes.next().await {
            out::line(format_args!("changed: {}", self.shown(&changed)));
            // A mistake is the user's next edit away: say it, and go on.
            if let Err(error) = self.round().await {
                out::note(&format!("{error:#}\nthe last version that worked goes on"));
            }
        }
        logs.abort();
        Ok(())
    }

    async fn round(&mut self) -> anyhow::Result<()> {
        let start = Instant::now();
        let recipe = Recipe::of_folder(&self.folder)?;
        make(&recipe, &self.folder).await?;
        let built = start.elapsed();
        self.swap(&recipe, Manifests::read(&self.folder)?).await?;
        let swapped = start.elapsed() - built;
        out::line(format_args!(
            "ready: built in {:.1} s, swapped in {:.1} s",
            built.as_secs_f64(),
            swapped.as_secs_f64()
        ));
        Ok(())
    }

    /// Brings images and objects into the cluster, and waits until all is ready.
    pub(super) async fn swap(
        &mut self,
        recipe: &Recipe,
        manifests: Manifests,
    ) -> anyhow::Result<()> {
        let busy = Busy::with("push");
        for image in &recipe.images {
            let name: ImageName = image.name.parse()?;
            busy.now(&format!("push {name}"));
            let path = self.folder.join(&image.wasm);
            let wasm = tokio::fs::read(&path).await;
            let wasm = wasm.with_context(|| format!("read {}", path.display()))?;
            let digest = images::push(self.client, &name, wasm).await?;
            self.pushed.note(&name, &digest);
        }
        busy.now("apply");
        let mut kept = Vec::new();
        for (file, mut object) in manifests.objects {
            self.pushed.put_into(&mut object);
            let applied = self.apply(&file, &object).await?;
            kept.push((applied, object));
        }
        let before = std::mem::replace(&mut self.applied, kept);
        for (gone, _) in before {
            if !self.applied.iter().any(|(applied, _)| *applied == gone) {
                apply::delete(self.client, &gone).await?;
                out::line(format_args!("{gone} deleted"));
            }
        }
        busy.now("wait until all is ready");
        up::wait_ready(self.client, &self.namespaces(), self.patience).await
    }

    async fn apply(&self, file: &Path, object: &Value) -> anyhow::Result<Applied> {
        if let Some((applied, _)) = self.applied.iter().find(|(_, before)| before == object) {
            return Ok(applied.clone());
        }
        let context = || file.display().to_string();
        if object["kind"] == "Job" {
            // The template of a Job cannot change: a new Job takes its place.
            let name = apply::name_in(object, "default");
            if apply::delete(self.client, &name).await.with_context(context)? {
                apply::wait_gone(self.client, &name, GONE_MAX).await?;
            }
        }
        let (applied, outcome) = apply::apply(self.client, object).await.with_context(context)?;
        if !self.quiet {
            out::line(format_args!("{applied} {outcome}"));
        }
        up::remember(self.data, &applied)?;
        Ok(applied)
    }

    /// The namespaces that the objects are in.
    pub(super) fn namespaces(&self) -> Vec<String> {
        let mut namespaces: Vec<String> =
            self.applied.iter().filter_map(|(applied, _)| applied.namespace.clone()).collect();
        namespaces.sort();
        namespaces.dedup();
        namespaces
    }

    fn shown(&self, changed: &[PathBuf]) -> String {
        let root = self.folder.canonicalize().unwrap_or_default();
        let inner = changed.iter().map(|path| path.strip_prefix(&root).unwrap_or(path));
        inner.map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    }
}
