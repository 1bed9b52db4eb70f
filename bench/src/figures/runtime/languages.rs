//! Components whose language brings an engine of its own: a fresh instance for each request beside
//! pooled ones.

use std::time::Instant;

use coracle_runtime::Isolation;

use super::world::{World, get};

const FRESH: u32 = 40;
const POOLED: u32 = 1_000;

pub(crate) async fn measure() -> anyhow::Result<Vec<String>> {
    let world = &World::new()?;
    let mut lines = Vec::new();
    for language in ["javascript", "python"] {
        let image = world.image(&coracle_e2e::guest_in(language)).await?;
        let time = async |isolation, requests: u32| {
            let pod = world.pod()?;
            let mut spec = pod.spec(&image, &[]);
            spec.isolation = isolation;
            let container = pod.start(spec).await?;
            let mut sender = pod.http().await?;
            get(&mut sender, "/").await?;
            let start = Instant::now();
            for _ in 0..requests {
                get(&mut sender, "/").await?;
            }
            let each = start.elapsed().as_secs_f64() * 1e6 / f64::from(requests);
            container.kill();
            container.wait().await;
            anyhow::Ok(each)
        };
        let fresh = time(Isolation::Request, FRESH).await?;
        let pooled = time(Isolation::Pooled, POOLED).await?;
        lines.push(format!(
            "{language}: {fresh:.0} us a request fresh, {pooled:.0} us pooled, {:.1} x (promised 10)",
            fresh / pooled,
        ));
    }
    Ok(lines)
}
