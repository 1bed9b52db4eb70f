//! Written courses of events on the virtual clock: what is asked for, what happens to it, and what has to be so.
//!
//! A scenario is a run without dice for its faults: it says itself which host dies when. Times are exact, hours cost
//! seconds, and all promises of the other runs are checked as well.

mod autoscale;
mod budget;
mod crash;
mod cron;
mod job;
mod node;
mod restarts;
mod rollout;
mod taint;
mod unheard;

use clap::ValueEnum;

pub(crate) use coracle_simulate::stage::Stage;

/// A course of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// A CronJob for five minutes.
    CronEachMinute,
    /// A Job of six, two at once.
    JobTwoAtOnce,
    /// A host dies, what it ran moves, and it comes back.
    NodeLost,
    /// A host is cut off for long while a StatefulSet has a pod on it.
    Partition,
    /// Taints drive pods out, at once or after the time that they bear it.
    Taint,
    /// A Deployment rolls while the server dies again and again.
    Rollout,
    /// All pods are evicted again and again under a budget.
    Budget,
    /// Everything begins anew, again and again.
    RestartAny,
    /// The scheduler does not hear of a pod.
    Forgotten,
    /// Events are lost, and nothing begins anew.
    Unheard,
    /// An autoscaler follows a load.
    Autoscale,
    /// Pods crash again and again.
    Crash,
}

/// Plays a scenario to its end.
///
/// # Errors
/// What was not as it had to be.
pub(crate) async fn play(scenario: Scenario, stage: &Stage) -> Result<(), String> {
    match scenario {
        Scenario::CronEachMinute => cron::each_minute(stage).await,
        Scenario::JobTwoAtOnce => job::two_at_once(stage).await,
        Scenario::NodeLost => node::lost(stage).await,
        Scenario::Partition => node::partition(stage).await,
        Scenario::Taint => taint::drives_out(stage).await,
        Scenario::Rollout => rollout::with_crashes(stage).await,
        Scenario::Budget => budget::evictions(stage).await,
        Scenario::RestartAny => restarts::anything(stage).await,
        Scenario::Forgotten => restarts::forgotten(stage).await,
        Scenario::Unheard => unheard::events(stage).await,
        Scenario::Crash => crash::in_place(stage).await,
        Scenario::Autoscale => autoscale::follows_load(stage).await,
    }
}
