//! Greets whom its argument names, and ends.
fn main() {
    let whom = std::env::args().nth(1).unwrap_or_else(|| "nobody".to_owned());
    println!("hello, {whom}");
}
