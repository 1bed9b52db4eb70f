//! Tries what it must not, as the customer's name says.
mod bindings {
    wit_bindgen::generate!({ path: "../../wit", world: "plugin" });
    use super::Plugin;
    export!(Plugin);
}

use std::hint::black_box;

use bindings::exports::shop::plugins::pricing::{Cart, Change, Guest};

struct Plugin;

impl Guest for Plugin {
    fn changes(cart: Cart) -> Result<Vec<Change>, String> {
        match cart.customer.as_str() {
            "loop" => loop {
                black_box(0);
            },
            "eat" => {
                let mut held = Vec::new();
                loop {
                    held.push(black_box(vec![1_u8; 1 << 20]));
                }
            }
            "talk" => Err("bla ".repeat(1 << 20)),
            "read" => Err(std::fs::read_to_string("/etc/passwd").unwrap_or_else(|error| error.to_string())),
            "env" => Err(format!("{} variables", std::env::vars().count())),
            "pay" => Ok(vec![Change { reason: "all of it".to_owned(), cents: i32::MIN }]),
            _ => panic!("no"),
        }
    }
}
