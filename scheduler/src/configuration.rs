//! The operator's file about profiles: a `KubeSchedulerConfiguration`.
//!
//! What of it has a meaning here is honoured, and everything else refused, so that nobody believes in a setting that does
//! nothing. *Source:* `kubescheduler.config.k8s.io/v1`.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use crate::SCHEDULER_NAME_DEFAULT;
use crate::profile::{Allocation, Profile};

/// What `apiVersion` has to be.
const API_VERSION: &str = "kubescheduler.config.k8s.io/v1";

/// The plugin that is configured.
const FIT: &str = "NodeResourcesFit";

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigurationError {
    /// It is no YAML.
    #[error("{0}")]
    Yaml(String),
    /// It holds none, or several objects.
    #[error("must hold one KubeSchedulerConfiguration and nothing else, found {0} documents")]
    Documents(usize),
    /// It is something else, or of another version.
    #[error("must have `apiVersion: {API_VERSION}` and `kind: KubeSchedulerConfiguration`")]
    Kind,
    /// A field is not known or has no meaning here, or its value is wrong.
    #[error(
        "{0}; only `schedulerName` and the `scoringStrategy.type` of NodeResourcesFit can be set"
    )]
    Field(serde_json::Error),
    /// Two profiles have one name.
    #[error("`schedulerName: {0}` is given twice")]
    Twice(String),
    /// Another plugin is configured.
    #[error("`pluginConfig` of {0} has no meaning here; only that of {FIT} has")]
    Plugin(String),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Configuration {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    #[serde(default)]
    profiles: Vec<Given>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Given {
    scheduler_name: Option<String>,
    #[serde(default)]
    plugin_config: Vec<PluginConfig>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PluginConfig {
    name: String,
    args: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FitArgs {
    #[serde(rename = "apiVersion")]
    _api_version: Option<String>,
    #[serde(rename = "kind")]
    _kind: Option<String>,
    scoring_strategy: Option<Strategy>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Strategy {
    #[serde(rename = "type")]
    kind: StrategyType,
}

#[derive(Debug, Clone, Copy, Deserialize)]
enum StrategyType {
    LeastAllocated,
    MostAllocated,
}

/// Reads the profiles of a file. Pods that name no profile of them are left to other schedulers, those that name none
/// at all too unless a profile is called `default-scheduler`, as upstream does it.
///
/// # Errors
/// What is wrong, and what may be there.
pub fn profiles(text: &str) -> Result<Vec<Profile>, ConfigurationError> {
    let documents = coracle_api::decode::documents(text);
    let documents = documents.map_err(|error| ConfigurationError::Yaml(error.to_string()))?;
    let [document] = documents.as_slice() else {
        return Err(ConfigurationError::Documents(documents.len()));
    };
    let is = |field: &str, wanted: &str| document.get(field).is_some_and(|found| found == wanted);
    if !is("apiVersion", API_VERSION) || !is("kind", "KubeSchedulerConfiguration") {
        return Err(ConfigurationError::Kind);
    }
    let configuration = Configuration::deserialize(document).map_err(ConfigurationError::Field)?;
    let mut given = configuration.profiles;
    if given.is_empty() {
        given.push(Given { scheduler_name: None, plugin_config: Vec::new() });
    }
    let profiles: Vec<Profile> = given.into_iter().map(profile).collect::<Result<_, _>>()?;
    let mut names = BTreeSet::new();
    match profiles.iter().find(|profile| !names.insert(profile.name.as_str())) {
        Some(twice) => Err(ConfigurationError::Twice(twice.name.clone())),
        None => Ok(profiles),
    }
}

fn profile(given: Given) -> Result<Profile, ConfigurationError> {
    let mut allocation = Allocation::default();
    for plugin in given.plugin_config {
        if plugin.name != FIT {
            return Err(ConfigurationError::Plugin(plugin.name));
        }
        let args = match plugin.args {
            Some(args) => serde_json::from_value(args).map_err(ConfigurationError::Field)?,
            None => FitArgs::default(),
        };
        allocation = match args.scoring_strategy.map(|strategy| strategy.kind) {
            Some(StrategyType::MostAllocated) => Allocation::Most,
            Some(StrategyType::LeastAllocated) | None => Allocation::Least,
        };
    }
    let name = given.scheduler_name.filter(|name| !name.is_empty());
    Ok(Profile { name: name.unwrap_or_else(|| SCHEDULER_NAME_DEFAULT.to_owned()), allocation })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(rest: &str) -> Result<String, String> {
        let text = format!("apiVersion: {API_VERSION}\nkind: KubeSchedulerConfiguration\n{rest}");
        let profiles = profiles(&text).map_err(|error| error.to_string())?;
        let one = |profile: &Profile| format!("{} {:?}", profile.name, profile.allocation);
        Ok(profiles.iter().map(one).collect::<Vec<_>>().join(", "))
    }

    #[test]
    fn profiles_have_a_name_and_spread_or_pack() {
        let check = |rest: &str, expected: &str| assert_eq!(read(rest).as_deref(), Ok(expected));
        check("", "default-scheduler Least");
        check("profiles: [{}]", "default-scheduler Least");
        check(
            "profiles:\n- schedulerName: default-scheduler\n- schedulerName: packer\n  pluginConfig:\n  \
             - name: NodeResourcesFit\n    args: {scoringStrategy: {type: MostAllocated}}\n",
            "default-scheduler Least, packer Most",
        );
    }

    #[test]
    fn what_has_no_meaning_is_refused() {
        let check = |rest: &str, expected: &str| {
            let error = read(rest).unwrap_err();
            assert!(error.contains(expected), "{rest}: {error}");
        };
        check("parallelism: 16", "unknown field `parallelism`");
        check("profiles: [{plugins: {}}]", "unknown field `plugins`");
        check(
            "profiles: [{pluginConfig: [{name: PodTopologySpread}]}]",
            "PodTopologySpread has no",
        );
        let strategy = "{name: NodeResourcesFit, args: {scoringStrategy: {type: Best}}}";
        check(&format!("profiles: [{{pluginConfig: [{strategy}]}}]"), "MostAllocated");
        check(
            "profiles: [{schedulerName: a}, {schedulerName: a}]",
            "`schedulerName: a` is given twice",
        );
        check("---\na: 1", "found 2 documents");
        assert!(profiles("kind: Pod").unwrap_err().to_string().contains(API_VERSION));
        assert!(profiles("a: [").unwrap_err().to_string().contains("not YAML"));
    }
}
