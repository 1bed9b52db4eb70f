//! Runs each argument as one file command and prints what came of it, so that a test can drive
//! `wasi:filesystem` through Rust's std.
use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

fn main() {
    for command in std::env::args().skip(1) {
        let words: Vec<&str> = command.split_whitespace().collect();
        let said = run(&words).unwrap_or_else(|error| format!("{:?}", error.kind()));
        println!("{command} => {said}");
    }
}

fn run(words: &[&str]) -> std::io::Result<String> {
    let ok = || "ok".to_owned();
    match *words {
        ["cat", path] => fs::read_to_string(path),
        ["write", path, text] => fs::write(path, text).map(|()| ok()),
        ["append", path, text] => {
            let mut file = fs::File::options().append(true).create(true).open(path)?;
            file.write_all(text.as_bytes()).map(|()| ok())
        }
        ["new", path] => fs::File::create_new(path).map(|_| ok()),
        ["fill", path, bytes] => {
            let bytes = bytes.parse().unwrap_or(0);
            fs::File::options()
                .append(true)
                .create(true)
                .open(path)?
                .write_all(&vec![b'x'; bytes])
                .map(|()| ok())
        }
        ["seek", path] => seek(path),
        ["ls", path] => list(path),
        ["stat", path] => fs::metadata(path).map(|found| describe(&found)),
        ["lstat", path] => fs::symlink_metadata(path).map(|found| describe(&found)),
        ["readlink", path] => Ok(fs::read_link(path)?.display().to_string()),
        ["symlink", target, path] => symlink(target, path).map(|()| ok()),
        ["mkdir", path] => fs::create_dir_all(path).map(|()| ok()),
        ["rm", path] => fs::remove_file(path).map(|()| ok()),
        ["rmdir", path] => fs::remove_dir(path).map(|()| ok()),
        ["rm-r", path] => fs::remove_dir_all(path).map(|()| ok()),
        ["mv", from, to] => fs::rename(from, to).map(|()| ok()),
        ["cp", from, to] => fs::copy(from, to).map(|bytes| bytes.to_string()),
        ["ln", from, to] => fs::hard_link(from, to).map(|()| ok()),
        _ => Ok("no such command".to_owned()),
    }
}

fn symlink(target: &str, path: &str) -> std::io::Result<()> {
    // std's own is behind an unstable feature on WASI; libc's is what it calls.
    unsafe extern "C" {
        fn symlink(target: *const std::ffi::c_char, path: *const std::ffi::c_char) -> i32;
    }
    let target = std::ffi::CString::new(target)?;
    let path = std::ffi::CString::new(path)?;
    // SAFETY: both are C strings that live through the call.
    if unsafe { symlink(target.as_ptr(), path.as_ptr()) } == 0 {
        return Ok(());
    }
    Err(std::io::Error::last_os_error())
}

/// Writes, goes back, overwrites, cuts: what a database does to a file.
fn seek(path: &str) -> std::io::Result<String> {
    let mut file =
        fs::File::options().read(true).write(true).create(true).truncate(true).open(path)?;
    file.write_all(b"0123456789")?;
    file.seek(SeekFrom::Start(3))?;
    file.write_all(b"abc")?;
    file.seek(SeekFrom::End(-2))?;
    let mut tail = String::new();
    file.read_to_string(&mut tail)?;
    file.set_len(7)?;
    file.sync_all()?;
    Ok(format!("{tail} {}", fs::read_to_string(path)?))
}

fn list(path: &str) -> std::io::Result<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let mark = if kind.is_dir() {
            "/"
        } else if kind.is_symlink() {
            "@"
        } else {
            ""
        };
        names.push(format!("{}{mark}", Path::new(&entry.file_name()).display()));
    }
    names.sort();
    Ok(names.join(" "))
}

fn describe(found: &fs::Metadata) -> String {
    if found.is_dir() {
        "dir".to_owned()
    } else if found.is_symlink() {
        "link".to_owned()
    } else if found.is_file() {
        format!("file {}", found.len())
    } else {
        "other".to_owned()
    }
}
