//! A request of one http component to another on the same host, by wasi:http.

use coracle_runtime::{Container, Isolation};

use super::world::{Pod, World, get};

const WARM_UP: u32 = 500;
const CALLS: u32 = 5_000;

pub(crate) async fn measure() -> anyhow::Result<Vec<String>> {
    let world = &World::new()?;
    let mut lines = Vec::new();
    for (words, isolation) in [("fresh", Isolation::Request), ("pooled", Isolation::Pooled)] {
        let (callee, container) = serve(world, "hello_http", isolation).await?;
        let (caller, _caller) = serve(world, "http_behave", Isolation::Pooled).await?;
        let mut sender = caller.http().await?;
        let target = callee.address(80);
        get(&mut sender, &format!("/calls?{WARM_UP},{target}/")).await?;
        let before = container.usage().latencies;
        let all: f64 = get(&mut sender, &format!("/calls?{CALLS},{target}/")).await?.parse()?;
        let after = container.usage().latencies;
        let inside = (after.sum_usec - before.sum_usec) as f64 / f64::from(CALLS);
        let each = all / f64::from(CALLS);
        lines.push(format!(
            "wasi:http between two pods, callee {words}: {each:.1} us a call, {inside:.1} us of it in the callee, {:.1} us above (promised 30)",
            each - inside,
        ));
    }
    Ok(lines)
}

async fn serve(
    world: &World,
    guest: &str,
    isolation: Isolation,
) -> anyhow::Result<(Pod, Container)> {
    let image = world.image(&world.guest(guest)).await?;
    let pod = world.pod()?;
    let mut spec = pod.spec(&image, &[]);
    spec.isolation = isolation;
    let container = pod.start(spec).await?;
    Ok((pod, container))
}
