//! `coracle scale`, by the scale subresource that any kind may have.

use anyhow::bail;
use serde_json::json;

use super::kinds::Kinds;
use super::session::Session;
use super::targets;
use crate::config::ScaleFlags;
use crate::out;

/// Sets the number of replicas of each object named.
pub(crate) async fn scale(session: &Session, flags: &ScaleFlags) -> anyhow::Result<()> {
    let kinds = Kinds::discover(session).await?;
    for (kind, name) in targets::read_named(&kinds, &flags.what)? {
        let path = format!("{}/{name}/scale", kind.path(Some(&session.namespace)));
        if let Some(expected) = flags.current_replicas {
            let now = session.get(&path).await?["spec"]["replicas"].as_u64().unwrap_or(0);
            if now != u64::from(expected) {
                bail!("{} has {now} replicas, not {expected}", kind.shown(&name));
            }
        }
        session.patch(&path, &json!({"spec": {"replicas": flags.replicas}})).await?;
        out::line(format_args!("{} scaled", kind.shown(&name)));
    }
    Ok(())
}
