//! Tools that print their arguments: `echo`, `printf`, `seq`, `basename` and the like.

use std::fmt::Write as _;

use super::args::Args;
use crate::proc::{Done, Failure, Proc};

pub(super) async fn echo(p: &mut Proc) -> Done {
    let mut words = &p.args[1..];
    let (mut newline, mut escapes) = (true, false);
    while let Some(option) = words.first().and_then(|word| word.strip_prefix('-')) {
        if option.is_empty() || option.chars().any(|c| !"neE".contains(c)) {
            break;
        }
        newline &= !option.contains('n');
        escapes = (escapes || option.contains('e')) && !option.ends_with('E');
        words = &words[1..];
    }
    let mut text = words.join(" ");
    if escapes {
        let (plain, stops) = escaped(&text);
        text = plain;
        newline &= !stops;
    }
    if newline {
        text.push('\n');
    }
    p.print(&text).await?;
    Ok(0)
}

/// Resolves `\n` and its kin; says too whether `\c` ended the text.
fn escaped(text: &str) -> (String, bool) {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some('a') => out.push('\x07'),
            Some('b') => out.push('\x08'),
            Some('e') => out.push('\x1b'),
            Some('f') => out.push('\x0c'),
            Some('v') => out.push('\x0b'),
            Some('\\') => out.push('\\'),
            Some('c') => return (out, true),
            Some('x') => out.push(code(&mut chars, 16, 2, 0)),
            Some(digit @ '0'..='7') => {
                let first = digit.to_digit(8).unwrap_or(0);
                out.push(code(&mut chars, 8, if first == 0 { 3 } else { 2 }, first));
            }
            Some(other) => out.extend(['\\', other]),
            None => out.push('\\'),
        }
    }
    (out, false)
}

fn code(
    chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
    radix: u32,
    digits: usize,
    first: u32,
) -> char {
    let mut value = first;
    for _ in 0..digits {
        let Some(digit) = chars.peek().and_then(|c| c.to_digit(radix)) else { break };
        value = value * radix + digit;
        chars.next();
    }
    char::from(u8::try_from(value & 0xff).unwrap_or(0))
}

pub(super) async fn printf_tool(p: &mut Proc) -> Done {
    let Some(format) = p.args.get(1) else {
        return Err(Failure::Say(2, "a format is missing".to_owned()));
    };
    let text = printf(format, &p.args[2..])?;
    p.print(&text).await?;
    Ok(0)
}

/// Formats as `printf` does: the format is used again while there are arguments.
pub(crate) fn printf(format: &str, args: &[String]) -> Result<String, String> {
    let (format, _) = escaped(format);
    let mut out = String::new();
    let mut rest = args;
    loop {
        let before = rest.len();
        once(&format, &mut rest, &mut out)?;
        if rest.is_empty() || rest.len() == before {
            return Ok(out);
        }
    }
}

fn once(format: &str, args: &mut &[String], out: &mut String) -> Result<(), String> {
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut spec = String::new();
        while let Some(c) =
            chars.next_if(|c| "-+ 0#".contains(*c) || c.is_ascii_digit() || "*.".contains(*c))
        {
            if c == '*' {
                spec.push_str(&take(args));
            } else {
                spec.push(c);
            }
        }
        let kind = chars.next().ok_or("the format ends behind a '%'")?;
        if kind == '%' {
            out.push('%');
        } else {
            let argument = take(args);
            out.push_str(&one(&spec, kind, &argument)?);
        }
    }
    Ok(())
}

fn take(args: &mut &[String]) -> String {
    let Some((first, rest)) = args.split_first() else { return String::new() };
    *args = rest;
    first.clone()
}

fn one(spec: &str, kind: char, argument: &str) -> Result<String, String> {
    let flags: String = spec.chars().take_while(|c| "-+ 0#".contains(*c)).collect();
    let (width, precision) = match spec[flags.len()..].split_once('.') {
        Some((width, precision)) => (width, Some(precision.parse::<usize>().unwrap_or(0))),
        None => (&spec[flags.len()..], None),
    };
    let width = width.parse::<usize>().unwrap_or(0).min(4096);
    let mut text = match kind {
        's' => argument.chars().take(precision.unwrap_or(usize::MAX)).collect(),
        'b' => escaped(argument).0,
        'c' => argument.chars().take(1).collect(),
        'd' | 'i' | 'u' => integer(argument)?.to_string(),
        'x' => format!("{:x}", integer(argument)?),
        'X' => format!("{:X}", integer(argument)?),
        'o' => format!("{:o}", integer(argument)?),
        'f' | 'F' | 'g' | 'e' => {
            let number: f64 = if argument.is_empty() { Ok(0.0) } else { argument.parse() }
                .map_err(|_| format!("invalid number '{argument}'"))?;
            match kind {
                'e' => format!("{number:.*e}", precision.unwrap_or(6)),
                'g' => number.to_string(),
                _ => format!("{number:.*}", precision.unwrap_or(6)),
            }
        }
        other => return Err(format!("%{other}: invalid format")),
    };
    let is_number = !"sbc".contains(kind);
    if is_number && flags.contains('+') && !text.starts_with('-') {
        text.insert(0, '+');
    }
    let missing = width.saturating_sub(text.chars().count());
    Ok(if flags.contains('-') {
        format!("{text}{}", " ".repeat(missing))
    } else if flags.contains('0') && is_number {
        let sign = text.len() - text.trim_start_matches(['-', '+']).len();
        format!("{}{}{}", &text[..sign], "0".repeat(missing), &text[sign..])
    } else {
        format!("{}{text}", " ".repeat(missing))
    })
}

