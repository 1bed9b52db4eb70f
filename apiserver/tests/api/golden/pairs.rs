//! Reads a golden file: requests, and what was answered.

use serde_json::Value;

/// The headers of an answer that are compared.
pub(super) const COMPARED_HEADERS: [&str; 4] = ["Content-Type", "Warning", "Retry-After", "Allow"];

/// A request and its answer.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    /// The line of the request in its file, from one.
    line: usize,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
    /// Names for values of the answer, with their JSON pointers.
    pub(super) keep: Vec<(String, String)>,
    /// Where our answer differs and should, with the reason in the file.
    pub(super) differs_at: Vec<String>,
    pub(super) answer: Answer,
}

impl Pair {
    /// Where the pair is, for a message.
    pub(super) fn at(&self, file: &str) -> String {
        format!("{file}.golden:{} {} {}\n   ", self.line, self.method, self.path)
    }
}

/// A status, the compared headers in their order, and the lines of the body.
#[derive(Clone, Debug, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<Vec<String>>,
    pub(super) body: Vec<Value>,
}

/// The lines of a body: JSON where they are JSON, else text.
pub(super) fn body<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<Value> {
    lines
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| Value::String(line.to_owned())))
        .collect()
}

/// All pairs of a file in their order.
pub(super) fn read(text: &str) -> Vec<Pair> {
    let mut pairs = Vec::new();
    let mut block: Vec<&str> = Vec::new();
    let mut begin = 1;
    for (index, line) in text.lines().chain([""]).enumerate() {
        if !line.is_empty() {
            block.push(line);
            continue;
        }
        pairs.extend(pair(&block, begin));
        block.clear();
        begin = index + 2;
    }
    pairs
}

fn pair(block: &[&str], begin: usize) -> Option<Pair> {
    let comments = block.iter().take_while(|line| line.starts_with('#')).count();
    let (comments, rest) = block.split_at(comments);
    let (method, path) = rest.first()?.split_once(' ')?;
    let mut pair = Pair {
        line: begin + comments.len(),
        method: method.to_owned(),
        path: path.to_owned(),
        headers: Vec::new(),
        body: String::new(),
        keep: Vec::new(),
        differs_at: comments.iter().flat_map(|line| differs_at(line)).collect(),
        answer: answer(&rest[1..]),
    };
    let request = rest[1..].iter().take_while(|line| !line.starts_with("< "));
    let mut body = Vec::new();
    for line in request {
        match (line.strip_prefix('@'), header(line)) {
            (Some(directive), _) if body.is_empty() => {
                let words: Vec<&str> = directive.split(' ').collect();
                if let ["keep", name, pointer] = words[..] {
                    pair.keep.push((name.to_owned(), pointer.to_owned()));
                }
            }
            (None, Some(header)) if body.is_empty() => pair.headers.push(header),
            (_, _) => body.push(*line),
        }
    }
    pair.body = body.join("\n");
    Some(pair)
}

/// The places of `# differs at PLACE PLACE: reason`.
fn differs_at(comment: &str) -> Vec<String> {
    let places = comment.strip_prefix("# differs at ").and_then(|rest| rest.split_once(": "));
    places.map_or(Vec::new(), |(places, _)| places.split(' ').map(str::to_owned).collect())
}

fn header(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(": ")?;
    let is_name = name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.chars().all(|c| c.is_ascii_alphabetic() || c == '-');
    is_name.then(|| (name.to_owned(), value.to_owned()))
}

fn answer(lines: &[&str]) -> Answer {
    let mut lines = lines.iter().filter_map(|line| line.strip_prefix("< ")).peekable();
    let first = lines.next().unwrap_or_default();
    let (status, content_type) = first.split_once(' ').unwrap_or((first, "-"));
    let mut headers = vec![Vec::new(); COMPARED_HEADERS.len()];
    if content_type != "-" {
        headers[0].push(content_type.to_owned());
    }
    while let Some((index, value)) = lines.peek().and_then(|line| compared(line)) {
        headers[index].push(value);
        lines.next();
    }
    Answer { status: status.parse().unwrap_or_default(), headers, body: body(lines) }
}

fn compared(line: &str) -> Option<(usize, String)> {
    let (name, value) = header(line)?;
    Some((COMPARED_HEADERS.iter().position(|known| **known == name)?, value))
}
