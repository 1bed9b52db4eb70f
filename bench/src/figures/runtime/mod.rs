//! What the runtime alone does, embedded in this process: no API, no other host.

mod calls;
mod languages;
mod limits;
mod preempt;
mod sockets;
mod start;
mod world;

use world::World;

pub(crate) async fn measure(with_references: bool) -> anyhow::Result<Vec<String>> {
    let world = World::new()?;
    let mut lines = start::measure(&world).await?;
    lines.extend(sockets::measure(&world).await?);
    lines.extend(calls::measure(&world).await?);
    lines.extend(preempt::measure(&world, with_references).await?);
    lines.extend(limits::measure(&world).await?);
    lines.extend(languages::measure(&world).await?);
    Ok(lines)
}
