//! Tools that look at files: `ls`, `stat`, `readlink`, `realpath`.

use std::fs::{self, Metadata};
use std::path::Path;
use std::time::SystemTime;

use super::args::Args;
use super::date::{Moment, format};
use crate::proc::{Done, Proc, plain, reason};

struct Entry {
    name: String,
    found: Metadata,
    target: Option<String>,
}

impl Entry {
    fn of(name: String, path: &Path) -> std::io::Result<Self> {
        let found = path.symlink_metadata()?;
        let target = fs::read_link(path).ok().map(|target| target.display().to_string());
        Ok(Self { name, found, target })
    }

    /// Files have neither modes nor owners here; what is shown is what they amount to.
    fn long(&self, human: bool) -> String {
        let found = &self.found;
        let mode = if found.is_dir() {
            "drwxr-xr-x"
        } else if found.is_symlink() {
            "lrwxrwxrwx"
        } else {
            "-rw-r--r--"
        };
        let size = if human { human_size(found.len()) } else { found.len().to_string() };
        let time = format("%b %e %H:%M", &modified(found)).unwrap_or_default();
        let arrow = self.target.as_ref().map(|target| format!(" -> {target}")).unwrap_or_default();
        format!("{mode}    1 root     root     {size:>9} {time} {}{arrow}", self.name)
    }

    fn mark(&self) -> &'static str {
        if self.found.is_dir() {
            "/"
        } else if self.found.is_symlink() {
            "@"
        } else {
            ""
        }
    }
}

fn modified(found: &Metadata) -> Moment {
    let time = found.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Moment::of(since.as_secs() as i64, since.subsec_nanos())
}

pub(super) fn human_size(bytes: u64) -> String {
    let units = ["", "K", "M", "G", "T"];
    let mut size = bytes as f64;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < units.len() {
        size /= 1024.0;
        unit += 1;
    }
    if unit == 0 { bytes.to_string() } else { format!("{size:.1}{}", units[unit]) }
}

pub(super) async fn ls(p: &mut Proc) -> Done {
    let args = Args::read(&p.args[1..], "laA1dRhFtrSni", &[])?;
    let here = vec![".".to_owned()];
    let names = if args.rest.is_empty() { &here } else { &args.rest };
    let (mut code, mut files, mut folders) = (0, Vec::new(), Vec::new());
    for name in names {
        let path = p.path(name);
        match Entry::of(name.clone(), &path) {
            Ok(_) if path.is_dir() && !args.has('d') => folders.push(name.clone()),
            Ok(entry) => files.push(entry),
            Err(error) => {
                p.complain(&format!("ls: {name}: {}", reason(&error))).await;
                code = 1;
            }
        }
    }
    let has_files = !files.is_empty();
    show(p, &args, files).await?;
    let titled = names.len() > 1 || args.has('R');
    let mut number = usize::from(has_files);
    folders.reverse();
    while let Some(name) = folders.pop() {
        if titled {
            let gap = if number > 0 { "\n" } else { "" };
            p.print(&format!("{gap}{name}:\n")).await?;
        }
        number += 1;
        match entries(p, &args, &name) {
            Ok(entries) => {
                if args.has('R') {
                    let inner = entries.iter().rev().filter(|entry| entry.found.is_dir());
                    let inner = inner.filter(|entry| !matches!(entry.name.as_str(), "." | ".."));
                    folders.extend(
                        inner.map(|e| format!("{}/{}", name.trim_end_matches('/'), e.name)),
                    );
                }
                show(p, &args, entries).await?;
            }
            Err(error) => {
                p.complain(&format!("ls: {name}: {}", reason(&error))).await;
                code = 1;
            }
        }
    }
    Ok(code)
}

fn entries(p: &Proc, args: &Args, folder: &str) -> std::io::Result<Vec<Entry>> {
    let path = p.path(folder);
    let mut entries = Vec::new();
    if args.has('a') {
        for name in [".", ".."] {
            entries.extend(Entry::of(name.to_owned(), &plain(&path.join(name))));
        }
    }
    for entry in fs::read_dir(&path)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') || args.has('a') || args.has('A') {
            entries.extend(Entry::of(name, &entry.path()));
        }
    }
    Ok(entries)
}

