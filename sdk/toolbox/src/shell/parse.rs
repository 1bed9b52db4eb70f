//! Reads a script: characters in, commands out.
//!
//! *Source:* POSIX, Shell Command Language, without background lists and aliases.

use std::rc::Rc;

use super::ast::{AndOr, Command, Junction, Kind, List, Pipeline, Redirect, RedirectKind, Word};

/// Why a script cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SyntaxError {
    /// It may be whole with more lines.
    Incomplete,
    /// It is wrong.
    Wrong(String),
}

pub(crate) type Parsed<T> = Result<T, SyntaxError>;

/// Nesting of commands; a script that goes deeper is refused, before the stack ends.
const DEPTH_MAX: usize = 100;

/// A here-document whose text follows at the next line's beginning.
struct Pending {
    delimiter: String,
    quoted: bool,
    strip_tabs: bool,
    /// Its number among all of the script.
    number: usize,
}

pub(crate) struct Parser {
    pub(super) text: Vec<char>,
    pub(super) at: usize,
    depth: usize,
    pending: Vec<Pending>,
    documents: Vec<Option<Word>>,
}

const RESERVED: [&str; 14] = [
    "if", "then", "else", "elif", "fi", "for", "while", "until", "do", "done", "case", "esac", "{",
    "}",
];

/// Reads a whole script.
pub(crate) fn parse(text: &str) -> Parsed<List> {
    let mut parser = Parser::new(text);
    let list = parser.whole()?;
    if parser.at < parser.text.len() { Err(parser.unexpected()) } else { Ok(list) }
}

impl Parser {
    pub(super) fn new(text: &str) -> Self {
        let text = text.chars().collect();
        Self { text, at: 0, depth: 0, pending: Vec::new(), documents: Vec::new() }
    }

    /// A reader of a script inside this one.
    pub(super) fn deeper(&self, text: &str) -> Parsed<Self> {
        let mut inner = Self::new(text);
        inner.depth = self.depth;
        inner.descend()?;
        Ok(inner)
    }

