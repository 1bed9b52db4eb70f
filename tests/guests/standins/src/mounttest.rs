//! `mounttest`: makes files and tells what is in them.
//!
//! WASI tells neither the mode nor the owner of a file, nor the type of a file system, so those questions
//! are answered by an error.

use std::fs;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::flags::Flags;

/// What is written into new files.
const CONTENT: &str = "mount-tester new file\n";

/// Does what the flags ask for, in the original's order; fails when anything did.
pub fn run(flags: &Flags) -> ExitCode {
    let mut whole = true;
    for name in ["fs_type"] {
        whole &= unknown(flags, name, "file systems have no type here");
    }
    for name in ["new_file_0644", "new_file_0666", "new_file_0660", "new_file_0777"] {
        whole &= flags.text(name).is_none_or(write);
    }
    for name in ["file_mode", "file_perm", "file_owner"] {
        whole &= unknown(flags, name, "files have neither modes nor owners here");
    }
    whole &= flags.text("file_content").is_none_or(read);
    let seconds = u64::try_from(flags.number("retry_time", 180)).unwrap_or(0);
    let stop = flags.on("break_on_expected_content", true);
    whole &= flags
        .text("file_content_in_loop")
        .is_none_or(|path| read_again(path, Duration::from_secs(seconds), stop));
    if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn unknown(flags: &Flags, name: &str, why: &str) -> bool {
    if let Some(path) = flags.text(name) {
        println!("error from {name} of {path:?}: {why}");
    }
    flags.text(name).is_none()
}

fn write(path: &str) -> bool {
    match fs::write(path, CONTENT) {
        Ok(()) => read(path),
        Err(error) => {
            println!("error writing new file {path:?}: {error}");
            false
        }
    }
}

fn read(path: &str) -> bool {
    match fs::read(path) {
        Ok(content) => println!("content of file {path:?}: {}", String::from_utf8_lossy(&content)),
        Err(error) => println!("error reading file content for {path:?}: {error}"),
    }
    fs::metadata(path).is_ok()
}

fn read_again(path: &str, over: Duration, stop: bool) -> bool {
    let started = Instant::now();
    let mut last = false;
    while started.elapsed() < over {
        match fs::read_to_string(path) {
            Ok(content) => {
                last = true;
                println!("content of file {path:?}: {content}");
                if stop && content == CONTENT {
                    break;
                }
            }
            Err(error) => {
                last = false;
                println!("Error reading file {path}: {error}, retrying");
            }
        }
        sleep(Duration::from_secs(2));
    }
    last
}
