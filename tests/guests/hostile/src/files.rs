//! Attacks on files: too many, too deep, too large, and races.
use std::fs::{self, File};
use std::io::{self, Write};

pub(crate) fn run(words: &[&str]) -> io::Result<String> {
    match words {
        ["empty", folder] => Ok(until_full(|n| File::create_new(format!("{folder}/f{n}")).map(drop))),
        ["dirs", folder] => Ok(until_full(|n| fs::create_dir(format!("{folder}/d{n}")))),
        ["links", folder] => Ok(until_full(|n| symlink("x", &format!("{folder}/l{n}")))),
        ["names", file] => Ok(until_full(|n| fs::hard_link(file, format!("{file}-{n}")))),
        ["open", file] => {
            let mut held = Vec::new();
            Ok(until_full(|_| File::open(file).map(|file| held.push(file))))
        }
        ["fill", file] => fill(file),
        ["orphans", folder] => Ok(until_full(|n| orphan(&format!("{folder}/o{n}")))),
        ["extend", file, bytes] => {
            let file = File::create(file)?;
            file.set_len(bytes.parse().expect("a number")).map(|()| "extended".to_owned())
        }
        ["many", folder, count] => {
            (0..number(count)).try_for_each(|n| {
                File::create_new(format!("{folder}/a-name-of-some-length-{n}")).map(|_| ())
            })?;
            Ok("made".to_owned())
        }
        ["listings", folder] => listings(folder),
        ["deep", folder, times] => deep(folder, number(times)),
        ["maze", folder] => maze(folder),
        ["long", bytes] => File::open("/".to_owned() + &"x".repeat(number(bytes)))
            .map(|_| "opened".to_owned()),
        ["swap", folder, times] => swap(folder, number(times)),
        ["peek", file, times] => peek(file, number(times)),
        _ => Ok("no such attack".to_owned()),
    }
}

fn number(text: &str) -> usize {
    text.parse().expect("a number")
}

/// How often something goes well, and how it then fails.
fn until_full<T>(mut make: impl FnMut(usize) -> io::Result<T>) -> String {
    let mut held = Vec::new();
    loop {
        match make(held.len()) {
            Ok(made) => held.push(made),
            Err(error) => return format!("{} then {:?}", held.len(), error.kind()),
        }
    }
}

fn symlink(target: &str, path: &str) -> io::Result<()> {
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
    Err(io::Error::last_os_error())
}

fn fill(path: &str) -> io::Result<String> {
    let mut file = File::create(path)?;
    let mut written = 0_u64;
    while file.write_all(&[b'x'; 4096]).is_ok() {
        written += 4096;
    }
    Ok(format!("{written} bytes"))
}

/// A file of 4 KiB that stays open after its name is gone.
fn orphan(path: &str) -> io::Result<File> {
    let mut file = File::create_new(path)?;
    file.write_all(&[b'x'; 4096])?;
    fs::remove_file(path)?;
    Ok(file)
}

/// Begins listings of a folder and keeps them, until one is refused.
fn listings(folder: &str) -> io::Result<String> {
    let mut held = Vec::new();
    loop {
        match fs::read_dir(folder) {
            Ok(mut listing) => {
                let _first = listing.next();
                held.push(listing);
            }
            Err(_) => return Ok(format!("refused {}", held.len() < 1000)),
        }
    }
}

/// Moves one deep chain of directories under the end of another, so often.
fn deep(folder: &str, times: usize) -> io::Result<String> {
    /// Few enough that making them takes little time.
    const LEVELS: usize = 150;
    let (all, chain) = (format!("{folder}/all"), format!("{folder}/chain"));
    fs::create_dir(&all)?;
    for _ in 0..times {
        let end = chain.clone() + &"/d".repeat(LEVELS);
        fs::create_dir_all(&end)?;
        fs::rename(&all, end + "/all")?;
        fs::rename(&chain, &all)?;
    }
    Ok("made".to_owned())
}

/// Links of which each leads a long way round to the next.
fn maze(folder: &str) -> io::Result<String> {
    fs::create_dir(format!("{folder}/d"))?;
    for link in 0..39 {
        let way = "d/../".repeat(780) + &format!("l{}", link + 1);
        symlink(&way, &format!("{folder}/l{link}"))?;
    }
    fs::write(format!("{folder}/l39"), "the end")?;
    fs::read_to_string(format!("{folder}/l0"))
}

/// Lets a name be a directory and a link to a place outside, in turns.
fn swap(folder: &str, times: usize) -> io::Result<String> {
    let name = |name: &str| format!("{folder}/{name}");
    for _ in 0..times {
        fs::rename(name("moving"), name("directory"))?;
        fs::rename(name("link"), name("moving"))?;
        fs::rename(name("moving"), name("link"))?;
        fs::rename(name("directory"), name("moving"))?;
    }
    Ok("swapped".to_owned())
}

/// Reads a file again and again; says what it held that is not its own.
fn peek(path: &str, times: usize) -> io::Result<String> {
    for _ in 0..times {
        if let Ok(text) = fs::read_to_string(path)
            && text != "inside"
        {
            return Ok(format!("SAW {text}"));
        }
    }
    Ok("nothing else".to_owned())
}
