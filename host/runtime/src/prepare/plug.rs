//! Components plugged together: one container made of several images.
//!
//! Pure. The result is one component, with one life, one limit and one log; what no plug exports is
//! imported from the host as before.

use wac_graph::types::Package;
use wac_graph::{CompositionGraph, EncodeOptions, PackageId};

use super::error::PrepareError;

/// Plugs the exports of each of `plugs` into the imports of `socket`.
pub(crate) fn plug(socket: &[u8], plugs: &[Vec<u8>]) -> Result<Vec<u8>, PrepareError> {
    let mut graph = CompositionGraph::new();
    let mut parts = Vec::new();
    for (index, plug) in plugs.iter().enumerate() {
        parts.push(add(&mut graph, &format!("coracle:plug{index}"), plug)?);
    }
    let socket = add(&mut graph, "coracle:socket", socket)?;
    wac_graph::plug(&mut graph, parts, socket).map_err(|error| failed(&error))?;
    graph.encode(EncodeOptions::default()).map_err(|error| failed(&error))
}

fn add(graph: &mut CompositionGraph, name: &str, part: &[u8]) -> Result<PackageId, PrepareError> {
    let package = Package::from_bytes(name, None, part, graph.types_mut());
    let package = package.map_err(|error| failed(&*error))?;
    graph.register_package(package).map_err(|error| failed(&error))
}

/// Writes an error with its causes.
fn failed(error: &dyn std::error::Error) -> PrepareError {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        message.push_str(": ");
        message.push_str(&error.to_string());
        cause = error.source();
    }
    PrepareError::Plug { message }
}