    fn descend(&mut self) -> Parsed<()> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(SyntaxError::Wrong(format!("nested deeper than {DEPTH_MAX} commands")));
        }
        Ok(())
    }

    /// Commands up to the end or a `)`, with the texts of their here-documents.
    pub(super) fn whole(&mut self) -> Parsed<List> {
        let mut list = self.list(&[])?;
        if !self.pending.is_empty() {
            return Err(SyntaxError::Incomplete);
        }
        self.fill_list(&mut list);
        Ok(list)
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    pub(super) fn next(&mut self) -> Option<char> {
        let found = self.peek();
        self.at += usize::from(found.is_some());
        found
    }

    pub(super) fn eat(&mut self, wanted: &str) -> bool {
        let is_next =
            wanted.chars().enumerate().all(|(i, c)| self.text.get(self.at + i) == Some(&c));
        if is_next {
            self.at += wanted.chars().count();
        }
        is_next
    }

    pub(super) fn unexpected(&self) -> SyntaxError {
        match self.peek() {
            None => SyntaxError::Incomplete,
            Some('&') => SyntaxError::Wrong(
                "'&' is not supported: a WebAssembly guest does one thing at a time".to_owned(),
            ),
            Some('\n') => SyntaxError::Wrong("unexpected newline".to_owned()),
            Some(_) => {
                let word: String =
                    self.text[self.at..].iter().take_while(|c| !c.is_whitespace()).collect();
                SyntaxError::Wrong(format!("unexpected \"{word}\""))
            }
        }
    }

    /// Skips blanks, joined lines and comments.
    fn blanks(&mut self) {
        loop {
            match self.peek() {
                Some(' ' | '\t') => self.at += 1,
                Some('\\') if self.text.get(self.at + 1) == Some(&'\n') => self.at += 2,
                Some('#') => {
                    while self.peek().is_some_and(|c| c != '\n') {
                        self.at += 1;
                    }
                }
                _ => return,
            }
        }
    }

    /// Skips line ends too; takes the text of here-documents at the first.
    fn lines(&mut self) -> Parsed<()> {
        loop {
            self.blanks();
            if self.peek() != Some('\n') {
                return Ok(());
            }
            self.line_end()?;
        }
    }

    fn line_end(&mut self) -> Parsed<()> {
        self.at += 1;
        for pending in std::mem::take(&mut self.pending) {
            let text = self.document(&pending)?;
            if let Some(place) = self.documents.get_mut(pending.number) {
                *place = Some(text);
            }
        }
        Ok(())
    }

    fn document(&mut self, pending: &Pending) -> Parsed<Word> {
        let mut text = String::new();
        loop {
            if self.at >= self.text.len() {
                return Err(SyntaxError::Incomplete);
            }
            let line: String = self.text[self.at..].iter().take_while(|c| **c != '\n').collect();
            self.at = (self.at + line.chars().count() + 1).min(self.text.len());
            let line = if pending.strip_tabs { line.trim_start_matches('\t') } else { &line };
            if line == pending.delimiter {
                break;
            }
            text.push_str(line);
            text.push('\n');
        }
        if pending.quoted {
            return Ok(Word(vec![super::ast::Part::Quoted(text)]));
        }
        let parts = Parser::new(&text).double_quoted(None)?;
        Ok(Word(vec![super::ast::Part::Double(parts)]))
    }

    /// The reserved word that comes next, if one does.
    fn reserved(&mut self) -> Option<&'static str> {
        self.blanks();
        let ends = |c: Option<&char>| c.is_none_or(|c| c.is_whitespace() || ";|&()<>".contains(*c));
        RESERVED.into_iter().find(|word| {
            let is_next =
                word.chars().enumerate().all(|(i, c)| self.text.get(self.at + i) == Some(&c));
            is_next && ends(self.text.get(self.at + word.len()))
        })
    }

    fn expect(&mut self, word: &str) -> Parsed<()> {
        self.lines()?;
        if self.reserved() == Some(word) {
            self.at += word.len();
            return Ok(());
        }
        Err(self.unexpected())
    }

    /// Commands up to one of the words in `ends`, a `)`, a `;;` or the end.
    pub(super) fn list(&mut self, ends: &[&str]) -> Parsed<List> {
        let mut list = List::new();
        loop {
            self.lines()?;
            let stops = match self.peek() {
                None | Some(')') => true,
                Some(';') => self.text.get(self.at + 1) == Some(&';'),
                Some(_) => self.reserved().is_some_and(|word| ends.contains(&word)),
            };
            if stops {
                return Ok(list);
            }
            list.push(self.and_or()?);
            self.blanks();
            match self.peek() {
                Some(';') if self.text.get(self.at + 1) != Some(&';') => self.at += 1,
                Some('\n' | ';' | ')') | None => {}
                Some(_) => return Err(self.unexpected()),
            }
        }
    }

    /// A list that must not be empty.
    fn body(&mut self, ends: &[&str]) -> Parsed<List> {
        self.descend()?;
        let list = self.list(ends)?;
        self.depth -= 1;
        if list.is_empty() { Err(self.unexpected()) } else { Ok(list) }
    }

    fn and_or(&mut self) -> Parsed<AndOr> {
        let first = self.pipeline()?;
        let mut rest = Vec::new();
        loop {
            self.blanks();
            let junction = if self.eat("&&") {
                Junction::And
            } else if self.eat("||") {
                Junction::Or
            } else {
                return Ok(AndOr { first, rest });
            };
            self.lines()?;
            rest.push((junction, self.pipeline()?));
        }
    }

    fn pipeline(&mut self) -> Parsed<Pipeline> {
        self.blanks();
        let mut negated = false;
        while self.peek() == Some('!')
            && self.text.get(self.at + 1).is_some_and(|c| c.is_whitespace())
        {
            self.at += 1;
            negated = !negated;
            self.blanks();
        }
        let mut stages = vec![Rc::new(self.command()?)];
        loop {
            self.blanks();
            if self.peek() != Some('|') || self.text.get(self.at + 1) == Some(&'|') {
                return Ok(Pipeline { negated, stages });
            }
            self.at += 1;
            self.lines()?;
            stages.push(Rc::new(self.command()?));
        }
    }

    fn command(&mut self) -> Parsed<Command> {
        self.blanks();
        if self.peek() == Some('(') {
            self.at += 1;
            let list = self.body(&[])?;
            if !self.eat(")") {
                return Err(self.unexpected());
            }
            return self.redirected(Kind::Subshell(list));
        }
        let Some(word) = self.reserved() else { return self.simple() };
        self.at += word.len();
        let kind = match word {
            "{" => {
                let list = self.body(&["}"])?;
                self.expect("}")?;
                Kind::Group(list)
            }
            "if" => self.conditional()?,
            "for" => self.for_loop()?,
            "while" | "until" => {
                let condition = self.body(&["do"])?;
                Kind::While { until: word == "until", condition, body: self.do_group()? }
            }
            "case" => self.case()?,
            _ => {
                self.at -= word.len();
                return Err(self.unexpected());
            }
        };
        self.redirected(kind)
    }

    fn redirected(&mut self, kind: Kind) -> Parsed<Command> {
        let mut redirects = Vec::new();
        loop {
            self.blanks();
            match self.redirect()? {
                Some(redirect) => redirects.push(redirect),
                None => return Ok(Command { kind, redirects }),
            }
        }
    }

    fn conditional(&mut self) -> Parsed<Kind> {
        let mut branches = Vec::new();
        loop {
            let condition = self.body(&["then"])?;
            self.expect("then")?;
            branches.push((condition, self.body(&["elif", "else", "fi"])?));
            let otherwise = match self.reserved() {
                Some("elif") => {
                    self.at += 4;
                    continue;
                }
                Some("else") => {
                    self.at += 4;
                    self.body(&["fi"])?
                }
                _ => List::new(),
            };
            self.expect("fi")?;
            return Ok(Kind::If { branches, otherwise });
        }
    }

    fn do_group(&mut self) -> Parsed<List> {
        self.expect("do")?;
        let body = self.body(&["done"])?;
        self.expect("done")?;
        Ok(body)
    }

    fn for_loop(&mut self) -> Parsed<Kind> {
        self.blanks();
        let name = self.name().ok_or_else(|| self.unexpected())?;
        self.lines()?;
        let mut words = None;
        if self.eat("in") {
            let mut list = Vec::new();
            loop {
                self.blanks();
                match self.word()? {
                    Some(word) => list.push(word),
                    None => break,
                }
            }
            words = Some(list);
        }
        self.blanks();
        self.eat(";");
        Ok(Kind::For { name, words, body: self.do_group()? })
    }

    fn case(&mut self) -> Parsed<Kind> {
        self.blanks();
        let word = self.word()?.ok_or_else(|| self.unexpected())?;
        self.lines()?;
        if !self.eat("in") {
            return Err(self.unexpected());
        }
        let mut arms = Vec::new();
        loop {
            self.lines()?;
            if self.reserved() == Some("esac") {
                self.at += 4;
                return Ok(Kind::Case { word, arms });
            }
            self.eat("(");
            let mut patterns = Vec::new();
            loop {
                self.blanks();
                patterns.push(self.word()?.ok_or_else(|| self.unexpected())?);
                self.blanks();
                if !self.eat("|") {
                    break;
                }
            }
            if !self.eat(")") {
                return Err(self.unexpected());
            }
            arms.push((patterns, self.list(&["esac"])?));
            self.lines()?;
            if !self.eat(";;") && self.reserved() != Some("esac") {
                return Err(self.unexpected());
            }
        }
    }

    /// A name, if one comes next.
    pub(super) fn name(&mut self) -> Option<String> {
        let first = self.peek().filter(|c| c.is_ascii_alphabetic() || *c == '_')?;
        let mut name = String::from(first);
        self.at += 1;
        while let Some(c) = self.peek().filter(|c| c.is_ascii_alphanumeric() || *c == '_') {
            name.push(c);
            self.at += 1;
        }
        Some(name)
    }

    fn simple(&mut self) -> Parsed<Command> {
        let (mut assigns, mut words, mut redirects) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            self.blanks();
            if let Some(redirect) = self.redirect()? {
                redirects.push(redirect);
                continue;
            }
            let start = self.at;
            if words.is_empty()
                && let Some(name) = self.name()
            {
                if self.eat("=") {
                    assigns.push((name, self.word()?.unwrap_or_default()));
                    continue;
                }
                self.blanks();
                if assigns.is_empty() && self.eat("(") {
                    self.blanks();
                    if !self.eat(")") {
                        return Err(self.unexpected());
                    }
                    self.lines()?;
                    let body = Rc::new(self.command()?);
                    return Ok(Command { kind: Kind::Function { name, body }, redirects });
                }
                self.at = start;
            }
            match self.word()? {
                Some(word) => words.push(word),
                None if assigns.is_empty() && words.is_empty() && redirects.is_empty() => {
                    return Err(self.unexpected());
                }
                None => return Ok(Command { kind: Kind::Simple { assigns, words }, redirects }),
            }
        }
    }

    /// A redirection, if one comes next.
    fn redirect(&mut self) -> Parsed<Option<Redirect>> {
        let start = self.at;
        let number = self.peek().and_then(|c| c.to_digit(10)).and_then(|n| u8::try_from(n).ok());
        if number.is_some() {
            self.at += 1;
        }
        let (kind, fd) = if self.eat("<<") {
            return self.here(number.unwrap_or(0)).map(Some);
        } else if self.eat("<&") {
            (RedirectKind::Duplicate, 0)
        } else if self.eat("<") {
            (RedirectKind::Read, 0)
        } else if self.eat(">>") {
            (RedirectKind::Append, 1)
        } else if self.eat(">&") {
            (RedirectKind::Duplicate, 1)
        } else if self.eat(">|") || self.eat(">") {
            (RedirectKind::Write, 1)
        } else {
            self.at = start;
            return Ok(None);
        };
        self.blanks();
        let target = self.word()?.ok_or_else(|| self.unexpected())?;
        Ok(Some(Redirect { fd: number.unwrap_or(fd), kind, target }))
    }

    fn here(&mut self, fd: u8) -> Parsed<Redirect> {
        if self.eat("<") {
            self.blanks();
            let mut target = self.word()?.ok_or_else(|| self.unexpected())?;
            target.0.push(super::ast::Part::Quoted("\n".to_owned()));
            return Ok(Redirect { fd, kind: RedirectKind::Text, target });
        }
        let strip_tabs = self.eat("-");
        self.blanks();
        let word = self.word()?.ok_or_else(|| self.unexpected())?;
        let (delimiter, quoted) = word.as_delimiter();
        let number = self.documents.len();
        self.documents.push(None);
        self.pending.push(Pending { delimiter, quoted, strip_tabs, number });
        // The text comes with the end of the line; until then its number stands for it.
        let target = Word(vec![super::ast::Part::Plain(format!("\0{number}"))]);
        Ok(Redirect { fd, kind: RedirectKind::Text, target })
    }
}

