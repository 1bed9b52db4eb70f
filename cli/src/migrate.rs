//! `coracle store migrate`: all objects from one store to another.

use anyhow::{Context as _, bail};
use coracle_store::{Snapshot, Store};

use crate::config::{DataDir, MigrateFlags, StoreCommand, StorePlace};
use crate::out;

/// Runs the command.
pub(crate) async fn run(data: &DataDir, command: StoreCommand) -> anyhow::Result<()> {
    match command {
        StoreCommand::Migrate(flags) => migrate(data, &flags).await,
    }
}

async fn migrate(data: &DataDir, flags: &MigrateFlags) -> anyhow::Result<()> {
    let from = flags.etcd.place(&flags.from).with_context(|| format!("--from '{}'", flags.from))?;
    let to = flags.etcd.place(&flags.to).with_context(|| format!("--to '{}'", flags.to))?;
    // What a server writes meanwhile would be lost.
    let _held = data.hold("server").context("no server may run while its store moves")?;
    let (snapshot, count) = match (from, &to) {
        (StorePlace::Redb, StorePlace::Redb) => bail!("--from and --to are the same place"),
        (StorePlace::Redb, StorePlace::Etcd(_)) => of_file(data).await?,
        (StorePlace::Etcd(config), _) => read(Store::open_etcd(config).await?).await?,
    };
    match to {
        StorePlace::Redb => {
            let path = data.store();
            let done = tokio::task::spawn_blocking(move || snapshot.restore(&path)).await?;
            done.with_context(|| format!("make {}", data.store().display()))?;
        }
        StorePlace::Etcd(config) => {
            snapshot.import(config).await.context("bring the objects into etcd")?;
        }
    }
    out::line(format_args!("moved {count} keys from {} to {}", flags.from, flags.to));
    out::line(format_args!(
        "start the server with --store {}; the old store is as it was: remove it when all is well",
        flags.to
    ));
    Ok(())
}

async fn of_file(data: &DataDir) -> anyhow::Result<(Snapshot, usize)> {
    let path = data.store();
    if !path.exists() {
        bail!("there is no {}: has a server run with this --data-dir?", path.display());
    }
    let opened = tokio::task::spawn_blocking(move || Store::open_redb(path)).await?;
    read(opened.with_context(|| format!("open {}", data.store().display()))?).await
}

async fn read(store: Store) -> anyhow::Result<(Snapshot, usize)> {
    let snapshot = store.snapshot().await?;
    store.close().await;
    let count = snapshot.items.len();
    Ok((snapshot, count))
}
