//! The names by which pods ask for a scheduler, and how each chooses among nodes.

use std::collections::BTreeMap;

/// Which nodes are better by what is left of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Allocation {
    /// Those with the most left: pods are spread.
    #[default]
    Least,
    /// Those with the least left: pods are packed, and nodes become empty.
    Most,
}

/// One scheduler as pods know it.
///
/// *Source:* `KubeSchedulerConfiguration` `profiles`, and `scoringStrategy.type` of `NodeResourcesFit`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// What `schedulerName` has to be.
    pub name: String,
    /// Which nodes are better.
    pub allocation: Allocation,
}

/// All profiles of a process, by name.
#[derive(Debug, Clone, Default)]
pub struct Profiles(BTreeMap<String, Allocation>);

impl Profiles {
    /// Puts profiles together; of two with one name the later holds.
    pub fn new(all: impl IntoIterator<Item = Profile>) -> Self {
        Profiles(all.into_iter().map(|profile| (profile.name, profile.allocation)).collect())
    }

    /// Tells whether pods with this `schedulerName` are taken.
    pub fn takes(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Gives how a profile chooses, the default for one that is not known.
    pub fn allocation(&self, name: &str) -> Allocation {
        self.0.get(name).copied().unwrap_or_default()
    }
}
