//! `coracle up`: server, host, images, manifests, and then a URL; Ctrl-C ends it and keeps the
//! data.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use coracle_network::front;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::Ingress;
use kube::Api;
use kube::api::ListParams;
use tokio::time::Instant;

use crate::apply::{self, Applied, Manifests};
use crate::config::{DataDir, UpFlags};
use crate::images::{self, ImageName, Recipe};
use crate::server::Server;
use crate::{develop, out, signals};

use super::steps::Steps;
use super::{readiness, record, urls};

/// How often readiness is looked at while a user waits.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long the output waits for the host to say where Ingresses are.
const DOORS_MAX: Duration = Duration::from_secs(5);

/// Runs everything in the foreground until SIGINT, SIGTERM or SIGHUP.
pub(crate) async fn up(data: DataDir, flags: UpFlags) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut steps = Steps::default();
    let manifests = Manifests::read(&flags.path)?;
    let recipe = Recipe::of_folder(&manifests.folder)?;
    let mut stop = signals::Stop::listen_with_terminal()?;
    if !flags.no_build {
        tokio::select! {
            made = develop::make(&recipe, &manifests.folder) => made?,
            () = stop.wait() => return Ok(()),
        };
        if !recipe.build.is_empty() {
            steps.done("build", began.elapsed());
        }
    }
    let mut server = Server::start(&data, &flags.server).await?;
    steps.done("server", began.elapsed());
    let work = bring_up(&data, &flags, &manifests, &recipe, &server, (began, steps));
    let outcome = tokio::select! {
        outcome = work => outcome,
        () = stop.wait() => Ok(()),
    };
    let outcome = match outcome {
        Ok(()) if !stop.was_told() => {
            out::line(
                "\nCtrl-C stops server and host and keeps the data; `coracle down` deletes what was applied.",
            );
            stop.wait().await;
            Ok(())
        }
        outcome => outcome,
    };
    out::line("stopping");
    server.stop_host(&data).await?;
    server.stop().await;
    outcome
}

async fn bring_up(
    data: &DataDir,
    flags: &UpFlags,
    manifests: &Manifests,
    recipe: &Recipe,
    server: &Server,
    (began, mut steps): (Instant, Steps),
) -> anyhow::Result<()> {
    let client = server.client();
    for image in &recipe.images {
        let name: ImageName = image.name.parse()?;
        let path = manifests.folder.join(&image.wasm);
        push_file(client, &name, &path).await?;
    }
    let applied = apply_all(client, manifests, data).await?;
    steps.done("images and objects", began.elapsed());
    let namespaces = namespaces_of(&applied);
    wait_ready(client, &namespaces, Duration::from_secs(flags.timeout)).await?;
    steps.done("pods", began.elapsed());
    print_access(client, data, &namespaces, &steps.told()).await
}

/// Pushes a component file and says so.
pub(crate) async fn push_file(
    client: &kube::Client,
    name: &ImageName,
    path: &Path,
) -> anyhow::Result<()> {
    let wasm = tokio::fs::read(path).await.with_context(|| {
        format!("read {}: build it first, or mend its path in coracle.toml", path.display())
    })?;
    let digest = images::push(client, name, wasm).await?;
    out::line(format_args!("pushed {name}@{digest}"));
    Ok(())
}

async fn apply_all(
    client: &kube::Client,
    manifests: &Manifests,
    data: &DataDir,
) -> anyhow::Result<Vec<Applied>> {
    let mut all = Vec::new();
    for (file, object) in &manifests.objects {
        let (applied, outcome) =
            apply::apply(client, object).await.with_context(|| file.display().to_string())?;
        out::line(format_args!("{applied} {outcome}"));
        record::remember(data, &applied)?;
        all.push(applied);
    }
    Ok(all)
}

/// The namespaces that were made or used.
fn namespaces_of(applied: &[Applied]) -> Vec<String> {
    let mut namespaces: Vec<String> = applied.iter().filter_map(|a| a.namespace.clone()).collect();
    namespaces.sort();
    namespaces.dedup();
    namespaces
}

/// Waits until all Deployments are rolled out, all pods are ready, and Services lead to them.
pub(crate) async fn wait_ready(
    client: &kube::Client,
    namespaces: &[String],
    patience: Duration,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + patience;
    loop {
        let (mut missing, mut reasons) = (Vec::new(), Vec::new());
        for namespace in namespaces {
            let pods: Vec<Pod> = list(client, namespace).await?;
            let deployments: Vec<Deployment> = list(client, namespace).await?;
            let services: Vec<Service> = list(client, namespace).await?;
            let slices: Vec<EndpointSlice> = list(client, namespace).await?;
            missing.extend(readiness::missing(&deployments, &pods));
            missing.extend(readiness::unpublished(&services, &pods, &slices));
            reasons.extend(readiness::reasons(&pods));
        }
        if missing.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            let told = missing
                .iter()
                .chain(&reasons)
                .map(|line| format!("  {line}\n"))
                .collect::<String>();
            bail!(
                "not ready after {} s:\n{told}look closer with `kubectl describe` and `kubectl logs`, or wait longer with --timeout",
                patience.as_secs()
            );
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn list<K>(client: &kube::Client, namespace: &str) -> anyhow::Result<Vec<K>>
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let list = api.list(&ListParams::default()).await;
    Ok(list.with_context(|| format!("list {} in {namespace}", K::plural(&())))?.items)
}

/// Where Ingresses are, as soon as the host says at which ports it listens for them.
async fn print_ingresses(client: &kube::Client, namespaces: &[String]) -> anyhow::Result<()> {
    let mut ingresses: Vec<Ingress> = Vec::new();
    for namespace in namespaces {
        ingresses.extend(list(client, namespace).await?);
    }
    let deadline = Instant::now() + DOORS_MAX;
    while !ingresses.is_empty() {
        let nodes: Api<Node> = Api::all(client.clone());
        let nodes = nodes.list(&ListParams::default()).await.context("list nodes")?;
        let annotations = nodes.items.iter().filter_map(|node| node.metadata.annotations.as_ref());
        let mut told = annotations.filter_map(|all| all.get(front::doors::ANNOTATION));
        if let Some(told) = told.next() {
            for url in urls::of_ingresses(&ingresses, &urls::ports(told)) {
                out::line(format_args!("  {url}"));
            }
            break;
        }
        if Instant::now() > deadline {
            out::line("  Ingresses are not served yet: see `kubectl describe node`");
            break;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

/// Says where what was applied is reached, below a headline.
pub(crate) async fn print_access(
    client: &kube::Client,
    data: &DataDir,
    namespaces: &[String],
    headline: &str,
) -> anyhow::Result<()> {
    out::line(format_args!("\n{headline}"));
    for namespace in namespaces {
        let services: Vec<Service> = list(client, namespace).await?;
        for url in urls::of_services(&services) {
            out::line(format_args!("  {url}"));
        }
    }
    print_ingresses(client, namespaces).await?;
    out::line(format_args!("  export KUBECONFIG={}", data.kubeconfig().display()));
    Ok(())
}
