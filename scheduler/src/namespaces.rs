//! Labels of namespaces, for terms that choose namespaces by label.

use std::collections::{BTreeMap, HashMap};

use coracle_api::selector::LabelSelector;

/// The labels of every namespace that is known.
#[derive(Debug, Clone, Default)]
pub struct Namespaces(HashMap<String, BTreeMap<String, String>>);

impl Namespaces {
    /// Takes a namespace as it is now; tells whether its labels changed.
    pub fn set(&mut self, name: &str, labels: BTreeMap<String, String>) -> bool {
        self.0.insert(name.to_owned(), labels.clone()) != Some(labels)
    }

    /// Forgets a namespace.
    pub fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// Tells whether a namespace is known and has labels that a selector wants.
    pub fn matches(&self, name: &str, selector: &LabelSelector) -> bool {
        self.0.get(name).is_some_and(|labels| selector.matches(labels))
    }
}
