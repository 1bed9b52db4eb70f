//! A plugin: it imports nothing, so it can touch nothing but the text that it is given.
mod bindings {
    wit_bindgen::generate!({ path: "../wit", world: "plugin" });
    use super::Plugin;
    export!(Plugin);
}

struct Plugin;

impl bindings::exports::example::plugin::text::Guest for Plugin {
    fn transform(text: String) -> String {
        format!("plugged in: {text}")
    }
}
