//! How close a container is held to its CPU limit.

use std::time::{Duration, Instant};

use coracle_runtime::{Container, Isolation};

use super::world::{Pod, World, get};
use crate::process::Process;

/// How long each is watched.
const WATCHED: Duration = Duration::from_secs(10);

/// What runs before: the first periods are not counted.
const SETTLE: Duration = Duration::from_millis(500);

/// Requests in flight at the http container.
const IN_FLIGHT: usize = 8;

/// A few milliseconds of computing for each request.
const TURNS: &str = "/turns?5000000";

pub(crate) async fn measure() -> anyhow::Result<Vec<String>> {
    let world = &World::new()?;
    let mut lines = Vec::new();
    for millis in [50, 500] {
        let image = world.image(&world.guest("behave")).await?;
        let pod = world.pod()?;
        let mut spec = pod.spec(&image, &["spin"]);
        spec.limits.cpu_millis = Some(millis);
        let container = pod.start(spec).await?;
        let (metered, whole) = watch(&container).await?;
        container.kill();
        container.wait().await;
        lines.push(line("command", millis, metered, Some(whole)));
    }
    let image = world.image(&world.guest("http_behave")).await?;
    let pod = world.pod()?;
    let mut spec = pod.spec(&image, &[]);
    (spec.limits.cpu_millis, spec.isolation) = (Some(1500), Isolation::Pooled);
    let container = pod.start(spec).await?;
    let load = load(&pod).await?;
    let (metered, _whole) = watch(&container).await?;
    load.abort();
    lines.push(line("http, 8 in flight", 1500, metered, None));
    Ok(lines)
}

/// CPU that a container used by its own meter, and this whole process by the kernel's, in
/// thousandths of a core.
async fn watch(container: &Container) -> anyhow::Result<(f64, f64)> {
    tokio::time::sleep(SETTLE).await;
    let process = Process(std::process::id());
    let (start, metered, whole) = (Instant::now(), container.usage().cpu_usec, process.cpu()?);
    tokio::time::sleep(WATCHED).await;
    let (metered, whole) = (container.usage().cpu_usec - metered, process.cpu()? - whole);
    let seconds = start.elapsed().as_secs_f64();
    Ok((metered as f64 / 1e3 / seconds, whole.as_secs_f64() * 1e3 / seconds))
}

/// Keeps requests in flight until it is aborted.
async fn load(pod: &Pod) -> anyhow::Result<tokio::task::JoinHandle<()>> {
    let mut senders = Vec::new();
    for _ in 0..IN_FLIGHT {
        senders.push(pod.http().await?);
    }
    Ok(tokio::spawn(async move {
        let each = senders.iter_mut().map(async |sender| while get(sender, TURNS).await.is_ok() {});
        futures::future::join_all(each).await;
    }))
}

fn line(what: &str, millis: u32, metered: f64, whole: Option<f64>) -> String {
    let off = (metered / f64::from(millis) - 1.0) * 100.0;
    let whole = whole.map(|whole| format!(", by the kernel for the process {whole:.0}m"));
    format!(
        "{what} limited to {millis}m: {metered:.1}m for 10 s, {off:+.1} % (promised 5){}",
        whole.unwrap_or_default(),
    )
}
