//! The command line of a container.
//!
//! *Source:* Kubernetes' rule: `command` replaces the image's entry point and its arguments,
//! `args` replaces its arguments.

use k8s_openapi::api::core::v1::Container;

use super::env::Environment;
use super::expand::expand;

/// Makes the argument vector; the first element is the program's name, the container's own name
/// when neither pod nor image give one.
#[must_use]
pub fn argv(
    container: &Container,
    entrypoint: &[String],
    arguments: &[String],
    env: &Environment,
) -> Vec<String> {
    let given = |list: &Option<Vec<String>>| -> Vec<String> {
        let list = list.as_deref().unwrap_or_default().iter();
        list.map(|text| expand(text, &|name| env.get(name).map(str::to_owned))).collect()
    };
    let (command, args) = (given(&container.command), given(&container.args));
    let mut argv = match (command.is_empty(), args.is_empty()) {
        (false, _) => [command, args].concat(),
        (true, false) => [entrypoint.to_vec(), args].concat(),
        (true, true) => [entrypoint.to_vec(), arguments.to_vec()].concat(),
    };
    if container.command.as_ref().is_none_or(Vec::is_empty) && entrypoint.is_empty() {
        argv.insert(0, container.name.clone());
    }
    argv
}
