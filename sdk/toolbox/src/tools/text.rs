//! Tools that pass text through: `cat`, `head`, `tail`, `wc`, `sort`, `uniq`, `cut`, `tee`.

use std::collections::VecDeque;
use std::fs::File;
use std::time::Duration;

use super::args::Args;
use crate::io::{self, Sink, Source};
use crate::proc::{Done, Failure, Proc, reason};

/// How often `tail -f` looks for more.
const FOLLOW_LOOK: Duration = Duration::from_millis(250);

/// Opens the operands one after the other, stdin when there are none; says which cannot be opened.
pub(super) async fn each_input(
    p: &Proc,
    names: &[String],
    code: &mut i32,
) -> Vec<(String, Source)> {
    let stdin = vec!["-".to_owned()];
    let names = if names.is_empty() { &stdin } else { names };
    let mut inputs = Vec::new();
    for name in names {
        match p.open(name) {
            Ok(source) => inputs.push((name.clone(), source)),
            Err(message) => {
                p.complain(&format!("{}: {message}", p.args[0])).await;
                *code = 1;
            }
        }
    }
    inputs
}

pub(super) async fn cat(p: &mut Proc) -> Done {
    let args = Args::read(&p.args[1..], "nuAv", &[])?;
    let (mut code, mut number) = (0, 0);
    for (_, source) in each_input(p, &args.rest, &mut code).await {
        if args.has('n') {
            while let Some(line) = source.line().await? {
                number += 1;
                p.print(&format!("{number:6}\t")).await?;
                p.stdout.write(&line).await?;
            }
            continue;
        }
        loop {
            let bytes = source.some().await?;
            if bytes.is_empty() {
                break;
            }
            p.stdout.write(&bytes).await?;
        }
    }
    Ok(code)
}

/// `-5` is `-n 5`.
fn short_count(args: &[String]) -> Vec<String> {
    let short = |arg: &String| match arg.strip_prefix('-') {
        Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
            format!("-n{digits}")
        }
        _ => arg.clone(),
    };
    args.iter().map(short).collect()
}

pub(super) async fn head(p: &mut Proc) -> Done {
    let args = Args::read(&short_count(&p.args[1..]), "n:c:q", &[("lines", 'n'), ("bytes", 'c')])?;
    let mut code = 0;
    let inputs = each_input(p, &args.rest, &mut code).await;
    for (at, (name, source)) in inputs.iter().enumerate() {
        title(p, inputs.len(), at, name).await?;
        if let Some(bytes) = args.number('c')? {
            let bytes = source.exactly(usize::try_from(bytes).unwrap_or(0)).await?;
            p.stdout.write(&bytes).await?;
            continue;
        }
        for _ in 0..args.number('n')?.unwrap_or(10) {
            match source.line().await? {
                Some(line) => p.stdout.write(&line).await?,
                None => break,
            }
        }
    }
    Ok(code)
}

async fn title(p: &Proc, count: usize, at: usize, name: &str) -> std::io::Result<()> {
    if count > 1 {
        let gap = if at > 0 { "\n" } else { "" };
        p.print(&format!("{gap}==> {name} <==\n")).await?;
    }
    Ok(())
}

pub(super) async fn tail(p: &mut Proc) -> Done {
    let args =
        Args::read(&short_count(&p.args[1..]), "n:c:fFq", &[("lines", 'n'), ("bytes", 'c')])?;
    let mut code = 0;
    let inputs = each_input(p, &args.rest, &mut code).await;
    for (at, (name, source)) in inputs.iter().enumerate() {
        title(p, inputs.len(), at, name).await?;
        if let Some(wanted) = args.value('c') {
            let (skip, count) = from_end(wanted)?;
            let bytes = source.all().await?;
            let from =
                if skip { count.saturating_sub(1) } else { bytes.len().saturating_sub(count) };
            p.stdout.write(bytes.get(from..).unwrap_or_default()).await?;
            continue;
        }
        let (skip, count) = from_end(args.value('n').unwrap_or("10"))?;
        let mut last = VecDeque::new();
        let mut number = 0;
        while let Some(line) = source.line().await? {
            number += 1;
            if skip {
                if number >= count {
                    p.stdout.write(&line).await?;
                }
                continue;
            }
            last.push_back(line);
            if last.len() > count {
                last.pop_front();
            }
        }
        for line in last {
            p.stdout.write(&line).await?;
        }
    }
    if args.has('f') || args.has('F') {
        loop {
            for (_, source) in &inputs {
                let bytes = source.some().await?;
                p.stdout.write(&bytes).await?;
            }
            io::flush();
            io::turn().await;
            std::thread::sleep(FOLLOW_LOOK);
        }
    }
    Ok(code)
}

