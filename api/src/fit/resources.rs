//! Amounts of resources in the units in which they are compared.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity as WireQuantity;

use crate::quantity::Quantity;

/// Amounts of resources: CPU in thousandths of a core, all else in whole units.
///
/// Sums saturate, so hostile amounts cannot wrap around.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resources {
    /// CPU in thousandths of a core.
    pub cpu_millis: i64,
    /// Memory in bytes.
    pub memory_bytes: i64,
    /// Ephemeral storage in bytes.
    pub ephemeral_storage_bytes: i64,
    /// Anything else by its name, such as `example.com/gpu`.
    pub others: BTreeMap<String, i64>,
}

impl Resources {
    /// Reads a list of quantities; one that cannot be read counts as nothing, because validation
    /// has refused it before.
    pub fn from_list(list: &BTreeMap<String, WireQuantity>) -> Self {
        let mut resources = Resources::default();
        for (name, WireQuantity(text)) in list {
            let quantity: Quantity = text.parse().unwrap_or_default();
            let amount = if name == "cpu" { quantity.milli_value() } else { quantity.value() };
            *resources.amount_mut(name) = amount;
        }
        resources
    }

    /// Gives the amount of a resource, 0 when there is none.
    pub fn get(&self, name: &str) -> i64 {
        match name {
            "cpu" => self.cpu_millis,
            "memory" => self.memory_bytes,
            "ephemeral-storage" => self.ephemeral_storage_bytes,
            _ => self.others.get(name).copied().unwrap_or_default(),
        }
    }

    /// Gives every resource with its amount, in the order in which lacks are reported.
    pub fn iter(&self) -> impl Iterator<Item = (&str, i64)> {
        [
            ("cpu", self.cpu_millis),
            ("memory", self.memory_bytes),
            ("ephemeral-storage", self.ephemeral_storage_bytes),
        ]
        .into_iter()
        .chain(self.others.iter().map(|(name, amount)| (name.as_str(), *amount)))
    }

    /// Adds amounts.
    pub fn add(&mut self, other: &Resources) {
        self.combine(other, i64::saturating_add);
    }

    /// Takes amounts away.
    pub fn subtract(&mut self, other: &Resources) {
        self.combine(other, i64::saturating_sub);
    }

    /// Keeps the larger amount of each resource.
    pub fn raise(&mut self, other: &Resources) {
        self.combine(other, i64::max);
    }

    fn combine(&mut self, other: &Resources, with: fn(i64, i64) -> i64) {
        for (name, amount) in other.iter() {
            // A resource that neither has stays out of the map.
            if amount != 0 || self.get(name) != 0 {
                let own = self.amount_mut(name);
                *own = with(*own, amount);
            }
        }
    }

    /// Views the amount of a resource for writing.
    pub(super) fn amount_mut(&mut self, name: &str) -> &mut i64 {
        match name {
            "cpu" => &mut self.cpu_millis,
            "memory" => &mut self.memory_bytes,
            "ephemeral-storage" => &mut self.ephemeral_storage_bytes,
            _ => self.others.entry(name.to_owned()).or_default(),
        }
    }
}
