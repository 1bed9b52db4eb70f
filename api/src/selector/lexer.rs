//! Splits the query form of a label selector into tokens.
//! *Source:* `k8s.io/apimachinery/pkg/labels` (grammar in the comment of `Parse`).

/// One token of a selector query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    End,
    Close,
    Comma,
    Not,
    DoubleEquals,
    Equals,
    Greater,
    Identifier,
    In,
    Less,
    NotEquals,
    NotIn,
    Open,
    /// A run of special characters that begins no known token.
    Unknown,
}

/// Gives all tokens with their text; the last is always [`Token::End`].
pub(super) fn tokens(query: &str) -> Vec<(Token, &str)> {
    let mut rest = query.trim_start_matches(is_space);
    let mut found = vec![];
    while let Some(first) = rest.chars().next() {
        let length = if is_special(first) { special_length(rest) } else { word_length(rest) };
        let (literal, after) = rest.split_at(length);
        found.push((token(literal), literal));
        rest = after.trim_start_matches(is_space);
    }
    found.push((Token::End, ""));
    found
}

fn token(literal: &str) -> Token {
    match literal {
        ")" => Token::Close,
        "," => Token::Comma,
        "!" => Token::Not,
        "==" => Token::DoubleEquals,
        "=" => Token::Equals,
        ">" => Token::Greater,
        "in" => Token::In,
        "<" => Token::Less,
        "!=" => Token::NotEquals,
        "notin" => Token::NotIn,
        "(" => Token::Open,
        word if word.starts_with(is_special) => Token::Unknown,
        _ => Token::Identifier,
    }
}

/// Two characters when they make `==` or `!=`, else one.
fn special_length(rest: &str) -> usize {
    if rest.starts_with("==") || rest.starts_with("!=") { 2 } else { 1 }
}

fn word_length(rest: &str) -> usize {
    rest.find(|c| is_special(c) || is_space(c)).unwrap_or(rest.len())
}

fn is_special(c: char) -> bool {
    matches!(c, '=' | '!' | '(' | ')' | ',' | '>' | '<')
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}
