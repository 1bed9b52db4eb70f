//! Kinds that are served and on their way out: every answer about them says so.

use coracle_api::registry::Kind;

use crate::respond::{self, Answer};

/// Group, kind, since which minor, what to use. *Source:* `+k8s:prerelease-lifecycle-gen` marks of Kubernetes 1.35.
const DEPRECATED: [(&str, &str, &str, &str); 2] = [
    ("", "ComponentStatus", "v1.19+", ""),
    ("", "Endpoints", "v1.33+", "discovery.k8s.io/v1 EndpointSlice"),
];

/// Adds the warning of a deprecated kind to an answer, in kube-apiserver's words.
pub(crate) fn warned(mut answer: Answer, kind: &Kind) -> Answer {
    let found = DEPRECATED.iter().find(|(group, name, ..)| {
        (*group, *name) == (kind.group, kind.kind) && kind.version == "v1"
    });
    if let Some((_, name, since, instead)) = found {
        let mut words = format!("{} {name} is deprecated in {since}", kind.api_version());
        if !instead.is_empty() {
            words.push_str(&format!("; use {instead}"));
        }
        respond::warn(&mut answer, &[words]);
    }
    answer
}
