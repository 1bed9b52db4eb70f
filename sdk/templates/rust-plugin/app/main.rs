//! An application that leaves a part of its work to whatever component is plugged in.
mod bindings {
    wit_bindgen::generate!({ path: "../wit", world: "app" });
}

fn main() {
    println!("{}", bindings::example::plugin::text::transform("hello, world"));
}
