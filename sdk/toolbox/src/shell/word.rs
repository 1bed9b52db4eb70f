//! Reads words: quotes, parameters, substitutions.

use super::ast::{Change, Parameter, Part, Word};
use super::parse::{Parsed, Parser, SyntaxError};

/// Characters that end a word.
const ENDS: &str = " \t\n;|&()<>";

impl Word {
    /// What a here-document ends with, and whether quotes protect its text.
    pub(super) fn as_delimiter(&self) -> (String, bool) {
        let mut text = String::new();
        let mut quoted = false;
        for part in &self.0 {
            match part {
                Part::Plain(plain) => text.push_str(plain),
                Part::Quoted(plain) => {
                    quoted = true;
                    text.push_str(plain);
                }
                Part::Double(parts) => {
                    quoted = true;
                    text.push_str(&Word(parts.clone()).as_delimiter().0);
                }
                Part::Parameter(_) | Part::Command(_) | Part::Arithmetic(_) => {}
            }
        }
        (text, quoted)
    }
}

fn push(parts: &mut Vec<Part>, c: char) {
    match parts.last_mut() {
        Some(Part::Plain(text)) => text.push(c),
        _ => parts.push(Part::Plain(c.to_string())),
    }
}

fn push_quoted(parts: &mut Vec<Part>, c: char) {
    match parts.last_mut() {
        Some(Part::Quoted(text)) => text.push(c),
        _ => parts.push(Part::Quoted(c.to_string())),
    }
}

impl Parser {
    /// The next word, if one comes here.
    pub(super) fn word(&mut self) -> Parsed<Option<Word>> {
        let parts = self.parts(&|c| ENDS.contains(c))?;
        Ok((!parts.is_empty()).then_some(Word(parts)))
    }

    /// Parts up to a character at which `ends` is true, which is left.
    fn parts(&mut self, ends: &dyn Fn(char) -> bool) -> Parsed<Vec<Part>> {
        let mut parts = Vec::new();
        while let Some(c) = self.peek().filter(|c| !ends(*c)) {
            self.at += 1;
            match c {
                '\'' => parts.push(Part::Quoted(self.single_quoted()?)),
                '"' => parts.push(Part::Double(self.double_quoted(Some('"'))?)),
                '\\' => match self.next() {
                    Some('\n') => {}
                    Some(c) => push_quoted(&mut parts, c),
                    None => return Err(SyntaxError::Incomplete),
                },
                '$' => match self.dollar()? {
                    Some(part) => parts.push(part),
                    None => push(&mut parts, '$'),
                },
                '`' => parts.push(self.backquoted()?),
                c => push(&mut parts, c),
            }
        }
        Ok(parts)
    }

    fn single_quoted(&mut self) -> Parsed<String> {
        let mut text = String::new();
        loop {
            match self.next() {
                Some('\'') => return Ok(text),
                Some(c) => text.push(c),
                None => return Err(SyntaxError::Incomplete),
            }
        }
    }

    /// What is between double quotes, up to `end`, or all of it.
    pub(super) fn double_quoted(&mut self, end: Option<char>) -> Parsed<Vec<Part>> {
        let mut parts = Vec::new();
        loop {
            match self.next() {
                None if end.is_none() => return Ok(parts),
                None => return Err(SyntaxError::Incomplete),
                c if c == end => return Ok(parts),
                Some('\\') => match self.peek() {
                    Some('\n') => self.at += 1,
                    Some(c) if "$`\"\\".contains(c) => {
                        self.at += 1;
                        push_quoted(&mut parts, c);
                    }
                    Some(_) | None => push_quoted(&mut parts, '\\'),
                },
                Some('$') => match self.dollar()? {
                    Some(part) => parts.push(part),
                    None => push_quoted(&mut parts, '$'),
                },
                Some('`') => parts.push(self.backquoted()?),
                Some(c) => push_quoted(&mut parts, c),
            }
        }
    }

    fn backquoted(&mut self) -> Parsed<Part> {
        let mut text = String::new();
        loop {
            match self.next() {
                Some('`') => break,
                Some('\\') => match self.next() {
                    Some(c) if "$`\\".contains(c) => text.push(c),
                    Some(c) => text.extend(['\\', c]),
                    None => return Err(SyntaxError::Incomplete),
                },
                Some(c) => text.push(c),
                None => return Err(SyntaxError::Incomplete),
            }
        }
        let mut inner = self.deeper(&text)?;
        let list = inner.whole()?;
        if inner.peek().is_some() { Err(inner.unexpected()) } else { Ok(Part::Command(list)) }
    }

