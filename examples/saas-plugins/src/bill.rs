//! A cart, what a plugin makes of it, and the bill. The types are those of `wit/shop.wit`.

use coracle_runtime::call::{ComponentType, Lift, Lower};
use serde::{Deserialize, Serialize};

/// So many of one thing, at a price for each.
#[derive(Debug, Clone, Deserialize, ComponentType, Lower)]
#[component(record)]
pub struct Line {
    name: String,
    count: u32,
    cents: u32,
}

/// What a customer is about to pay for.
#[derive(Debug, Clone, Deserialize, ComponentType, Lower)]
#[component(record)]
pub struct Cart {
    customer: String,
    lines: Vec<Line>,
}

/// What is added to the bill; less than nothing is taken off it.
#[derive(Debug, Clone, Serialize, ComponentType, Lift)]
#[component(record)]
pub struct Change {
    reason: String,
    cents: i32,
}

/// What the customer pays.
#[derive(Debug, Serialize)]
pub struct Bill {
    cents: i128,
    changes: Vec<Change>,
    /// Why the tenant's plugin has changed nothing; absent when it was asked and answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    without_plugin: Option<String>,
}

impl Bill {
    /// Adds a cart up. A plugin is not trusted: nobody is paid for shopping.
    #[must_use]
    pub fn of(cart: &Cart, said: Result<Vec<Change>, String>) -> Self {
        let (changes, without_plugin) = match said {
            Ok(changes) => (changes, None),
            Err(why) => (Vec::new(), Some(why)),
        };
        let goods: i128 =
            cart.lines.iter().map(|line| i128::from(line.count) * i128::from(line.cents)).sum();
        let changed: i128 = changes.iter().map(|change| i128::from(change.cents)).sum();
        Self { cents: (goods + changed).max(0), changes, without_plugin }
    }
}
