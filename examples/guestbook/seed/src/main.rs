//! The init container: runs once before the others and puts the first entry into the book.
use std::fs::{self, OpenOptions};
use std::io::Write;

fn main() -> std::io::Result<()> {
    let path = std::env::var("BOOK").unwrap_or_else(|_| "/data/book.txt".to_owned());
    if fs::exists(&path)? {
        println!("{path} is there already: nothing to do");
        return Ok(());
    }
    let pod = std::env::var("POD_NAME").unwrap_or_else(|_| "an unnamed pod".to_owned());
    let mut book = OpenOptions::new().create_new(true).write(true).open(&path)?;
    writeln!(book, "{pod} opened this book")?;
    println!("wrote the first entry to {path}");
    Ok(())
}
