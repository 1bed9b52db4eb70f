//! `sed`, its common part: `s d p q = y a i c n`, addresses, ranges, `!` and blocks of one command.

use regex_lite::{Captures, Regex};

use super::args::Args;
use super::regex::{Syntax, compile};
use super::text::each_input;
use crate::io::Sink;
use crate::proc::{Done, Failure, Proc};

enum Address {
    Line(usize),
    Last,
    Match(Regex),
}

enum Act {
    Substitute { regex: Regex, with: String, global: bool, print: bool, nth: usize },
    Translate(Vec<char>, Vec<char>),
    Delete,
    Print,
    Number,
    Quit,
    Next,
    Append(String),
    Insert(String),
    Change(String),
}

struct Step {
    from: Option<Address>,
    to: Option<Address>,
    negated: bool,
    act: Act,
    /// Between the two addresses.
    is_inside: bool,
}

struct Script<'a> {
    text: std::iter::Peekable<std::str::Chars<'a>>,
    syntax: Syntax,
}

pub(super) async fn sed(p: &mut Proc) -> Done {
    let long = [("quiet", 'n'), ("expression", 'e'), ("in-place", 'i'), ("regexp-extended", 'E')];
    let mut args = Args::read(&p.args[1..], "nErie:f:s", &long)?;
    let mut text: Vec<String> = args.values('e').map(str::to_owned).collect();
    for file in args.values('f') {
        text.push(std::fs::read_to_string(p.path(file))?);
    }
    if text.is_empty() {
        if args.rest.is_empty() {
            return Err("a script is missing".into());
        }
        text.push(args.rest.remove(0));
    }
    let extended = args.has('E') || args.has('r');
    let syntax = if extended { Syntax::Extended } else { Syntax::Basic };
    let text = text.join("\n");
    let mut steps = Script { text: text.chars().peekable(), syntax }.steps()?;
    let (quiet, in_place) = (args.has('n'), args.has('i'));
    let mut code = 0;
    if !in_place {
        let mut lines = Vec::new();
        for (_, source) in each_input(p, &args.rest, &mut code).await {
            while let Some(line) = source.text_line().await? {
                lines.push(line);
            }
        }
        edit(&mut steps, lines, quiet, &p.stdout).await?;
        return Ok(code);
    }
    for name in &args.rest {
        let text = std::fs::read_to_string(p.path(name))?;
        let lines = text.lines().map(str::to_owned).collect();
        let (sink, edited) = crate::io::memory();
        edit(&mut steps, lines, quiet, &sink).await?;
        std::fs::write(p.path(name), &*edited.borrow())?;
    }
    Ok(code)
}

async fn edit(
    steps: &mut [Step],
    lines: Vec<String>,
    quiet: bool,
    out: &Sink,
) -> Result<(), Failure> {
    let count = lines.len();
    let mut lines = lines.into_iter().zip(1..);
    while let Some((mut line, mut number)) = lines.next() {
        let (mut after, mut is_deleted, mut quits) = (String::new(), false, false);
        for step in steps.iter_mut() {
            if !step.applies(&line, number, number == count) {
                continue;
            }
            match &step.act {
                Act::Substitute { regex, with, global, print, nth } => {
                    if let Some(changed) = substitute(regex, &line, with, *global, *nth) {
                        line = changed;
                        if *print {
                            out.write(format!("{line}\n").as_bytes()).await?;
                        }
                    }
                }
                Act::Translate(from, to) => line = translate(&line, from, to),
                Act::Delete => is_deleted = true,
                Act::Print => out.write(format!("{line}\n").as_bytes()).await?,
                Act::Number => out.write(format!("{number}\n").as_bytes()).await?,
                Act::Quit => quits = true,
                Act::Next => {
                    if !quiet {
                        out.write(format!("{line}\n").as_bytes()).await?;
                    }
                    match lines.next() {
                        Some(next) => (line, number) = next,
                        None => return Ok(()),
                    }
                }
                Act::Append(text) => after.push_str(&format!("{text}\n")),
                Act::Insert(text) => out.write(format!("{text}\n").as_bytes()).await?,
                Act::Change(text) => {
                    is_deleted = true;
                    if step.to.is_none() || !step.is_inside {
                        out.write(format!("{text}\n").as_bytes()).await?;
                    }
                }
            }
            if is_deleted || quits {
                break;
            }
        }
        if !quiet && !is_deleted {
            out.write(format!("{line}\n").as_bytes()).await?;
        }
        out.write(after.as_bytes()).await?;
        if quits {
            return Ok(());
        }
    }
    Ok(())
}

impl Address {
    fn fits(&self, line: &str, number: usize, is_last: bool) -> bool {
        match self {
            Self::Line(wanted) => *wanted == number,
            Self::Last => is_last,
            Self::Match(regex) => regex.is_match(line),
        }
    }
}

impl Step {
    fn applies(&mut self, line: &str, number: usize, is_last: bool) -> bool {
        self.is_chosen(line, number, is_last) != self.negated
    }

    fn is_chosen(&mut self, line: &str, number: usize, is_last: bool) -> bool {
        let Some(from) = &self.from else { return true };
        let Some(to) = &self.to else { return from.fits(line, number, is_last) };
        if self.is_inside {
            let is_past = matches!(to, Address::Line(end) if *end < number);
            self.is_inside = !(to.fits(line, number, is_last) || is_past);
            return !is_past;
        }
        let begins = from.fits(line, number, is_last);
        let ends_here = matches!(to, Address::Line(end) if *end <= number);
        self.is_inside = begins && !ends_here && !(is_last && matches!(to, Address::Last));
        begins
    }
}

