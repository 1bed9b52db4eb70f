//! Says it louder.
wit_bindgen::generate!({ path: "../../wit", world: "plugin" });

struct Shout;

impl exports::acme::plugins::text::Guest for Shout {
    fn transform(text: String) -> Result<String, String> {
        Ok(text.to_uppercase())
    }
}

export!(Shout);