fn integer(text: &str) -> Result<i64, String> {
    if let Some(c) = text.strip_prefix(['\'', '"']) {
        return Ok(c.chars().next().map_or(0, |c| i64::from(u32::from(c))));
    }
    let number = match text.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16),
        None if text.is_empty() => Ok(0),
        None => text.parse(),
    };
    number.map_err(|_| format!("invalid number '{text}'"))
}

pub(super) async fn basename(p: &mut Proc) -> Done {
    let path = p.args.get(1).ok_or("a path is missing")?;
    let base = super::base(path);
    let base = match p.args.get(2) {
        Some(suffix) if base != suffix => base.strip_suffix(suffix.as_str()).unwrap_or(base),
        Some(_) | None => base,
    };
    p.print(&format!("{base}\n")).await?;
    Ok(0)
}

pub(super) async fn dirname(p: &mut Proc) -> Done {
    let path = p.args.get(1).ok_or("a path is missing")?.trim_end_matches('/');
    let folder = match path.rsplit_once('/') {
        Some((folder, _)) if !folder.trim_end_matches('/').is_empty() => {
            folder.trim_end_matches('/')
        }
        Some(_) => "/",
        None if path.is_empty() => "/",
        None => ".",
    };
    p.print(&format!("{folder}\n")).await?;
    Ok(0)
}

pub(super) async fn pwd(p: &mut Proc) -> Done {
    p.print(&format!("{}\n", p.cwd.display())).await?;
    Ok(0)
}

pub(super) async fn seq(p: &mut Proc) -> Done {
    let numbers: Vec<&String> = p.args[1..].iter().filter(|arg| *arg != "-w").collect();
    let (separator, numbers) = match &numbers[..] {
        [flag, separator, rest @ ..] if *flag == "-s" => (separator.as_str(), rest.to_vec()),
        all => ("\n", all.to_vec()),
    };
    let parsed: Result<Vec<f64>, _> = numbers.iter().map(|text| text.parse()).collect();
    let parsed = parsed.map_err(|_| "the arguments must be numbers")?;
    let (from, step, to) = match parsed[..] {
        [to] => (1.0, 1.0, to),
        [from, to] => (from, 1.0, to),
        [from, step, to] if step != 0.0 => (from, step, to),
        _ => return Err("usage: seq [FROM [STEP]] TO".into()),
    };
    let decimals = |text: &&&String| text.split_once('.').map_or(0, |(_, rest)| rest.len());
    let decimals = numbers.iter().take(2).map(|text| decimals(&text)).max().unwrap_or(0);
    let (mut line, mut at) = (String::new(), 0.0);
    loop {
        let number = from + step * at;
        if (step > 0.0 && number > to) || (step < 0.0 && number < to) {
            break;
        }
        line.clear();
        if at > 0.0 {
            line.push_str(separator);
        }
        let _ = write!(line, "{number:.decimals$}");
        p.print(&line).await?;
        at += 1.0;
    }
    if at > 0.0 {
        p.print("\n").await?;
    }
    Ok(0)
}

pub(super) async fn yes(p: &mut Proc) -> Done {
    let args = Args::read(&p.args[1..], "", &[])?;
    let word = if args.rest.is_empty() { "y".to_owned() } else { args.rest.join(" ") };
    let lines = format!("{word}\n").repeat(256);
    loop {
        p.print(&lines).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats() {
        let check = |format: &str, args: &[&str], want: &str| {
            let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
            assert_eq!(printf(format, &args).as_deref(), Ok(want), "{format}");
        };
        check("%s-%s\\n", &["a", "b", "c"], "a-b\nc-\n");
        check("%05d|%-4s|%4s|%x", &["-42", "ab", "cd", "255"], "-0042|ab  |  cd|ff");
        check("%.2f %%", &["3.14159"], "3.14 %");
        check("plain", &["ignored"], "plain");
        check("%.3s", &["abcdef"], "abc");
        assert!(printf("%d", &["x".to_owned()]).is_err());
    }

    #[test]
    fn escapes() {
        assert_eq!(escaped("a\\tb\\x41\\0101\\q"), ("a\tbAA\\q".to_owned(), false));
        assert_eq!(escaped("a\\cb"), ("a".to_owned(), true));
    }
}