/// `5` is the last five, `+5` from the fifth on.
fn from_end(text: &str) -> Result<(bool, usize), Failure> {
    let number = text.trim_start_matches(['+', '-']);
    let number = number.parse().map_err(|_| format!("invalid number '{text}'"))?;
    Ok((text.starts_with('+'), number))
}

pub(super) async fn wc(p: &mut Proc) -> Done {
    let args = Args::read(&p.args[1..], "lwcm", &[])?;
    let all = !"lwcm".chars().any(|letter| args.has(letter));
    let mut code = 0;
    let inputs = each_input(p, &args.rest, &mut code).await;
    let mut total = [0_usize; 4];
    for (name, source) in &inputs {
        let counts = count(source).await?;
        total.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        let name = if args.rest.is_empty() { "" } else { name };
        let line = counted(&args, all, counts, name);
        p.print(&line).await?;
    }
    if inputs.len() > 1 {
        p.print(&counted(&args, all, total, "total")).await?;
    }
    Ok(code)
}

/// Lines, words, characters, bytes.
async fn count(source: &Source) -> std::io::Result<[usize; 4]> {
    let (mut counts, mut in_word) = ([0; 4], false);
    loop {
        let bytes = source.some().await?;
        if bytes.is_empty() {
            return Ok(counts);
        }
        counts[3] += bytes.len();
        for byte in bytes {
            counts[0] += usize::from(byte == b'\n');
            counts[2] += usize::from(byte & 0xc0 != 0x80);
            let is_word = !byte.is_ascii_whitespace();
            counts[1] += usize::from(is_word && !in_word);
            in_word = is_word;
        }
    }
}

fn counted(args: &Args, all: bool, counts: [usize; 4], name: &str) -> String {
    let wanted = [('l', all), ('w', all), ('m', false), ('c', all)];
    let shown: Vec<String> = wanted
        .iter()
        .zip(counts)
        .filter(|((letter, is_default), _)| *is_default || args.has(*letter))
        .map(|(_, count)| count.to_string())
        .collect();
    let gap = if name.is_empty() { "" } else { " " };
    format!("{}{gap}{name}\n", shown.join(" "))
}

pub(super) async fn sort(p: &mut Proc) -> Done {
    let args = Args::read(&p.args[1..], "nrufbsk:t:o:", &[])?;
    let mut code = 0;
    let mut lines = Vec::new();
    for (_, source) in each_input(p, &args.rest, &mut code).await {
        while let Some(line) = source.text_line().await? {
            lines.push(line);
        }
    }
    let separator = args.value('t').and_then(|text| text.chars().next());
    let fields = args.value('k').map(key_fields).transpose()?;
    let (numeric, fold) = (args.has('n') || is_flagged(&args, 'n'), args.has('f'));
    let key = |line: &String| -> String {
        let key = match fields {
            None => line.clone(),
            Some((from, to)) => part(line, separator, from, to),
        };
        if fold { key.to_lowercase() } else { key }
    };
    let number = |key: &str| leading_number(key);
    lines.sort_by(|a, b| {
        let (left, right) = (key(a), key(b));
        let by_key =
            if numeric { number(&left).total_cmp(&number(&right)) } else { left.cmp(&right) };
        let order =
            by_key.then_with(|| if args.has('s') || args.has('u') { by_key } else { a.cmp(b) });
        if args.has('r') || is_flagged(&args, 'r') { order.reverse() } else { order }
    });
    if args.has('u') {
        let same = |a: &str, b: &str| if numeric { number(a) == number(b) } else { a == b };
        lines.dedup_by(|a, b| same(&key(a), &key(b)));
    }
    let sink = match args.value('o') {
        Some(file) => Sink::file(File::create(p.path(file))?),
        None => p.stdout.clone(),
    };
    for line in lines {
        sink.write(format!("{line}\n").as_bytes()).await?;
    }
    Ok(code)
}

/// `-k 2n`: a letter behind the key.
fn is_flagged(args: &Args, letter: char) -> bool {
    args.value('k').is_some_and(|key| key.ends_with(letter))
}

fn key_fields(text: &str) -> Result<(usize, Option<usize>), Failure> {
    let number = |text: &str| -> Result<usize, Failure> {
        let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok().filter(|n| *n > 0).ok_or_else(|| format!("invalid key '{text}'").into())
    };
    match text.split_once(',') {
        Some((from, to)) => Ok((number(from)?, Some(number(to)?))),
        None => Ok((number(text)?, None)),
    }
}