impl Parser {
    /// Puts the texts of here-documents where their numbers stand.
    fn fill_list(&mut self, list: &mut List) {
        for and_or in list {
            self.fill_pipeline(&mut and_or.first);
            and_or.rest.iter_mut().for_each(|(_, pipeline)| self.fill_pipeline(pipeline));
        }
    }

    fn fill_pipeline(&mut self, pipeline: &mut Pipeline) {
        for stage in &mut pipeline.stages {
            if let Some(command) = Rc::get_mut(stage) {
                self.fill_command(command);
            }
        }
    }

    fn fill_command(&mut self, command: &mut Command) {
        for redirect in &mut command.redirects {
            if let [super::ast::Part::Plain(text)] = &redirect.target.0[..]
                && let Some(number) = text.strip_prefix('\0').and_then(|n| n.parse::<usize>().ok())
                && let Some(text) = self.documents.get_mut(number).and_then(Option::take)
            {
                redirect.target = text;
            }
        }
        match &mut command.kind {
            Kind::Simple { .. } => {}
            Kind::Group(list) | Kind::Subshell(list) | Kind::For { body: list, .. } => {
                self.fill_list(list);
            }
            Kind::While { condition, body, .. } => {
                self.fill_list(condition);
                self.fill_list(body);
            }
            Kind::If { branches, otherwise } => {
                for (condition, body) in branches {
                    self.fill_list(condition);
                    self.fill_list(body);
                }
                self.fill_list(otherwise);
            }
            Kind::Case { arms, .. } => arms.iter_mut().for_each(|(_, list)| self.fill_list(list)),
            Kind::Function { body, .. } => {
                if let Some(body) = Rc::get_mut(body) {
                    self.fill_command(body);
                }
            }
        }
    }
}
