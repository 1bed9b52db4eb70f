//! `tr`: puts characters in the place of others.

use super::args::Args;
use crate::proc::{Done, Proc};

pub(super) async fn tr(p: &mut Proc) -> Done {
    let args = Args::read(&p.args[1..], "dscC", &[])?;
    let complement = args.has('c') || args.has('C');
    let first = set(args.rest.first().ok_or("a set is missing")?);
    let second = args.rest.get(1).map(|text| set(text));
    let is_in = |byte: u8| first.contains(&byte) != complement;
    let squeezed =
        if args.has('s') { second.clone().unwrap_or_else(|| first.clone()) } else { Vec::new() };
    let squeezes_all_others = args.has('s') && complement && second.is_none();
    let mut last = None;
    loop {
        let bytes = p.stdin.some().await?;
        if bytes.is_empty() {
            return Ok(0);
        }
        let mut out = Vec::with_capacity(bytes.len());
        for byte in bytes {
            let found = is_in(byte);
            if found && args.has('d') {
                continue;
            }
            let put = match &second {
                Some(second) if found && !args.has('d') => {
                    replacement(&first, second, byte, complement)
                }
                _ => byte,
            };
            let squeezes = squeezed.contains(&put) != squeezes_all_others;
            if args.has('s') && squeezes && last == Some(put) {
                continue;
            }
            last = Some(put);
            out.push(put);
        }
        p.stdout.write(&out).await?;
    }
}

/// The byte at the same place of the second set, whose last one stands for all that follow.
fn replacement(first: &[u8], second: &[u8], byte: u8, complement: bool) -> u8 {
    let last = second.last().copied().unwrap_or(byte);
    if complement {
        return last;
    }
    let at = first.iter().rposition(|known| *known == byte);
    at.and_then(|at| second.get(at)).copied().unwrap_or(last)
}

/// Resolves ranges, classes and escapes.
fn set(text: &str) -> Vec<u8> {
    let mut set = Vec::new();
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if let Some((class, length)) = class(&text[at..]) {
            set.extend((0..=127_u8).filter(|byte| class(*byte)));
            at += length;
            continue;
        }
        let (from, next) = one(bytes, at);
        at = next;
        if bytes.get(at) == Some(&b'-') && at + 1 < bytes.len() {
            let (to, next) = one(bytes, at + 1);
            set.extend(from..=to);
            at = next;
        } else {
            set.push(from);
        }
    }
    set
}

fn one(bytes: &[u8], at: usize) -> (u8, usize) {
    match (bytes[at], bytes.get(at + 1)) {
        (b'\\', Some(next)) => {
            let byte = match next {
                b'n' => b'\n',
                b't' => b'\t',
                b'r' => b'\r',
                b'0' => 0,
                other => *other,
            };
            (byte, at + 2)
        }
        (byte, _) => (byte, at + 1),
    }
}

type Class = fn(u8) -> bool;

fn class(text: &str) -> Option<(Class, usize)> {
    let (name, _) = text.strip_prefix("[:")?.split_once(":]")?;
    let class: Class = match name {
        "alpha" => |b| b.is_ascii_alphabetic(),
        "digit" => |b| b.is_ascii_digit(),
        "alnum" => |b| b.is_ascii_alphanumeric(),
        "lower" => |b| b.is_ascii_lowercase(),
        "upper" => |b| b.is_ascii_uppercase(),
        "space" => |b| b.is_ascii_whitespace(),
        "blank" => |b| b == b' ' || b == b'\t',
        "punct" => |b| b.is_ascii_punctuation(),
        "cntrl" => |b| b.is_ascii_control(),
        "print" => |b| b.is_ascii_graphic() || b == b' ',
        _ => return None,
    };
    Some((class, name.len() + 4))
}
