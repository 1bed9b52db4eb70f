//! Keeps a folder as a branch of a git repository is. `ROOT/LINK` is a link to the files of a commit;
//! it changes from one commit to the next at once.

use std::fs;
use std::io;
use std::path::Path;

use git_remote::{Mode, Remote};
use sidecars::variable;
use wstd::task::sleep;
use wstd::time::Duration;

#[wstd::main]
async fn main() -> Result<(), String> {
    let remote = Remote::new(&variable("REPOSITORY", "")).authorization(&variable("AUTHORIZATION", ""));
    let (branch, root) = (variable("REF", "HEAD"), variable("ROOT", "/git"));
    let (root, link) = (Path::new(&root), variable("LINK", "current"));
    let once = variable("ONCE", "false") == "true";
    let pause = variable("EVERY_SECONDS", "10").parse().map_err(|_| "EVERY_SECONDS must be a number")?;
    loop {
        match round(&remote, &branch, root, &link).await {
            Ok(()) if once => return Ok(()),
            Ok(()) => {}
            Err(error) => println!("again after: {error}"),
        }
        sleep(Duration::from_secs(pause)).await;
    }
}

async fn round(remote: &Remote, branch: &str, root: &Path, link: &str) -> Result<(), String> {
    let commit = remote.commit(branch).await?;
    let before = fs::read_link(root.join(link)).ok();
    if before.as_deref() == Some(Path::new(&commit)) {
        return Ok(());
    }
    let files = remote.files(&commit).await?;
    let count = files.len();
    let place = |error: io::Error| format!("write {}: {error}", root.display());
    let folder = root.join(&commit);
    if folder.exists() {
        // Half of it, from a life before.
        fs::remove_dir_all(&folder).map_err(place)?;
    }
    fs::create_dir_all(&folder).map_err(place)?;
    for file in files {
        let path = folder.join(&file.path);
        fs::create_dir_all(path.parent().unwrap_or(&folder)).map_err(place)?;
        match file.mode {
            Mode::File | Mode::Program => fs::write(&path, &file.bytes),
            Mode::Link => symlink(&String::from_utf8_lossy(&file.bytes), &path),
        }
        .map_err(place)?;
    }
    let new = root.join(format!("{link}.new"));
    if new.symlink_metadata().is_ok() {
        fs::remove_file(&new).map_err(place)?;
    }
    symlink(&commit, &new).map_err(place)?;
    fs::rename(&new, root.join(link)).map_err(place)?;
    println!("{link} is {commit}: {count} files");
    match before {
        Some(before) => fs::remove_dir_all(root.join(before)).map_err(place),
        None => Ok(()),
    }
}

/// Makes a link; std's own is not stable for WASI.
fn symlink(target: &str, path: &Path) -> io::Result<()> {
    unsafe extern "C" {
        fn symlink(target: *const std::ffi::c_char, path: *const std::ffi::c_char) -> i32;
    }
    let target = std::ffi::CString::new(target)?;
    let path = std::ffi::CString::new(path.to_string_lossy().into_owned())?;
    // SAFETY: both are C strings that live through the call.
    if unsafe { symlink(target.as_ptr(), path.as_ptr()) } == 0 {
        return Ok(());
    }
    Err(io::Error::last_os_error())
}
