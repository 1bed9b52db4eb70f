//! Some percent off: as many as the shop's operator has put into this plugin's environment.
mod bindings {
    wit_bindgen::generate!({ path: "../../wit", world: "plugin" });
    use super::Plugin;
    export!(Plugin);
}

use bindings::exports::shop::plugins::pricing::{Cart, Change, Guest};

struct Plugin;

impl Guest for Plugin {
    fn changes(cart: Cart) -> Result<Vec<Change>, String> {
        let percent = std::env::var("DISCOUNT_PERCENT").map_err(|error| error.to_string())?;
        let percent: u128 = percent.parse().map_err(|_| format!("'{percent}' is no number"))?;
        let goods: u128 = cart.lines.iter().map(|line| u128::from(line.count) * u128::from(line.cents)).sum();
        let cents = i32::try_from(goods.saturating_mul(percent) / 100).map_err(|error| error.to_string())?;
        Ok(vec![Change { reason: format!("{percent} percent for {}", cart.customer), cents: -cents }])
    }
}