fn substitute(regex: &Regex, line: &str, with: &str, global: bool, nth: usize) -> Option<String> {
    let mut out = String::new();
    let (mut end, mut changed) = (0, false);
    for (at, found) in regex.captures_iter(line).enumerate() {
        let chosen = at + 1 == nth || (global && at + 1 >= nth);
        let Some(whole) = found.get(0).filter(|_| chosen) else { continue };
        out.push_str(&line[end..whole.start()]);
        fill(&mut out, with, &found);
        end = whole.end();
        changed = true;
        if !global {
            break;
        }
    }
    out.push_str(&line[end..]);
    changed.then_some(out)
}

/// Writes a replacement: `&`, `\1`, `\n`.
fn fill(out: &mut String, with: &str, found: &Captures<'_>) {
    let group = |number: usize| found.get(number).map_or("", |group| group.as_str());
    let mut chars = with.chars();
    while let Some(c) = chars.next() {
        match c {
            '&' => out.push_str(group(0)),
            '\\' => match chars.next() {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some(digit) if digit.is_ascii_digit() => {
                    out.push_str(group(digit.to_digit(10).unwrap_or(0) as usize));
                }
                Some(other) => out.push(other),
                None => out.push('\\'),
            },
            c => out.push(c),
        }
    }
}

fn translate(line: &str, from: &[char], to: &[char]) -> String {
    let put = |c: char| {
        let at = from.iter().position(|known| *known == c);
        at.and_then(|at| to.get(at)).copied().unwrap_or(c)
    };
    line.chars().map(put).collect()
}

impl Script<'_> {
    fn steps(&mut self) -> Result<Vec<Step>, String> {
        let mut steps = Vec::new();
        loop {
            while self.text.next_if(|c| c.is_whitespace() || *c == ';').is_some() {}
            if self.text.peek() == Some(&'#') {
                while self.text.next_if(|c| *c != '\n').is_some() {}
                continue;
            }
            if self.text.peek().is_none() {
                return Ok(steps);
            }
            let from = self.address()?;
            let to = if self.text.next_if_eq(&',').is_some() { self.address()? } else { None };
            while self.text.next_if_eq(&' ').is_some() {}
            let negated = self.text.next_if_eq(&'!').is_some();
            steps.push(Step { from, to, negated, act: self.act()?, is_inside: false });
        }
    }

    fn address(&mut self) -> Result<Option<Address>, String> {
        match self.text.peek().copied() {
            Some('$') => {
                self.text.next();
                Ok(Some(Address::Last))
            }
            Some(delimiter @ ('/' | '\\')) => {
                self.text.next();
                let delimiter = if delimiter == '\\' {
                    self.text.next().ok_or("unterminated address")?
                } else {
                    '/'
                };
                let pattern = self.until(delimiter)?;
                let ignore_case = self.text.next_if_eq(&'I').is_some();
                Ok(Some(Address::Match(compile(&pattern, self.syntax, ignore_case)?)))
            }
            Some(digit) if digit.is_ascii_digit() => Ok(Some(Address::Line(self.number()))),
            Some(_) | None => Ok(None),
        }
    }

    fn number(&mut self) -> usize {
        let mut number = 0_usize;
        while let Some(digit) = self.text.peek().and_then(|c| c.to_digit(10)) {
            number = number.saturating_mul(10).saturating_add(digit as usize);
            self.text.next();
        }
        number
    }

    /// Text up to a delimiter, which a backslash protects.
    fn until(&mut self, delimiter: char) -> Result<String, String> {
        let mut text = String::new();
        loop {
            match self.text.next() {
                Some(c) if c == delimiter => return Ok(text),
                Some('\\') => match self.text.next() {
                    Some(c) if c == delimiter => text.push(c),
                    Some(c) => text.extend(['\\', c]),
                    None => return Err("the script ends too early".to_owned()),
                },
                Some(c) => text.push(c),
                None => return Err(format!("'{delimiter}' is missing")),
            }
        }
    }

    fn line(&mut self) -> String {
        while self.text.next_if(|c| " \t\\".contains(*c)).is_some() {}
        self.text.next_if_eq(&'\n');
        let mut line = String::new();
        while let Some(c) = self.text.next_if(|c| *c != '\n') {
            line.push(c);
        }
        line
    }

    fn act(&mut self) -> Result<Act, String> {
        let act = match self.text.next().ok_or("a command is missing")? {
            's' => return self.substitution(),
            'y' => {
                let delimiter = self.text.next().ok_or("'y' is not whole")?;
                let (from, to) = (self.until(delimiter)?, self.until(delimiter)?);
                Act::Translate(from.chars().collect(), to.chars().collect())
            }
            'd' => Act::Delete,
            'p' => Act::Print,
            'q' => Act::Quit,
            'n' => Act::Next,
            '=' => Act::Number,
            'a' => return Ok(Act::Append(self.line())),
            'i' => return Ok(Act::Insert(self.line())),
            'c' => return Ok(Act::Change(self.line())),
            other => return Err(format!("command '{other}' is not supported")),
        };
        Ok(act)
    }

    fn substitution(&mut self) -> Result<Act, String> {
        let delimiter = self.text.next().ok_or("'s' is not whole")?;
        let (pattern, with) = (self.until(delimiter)?, self.until(delimiter)?);
        let (mut global, mut print, mut ignore_case, mut nth) = (false, false, false, 1);
        while let Some(flag) = self.text.peek().copied() {
            match flag {
                'g' => global = true,
                'p' => print = true,
                'i' | 'I' => ignore_case = true,
                digit if digit.is_ascii_digit() => {
                    nth = self.number().max(1);
                    continue;
                }
                _ => break,
            }
            self.text.next();
        }
        let regex = compile(&pattern, self.syntax, ignore_case)?;
        Ok(Act::Substitute { regex, with, global, print, nth })
    }
}
