//! Says it backwards.
wit_bindgen::generate!({ path: "../../wit", world: "plugin" });

struct Reverse;

impl exports::acme::plugins::text::Guest for Reverse {
    fn transform(text: String) -> Result<String, String> {
        Ok(text.chars().rev().collect())
    }
}

export!(Reverse);
