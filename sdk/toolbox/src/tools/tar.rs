//! `tar`: archives from and to streams, as `kubectl cp` uses them. Not compressed.
//!
//! *Source:* POSIX, `pax` interchange format; GNU's long names are read too.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use super::args::Args;
use crate::io::{Sink, Source};
use crate::proc::{Done, Failure, Proc, reason};

const BLOCK: usize = 512;
/// Bytes of a long name or of extended headers.
const EXTRA_BYTES_MAX: u64 = 1 << 20;

pub(super) async fn tar(p: &mut Proc) -> Done {
    let mut words = p.args[1..].to_vec();
    // The old way: `tar cf - x`, the letters without a dash.
    if let Some(first) = words.first_mut().filter(|first| !first.starts_with('-')) {
        first.insert(0, '-');
    }
    let long =
        [("create", 'c'), ("extract", 'x'), ("list", 't'), ("file", 'f'), ("directory", 'C')];
    let args = Args::read(&words, "cxtf:C:vmpohzjJkO", &long)?;
    if ['z', 'j', 'J'].iter().any(|letter| args.has(*letter)) {
        return Err("compressed archives are not supported".into());
    }
    let folder = args.value('C').map_or_else(|| p.cwd.clone(), |folder| p.path(folder));
    let file = args.value('f').unwrap_or("-");
    if args.has('c') {
        let sink =
            if file == "-" { p.stdout.clone() } else { Sink::file(File::create(p.path(file))?) };
        return create(p, &args, &folder, &sink).await;
    }
    if !args.has('x') && !args.has('t') {
        return Err("one of -c, -x and -t must be given".into());
    }
    let source = p.open(file)?;
    extract(p, &args, &folder, &source).await
}

async fn create(p: &Proc, args: &Args, folder: &Path, sink: &Sink) -> Done {
    let mut code = 0;
    let mut left: Vec<String> = args.rest.iter().rev().cloned().collect();
    if left.is_empty() {
        return Err("nothing to put into the archive".into());
    }
    while let Some(name) = left.pop() {
        let path = folder.join(&name);
        let found = match path.symlink_metadata() {
            Ok(found) => found,
            Err(error) => {
                p.complain(&format!("tar: {name}: {}", reason(&error))).await;
                code = 1;
                continue;
            }
        };
        if args.has('v') {
            p.complain(&name).await;
        }
        let link = path.read_link().ok().map(|target| target.display().to_string());
        let modified =
            found.modified().ok().and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
        let entry = Entry {
            name: name.trim_start_matches('/').to_owned(),
            kind: if found.is_dir() {
                b'5'
            } else if link.is_some() {
                b'2'
            } else {
                b'0'
            },
            size: if found.is_file() { found.len() } else { 0 },
            link: link.unwrap_or_default(),
            modified: modified.map_or(0, |at| at.as_secs()),
        };
        if found.is_dir() {
            let entries = fs::read_dir(&path)?.map(|entry| entry.map(|entry| entry.file_name()));
            let mut names = entries.collect::<Result<Vec<_>, _>>()?;
            names.sort();
            let folder = name.trim_end_matches('/');
            left.extend(
                names.iter().rev().map(|inner| format!("{folder}/{}", inner.to_string_lossy())),
            );
        }
        write_entry(&entry, &path, sink).await?;
    }
    sink.write(&[0; 2 * BLOCK]).await?;
    Ok(code)
}

struct Entry {
    name: String,
    kind: u8,
    size: u64,
    link: String,
    modified: u64,
}