fn part(line: &str, separator: Option<char>, from: usize, to: Option<usize>) -> String {
    let fields: Vec<&str> = match separator {
        Some(separator) => line.split(separator).collect(),
        None => line.split_whitespace().collect(),
    };
    let to = to.unwrap_or(fields.len()).min(fields.len());
    fields.get(from - 1..to).unwrap_or_default().join(" ")
}

fn leading_number(text: &str) -> f64 {
    let text = text.trim_start();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-'));
    text[..end.unwrap_or(text.len())].parse().unwrap_or(0.0)
}

pub(super) async fn uniq(p: &mut Proc) -> Done {
    let args = Args::read(&p.args[1..], "cdui", &[])?;
    let mut code = 0;
    let inputs = each_input(p, args.rest.get(..1).unwrap_or_default(), &mut code).await;
    let Some((_, source)) = inputs.first() else { return Ok(code) };
    let mut run: Option<(String, usize)> = None;
    loop {
        let line = source.text_line().await?;
        if let (Some((known, count)), Some(line)) = (&mut run, &line)
            && (known == line || args.has('i') && known.eq_ignore_ascii_case(line))
        {
            *count += 1;
            continue;
        }
        if let Some((known, count)) = run.take() {
            let wanted = !(args.has('d') && count == 1 || args.has('u') && count > 1);
            let shown =
                if args.has('c') { format!("{count:7} {known}\n") } else { format!("{known}\n") };
            if wanted {
                p.print(&shown).await?;
            }
        }
        match line {
            Some(line) => run = Some((line, 1)),
            None => return Ok(code),
        }
    }
}

pub(super) async fn cut(p: &mut Proc) -> Done {
    let args = Args::read(&p.args[1..], "d:f:c:b:s", &[])?;
    let characters = args.value('c').or(args.value('b'));
    let list = characters
        .or(args.value('f'))
        .ok_or("a list of fields (-f) or characters (-c) is missing")?;
    let ranges = ranges(list)?;
    let wanted = |number: usize| ranges.iter().any(|(from, to)| (*from..=*to).contains(&number));
    let delimiter = args.value('d').and_then(|text| text.chars().next()).unwrap_or('\t');
    let mut code = 0;
    for (_, source) in each_input(p, &args.rest, &mut code).await {
        while let Some(line) = source.text_line().await? {
            let kept: String = if characters.is_some() {
                let numbered = line.chars().zip(1..);
                numbered.filter(|(_, number)| wanted(*number)).map(|(c, _)| c).collect()
            } else if line.contains(delimiter) {
                let numbered = line.split(delimiter).zip(1..);
                let kept = numbered.filter(|(_, number)| wanted(*number)).map(|(field, _)| field);
                kept.collect::<Vec<_>>().join(&delimiter.to_string())
            } else if args.has('s') {
                continue;
            } else {
                line
            };
            p.print(&format!("{kept}\n")).await?;
        }
    }
    Ok(code)
}

fn ranges(list: &str) -> Result<Vec<(usize, usize)>, Failure> {
    let bad = || Failure::from(format!("invalid list '{list}'"));
    let number = |text: &str, otherwise: usize| {
        if text.is_empty() { Ok(otherwise) } else { text.parse().map_err(|_| bad()) }
    };
    let range = |part: &str| match part.split_once('-') {
        Some((from, to)) => Ok((number(from, 1)?, number(to, usize::MAX)?)),
        None => number(part, 0).map(|at: usize| (at, at)),
    };
    list.split(',').map(range).collect()
}

pub(super) async fn tee(p: &mut Proc) -> Done {
    let args = Args::read(&p.args[1..], "ai", &[])?;
    let (mut code, mut sinks) = (0, vec![p.stdout.clone()]);
    for name in &args.rest {
        let mut options = File::options();
        options.create(true).append(args.has('a')).write(true).truncate(!args.has('a'));
        match options.open(p.path(name)) {
            Ok(file) => sinks.push(Sink::file(file)),
            Err(error) => {
                p.complain(&format!("tee: {name}: {}", reason(&error))).await;
                code = 1;
            }
        }
    }
    loop {
        let bytes = p.stdin.some().await?;
        if bytes.is_empty() {
            return Ok(code);
        }
        for sink in &sinks {
            sink.write(&bytes).await?;
        }
    }
}
