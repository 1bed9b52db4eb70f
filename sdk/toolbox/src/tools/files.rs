//! Tools that make and remove single files: `mkdir`, `rmdir`, `touch`, `ln`, `chmod`, `mktemp`.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;
use std::time::SystemTime;

use super::args::Args;
use crate::proc::{Done, Proc, reason};

/// Does something for each operand, and says which failed.
async fn each(p: &Proc, names: &[String], act: impl Fn(&Path) -> std::io::Result<()>) -> Done {
    if names.is_empty() {
        return Err("an operand is missing".into());
    }
    let mut code = 0;
    for name in names {
        if let Err(error) = act(&p.path(name)) {
            p.complain(&format!("{}: {name}: {}", p.args[0], reason(&error))).await;
            code = 1;
        }
    }
    Ok(code)
}

pub(super) async fn mkdir(p: &mut Proc) -> Done {
    let args = Args::read(&p.args[1..], "pvm:", &[("parents", 'p'), ("mode", 'm')])?;
    let parents = args.has('p');
    each(
        p,
        &args.rest,
        |path| if parents { fs::create_dir_all(path) } else { fs::create_dir(path) },
    )
    .await
}

pub(super) async fn rmdir(p: &mut Proc) -> Done {
    let args = Args::read(&p.args[1..], "p", &[])?;
    each(p, &args.rest, |path| fs::remove_dir(path)).await
}

pub(super) async fn touch(p: &mut Proc) -> Done {
    let args = Args::read(&p.args[1..], "camd:t:r:", &[])?;
    let only_old = args.has('c');
    let now = SystemTime::now();
    each(p, &args.rest, |path| {
        if only_old && !path.exists() || path.is_dir() {
            return Ok(());
        }
        let file = File::options().append(true).create(true).open(path)?;
        match file.set_modified(now) {
            Err(error) if error.kind() == ErrorKind::Unsupported => Ok(()),
            done => done,
        }
    })
    .await
}

/// Files have no modes here: what a container may write, its mounts decide. Scripts that make a
/// file executable go on.
pub(super) async fn chmod(p: &mut Proc) -> Done {
    let args = Args::read(&p.args[1..], "Rfvrwx", &[])?;
    let files = if args.has('r') || args.has('w') || args.has('x') { 0 } else { 1 };
    each(p, args.rest.get(files..).unwrap_or_default(), |path| fs::metadata(path).map(drop)).await
}

pub(super) async fn ln(p: &mut Proc) -> Done {
    let args = Args::read(&p.args[1..], "sfnv", &[])?;
    let [target, name] = &args.rest[..] else {
        return Err("usage: ln [-sf] TARGET NAME".into());
    };
    let mut path = p.path(name);
    if path.is_dir() && !args.has('n') {
        path.push(super::base(target));
    }
    if args.has('f') && path.symlink_metadata().is_ok() {
        fs::remove_file(&path)?;
    }
    let made =
        if args.has('s') { symlink(target, &path) } else { fs::hard_link(p.path(target), &path) };
    made.map_err(|error| format!("{name}: {}", reason(&error)))?;
    Ok(0)
}

/// Makes a link; std's own is not stable for WASI.
#[cfg(target_os = "wasi")]
pub(super) fn symlink(target: &str, path: &Path) -> std::io::Result<()> {
    unsafe extern "C" {
        fn symlink(target: *const std::ffi::c_char, path: *const std::ffi::c_char) -> i32;
    }
    let target = std::ffi::CString::new(target)?;
    let path = std::ffi::CString::new(path.to_string_lossy().into_owned())?;
    // SAFETY: both are C strings that live through the call.
    if unsafe { symlink(target.as_ptr(), path.as_ptr()) } == 0 {
        return Ok(());
    }
    Err(std::io::Error::last_os_error())
}

/// Makes a link.
#[cfg(not(target_os = "wasi"))]
pub(super) fn symlink(target: &str, path: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(target, path)
}

pub(super) async fn mktemp(p: &mut Proc) -> Done {
    let args = Args::read(&p.args[1..], "dqtp:u", &[])?;
    let template = args.rest.first().map_or("tmp.XXXXXX", String::as_str);
    let stem = template.trim_end_matches('X');
    let folder = args.value('p').or(p.var("TMPDIR")).unwrap_or("/tmp");
    let stem = if template.contains('/') { p.path(stem) } else { p.path(folder).join(stem) };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let mut seed = now.map_or(1, |now| now.as_nanos() as u64);
    /// Names that are tried before giving up.
    const TRIES_MAX: u32 = 100;
    for _ in 0..TRIES_MAX {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let path = format!("{}{:08x}", stem.display(), seed >> 32);
        let made =
            if args.has('d') { fs::create_dir(&path) } else { File::create_new(&path).map(drop) };
        match made {
            Ok(()) => {
                p.print(&format!("{path}\n")).await?;
                return Ok(0);
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(format!("{path}: {}", reason(&error)).into()),
        }
    }
    Err("no free name".into())
}