async fn write_entry(entry: &Entry, path: &Path, sink: &Sink) -> Result<(), Failure> {
    let mut extended = String::new();
    let name = if entry.kind == b'5' {
        format!("{}/", entry.name.trim_end_matches('/'))
    } else {
        entry.name.clone()
    };
    if name.len() > 100 {
        extended.push_str(&record("path", &name));
    }
    if entry.link.len() > 100 {
        extended.push_str(&record("linkpath", &entry.link));
    }
    if !extended.is_empty() {
        let head = Entry {
            name: "pax".into(),
            kind: b'x',
            size: extended.len() as u64,
            link: String::new(),
            modified: 0,
        };
        sink.write(&header(&head, "pax")).await?;
        sink.write(extended.as_bytes()).await?;
        sink.write(&vec![0; padding(extended.len() as u64)]).await?;
    }
    sink.write(&header(entry, &name)).await?;
    if entry.kind == b'0' {
        let mut file = File::open(path)?.take(entry.size);
        let mut buffer = [0; 32 << 10];
        let mut written = 0;
        loop {
            let length = file.read(&mut buffer)?;
            if length == 0 {
                break;
            }
            sink.write(&buffer[..length]).await?;
            written += length as u64;
        }
        if written < entry.size {
            return Err(format!("{}: file shrank while it was read", entry.name).into());
        }
        sink.write(&vec![0; padding(entry.size)]).await?;
    }
    Ok(())
}

fn padding(size: u64) -> usize {
    (BLOCK - (size as usize % BLOCK)) % BLOCK
}

/// `<length> key=value\n`, the length being that of the whole record.
fn record(key: &str, value: &str) -> String {
    let rest = format!(" {key}={value}\n");
    let mut length = rest.len() + 1;
    while length != rest.len() + length.to_string().len() {
        length = rest.len() + length.to_string().len();
    }
    format!("{length}{rest}")
}

fn header(entry: &Entry, name: &str) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, most: usize, text: &[u8]| {
        let length = text.len().min(most);
        block[at..at + length].copy_from_slice(&text[..length]);
    };
    put(0, 100, name.as_bytes());
    put(100, 8, if entry.kind == b'5' { b"0000755\0" } else { b"0000644\0" });
    put(108, 8, b"0000000\0");
    put(116, 8, b"0000000\0");
    put(124, 12, format!("{:011o}\0", entry.size).as_bytes());
    put(136, 12, format!("{:011o}\0", entry.modified).as_bytes());
    put(148, 8, b"        ");
    put(156, 1, &[entry.kind]);
    put(157, 100, entry.link.as_bytes());
    put(257, 8, b"ustar\x0000");
    put(265, 32, b"root");
    put(297, 32, b"root");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

async fn extract(p: &Proc, args: &Args, folder: &Path, source: &Source) -> Done {
    let mut extra: BTreeMap<String, String> = BTreeMap::new();
    let mut code = 0;
    loop {
        let block = source.exactly(BLOCK).await?;
        if block.len() < BLOCK || block.iter().all(|byte| *byte == 0) {
            return Ok(code);
        }
        let mut entry = parse(&block)?;
        if matches!(entry.kind, b'x' | b'g' | b'L' | b'K') {
            if entry.size > EXTRA_BYTES_MAX {
                return Err("an extended header is too long".into());
            }
            let bytes = source.exactly(entry.size as usize + padding(entry.size)).await?;
            take_extra(&mut extra, entry.kind, &bytes[..bytes.len().min(entry.size as usize)]);
            continue;
        }
        entry.name = extra.remove("path").unwrap_or(entry.name);
        entry.link = extra.remove("linkpath").unwrap_or(entry.link);
        if let Some(size) = extra.remove("size").and_then(|size| size.parse().ok()) {
            entry.size = size;
        }
        extra.clear();
        let chosen =
            args.rest.is_empty() || args.rest.iter().any(|wanted| is_below(&entry.name, wanted));
        if chosen && (args.has('t') || args.has('v')) {
            let line = format!("{}\n", entry.name);
            if args.has('t') { p.print(&line).await? } else { p.complain(line.trim_end()).await }
        }
        let place =
            if chosen && args.has('x') { Some(beneath(folder, &entry.name)?) } else { None };
        if let Err(failure) = take(&entry, place.as_deref(), folder, source).await {
            let Failure::Say(_, message) = failure else { return Err(failure) };
            p.complain(&format!("tar: {}: {message}", entry.name)).await;
            code = 1;
        }
    }
}

fn is_below(name: &str, wanted: &str) -> bool {
    let (name, wanted) = (name.trim_end_matches('/'), wanted.trim_end_matches('/'));
    name == wanted || name.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('/'))
}

/// A path of the archive below the folder: it must not lead out of it.
fn beneath(folder: &Path, name: &str) -> Result<PathBuf, Failure> {
    let mut path = folder.to_owned();
    for part in Path::new(name.trim_start_matches('/')).components() {
        match part {
            Component::Normal(part) => path.push(part),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err(format!("{name}: must not lead out of the folder").into());
            }
        }
    }
    Ok(path)
}

