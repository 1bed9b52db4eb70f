//! A case of the suite and what it needs besides the API.

use std::collections::BTreeMap;

use clap::ValueEnum;

/// What a case needs of a cluster besides its API, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Need {
    /// No pod at all.
    Api,
    /// A container that runs, whatever is in it.
    Container,
    /// A program that does what the image's original does.
    Program,
    /// A program that reads and writes volumes.
    Volume,
    /// Pods that reach each other, by Services and names.
    Network,
    /// A server in a pod that the API server calls: webhooks, conversion, aggregation.
    Callback,
    /// Something that a pod of WebAssembly does not have; the case's note says what.
    Linux,
}

impl Need {
    /// The word in `cases.txt` and in the table.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Container => "container",
            Self::Program => "program",
            Self::Volume => "volume",
            Self::Network => "network",
            Self::Callback => "callback",
            Self::Linux => "linux",
        }
    }
}

/// One case of the suite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Case {
    /// Its whole name, as the suite composes it.
    pub(crate) name: String,
    /// What it needs.
    pub(crate) need: Need,
    /// Why it cannot pass, if it cannot.
    pub(crate) why: &'static str,
}

impl Case {
    /// The case of this name; one that `cases.txt` does not know needs no pod, until somebody looks.
    pub(crate) fn of(name: String) -> Self {
        let (need, why) = known().get(name.as_str()).copied().unwrap_or((Need::Api, ""));
        Self { name, need, why }
    }

    /// Whether it must have the cluster for itself.
    pub(crate) fn serial(&self) -> bool {
        self.name.contains("[Serial]") || self.name.contains("[Disruptive]")
    }
}

/// The lines of `cases.txt`: a word of [`Need`], a space, the name; after ` # ` why it cannot pass.
fn known() -> BTreeMap<&'static str, (Need, &'static str)> {
    let lines = include_str!("../cases.txt").lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| {
            let (word, name) = line.split_once(' ')?;
            let (name, why) = name.split_once(" # ").unwrap_or((name, ""));
            Some((name, (Need::from_str(word, false).ok()?, why)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_list_has_a_known_word_and_a_name_of_its_own() {
        let lines = include_str!("../cases.txt").lines().filter(|line| !line.starts_with('#'));
        assert_eq!(lines.count(), known().len());
        assert_eq!(known().len(), 441, "the suite of 1.35 has 441 cases");
        let unreasoned =
            known().into_iter().find(|(_, (need, why))| *need == Need::Linux && why.is_empty());
        assert_eq!(unreasoned, None, "what cannot pass says why");
    }

    #[test]
    fn serial_cases_are_told_by_their_names() {
        let case = |name: &str| Case::of(name.to_owned());
        assert!(case("[sig-apps] Daemon set [Serial] should").serial());
        assert!(case("[sig-node] Taints [Disruptive]").serial());
        assert!(!case("[sig-apps] Job should [Conformance]").serial());
    }
}
