//! Greets whom the component that is plugged in names.
mod bindings {
    wit_bindgen::generate!({ path: "wit", world: "socket" });
}

fn main() {
    println!("hello {}", bindings::coracle_test::greet::names::name(7));
}
