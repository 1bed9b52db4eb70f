//! `coracle simulate`: what would happen to a user's objects when hosts die, in a cluster that is only thought of.

use coracle_simulate::forecast::{Dying, Question, forecast};
use coracle_simulate::host::Capacity;

use crate::apply::Manifests;
use crate::config::SimulateFlags;
use crate::out;

/// Plays it and prints the story. Blocks; to be called while the process has one thread.
///
/// # Errors
/// The manifests cannot be read, or the simulated cluster did what no cluster may.
pub(crate) fn run(flags: &SimulateFlags) -> anyhow::Result<()> {
    let manifests = Manifests::read(&flags.filename)?;
    let SimulateFlags { nodes, kill_node, seed, node_cpu, node_memory, node_pods, .. } = flags;
    out::line(format_args!(
        "{nodes} hosts with {node_cpu} CPUs, {node_memory} of memory and room for {node_pods} pods each; seed {seed}"
    ));
    let answer = forecast(Question {
        objects: manifests.objects.into_iter().map(|(_, object)| object).collect(),
        hosts: *nodes,
        capacity: Capacity { cpu: node_cpu.clone(), memory: node_memory.clone(), pods: *node_pods },
        dies: kill_node.unwrap_or(Dying::Hosts(0)),
        seed: *seed,
    })?;
    answer.lines.iter().for_each(out::line);
    if answer.broken.is_empty() {
        return Ok(());
    }
    anyhow::bail!(
        "the cluster did what no cluster may, which is a defect of Coracle (please report it with the manifests and \
         the seed): {}",
        answer.broken.join("; ")
    )
}
