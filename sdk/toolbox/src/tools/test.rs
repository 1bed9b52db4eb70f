//! `test` and `[`.
//!
//! *Source:* POSIX, `test`; the number of arguments decides what is an operator.

use std::path::Path;

use crate::proc::{Done, Failure, Proc};

pub(super) async fn test(p: &mut Proc) -> Done {
    let mut args = &p.args[1..];
    let end = match super::base(&p.args[0]) {
        "[" => "]",
        // As elsewhere in small shells, but another spelling.
        "[[" => "]]",
        _ => "",
    };
    if !end.is_empty() {
        args = match args.split_last() {
            Some((last, rest)) if last == end => rest,
            _ => return Err(Failure::Say(2, format!("missing {end}"))),
        };
    }
    let holds = decide(args, &p.cwd).map_err(|message| Failure::Say(2, message))?;
    Ok(i32::from(!holds))
}

/// Decides an expression.
pub(crate) fn decide(args: &[String], cwd: &Path) -> Result<bool, String> {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    either(&args, cwd)
}

fn either(args: &[&str], cwd: &Path) -> Result<bool, String> {
    if let Some(short) = by_count(args, cwd) {
        return short;
    }
    if let Some(at) = top_level(args, "-o") {
        return Ok(either(&args[..at], cwd)? || either(&args[at + 1..], cwd)?);
    }
    if let Some(at) = top_level(args, "-a") {
        return Ok(either(&args[..at], cwd)? && either(&args[at + 1..], cwd)?);
    }
    match args {
        ["!", rest @ ..] => either(rest, cwd).map(|holds| !holds),
        ["(", inner @ .., ")"] => either(inner, cwd),
        [_, operator, ..] => Err(format!("{operator}: unknown operator")),
        _ => Err("argument expected".to_owned()),
    }
}

/// Where an operator stands that is in no parentheses.
fn top_level(args: &[&str], operator: &str) -> Option<usize> {
    let mut depth = 0_i32;
    args.iter().enumerate().find_map(|(at, arg)| {
        depth += i32::from(*arg == "(") - i32::from(*arg == ")");
        (depth == 0 && *arg == operator && at > 0).then_some(at)
    })
}

fn by_count(args: &[&str], cwd: &Path) -> Option<Result<bool, String>> {
    match args {
        [] => Some(Ok(false)),
        [one] => Some(Ok(!one.is_empty())),
        ["!", one] => Some(Ok(one.is_empty())),
        [operator, value] => Some(unary(operator, value, cwd)),
        [left, operator, right] => binary(left, operator, right),
        ["!", rest @ ..] if rest.len() == 3 => {
            by_count(rest, cwd).map(|holds| holds.map(|holds| !holds))
        }
        _ => None,
    }
}

fn unary(operator: &str, value: &str, cwd: &Path) -> Result<bool, String> {
    let path = cwd.join(value);
    let found = || std::fs::metadata(&path);
    Ok(match operator {
        "-n" => !value.is_empty(),
        "-z" => value.is_empty(),
        "-e" | "-r" | "-w" | "-x" => found().is_ok(),
        "-f" => found().is_ok_and(|found| found.is_file()),
        "-d" => found().is_ok_and(|found| found.is_dir()),
        "-s" => found().is_ok_and(|found| found.len() > 0),
        "-L" | "-h" => path.symlink_metadata().is_ok_and(|found| found.is_symlink()),
        "-t" => match value {
            "0" => std::io::IsTerminal::is_terminal(&std::io::stdin()),
            "1" => std::io::IsTerminal::is_terminal(&std::io::stdout()),
            _ => false,
        },
        other => return Err(format!("{other}: unknown operator")),
    })
}

fn binary(left: &str, operator: &str, right: &str) -> Option<Result<bool, String>> {
    let text = match operator {
        "=" | "==" => left == right,
        "!=" => left != right,
        "<" => left < right,
        ">" => left > right,
        "-a" => !left.is_empty() && !right.is_empty(),
        "-o" => !left.is_empty() || !right.is_empty(),
        _ => return numbers(left, operator, right),
    };
    Some(Ok(text))
}

fn numbers(left: &str, operator: &str, right: &str) -> Option<Result<bool, String>> {
    let compare: fn(i64, i64) -> bool = match operator {
        "-eq" => |a, b| a == b,
        "-ne" => |a, b| a != b,
        "-lt" => |a, b| a < b,
        "-le" => |a, b| a <= b,
        "-gt" => |a, b| a > b,
        "-ge" => |a, b| a >= b,
        _ => return None,
    };
    let number = |text: &str| text.trim().parse().map_err(|_| format!("{text}: bad number"));
    Some(number(left).and_then(|left| Ok(compare(left, number(right)?))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions() {
        let check = |text: &str, want: Result<bool, &str>| {
            let args: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            let found = decide(&args, Path::new("/"));
            assert_eq!(found.as_ref().map(|v| *v).map_err(String::as_str), want, "{text}");
        };
        check("", Ok(false));
        check("-n", Ok(true));
        check("-z x", Ok(false));
        check("! x", Ok(false));
        check("a = a", Ok(true));
        check("! a = a", Ok(false));
        check("3 -lt 10", Ok(true));
        check("a = b -o ( 1 -eq 1 -a x != y )", Ok(true));
        check("-d / -a ! -f /", Ok(true));
        check("x -lt 1", Err("x: bad number"));
        check("-q x", Err("-q: unknown operator"));
    }
}