    /// What follows a `$`; `None` when it stands for itself.
    fn dollar(&mut self) -> Parsed<Option<Part>> {
        let plain =
            |name: String| Ok(Some(Part::Parameter(Parameter { name, change: Change::None })));
        match self.peek() {
            Some('(') if self.text.get(self.at + 1) == Some(&'(') => {
                let start = self.at;
                self.at += 2;
                match self.arithmetic()? {
                    Some(part) => Ok(Some(part)),
                    None => {
                        self.at = start;
                        self.substitution().map(Some)
                    }
                }
            }
            Some('(') => self.substitution().map(Some),
            Some('{') => {
                self.at += 1;
                self.braced().map(Some)
            }
            Some(c) if c.is_ascii_digit() || "?#$!@*-".contains(c) => {
                self.at += 1;
                plain(c.to_string())
            }
            Some(_) | None => match self.name() {
                Some(name) => plain(name),
                None => Ok(None),
            },
        }
    }

    fn substitution(&mut self) -> Parsed<Part> {
        self.at += 1;
        // Its text is read on its own, so that here-documents in it are its own.
        let start = self.at;
        let mut inner = self.deeper(&self.text[start..].iter().collect::<String>())?;
        let list = inner.whole()?;
        if inner.peek() != Some(')') {
            return Err(inner.unexpected());
        }
        self.at = start + inner.at + 1;
        Ok(Part::Command(list))
    }

    /// `$((…))`; `None` when the closing `))` is missing, as in `$( (a); b)`.
    fn arithmetic(&mut self) -> Parsed<Option<Part>> {
        let start = self.at;
        let mut depth = 0_usize;
        while let Some(c) = self.next() {
            match c {
                '(' => depth += 1,
                ')' if depth > 0 => depth -= 1,
                ')' if self.peek() == Some(')') => {
                    let text: String = self.text[start..self.at - 1].iter().collect();
                    self.at += 1;
                    let parts = Parser::new(&text).double_quoted(None)?;
                    return Ok(Some(Part::Arithmetic(Word(parts))));
                }
                ')' => return Ok(None),
                _ => {}
            }
        }
        Err(SyntaxError::Incomplete)
    }

    fn parameter_name(&mut self) -> Parsed<String> {
        if let Some(name) = self.name() {
            return Ok(name);
        }
        let mut name = String::new();
        while let Some(c) = self.peek().filter(char::is_ascii_digit) {
            name.push(c);
            self.at += 1;
        }
        if name.is_empty()
            && let Some(c) = self.peek().filter(|c| "?#$!@*-".contains(*c))
        {
            name.push(c);
            self.at += 1;
        }
        if name.is_empty() { Err(self.bad_parameter()) } else { Ok(name) }
    }

    fn bad_parameter(&self) -> SyntaxError {
        match self.peek() {
            None => SyntaxError::Incomplete,
            Some(_) => SyntaxError::Wrong("bad substitution".to_owned()),
        }
    }

    /// What follows `${`.
    fn braced(&mut self) -> Parsed<Part> {
        let length = self.peek() == Some('#')
            && self.text.get(self.at + 1).is_some_and(|c| !"}:%#-=?+".contains(*c));
        if length {
            self.at += 1;
        }
        let name = self.parameter_name()?;
        let change = if length { Change::Length } else { self.change()? };
        match self.next() {
            Some('}') => Ok(Part::Parameter(Parameter { name, change })),
            Some(_) => Err(SyntaxError::Wrong("bad substitution".to_owned())),
            None => Err(SyntaxError::Incomplete),
        }
    }

    fn change(&mut self) -> Parsed<Change> {
        let colon = self.peek() == Some(':');
        if colon {
            self.at += 1;
        }
        match self.peek() {
            Some(act) if "-=?+".contains(act) => {
                self.at += 1;
                let word = Word(self.parts(&|c| c == '}')?);
                Ok(Change::Absent { act, colon, word })
            }
            Some(sign @ ('#' | '%')) if !colon => {
                self.at += 1;
                let longest = self.peek() == Some(sign);
                if longest {
                    self.at += 1;
                }
                let pattern = Word(self.parts(&|c| c == '}')?);
                Ok(Change::Cut { suffix: sign == '%', longest, pattern })
            }
            Some('}') if !colon => Ok(Change::None),
            Some(_) | None => Err(self.bad_parameter()),
        }
    }
}
