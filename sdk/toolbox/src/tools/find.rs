//! `find`: walks trees and tests what it meets. Tests are joined by "and".

use std::fs::Metadata;

use super::system::run_tool;
use crate::proc::{Done, Failure, Proc, reason};
use crate::shell::pattern::fits_text;

enum Test {
    Name(String, bool),
    Path(String),
    Kind(char),
    Size(std::cmp::Ordering, u64),
    Empty,
}

enum Act {
    Print,
    Print0,
    Delete,
    Execute(Vec<String>),
    /// Once, with all that was found.
    ExecuteAll(Vec<String>),
}

#[derive(Default)]
struct Wanted {
    tests: Vec<(bool, Test)>,
    acts: Vec<Act>,
    depth_min: usize,
    depth_max: Option<usize>,
}

pub(super) async fn find(p: &mut Proc) -> Done {
    let args = p.args[1..].to_vec();
    let is_test = |arg: &String| arg.starts_with('-') || arg == "!" || arg == "(";
    let at = args.iter().position(is_test).unwrap_or(args.len());
    let mut roots = args[..at].to_vec();
    if roots.is_empty() {
        roots.push(".".to_owned());
    }
    let wanted = read(&args[at..])?;
    let (mut code, mut found) = (0, Vec::new());
    for root in &roots {
        if let Err(error) = p.path(root).symlink_metadata() {
            p.complain(&format!("find: {root}: {}", reason(&error))).await;
            code = 1;
            continue;
        }
        walk(p, &wanted, root, 0, &mut found);
    }
    let deletes = wanted.acts.iter().any(|act| matches!(act, Act::Delete));
    if deletes {
        found.reverse();
    }
    for path in &found {
        for act in &wanted.acts {
            if !perform(p, act, path).await? {
                break;
            }
        }
    }
    for act in &wanted.acts {
        if let (Act::ExecuteAll(words), false) = (act, found.is_empty()) {
            let place =
                |word: &String| if word == "{}" { found.clone() } else { vec![word.clone()] };
            let mut inner = p.clone();
            inner.args = words.iter().flat_map(place).collect();
            code = code.max(run_tool(&mut inner).await?);
        }
    }
    Ok(code)
}

/// Says whether the acts that follow are done too.
async fn perform(p: &Proc, act: &Act, path: &str) -> Result<bool, Failure> {
    match act {
        Act::Print => p.print(&format!("{path}\n")).await?,
        Act::Print0 => p.print(&format!("{path}\0")).await?,
        Act::Delete => {
            let at = p.path(path);
            let is_dir = at.symlink_metadata()?.is_dir();
            let removed = if is_dir { std::fs::remove_dir(at) } else { std::fs::remove_file(at) };
            removed.map_err(|error| format!("{path}: {}", reason(&error)))?;
        }
        Act::Execute(words) => {
            let mut inner = p.clone();
            inner.args = words.iter().map(|word| word.replace("{}", path)).collect();
            return Ok(run_tool(&mut inner).await? == 0);
        }
        Act::ExecuteAll(_) => {}
    }
    Ok(true)
}

fn walk(p: &Proc, wanted: &Wanted, name: &str, depth: usize, found: &mut Vec<String>) {
    let path = p.path(name);
    let Ok(meta) = path.symlink_metadata() else { return };
    let fits = |(holds, test): &(bool, Test)| test.fits(name, &path, &meta) == *holds;
    if depth >= wanted.depth_min && wanted.tests.iter().all(fits) {
        found.push(name.to_owned());
    }
    if !meta.is_dir() || wanted.depth_max.is_some_and(|most| depth >= most) {
        return;
    }
    let entries = std::fs::read_dir(&path).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    let folder = if name.ends_with('/') { name.to_owned() } else { format!("{name}/") };
    for inner in names {
        walk(p, wanted, &format!("{folder}{inner}"), depth + 1, found);
    }
}

impl Test {
    fn fits(&self, name: &str, path: &std::path::Path, meta: &Metadata) -> bool {
        match self {
            Self::Name(pattern, false) => fits_text(pattern, super::base(name)),
            Self::Name(pattern, true) => {
                fits_text(&pattern.to_lowercase(), &super::base(name).to_lowercase())
            }
            Self::Path(pattern) => fits_text(pattern, name),
            Self::Kind('f') => meta.is_file(),
            Self::Kind('d') => meta.is_dir(),
            Self::Kind(_) => meta.is_symlink(),
            Self::Size(order, bytes) => meta.is_file() && meta.len().cmp(bytes) == *order,
            Self::Empty if meta.is_dir() => {
                std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
            }
            Self::Empty => meta.len() == 0,
        }
    }
}

fn read(args: &[String]) -> Result<Wanted, Failure> {
    let mut wanted = Wanted::default();
    let mut args = args.iter();
    let mut holds = true;
    while let Some(arg) = args.next() {
        if arg == "!" || arg == "-not" {
            holds = !holds;
            continue;
        }
        let mut value = || args.next().cloned().ok_or_else(|| format!("{arg}: a value is missing"));
        let number = |text: String| text.parse().map_err(|_| format!("invalid number '{text}'"));
        let test = match arg.as_str() {
            "-name" => Test::Name(value()?, false),
            "-iname" => Test::Name(value()?, true),
            "-path" | "-wholename" => Test::Path(value()?),
            "-empty" => Test::Empty,
            "-size" => size(&value()?)?,
            "-type" => match value()?.chars().next() {
                Some(kind @ ('f' | 'd' | 'l')) => Test::Kind(kind),
                _ => return Err("-type must be f, d or l".into()),
            },
            other => {
                match other {
                    "-maxdepth" => wanted.depth_max = Some(number(value()?)?),
                    "-mindepth" => wanted.depth_min = number(value()?)?,
                    "-print" => wanted.acts.push(Act::Print),
                    "-print0" => wanted.acts.push(Act::Print0),
                    "-delete" => wanted.acts.push(Act::Delete),
                    "-exec" => wanted.acts.push(execute(&mut args)?),
                    "-a" | "-and" | "-depth" | "-xdev" => {}
                    other => return Err(format!("{other} is not supported").into()),
                }
                continue;
            }
        };
        wanted.tests.push((std::mem::replace(&mut holds, true), test));
    }
    if wanted.acts.is_empty() {
        wanted.acts.push(Act::Print);
    }
    Ok(wanted)
}

fn size(text: &str) -> Result<Test, Failure> {
    let (order, rest) = match text.strip_prefix(['+', '-']) {
        Some(rest) if text.starts_with('+') => (std::cmp::Ordering::Greater, rest),
        Some(rest) => (std::cmp::Ordering::Less, rest),
        None => (std::cmp::Ordering::Equal, text),
    };
    let digits = rest.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &rest[digits.len()..] {
        "c" => 1,
        "k" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        _ => 512,
    };
    let number: u64 = digits.parse().map_err(|_| format!("invalid size '{text}'"))?;
    Ok(Test::Size(order, number.saturating_mul(unit)))
}

fn execute(args: &mut std::slice::Iter<'_, String>) -> Result<Act, Failure> {
    let mut words = Vec::new();
    for arg in args.by_ref() {
        match arg.as_str() {
            ";" => return Ok(Act::Execute(words)),
            "+" if words.last().is_some_and(|last| last == "{}") => {
                return Ok(Act::ExecuteAll(words));
            }
            _ => words.push(arg.clone()),
        }
    }
    Err("-exec: ';' is missing".into())
}