fn parse(block: &[u8]) -> Result<Entry, Failure> {
    let text = |from: usize, length: usize| {
        let field = &block[from..from + length];
        let end = field.iter().position(|byte| *byte == 0).unwrap_or(length);
        String::from_utf8_lossy(&field[..end]).into_owned()
    };
    let number = |from: usize, length: usize| -> Result<u64, Failure> {
        let field = &block[from..from + length];
        if field[0] & 0x80 != 0 {
            let rest = field[1..].iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
            return Ok(rest);
        }
        let digits = text(from, length);
        let digits = digits.trim();
        if digits.is_empty() {
            Ok(0)
        } else {
            u64::from_str_radix(digits, 8).map_err(|_| "not a tar archive".into())
        }
    };
    let sum: u64 = block
        .iter()
        .enumerate()
        .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u64::from(*byte) })
        .sum();
    if number(148, 8)? != sum {
        return Err("not a tar archive".into());
    }
    let prefix = if block[257..263] == *b"ustar\0" { text(345, 155) } else { String::new() };
    let name = text(0, 100);
    let name = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
    Ok(Entry {
        name,
        kind: block[156],
        size: number(124, 12)?,
        link: text(157, 100),
        modified: number(136, 12)?,
    })
}

fn take_extra(extra: &mut BTreeMap<String, String>, kind: u8, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes).into_owned();
    match kind {
        b'L' => drop(extra.insert("path".to_owned(), text.trim_end_matches('\0').to_owned())),
        b'K' => drop(extra.insert("linkpath".to_owned(), text.trim_end_matches('\0').to_owned())),
        b'x' => {
            let mut rest = text.as_str();
            while let Some((length, _)) = rest.split_once(' ') {
                let Some(record) = length.parse().ok().and_then(|length: usize| rest.get(..length))
                else {
                    return;
                };
                let pair = record[length.len() + 1..].trim_end_matches('\n');
                if let Some((key, value)) = pair.split_once('=') {
                    extra.insert(key.to_owned(), value.to_owned());
                }
                rest = &rest[record.len()..];
            }
        }
        _ => {}
    }
}

async fn take(
    entry: &Entry,
    place: Option<&Path>,
    folder: &Path,
    source: &Source,
) -> Result<(), Failure> {
    let sink = match place {
        None => Ok(Sink::nothing()),
        Some(place) => put(entry, place, folder),
    };
    // Its bytes are passed over even when it cannot be written.
    let (sink, failure) = match sink {
        Ok(sink) => (sink, None),
        Err(failure) => (Sink::nothing(), Some(failure)),
    };
    let mut left = if matches!(entry.kind, b'0' | 0 | b'7') { entry.size } else { 0 };
    let pad = padding(left);
    while left > 0 {
        let bytes = source.at_most(usize::try_from(left).unwrap_or(usize::MAX)).await?;
        if bytes.is_empty() {
            return Err("the archive ends too early".into());
        }
        sink.write(&bytes).await?;
        left -= bytes.len() as u64;
    }
    source.exactly(pad).await?;
    failure.map_or(Ok(()), Err)
}

/// Makes the file, folder or link; gives where its bytes go.
fn put(entry: &Entry, place: &Path, folder: &Path) -> Result<Sink, Failure> {
    match entry.kind {
        b'5' => {
            fs::create_dir_all(place)?;
            return Ok(Sink::nothing());
        }
        b'0' | 0 | b'7' | b'2' | b'1' => {}
        _ => return Err("this kind of file is not supported".into()),
    }
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent)?;
    }
    if place.symlink_metadata().is_ok_and(|found| !found.is_dir()) {
        fs::remove_file(place)?;
    }
    match entry.kind {
        b'2' => super::files::symlink(&entry.link, place)
            .map(|()| Sink::nothing())
            .map_err(Failure::from),
        b'1' => {
            fs::hard_link(beneath(folder, &entry.link)?, place)?;
            Ok(Sink::nothing())
        }
        _ => Ok(Sink::file(File::create(place)?)),
    }
}
