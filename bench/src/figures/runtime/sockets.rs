//! Bytes and round trips between two pods of one host, through the guests' own sockets.

use super::world::World;

/// What is sent one way, in mebibytes.
const MEBIBYTES: &str = "2048";

/// Round trips.
const PINGS: &str = "50000";

pub(crate) async fn measure() -> anyhow::Result<Vec<String>> {
    let world = &World::new()?;
    let image = world.image(&world.guest("net-probe")).await?;
    let (server, client) = (world.pod()?, world.pod()?);
    let ask = async |serve: &str, ask: &str, port: u16, count: &str| {
        let address = server.address(port);
        let serving = server.start(server.spec(&image, &[&format!("{serve} {address}")])).await?;
        server.listening(port).await;
        let said = client.run(&image, &[&format!("{ask} {address} {count}")]).await;
        serving.wait().await;
        said
    };
    let bytes = ask("sink", "send", 7000, MEBIBYTES).await?;
    let nanoseconds = ask("echo", "ping", 7001, PINGS).await?;
    Ok(vec![format!(
        "std::net between two pods: {:.2} GB/s one way (promised 1), {:.1} us a round trip (promised 20)",
        bytes / 1e9,
        nanoseconds / 1e3,
    )])
}
