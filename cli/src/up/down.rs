//! `coracle down`: deletes what `up` applied, stops server and host, and removes the data if asked.

use std::time::Duration;

use anyhow::Context as _;

use crate::apply;
use crate::config::{DataDir, DownFlags, ServerFlags};
use crate::server::Server;
use crate::{client, out, supervise};

use super::record;

/// How long the server may take to end.
const SERVER_STOP_MAX: Duration = Duration::from_secs(60);

/// How long deleted objects may take to be gone (pods stop within their grace periods).
const GONE_MAX: Duration = Duration::from_secs(180);

/// Deletes, stops, and removes.
pub(crate) async fn down(data: DataDir, flags: DownFlags) -> anyhow::Result<()> {
    let applied = record::read(&data)?;
    if !applied.is_empty() && !flags.data {
        delete_all(&data, &flags.server, &applied).await?;
    }
    let host = supervise::stop(&data).await?;
    let server = supervise::stop_role(&data, "server", SERVER_STOP_MAX).await?;
    for (what, ran) in [("host", host), ("server", server)] {
        if ran {
            out::line(format_args!("{what} stopped"));
        }
    }
    if !host && !server {
        out::line(format_args!("nothing runs with {}", data.root().display()));
    }
    if flags.data {
        if data.memory().exists() {
            std::fs::remove_dir_all(data.memory())
                .with_context(|| format!("remove {}", data.memory().display()))?;
        }
        std::fs::remove_dir_all(data.root())
            .with_context(|| format!("remove {}", data.root().display()))?;
        out::line(format_args!("removed {}", data.root().display()));
    }
    Ok(())
}

/// Deletes in the reverse order of application, through the server that runs or one started for
/// it, so that pods are stopped and not just forgotten.
async fn delete_all(
    data: &DataDir,
    flags: &ServerFlags,
    applied: &[apply::Applied],
) -> anyhow::Result<()> {
    let own = match data.holder("server") {
        Some(_) => None,
        None => Some(Server::start(data, flags).await?),
    };
    let client = match &own {
        Some(server) => server.client().clone(),
        None => client::of_kubeconfig(&data.kubeconfig()).await?,
    };
    for object in applied.iter().rev() {
        if apply::delete(&client, object).await? {
            out::line(format_args!("{object} deleted"));
        }
    }
    for object in applied {
        apply::wait_gone(&client, object, GONE_MAX).await?;
    }
    record::clear(data)?;
    if let Some(mut server) = own {
        server.stop_host(data).await?;
        server.stop().await;
    }
    Ok(())
}
