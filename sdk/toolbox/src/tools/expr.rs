//! `expr`: arithmetic and comparisons, one word each.
//!
//! *Source:* POSIX, expr.

use super::regex::{Syntax, translate};
use crate::proc::{Done, Failure, Proc};

/// Parentheses in one another.
const DEPTH_MAX: usize = 64;

pub(super) async fn expr(p: &mut Proc) -> Done {
    let mut words = Words { words: &p.args[1..], depth: 0 };
    let value = words.value(0).map_err(|message| Failure::Say(2, message))?;
    if let Some(word) = words.words.first() {
        return Err(Failure::Say(2, format!("syntax error: unexpected argument '{word}'")));
    }
    p.print(&format!("{value}\n")).await?;
    Ok(i32::from(is_nothing(&value)))
}

fn is_nothing(value: &str) -> bool {
    value.is_empty() || value.parse() == Ok(0_i64)
}

struct Words<'a> {
    words: &'a [String],
    depth: usize,
}

impl Words<'_> {
    /// A value of operators that bind at least as strongly as `least`.
    fn value(&mut self, least: u8) -> Result<String, String> {
        let mut left = self.single()?;
        while let Some((sign, strength)) =
            self.words.first().and_then(|word| Some((word.clone(), strength(word)?)))
        {
            if strength < least {
                break;
            }
            self.words = &self.words[1..];
            let right = self.value(strength + 1)?;
            left = two(&sign, left, right)?;
        }
        Ok(left)
    }

    fn single(&mut self) -> Result<String, String> {
        let (first, rest) = self.words.split_first().ok_or("syntax error: a word is missing")?;
        self.words = rest;
        if first != "(" {
            return Ok(first.clone());
        }
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err("too many parentheses".to_owned());
        }
        let inner = self.value(0)?;
        self.depth -= 1;
        match self.words.split_first() {
            Some((end, rest)) if end == ")" => {
                self.words = rest;
                Ok(inner)
            }
            _ => Err("syntax error: ')' is missing".to_owned()),
        }
    }
}

fn strength(sign: &str) -> Option<u8> {
    Some(match sign {
        "|" => 1,
        "&" => 2,
        "=" | "==" | "!=" | "<" | "<=" | ">" | ">=" => 3,
        "+" | "-" => 4,
        "*" | "/" | "%" => 5,
        ":" => 6,
        _ => return None,
    })
}

fn two(sign: &str, left: String, right: String) -> Result<String, String> {
    let number = |text: &str| text.parse::<i64>().map_err(|_| "non-numeric argument".to_owned());
    let order = match (left.parse::<i64>(), right.parse::<i64>()) {
        (Ok(left), Ok(right)) => left.cmp(&right),
        _ => left.cmp(&right),
    };
    let truth = |is_true: bool| u8::from(is_true).to_string();
    Ok(match sign {
        "|" if is_nothing(&left) => right,
        "|" => left,
        "&" if is_nothing(&left) || is_nothing(&right) => "0".to_owned(),
        "&" => left,
        "=" | "==" => truth(order.is_eq()),
        "!=" => truth(order.is_ne()),
        "<" => truth(order.is_lt()),
        "<=" => truth(order.is_le()),
        ">" => truth(order.is_gt()),
        ">=" => truth(order.is_ge()),
        ":" => return matched(&left, &right),
        _ => {
            let (left, right) = (number(&left)?, number(&right)?);
            let result = match sign {
                "+" => left.checked_add(right),
                "-" => left.checked_sub(right),
                "*" => left.checked_mul(right),
                _ if right == 0 => return Err("division by zero".to_owned()),
                "/" => left.checked_div(right),
                _ => left.checked_rem(right),
            };
            result.ok_or("integer result too large")?.to_string()
        }
    })
}

/// What a pattern's group takes of the beginning of a text, else how many characters it takes.
fn matched(text: &str, pattern: &str) -> Result<String, String> {
    let anchored = format!("^(?:{})", translate(pattern, Syntax::Basic)?);
    let regex = regex_lite::Regex::new(&anchored).map_err(|error| error.to_string())?;
    let has_group = regex.captures_len() > 1;
    Ok(match regex.captures(text) {
        Some(found) if has_group => found.get(1).map_or("", |group| group.as_str()).to_owned(),
        Some(found) => found[0].chars().count().to_string(),
        None if has_group => String::new(),
        None => "0".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let check = |line: &str, expected: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let value = Words { words: &words, depth: 0 }.value(0);
            assert_eq!(value.unwrap_or_else(|error| error), expected, "{line}");
        };
        check("7 % 2", "1");
        check("1 + 2 * 3", "7");
        check("( 1 + 2 ) * 3", "9");
        check("a = a & 2 > 10", "0");
        check("0 | b", "b");
        check("web-12 : web-\\(.*\\)", "12");
        check("abc : a.", "2");
        check("1 / 0", "division by zero");
        check("a + 1", "non-numeric argument");
        check("( 1", "syntax error: ')' is missing");
    }
}
