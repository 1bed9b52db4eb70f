//! Names people by number.
mod bindings {
    wit_bindgen::generate!({ path: "../greeter/wit", world: "plug" });
    use super::Names;
    export!(Names);
}

struct Names;

impl bindings::exports::coracle_test::greet::names::Guest for Names {
    fn name(number: u32) -> String {
        format!("number {number}")
    }
}
