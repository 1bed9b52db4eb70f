//! `coracle test`: builds a folder, runs it in a cluster that nobody else sees, asks, and judges.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use http::Request;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::Api;
use kube::api::{ListParams, LogParams};
use kube::client::Body;
use serde_json::json;
use tokio::time::Instant;

use super::build::make;
use super::cases::{Cases, CommandCase, RequestCase};
use super::dev::Work;
use crate::apply::Manifests;
use crate::config::{DataDir, ReportForm, TestFlags};
use crate::images::Recipe;
use crate::server::Server;
use crate::{client, out, signals};

/// How often it is looked whether a command has ended.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Why there is no verdict when somebody asked for the end.
const STOPPED: &str = "stopped before all cases were asked";

/// What became of a case.
struct Verdict {
    title: String,
    took: Duration,
    wrong: Option<String>,
}

/// Runs all cases; an error if one fails, or if SIGINT, SIGTERM or SIGHUP came before. Its cluster ends with it.
pub(crate) async fn test(mut flags: TestFlags) -> anyhow::Result<()> {
    let file = flags.file.clone().unwrap_or_else(|| flags.folder.join("requests.toml"));
    let cases = Cases::read(&file)?;
    let recipe = Recipe::of_folder(&flags.folder)?;
    let manifests = Manifests::read(&flags.folder)?;
    let mut stop = signals::Stop::listen_with_terminal()?;
    tokio::select! {
        made = make(&recipe, &flags.folder) => made?,
        () = stop.wait() => bail!(STOPPED),
    };
    let place = tempfile::Builder::new().prefix("coracle-test-").tempdir();
    let place = place.context("make a folder for the cluster")?;
    let data = DataDir::open(Some(place.path()))?;
    flags.server.listen.set_port(0);
    let mut server = Server::start(&data, &flags.server).await?;
    let verdicts = tokio::select! {
        verdicts = rehearse(&data, &flags, &server, (&recipe, manifests), &cases) => verdicts,
        () = stop.wait() => Err(anyhow!(STOPPED)),
    };
    server.stop_host(&data).await?;
    server.stop().await;
    if data.memory().exists() {
        std::fs::remove_dir_all(data.memory()).context("remove the cluster's memory")?;
    }
    report(flags.output, &verdicts?)
}

async fn rehearse(
    data: &DataDir,
    flags: &TestFlags,
    server: &Server,
    (recipe, manifests): (&Recipe, Manifests),
    cases: &Cases,
) -> anyhow::Result<Vec<Verdict>> {
    let folder: PathBuf = flags.folder.clone();
    let mut work = Work::new(server.client(), data, folder, flags.timeout).quiet();
    work.swap(recipe, manifests).await?;
    let client = client::that_asks_once(&data.kubeconfig()).await?;
    let mut verdicts = Vec::new();
    for case in &cases.request {
        let start = Instant::now();
        let wrong = ask(&client, case).await.unwrap_or_else(|error| Some(format!("{error:#}")));
        verdicts.push(Verdict { title: case.title(), took: start.elapsed(), wrong });
    }
    for case in &cases.command {
        let start = Instant::now();
        let end = tokio::time::timeout(Duration::from_secs(flags.timeout), ended(&client, case));
        let wrong = match end.await {
            Ok(outcome) => outcome.unwrap_or_else(|error| Some(format!("{error:#}"))),
            Err(_) => Some(format!("it has not ended after {} s", flags.timeout)),
        };
        verdicts.push(Verdict { title: case.title(), took: start.elapsed(), wrong });
    }
    Ok(verdicts)
}

async fn ask(client: &kube::Client, case: &RequestCase) -> anyhow::Result<Option<String>> {
    let services: Api<Service> = Api::namespaced(client.clone(), &case.namespace);
    let service = services.get(&case.service).await?;
    let port = case.port(&service.spec.and_then(|spec| spec.ports).unwrap_or_default())?;
    let uri = case.proxied(port.as_deref());
    let mut request = Request::builder().method(case.method.as_str()).uri(uri);
    for (name, value) in &case.headers {
        request = request.header(name, value);
    }
    let request = request.body(Body::from(case.body.clone().into_bytes()));
    let answer = client.send(request.context("make the request")?).await?;
    let status = answer.status().as_u16();
    let body = answer.into_body().collect_bytes().await.context("read the answer")?;
    Ok(case.judge(status, &String::from_utf8_lossy(&body)))
}

async fn ended(client: &kube::Client, case: &CommandCase) -> anyhow::Result<Option<String>> {
    let api: Api<Pod> = Api::namespaced(client.clone(), &case.namespace);
    let select = ListParams::default().labels(&case.pods);
    loop {
        let pods = api.list(&select).await.context("list the pods")?;
        let end =
            pods.items.iter().find_map(|pod| Some((pod.metadata.name.clone()?, exit_code(pod)?)));
        if let Some((name, code)) = end {
            let log = api.logs(&name, &LogParams::default()).await.context("read the log")?;
            return Ok(case.judge(code, &log));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The exit code of the first container, once it has one.
fn exit_code(pod: &Pod) -> Option<i32> {
    let first = pod.status.as_ref()?.container_statuses.as_ref()?.first()?;
    Some(first.state.as_ref()?.terminated.as_ref()?.exit_code)
}

fn report(form: ReportForm, verdicts: &[Verdict]) -> anyhow::Result<()> {
    let failed = verdicts.iter().filter(|verdict| verdict.wrong.is_some()).count();
    if form.is_json() {
        let cases: Vec<_> = verdicts
            .iter()
            .map(|v| {
                json!({"name": v.title, "ok": v.wrong.is_none(), "wrong": v.wrong,
                "milliseconds": v.took.as_millis()})
            })
            .collect();
        out::line(serde_json::to_string_pretty(&json!({"cases": cases, "failed": failed}))?);
    } else {
        for verdict in verdicts {
            let took = verdict.took.as_millis();
            match &verdict.wrong {
                None => out::line(format_args!("ok    {} ({took} ms)", verdict.title)),
                Some(wrong) => out::line(format_args!("FAIL  {}: {wrong}", verdict.title)),
            }
        }
    }
    if failed > 0 {
        bail!("{failed} of {} cases failed", verdicts.len());
    }
    Ok(())
}
