//! `du`: what files take, folder by folder.

use std::path::Path;

use super::args::Args;
use super::look::human_size;
use crate::proc::{Done, Proc, reason};

/// Bytes of what sizes are counted in: WASI does not say how many a file takes on its disk.
const BLOCK_BYTES: u64 = 1024;

/// One line of the answer.
struct Row {
    bytes: u64,
    depth: usize,
    name: String,
    is_folder: bool,
}

pub(super) async fn du(p: &mut Proc) -> Done {
    let long = [
        ("summarize", 's'),
        ("human-readable", 'h'),
        ("all", 'a'),
        ("total", 'c'),
        ("max-depth", 'd'),
    ];
    let args = Args::read(&p.args[1..], "shakmcxbd:", &long)?;
    let most = args.number('d')?.and_then(|most| usize::try_from(most).ok());
    let most = if args.has('s') { 0 } else { most.unwrap_or(usize::MAX) };
    let names = if args.rest.is_empty() { vec![".".to_owned()] } else { args.rest.clone() };
    let (mut code, mut total) = (0, 0);
    for name in names {
        let (mut rows, mut wrong) = (Vec::new(), Vec::new());
        total += look(&p.path(&name), &name, 0, &mut rows, &mut wrong);
        for why in wrong {
            p.complain(&format!("du: {why}")).await;
            code = 1;
        }
        for row in rows.iter().filter(|row| row.depth <= most) {
            if row.is_folder || row.depth == 0 || args.has('a') {
                p.print(&format!("{}\t{}\n", size(row.bytes, &args), row.name)).await?;
            }
        }
    }
    if args.has('c') {
        p.print(&format!("{}\ttotal\n", size(total, &args))).await?;
    }
    Ok(code)
}

fn size(bytes: u64, args: &Args) -> String {
    match () {
        () if args.has('h') => human_size(bytes),
        () if args.has('b') => bytes.to_string(),
        () if args.has('m') => bytes.div_ceil(BLOCK_BYTES << 10).to_string(),
        () => bytes.div_ceil(BLOCK_BYTES).to_string(),
    }
}

/// Adds the lines about a path, folders after what is in them; gives its bytes.
fn look(
    path: &Path,
    name: &str,
    depth: usize,
    rows: &mut Vec<Row>,
    wrong: &mut Vec<String>,
) -> u64 {
    let mut failed = |error: std::io::Error| wrong.push(format!("{name}: {}", reason(&error)));
    let found = match path.symlink_metadata() {
        Ok(found) => found,
        Err(error) => {
            failed(error);
            return 0;
        }
    };
    let is_folder = found.is_dir();
    let mut bytes = if is_folder { 0 } else { found.len() };
    if is_folder {
        let inside = match path.read_dir() {
            Ok(inside) => inside,
            Err(error) => {
                failed(error);
                return 0;
            }
        };
        let mut inside: Vec<_> = inside.flatten().map(|entry| entry.file_name()).collect();
        inside.sort();
        for entry in inside {
            let name = format!("{}/{}", name.trim_end_matches('/'), entry.to_string_lossy());
            bytes += look(&path.join(&entry), &name, depth + 1, rows, wrong);
        }
    }
    rows.push(Row { bytes, depth, name: name.to_owned(), is_folder });
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_counted_as_asked() {
        let check = |options: &[&str], bytes: u64, expected: &str| {
            let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
            let args = Args::read(&options, "hbmk", &[]).ok().unwrap();
            assert_eq!(size(bytes, &args), expected, "{options:?}");
        };
        check(&[], 1025, "2");
        check(&["-b"], 1025, "1025");
        check(&["-m"], 1, "1");
        check(&[], 0, "0");
    }
}
