//! POSIX patterns, as this program's own regular expressions have them.
//!
//! *Source:* POSIX, Regular Expressions; references back (`\1`) are not regular and refused.

use regex_lite::{Regex, RegexBuilder};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Syntax {
    Basic,
    Extended,
    Fixed,
}

/// Most bytes of a compiled pattern.
const PATTERN_BYTES_MAX: usize = 4 << 20;

/// Compiles a pattern.
pub(crate) fn compile(pattern: &str, syntax: Syntax, ignore_case: bool) -> Result<Regex, String> {
    let translated = translate(pattern, syntax)?;
    let mut builder = RegexBuilder::new(&translated);
    let built = builder.case_insensitive(ignore_case).size_limit(PATTERN_BYTES_MAX).build();
    built.map_err(|error| format!("bad pattern '{pattern}': {error}"))
}

/// Writes a pattern in the syntax of `regex_lite`.
pub(crate) fn translate(pattern: &str, syntax: Syntax) -> Result<String, String> {
    if syntax == Syntax::Fixed {
        return Ok(regex_lite::escape(pattern));
    }
    let basic = syntax == Syntax::Basic;
    let chars: Vec<char> = pattern.chars().collect();
    let mut out = String::new();
    let mut at = 0;
    while let Some(c) = chars.get(at).copied() {
        at += 1;
        match c {
            '[' => at = bracket(&chars, at, &mut out).ok_or("bad pattern: '[' is not closed")?,
            '\\' => {
                let next = *chars.get(at).ok_or("bad pattern: it ends with a backslash")?;
                at += 1;
                match next {
                    '(' | ')' | '{' | '}' | '|' | '+' | '?' if basic => out.push(next),
                    '1'..='9' => return Err(format!("bad pattern: '\\{next}' is not supported")),
                    '<' => out.push_str("\\b"),
                    '>' => out.push_str("\\b"),
                    'w' | 'W' | 's' | 'S' | 'd' | 'D' | 'b' | 'B' | 'n' | 't' => {
                        out.extend(['\\', next])
                    }
                    other => out.push_str(&regex_lite::escape(&other.to_string())),
                }
            }
            '(' | ')' | '{' | '}' | '|' | '+' | '?' if basic => out.extend(['\\', c]),
            '*' if basic && begins(&out) => out.push_str("\\*"),
            '^' if basic && !begins(&out) => out.push_str("\\^"),
            '$' if basic && !ends(&chars[at..]) => out.push_str("\\$"),
            c => out.push(c),
        }
    }
    Ok(out)
}

fn begins(out: &str) -> bool {
    out.is_empty() || out == "^" || out.ends_with('(') && !out.ends_with("\\(")
}

fn ends(rest: &[char]) -> bool {
    rest.is_empty() || rest.starts_with(&['\\', ')']) || rest.starts_with(&['\\', '|'])
}

/// Copies a bracket expression, in which a backslash is a character like others.
fn bracket(chars: &[char], mut at: usize, out: &mut String) -> Option<usize> {
    out.push('[');
    if chars.get(at) == Some(&'^') {
        out.push('^');
        at += 1;
    }
    let start = at;
    loop {
        let c = *chars.get(at)?;
        at += 1;
        match c {
            ']' if at - 1 > start => {
                out.push(']');
                return Some(at);
            }
            '[' if chars.get(at) == Some(&':') => {
                let end = chars[at..].windows(2).position(|pair| pair == [':', ']'])?;
                out.push('[');
                out.extend(&chars[at..at + end + 2]);
                at += end + 2;
            }
            '\\' | '[' | ']' | '&' | '~' => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn posix_patterns() {
        let check = |pattern: &str, syntax, text: &str, want: Option<&str>| {
            let regex = compile(pattern, syntax, false).unwrap();
            assert_eq!(regex.find(text).map(|found| found.as_str()), want, "{pattern} in {text}");
        };
        check("a+b", Syntax::Basic, "aab a+b", Some("a+b"));
        check("a\\+b", Syntax::Basic, "aab", Some("aab"));
        check("a+b", Syntax::Extended, "aab", Some("aab"));
        check("\\(ab\\)*c", Syntax::Basic, "ababc", Some("ababc"));
        check("*x", Syntax::Basic, "a*x", Some("*x"));
        check("a^b$c", Syntax::Basic, "a^b$c", Some("a^b$c"));
        check("[[:digit:]]\\{2\\}", Syntax::Basic, "a12", Some("12"));
        check("[]a]", Syntax::Basic, "x]", Some("]"));
        check("[\\.]", Syntax::Basic, "a\\", Some("\\"));
        check("a.c", Syntax::Fixed, "abc a.c", Some("a.c"));
        assert!(compile("\\(a\\)\\1", Syntax::Basic, false).is_err());
        assert!(compile("[a", Syntax::Basic, false).is_err());
    }
}