async fn show(p: &Proc, args: &Args, mut entries: Vec<Entry>) -> std::io::Result<()> {
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    if args.has('t') {
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.found.modified().ok()));
    } else if args.has('S') {
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.found.len()));
    }
    if args.has('r') {
        entries.reverse();
    }
    for entry in entries {
        let mark = if args.has('F') { entry.mark() } else { "" };
        let line = if args.has('l') { entry.long(args.has('h')) } else { entry.name };
        p.print(&format!("{line}{mark}\n")).await?;
    }
    Ok(())
}

pub(super) async fn stat(p: &mut Proc) -> Done {
    let args = Args::read(&p.args[1..], "c:Lt", &[("format", 'c')])?;
    let mut code = 0;
    for name in &args.rest {
        let path = p.path(name);
        let found = if args.has('L') { path.metadata() } else { path.symlink_metadata() };
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                p.complain(&format!("stat: {name}: {}", reason(&error))).await;
                code = 1;
                continue;
            }
        };
        let text = match args.value('c') {
            Some(wanted) => described(wanted, name, &found),
            None => described("  File: %n\n  Size: %s\t%F\nModify: %y", name, &found),
        };
        p.print(&format!("{text}\n")).await?;
    }
    Ok(code)
}

fn described(wanted: &str, name: &str, found: &Metadata) -> String {
    let kind = if found.is_dir() {
        "directory"
    } else if found.is_symlink() {
        "symbolic link"
    } else {
        "regular file"
    };
    let moment = modified(found);
    let mut out = String::new();
    let mut chars = wanted.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push_str(name),
            Some('s') => out.push_str(&found.len().to_string()),
            Some('F') => out.push_str(kind),
            Some('a') => out.push_str(if found.is_dir() { "755" } else { "644" }),
            Some('u' | 'g') => out.push('0'),
            Some('U' | 'G') => out.push_str("root"),
            Some('Y') => out.push_str(&moment.seconds.to_string()),
            Some('y') => out.push_str(&format("%F %T.%N +0000", &moment).unwrap_or_default()),
            Some(other) => out.extend(['%', other]),
            None => out.push('%'),
        }
    }
    out
}

pub(super) async fn readlink(p: &mut Proc) -> Done {
    let args = Args::read(&p.args[1..], "femn", &[])?;
    if args.has('f') || args.has('e') || args.has('m') {
        return real(p, &args.rest).await;
    }
    let mut code = 0;
    for name in &args.rest {
        match fs::read_link(p.path(name)) {
            Ok(target) => p.print(&format!("{}\n", target.display())).await?,
            Err(_) => code = 1,
        }
    }
    Ok(code)
}

pub(super) async fn realpath(p: &mut Proc) -> Done {
    let args = Args::read(&p.args[1..], "ems", &[])?;
    real(p, &args.rest).await
}

/// Links that are followed before a ring is taken for one.
const LINKS_MAX: usize = 40;

async fn real(p: &Proc, names: &[String]) -> Done {
    let mut code = 0;
    for name in names {
        let mut left: Vec<String> = split(&p.path(name));
        left.reverse();
        let (mut path, mut links) = (std::path::PathBuf::from("/"), 0);
        while let Some(part) = left.pop() {
            match part.as_str() {
                ".." => {
                    path.pop();
                    continue;
                }
                "." => continue,
                part => path.push(part),
            }
            if let Ok(target) = fs::read_link(&path) {
                links += 1;
                if links > LINKS_MAX {
                    p.complain(&format!("{}: {name}: Too many levels of links", p.args[0])).await;
                    code = 1;
                    break;
                }
                path.pop();
                if target.is_absolute() {
                    path = "/".into();
                }
                left.extend(split(&target).into_iter().rev());
            }
        }
        p.print(&format!("{}\n", path.display())).await?;
    }
    Ok(code)
}

fn split(path: &Path) -> Vec<String> {
    let text = path.to_string_lossy();
    text.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect()
}
