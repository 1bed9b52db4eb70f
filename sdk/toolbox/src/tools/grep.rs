//! `grep`, `egrep`, `fgrep`.

use regex_lite::Regex;

use super::args::Args;
use super::regex::{Syntax, compile};
use crate::io::Source;
use crate::proc::{Done, Failure, Proc};

const LONG: [(&str, char); 10] = [
    ("ignore-case", 'i'),
    ("invert-match", 'v'),
    ("count", 'c'),
    ("line-number", 'n'),
    ("quiet", 'q'),
    ("recursive", 'r'),
    ("extended-regexp", 'E'),
    ("fixed-strings", 'F'),
    ("files-with-matches", 'l'),
    ("only-matching", 'o'),
];

pub(super) async fn grep(p: &mut Proc) -> Done {
    let mut args = Args::read(&p.args[1..], "ivcnqrREFGloshHwxe:m:A:B:", &LONG)?;
    let mut patterns: Vec<String> = args.values('e').map(str::to_owned).collect();
    if patterns.is_empty() {
        if args.rest.is_empty() {
            return Err(Failure::Say(2, "a pattern is missing".to_owned()));
        }
        patterns.push(args.rest.remove(0));
    }
    let syntax = match super::base(&p.args[0]) {
        "fgrep" => Syntax::Fixed,
        "egrep" => Syntax::Extended,
        _ if args.has('F') => Syntax::Fixed,
        _ if args.has('E') => Syntax::Extended,
        _ => Syntax::Basic,
    };
    let lines = patterns.iter().flat_map(|pattern| pattern.split('\n'));
    let compiled: Result<Vec<Regex>, String> =
        lines.map(|line| compile(line, syntax, args.has('i'))).collect();
    let compiled = compiled.map_err(|message| Failure::Say(2, message))?;
    let recursive = args.has('r') || args.has('R');
    let names = names(p, &args, recursive);
    let titled = (names.len() > 1 || recursive) && !args.has('h') || args.has('H');
    let (mut any, mut failed) = (false, false);
    for name in names {
        match p.open(&name) {
            Ok(source) => {
                let title = titled.then_some(name.as_str());
                any |= search(p, &args, &compiled, &source, title, &name).await?;
            }
            Err(message) => {
                failed = true;
                if !args.has('s') {
                    p.complain(&format!("grep: {message}")).await;
                }
            }
        }
        if any && args.has('q') {
            return Ok(0);
        }
    }
    Ok(if failed { 2 } else { i32::from(!any) })
}

fn names(p: &Proc, args: &Args, recursive: bool) -> Vec<String> {
    if !recursive {
        return if args.rest.is_empty() { vec!["-".to_owned()] } else { args.rest.clone() };
    }
    let roots = if args.rest.is_empty() { vec![".".to_owned()] } else { args.rest.clone() };
    let mut found = Vec::new();
    for root in roots {
        below(p, &root, &mut found);
    }
    found
}

fn below(p: &Proc, name: &str, found: &mut Vec<String>) {
    let path = p.path(name);
    if !path.is_dir() {
        return found.push(name.to_owned());
    }
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let mut inner: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    inner.sort();
    for entry in inner {
        let child = format!("{}/{entry}", name.trim_end_matches('/'));
        if !p.path(&child).is_symlink() {
            below(p, &child, found);
        }
    }
}

fn is_hit(args: &Args, patterns: &[Regex], line: &str) -> bool {
    let hit = |regex: &Regex| {
        if args.has('x') {
            return regex.find_iter(line).any(|found| found.as_str() == line);
        }
        if !args.has('w') {
            return regex.is_match(line);
        }
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        regex.find_iter(line).any(|found| {
            !line[..found.start()].ends_with(is_word) && !line[found.end()..].starts_with(is_word)
        })
    };
    patterns.iter().any(hit) != args.has('v')
}

async fn search(
    p: &Proc,
    args: &Args,
    patterns: &[Regex],
    source: &Source,
    title: Option<&str>,
    name: &str,
) -> Result<bool, Failure> {
    let most = args.number('m')?.unwrap_or(i64::MAX);
    let before = usize::try_from(args.number('B')?.unwrap_or(0)).unwrap_or(0);
    let after = args.number('A')?.unwrap_or(0);
    let title = title.map(|title| format!("{title}:")).unwrap_or_default();
    let (mut hits, mut number, mut follow) = (0, 0_usize, 0);
    let mut earlier: Vec<(usize, String)> = Vec::new();
    while let Some(line) = source.text_line().await? {
        number += 1;
        let place =
            |number: usize| if args.has('n') { format!("{number}:") } else { String::new() };
        if !is_hit(args, patterns, &line) {
            if follow > 0 {
                follow -= 1;
                p.print(&format!("{title}{}{line}\n", place(number))).await?;
            } else if before > 0 {
                earlier.push((number, line));
                if earlier.len() > before {
                    earlier.remove(0);
                }
            }
            continue;
        }
        hits += 1;
        if args.has('q') || args.has('l') {
            break;
        }
        if !args.has('c') {
            for (number, line) in earlier.drain(..) {
                p.print(&format!("{title}{}{line}\n", place(number))).await?;
            }
            if args.has('o') {
                for found in patterns.iter().flat_map(|regex| regex.find_iter(&line)) {
                    p.print(&format!("{title}{}{}\n", place(number), found.as_str())).await?;
                }
            } else {
                p.print(&format!("{title}{}{line}\n", place(number))).await?;
            }
            follow = after;
        }
        if hits >= most {
            break;
        }
    }
    if args.has('c') {
        p.print(&format!("{title}{hits}\n")).await?;
    }
    if args.has('l') && hits > 0 {
        p.print(&format!("{name}\n")).await?;
    }
    Ok(hits > 0)
}
