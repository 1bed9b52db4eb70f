//! Client verbs for a machine without kubectl, over the same API and in the same words. kubectl
//! stays the reference.

mod apply;
mod apps;
mod delete;
mod deployed;
mod describe;
mod events;
mod exec;
mod explain;
mod form;
mod forward;
mod get;
mod kinds;
mod logs;
mod pods;
mod progress;
mod proxy;
mod query;
mod requests;
mod rollout;
mod scale;
mod session;
mod socket;
mod table;
mod targets;
mod terminal;
mod top;
mod trace;
mod wait;

use crate::config::{ClusterFlags, DataDir, RolloutVerb, TopVerb, Verb};
use session::Session;

/// Runs a verb.
pub(crate) async fn run(data: &DataDir, verb: Verb) -> anyhow::Result<()> {
    let session = Session::open(data, cluster(&verb)).await?;
    match &verb {
        Verb::Apply(flags) => apply::apply(&session, flags).await,
        Verb::Get(flags) => get::get(&session, flags).await,
        Verb::Describe(flags) => describe::describe(&session, flags).await,
        Verb::Apps(flags) => apps::apps(&session, flags).await,
        Verb::Delete(flags) => delete::delete(&session, flags).await,
        Verb::Logs(flags) => logs::logs(&session, flags).await,
        Verb::Exec(flags) => exec::exec(&session, flags).await,
        Verb::PortForward(flags) => forward::forward(session, flags).await,
        Verb::Proxy(flags) => proxy::proxy(session, flags).await,
        Verb::Trace(flags) => trace::trace(&session, flags).await,
        Verb::Rollout(verb) => rollout::rollout(&session, verb).await,
        Verb::Scale(flags) => scale::scale(&session, flags).await,
        Verb::Top(verb) => top::top(&session, verb).await,
        Verb::Explain(flags) => explain::explain(&session, flags).await,
        Verb::Wait(flags) => wait::wait(&session, flags).await,
        Verb::Events(flags) => events::events(&session, flags).await,
    }
}

fn cluster(verb: &Verb) -> &ClusterFlags {
    match verb {
        Verb::Apply(flags) => &flags.cluster,
        Verb::Get(flags) => &flags.cluster,
        Verb::Describe(flags) => &flags.cluster,
        Verb::Apps(flags) => &flags.cluster,
        Verb::Delete(flags) => &flags.cluster,
        Verb::Logs(flags) => &flags.cluster,
        Verb::Exec(flags) => &flags.cluster,
        Verb::PortForward(flags) => &flags.cluster,
        Verb::Proxy(flags) => &flags.cluster,
        Verb::Trace(flags) => &flags.cluster,
        Verb::Rollout(RolloutVerb::Status(flags)) => &flags.rollout.cluster,
        Verb::Rollout(RolloutVerb::Undo(flags)) => &flags.rollout.cluster,
        Verb::Rollout(
            RolloutVerb::History(flags)
            | RolloutVerb::Restart(flags)
            | RolloutVerb::Pause(flags)
            | RolloutVerb::Resume(flags),
        ) => &flags.cluster,
        Verb::Scale(flags) => &flags.cluster,
        Verb::Top(TopVerb::Pod(flags) | TopVerb::Node(flags)) => &flags.cluster,
        Verb::Explain(flags) => &flags.cluster,
        Verb::Wait(flags) => &flags.cluster,
        Verb::Events(flags) => &flags.cluster,
    }
}
