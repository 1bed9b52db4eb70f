//! Paths inside a container's tree: lists of names from `/` on, without links and `..`.

use rustix::io::Errno;

/// Longest path, in bytes. *Source:* Linux `PATH_MAX`.
const PATH_BYTES_MAX: usize = 4096;

/// The names of a path, without empty ones and `.`; `..` stays.
pub(super) fn names(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    path.split('/').filter(|name| !name.is_empty() && *name != ".")
}

/// The names of a path that a grant gives: absolute, below `/`, without `..`.
pub(super) fn granted(path: &str) -> Option<Vec<String>> {
    let names: Vec<String> = names(path).map(str::to_owned).collect();
    let sound = path.starts_with('/')
        && !path.contains('\0')
        && path.len() <= PATH_BYTES_MAX
        && !names.is_empty()
        && !names.iter().any(|name| name == "..");
    sound.then_some(names)
}

/// Refuses what no file system takes.
pub(super) fn check(path: &str) -> Result<(), Errno> {
    if path.is_empty() {
        return Err(Errno::NOENT);
    }
    if path.contains('\0') {
        return Err(Errno::INVAL);
    }
    if path.len() > PATH_BYTES_MAX {
        return Err(Errno::NAMETOOLONG);
    }
    Ok(())
}

/// A relative path that names the same place: `.` for none.
pub(super) fn relative(names: &[String]) -> String {
    if names.is_empty() { ".".to_owned() } else { names.join("/") }
}

/// The path before the last name, and that name; the place itself has none.
pub(super) fn split(relative: &str) -> Option<(&str, &str)> {
    if relative == "." {
        return None;
    }
    Some(relative.rsplit_once('/').unwrap_or((".", relative)))
}

/// All prefixes of a relative path that are shorter than it, the longest first.
pub(super) fn ancestors(relative: &str) -> impl Iterator<Item = &str> {
    let mut rest = relative;
    std::iter::from_fn(move || {
        let (parent, _) = rest.rsplit_once('/')?;
        rest = parent;
        Some(parent)
    })
}
