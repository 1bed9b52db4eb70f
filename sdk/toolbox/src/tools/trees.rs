//! Tools that work on whole trees: `cp`, `mv`, `rm`.

use std::fs;
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};

use super::args::Args;
use crate::proc::{Done, Failure, Proc, plain, reason};

/// Folders in one another, before a copy of a folder into itself is taken for what it is.
const DEPTH_MAX: usize = 100;

/// Pairs each source with where it goes: into a folder under its own name, else to the target.
fn pairs(p: &Proc, args: &Args) -> Result<Vec<(String, PathBuf, PathBuf)>, Failure> {
    let (into, names) = match (args.value('t'), args.rest.split_last()) {
        (Some(folder), _) => (folder.to_owned(), args.rest.clone()),
        (None, Some((last, names))) if !names.is_empty() => (last.clone(), names.to_vec()),
        _ => return Err("usage: SOURCE… TARGET".into()),
    };
    let target = p.path(&into);
    if names.len() > 1 && !target.is_dir() {
        return Err(format!("{into}: Not a directory").into());
    }
    let pair = |name: String| {
        let source = p.path(&name);
        let to = if target.is_dir() && !args.has('T') {
            target.join(plain(&source).file_name().unwrap_or_default())
        } else {
            target.clone()
        };
        (name, source, to)
    };
    Ok(names.into_iter().map(pair).collect())
}

pub(super) async fn cp(p: &mut Proc) -> Done {
    let args = Args::read(&p.args[1..], "rRapfvdLPTt:", &[("recursive", 'r'), ("archive", 'a')])?;
    let recursive = args.has('r') || args.has('R') || args.has('a');
    let keeps_links = args.has('a') || args.has('d') || args.has('P');
    let mut code = 0;
    for (name, from, to) in pairs(p, &args)? {
        if from.is_dir() && !recursive {
            p.complain(&format!("cp: {name}: is a directory; use -r")).await;
            code = 1;
        } else if let Err(error) = copy(&from, &to, keeps_links, 0) {
            p.complain(&format!("cp: {name}: {}", reason(&error))).await;
            code = 1;
        }
    }
    Ok(code)
}

fn copy(from: &Path, to: &Path, keeps_links: bool, depth: usize) -> std::io::Result<()> {
    if depth > DEPTH_MAX {
        return Err(Error::other("folders in one another too deep"));
    }
    if keeps_links && from.is_symlink() {
        let target = fs::read_link(from)?;
        return super::files::symlink(&target.to_string_lossy(), to);
    }
    if !from.is_dir() {
        return fs::copy(from, to).map(drop);
    }
    if !to.is_dir() {
        fs::create_dir(to)?;
    }
    let names: Vec<_> = fs::read_dir(from)?
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<Result<_, _>>()?;
    for name in names {
        copy(&from.join(&name), &to.join(&name), keeps_links, depth + 1)?;
    }
    Ok(())
}

pub(super) async fn mv(p: &mut Proc) -> Done {
    let args = Args::read(&p.args[1..], "fnvTt:", &[])?;
    let mut code = 0;
    for (name, from, to) in pairs(p, &args)? {
        if args.has('n') && to.exists() {
            continue;
        }
        let moved = match fs::rename(&from, &to) {
            Err(error) if error.kind() == ErrorKind::CrossesDevices => {
                copy(&from, &to, true, 0).and_then(|()| remove(&from))
            }
            done => done,
        };
        if let Err(error) = moved {
            p.complain(&format!("mv: {name}: {}", reason(&error))).await;
            code = 1;
        }
    }
    Ok(code)
}

fn remove(path: &Path) -> std::io::Result<()> {
    if path.symlink_metadata()?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

pub(super) async fn rm(p: &mut Proc) -> Done {
    let args = Args::read(&p.args[1..], "rRfidv", &[("recursive", 'r'), ("force", 'f')])?;
    let recursive = args.has('r') || args.has('R');
    if args.rest.is_empty() && !args.has('f') {
        return Err("an operand is missing".into());
    }
    let mut code = 0;
    for name in &args.rest {
        let path = p.path(name);
        let is_dir = path.symlink_metadata().is_ok_and(|found| found.is_dir());
        let removed = if plain(&path) == Path::new("/") {
            Err(Error::other("it is dangerous to remove '/'"))
        } else if is_dir && !recursive {
            Err(ErrorKind::IsADirectory.into())
        } else {
            remove(&path)
        };
        match removed {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound && args.has('f') => {}
            Err(error) => {
                p.complain(&format!("rm: {name}: {}", reason(&error))).await;
                code = 1;
            }
        }
    }
    Ok(code)
}
