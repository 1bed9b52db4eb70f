//! Patterns of `case`, `${x%…}` and file names: `*`, `?`, `[…]`.

use std::path::Path;

/// One element of a pattern; quoted characters stand for themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Element {
    One(char),
    Any,
    Many,
    Set { negated: bool, ranges: Vec<(char, char)> },
}

/// Reads a pattern: characters, each with whether quotes protect it.
pub(crate) fn read(text: &[(char, bool)]) -> Vec<Element> {
    let mut elements = Vec::new();
    let mut at = 0;
    while let Some((c, quoted)) = text.get(at).copied() {
        at += 1;
        match c {
            '*' if !quoted => elements.push(Element::Many),
            '?' if !quoted => elements.push(Element::Any),
            '[' if !quoted => match set(text, at) {
                Some((element, next)) => {
                    elements.push(element);
                    at = next;
                }
                None => elements.push(Element::One('[')),
            },
            c => elements.push(Element::One(c)),
        }
    }
    elements
}

/// Reads a set behind its bracket; gives where it ends.
fn set(text: &[(char, bool)], mut at: usize) -> Option<(Element, usize)> {
    let negated = matches!(text.get(at), Some(('!' | '^', false)));
    at += usize::from(negated);
    let mut ranges = Vec::new();
    let start = at;
    loop {
        let (c, quoted) = *text.get(at)?;
        if c == ']' && !quoted && at > start {
            return Some((Element::Set { negated, ranges }, at + 1));
        }
        if let Some((class, next)) = class(text, at) {
            ranges.extend(class);
            at = next;
            continue;
        }
        let to = match (text.get(at + 1), text.get(at + 2)) {
            (Some(('-', false)), Some((to, _))) if *to != ']' => Some(*to),
            _ => None,
        };
        ranges.push((c, to.unwrap_or(c)));
        at += if to.is_some() { 3 } else { 1 };
    }
}

/// `[:digit:]` and its kin.
fn class(text: &[(char, bool)], at: usize) -> Option<(&'static [(char, char)], usize)> {
    let rest: String = text.get(at..)?.iter().take(12).map(|(c, _)| *c).collect();
    let (name, _) = rest.strip_prefix("[:")?.split_once(":]")?;
    let ranges: &[(char, char)] = match name {
        "digit" => &[('0', '9')],
        "lower" => &[('a', 'z')],
        "upper" => &[('A', 'Z')],
        "alpha" => &[('a', 'z'), ('A', 'Z')],
        "alnum" => &[('a', 'z'), ('A', 'Z'), ('0', '9')],
        "space" => &[(' ', ' '), ('\t', '\r')],
        _ => return None,
    };
    Some((ranges, at + name.len() + 4))
}

/// Says whether all of `text` fits.
pub(crate) fn fits(pattern: &[Element], text: &[char]) -> bool {
    // The last `*` and how far it had reached: where to go back to.
    let (mut p, mut t, mut back) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some(Element::Many) => {
                back = Some((p, t));
                p += 1;
            }
            Some(element) if one(element, text[t]) => {
                p += 1;
                t += 1;
            }
            _ => match back {
                Some((star, reached)) => {
                    back = Some((star, reached + 1));
                    p = star + 1;
                    t = reached + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|element| *element == Element::Many)
}

fn one(element: &Element, c: char) -> bool {
    match element {
        Element::One(wanted) => *wanted == c,
        Element::Any => true,
        Element::Many => false,
        Element::Set { negated, ranges } => {
            ranges.iter().any(|(from, to)| (*from..=*to).contains(&c)) != *negated
        }
    }
}

/// Says whether `text` fits the pattern `pattern`, which has no quotes.
pub(crate) fn fits_text(pattern: &str, text: &str) -> bool {
    let pattern: Vec<_> = pattern.chars().map(|c| (c, false)).collect();
    fits(&read(&pattern), &text.chars().collect::<Vec<_>>())
}

/// The files whose names fit, sorted; nothing when there are none.
pub(crate) fn files(word: &[(char, bool)], cwd: &Path) -> Vec<String> {
    let mut found = vec![String::new()];
    let mut rest = word;
    if let Some(('/', _)) = rest.first() {
        found = vec!["/".to_owned()];
        rest = &rest[1..];
    }
    let parts: Vec<_> = rest.split(|(c, _)| *c == '/').filter(|part| !part.is_empty()).collect();
    for (at, part) in parts.iter().enumerate() {
        let is_last = at + 1 == parts.len();
        let elements = read(part);
        let is_plain = elements.iter().all(|element| matches!(element, Element::One(_)));
        let mut next = Vec::new();
        for folder in &found {
            let names = if is_plain {
                vec![part.iter().map(|(c, _)| *c).collect()]
            } else {
                entries(&cwd.join(folder), &elements)
            };
            for name in names {
                let path = format!("{folder}{name}");
                let there = cwd.join(&path);
                if is_last && there.symlink_metadata().is_ok() {
                    next.push(path);
                } else if !is_last && there.is_dir() {
                    next.push(format!("{path}/"));
                }
            }
        }
        found = next;
    }
    found.retain(|path| !path.is_empty());
    found.sort();
    found
}

fn entries(folder: &Path, elements: &[Element]) -> Vec<String> {
    let hidden = elements.first() == Some(&Element::One('.'));
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names
        .filter(|name| hidden || !name.starts_with('.'))
        .filter(|name| fits(elements, &name.chars().collect::<Vec<_>>()))
        .collect()
}
