//! How long a container takes to its first output, and a killed one to its end.

use std::time::{Duration, Instant, SystemTime};

use coracle_runtime::{Container, ImageSource};

use super::world::World;
use crate::sample::Samples;

/// Starts of code that this engine has not mapped yet; each has an engine of its own.
const FIRST_STARTS: usize = 40;

/// Starts of code that has run before and runs no more.
const LATER_STARTS: usize = 300;

const KILLS: usize = 100;

/// How long a loop runs until it is killed: it has left its start behind and was interrupted a few
/// times.
const SPIN: Duration = Duration::from_millis(30);

pub(crate) async fn measure() -> anyhow::Result<Vec<String>> {
    let world = &World::new()?;
    let wasm = world.guest("behave");
    // Compiled, and dropped.
    drop(world.image(&wasm).await?);
    let source = ImageSource::of_bytes(std::fs::read(&wasm)?);
    let mut first = Samples::default();
    for _ in 0..FIRST_STARTS {
        first.push(start(&world.anew()?, source.clone()).await?);
    }
    let mut later = Samples::default();
    for _ in 0..LATER_STARTS {
        later.push(start(world, source.clone()).await?);
    }
    let (pod, image) = (world.pod()?, world.prepare(source).await?);
    let mut kills = Samples::default();
    for _ in 0..KILLS {
        let container = pod.start(pod.spec(&image, &["spin"])).await?;
        tokio::time::sleep(SPIN).await;
        kills.push(kill(&container).await);
    }
    Ok(vec![
        line("its first start since the host's", &first),
        line("a later one", &later),
        format!(
            "kill of a tight loop to its end: p50 {:.1} ms, p99 {:.1} ms (promised 10)",
            kills.percentile_ms(50.0),
            kills.percentile_ms(99.0),
        ),
    ])
}

fn line(what: &str, starts: &Samples) -> String {
    format!(
        "compiled code on disk to the guest's first line, {what}: p50 {:.0} us (promised 200), p99 {:.0} us",
        starts.percentile_ms(50.0) * 1e3,
        starts.percentile_ms(99.0) * 1e3,
    )
}

/// One start, from the compiled code's file to the time that the log has for the first line.
async fn start(world: &World, source: ImageSource) -> anyhow::Result<Duration> {
    let pod = world.pod()?;
    let start = SystemTime::now();
    let image = world.prepare(source).await?;
    let container = pod.start(pod.spec(&image, &["print", "here"])).await?;
    container.wait().await;
    let first = pod.first_line_at()?;
    world.remove(&pod);
    Ok(first.duration_since(start)?)
}

async fn kill(container: &Container) -> Duration {
    let start = Instant::now();
    container.kill();
    container.wait().await;
    start.elapsed()
}
