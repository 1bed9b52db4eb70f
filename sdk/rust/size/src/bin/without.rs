//! A guest that prints, and has a file.
fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("hello");
    std::fs::write("/tmp/name", b"world")?;
    println!("{:?}", std::fs::read_to_string("/tmp/name")?);
    Ok(())
}
