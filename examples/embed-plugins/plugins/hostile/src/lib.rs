//! Tries what it must not, as the text says.
wit_bindgen::generate!({ path: "../../wit", world: "plugin" });

use std::hint::black_box;

struct Hostile;

impl exports::acme::plugins::text::Guest for Hostile {
    fn transform(text: String) -> Result<String, String> {
        match text.as_str() {
            "loop" => loop {
                black_box(0);
            },
            "eat" => {
                let mut held = Vec::new();
                loop {
                    held.push(black_box(vec![1_u8; 1 << 20]));
                }
            }
            "talk" => Ok("bla ".repeat(1 << 20)),
            "trap" => panic!("no"),
            "read" => std::fs::read_to_string("/etc/passwd").map_err(|error| error.to_string()),
            "dial" => std::net::TcpStream::connect("192.0.2.1:80")
                .map(|_| "connected".to_owned())
                .map_err(|error| error.to_string()),
            "env" => Ok(format!("{} variables", std::env::vars().count())),
            _ => Err("unknown trick".to_owned()),
        }
    }
}

export!(Hostile);
