//! `awk`, as scripts use it most: patterns and what is printed of a line's fields.
//!
//! *Source:* POSIX, awk. Arrays, functions and control flow are refused with a word.

use std::collections::BTreeMap;

use super::args::Args;
use super::regex::{Syntax, compile};
use super::text::each_input;
use crate::proc::{Done, Failure, Proc};

/// Nested expressions that a program may have.
const DEPTH_MAX: usize = 64;

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Number(f64),
    Text(String),
    Pattern(String),
    Name(String),
    Sign(&'static str),
}

/// Signs, the longer ones first.
const SIGNS: [&str; 27] = [
    "&&", "||", "==", "!=", "<=", ">=", "!~", "+=", "++", "{", "}", "(", ")", ";", ",", "$", "<",
    ">", "~", "=", "+", "-", "*", "/", "%", "!", "\n",
];

#[derive(Debug)]
enum Expression {
    Number(f64),
    Text(String),
    Name(String),
    Field(Box<Expression>),
    Matches(Box<Expression>, String),
    Not(Box<Expression>),
    Two(&'static str, Box<Expression>, Box<Expression>),
}

#[derive(Debug)]
enum Statement {
    Print(Vec<Expression>),
    Assign(String, Expression),
    Other(Expression),
}

#[derive(Debug, PartialEq)]
enum When {
    Begin,
    Line,
    End,
}

#[derive(Debug)]
struct Rule {
    when: When,
    condition: Option<Expression>,
    then: Vec<Statement>,
}

pub(super) async fn awk(p: &mut Proc) -> Done {
    let mut args = Args::read(&p.args[1..], "F:v:", &[])?;
    if args.rest.is_empty() {
        return Err(Failure::Say(2, "a program is missing".to_owned()));
    }
    let program = args.rest.remove(0);
    let rules = parse(&program).map_err(|message| Failure::Say(2, message))?;
    let mut state = State::default();
    state.set("FS", args.value('F').unwrap_or(" "));
    state.set("OFS", " ");
    for (name, value) in args.values('v').filter_map(|given| given.split_once('=')) {
        state.set(name, value);
    }
    run(p, &rules, &When::Begin, &mut state).await?;
    let mut code = 0;
    if rules.iter().any(|rule| rule.when != When::Begin) {
        for (_, source) in each_input(p, &args.rest, &mut code).await {
            while let Some(line) = source.text_line().await? {
                state.line(line.trim_end_matches('\n'))?;
                run(p, &rules, &When::Line, &mut state).await?;
            }
        }
    }
    run(p, &rules, &When::End, &mut state).await?;
    Ok(code)
}

async fn run(p: &Proc, rules: &[Rule], when: &When, state: &mut State) -> Result<(), Failure> {
    for rule in rules.iter().filter(|rule| rule.when == *when) {
        let holds = rule.condition.as_ref().map(|condition| state.value(condition)).transpose()?;
        if holds.is_some_and(|value| !value.is_true()) {
            continue;
        }
        for statement in &rule.then {
            match statement {
                Statement::Print(list) => {
                    let words: Result<Vec<String>, String> =
                        list.iter().map(|word| Ok(state.value(word)?.text())).collect();
                    let line = match words? {
                        words if words.is_empty() => state.fields[0].clone(),
                        words => words.join(&state.name("OFS").text()),
                    };
                    p.print(&format!("{line}\n")).await?;
                }
                Statement::Assign(name, value) => {
                    let value = state.value(value)?;
                    state.names.insert(name.clone(), value);
                }
                Statement::Other(expression) => {
                    state.value(expression)?;
                }
            }
        }
    }
    Ok(())
}

/// A value: a number, or a text that may look like one.
#[derive(Debug, Clone)]
enum Amount {
    Number(f64),
    Text(String),
    /// Came from outside, so it compares as a number when it looks like one.
    Read(String),
}

impl Amount {
    fn text(&self) -> String {
        match self {
            Self::Number(number) if number.fract() == 0.0 && number.abs() < 1e16 => {
                format!("{number:.0}")
            }
            Self::Number(number) => format!("{number}"),
            Self::Text(text) | Self::Read(text) => text.clone(),
        }
    }

    fn number(&self) -> f64 {
        match self {
            Self::Number(number) => *number,
            Self::Text(text) | Self::Read(text) => {
                let text = text.trim();
                let is_part = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '+');
                let end = text.find(|c| !is_part(c)).unwrap_or(text.len());
                text[..end].parse().unwrap_or(0.0)
            }
        }
    }

    fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Read(text) => text.trim().parse().ok(),
            Self::Text(_) => None,
        }
    }

    fn is_true(&self) -> bool {
        self.as_number().map_or_else(|| !self.text().is_empty(), |number| number != 0.0)
    }
}

#[derive(Default)]
struct State {
    names: BTreeMap<String, Amount>,
    /// The whole line, then its fields.
    fields: Vec<String>,
    lines: f64,
}

impl State {
    fn set(&mut self, name: &str, value: &str) {
        self.names.insert(name.to_owned(), Amount::Read(value.to_owned()));
    }

    fn line(&mut self, line: &str) -> Result<(), String> {
        self.lines += 1.0;
        let separator = self.name("FS").text();
        let split: Vec<String> = match separator.as_str() {
            " " => line.split_whitespace().map(str::to_owned).collect(),
            one if one.chars().count() == 1 => line.split(one).map(str::to_owned).collect(),
            pattern => {
                let pattern = compile(pattern, Syntax::Extended, false)?;
                pattern.split(line).map(str::to_owned).collect()
            }
        };
        self.fields = vec![line.to_owned()];
        self.fields.extend(split);
        Ok(())
    }

    fn name(&self, name: &str) -> Amount {
        match name {
            "NR" | "FNR" => Amount::Number(self.lines),
            "NF" => Amount::Number(self.fields.len().saturating_sub(1) as f64),
            _ => self.names.get(name).cloned().unwrap_or(Amount::Read(String::new())),
        }
    }

    fn value(&self, expression: &Expression) -> Result<Amount, String> {
        let truth = |is_true: bool| Amount::Number(f64::from(u8::from(is_true)));
        Ok(match expression {
            Expression::Number(number) => Amount::Number(*number),
            Expression::Text(text) => Amount::Text(text.clone()),
            Expression::Name(name) => self.name(name),
            Expression::Field(index) => {
                let index = self.value(index)?.number() as usize;
                Amount::Read(self.fields.get(index).cloned().unwrap_or_default())
            }
            Expression::Matches(text, pattern) => {
                let text = self.value(text)?.text();
                truth(compile(pattern, Syntax::Extended, false)?.is_match(&text))
            }
            Expression::Not(inner) => truth(!self.value(inner)?.is_true()),
            Expression::Two("&&", a, b) => {
                truth(self.value(a)?.is_true() && self.value(b)?.is_true())
            }
            Expression::Two("||", a, b) => {
                truth(self.value(a)?.is_true() || self.value(b)?.is_true())
            }
            Expression::Two(sign, a, b) => two(sign, &self.value(a)?, &self.value(b)?)?,
        })
    }
}

fn two(sign: &str, a: &Amount, b: &Amount) -> Result<Amount, String> {
    let truth = |is_true: bool| Amount::Number(f64::from(u8::from(is_true)));
    let order = match (a.as_number(), b.as_number()) {
        (Some(a), Some(b)) => a.partial_cmp(&b),
        _ => Some(a.text().cmp(&b.text())),
    };
    Ok(match sign {
        "" => Amount::Text(a.text() + &b.text()),
        "==" => truth(order.is_some_and(|order| order.is_eq())),
        "!=" => truth(order.is_none_or(|order| order.is_ne())),
        "<" => truth(order.is_some_and(|order| order.is_lt())),
        "<=" => truth(order.is_some_and(|order| order.is_le())),
        ">" => truth(order.is_some_and(|order| order.is_gt())),
        ">=" => truth(order.is_some_and(|order| order.is_ge())),
        "+" => Amount::Number(a.number() + b.number()),
        "-" => Amount::Number(a.number() - b.number()),
        "*" => Amount::Number(a.number() * b.number()),
        "/" | "%" if b.number() == 0.0 => return Err("division by zero".to_owned()),
        "/" => Amount::Number(a.number() / b.number()),
        "%" => Amount::Number(a.number() % b.number()),
        other => return Err(format!("'{other}' is not supported")),
    })
}

fn tokens(program: &str) -> Result<Vec<Token>, String> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut rest = program.trim_start_matches([' ', '\t', '\r']);
    while let Some(first) = rest.chars().next() {
        // A slash after a value divides; elsewhere it begins a pattern.
        let after_value = matches!(
            tokens.last(),
            Some(Token::Number(_) | Token::Text(_) | Token::Name(_) | Token::Sign(")"))
        );
        let (token, length) = if first == '"' {
            let (text, length) = quoted(rest)?;
            (Token::Text(text), length)
        } else if first == '/' && !after_value {
            let end = rest[1..].find('/').ok_or("a pattern is not closed")?;
            (Token::Pattern(rest[1..=end].to_owned()), end + 2)
        } else if first.is_ascii_digit() {
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            let number =
                rest[..end].parse().map_err(|_| format!("bad number '{}'", &rest[..end]))?;
            (Token::Number(number), end)
        } else if first.is_ascii_alphabetic() || first == '_' {
            let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
            (Token::Name(rest[..end].to_owned()), end)
        } else {
            let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
            let sign = sign.ok_or_else(|| format!("'{first}' is not supported"))?;
            (Token::Sign(sign), sign.len())
        };
        tokens.push(token);
        rest = rest[length..].trim_start_matches([' ', '\t', '\r']);
    }
    Ok(tokens)
}

/// The text after a quotation mark, and how long it is in the program.
fn quoted(rest: &str) -> Result<(String, usize), String> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((text, at + 1)),
            '\\' => match chars.next() {
                Some((_, 'n')) => text.push('\n'),
                Some((_, 't')) => text.push('\t'),
                Some((_, other)) => text.push(other),
                None => break,
            },
            other => text.push(other),
        }
    }
    Err("a text is not closed".to_owned())
}

fn parse(program: &str) -> Result<Vec<Rule>, String> {
    let mut parser = Parser { tokens: tokens(program)?, at: 0, depth: 0 };
    let mut rules = Vec::new();
    loop {
        while parser.takes("\n") || parser.takes(";") {}
        if parser.at == parser.tokens.len() {
            return Ok(rules);
        }
        rules.push(parser.rule()?);
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn sees(&self, sign: &str) -> bool {
        matches!(self.peek(), Some(Token::Sign(seen)) if *seen == sign)
    }

    fn takes(&mut self, sign: &str) -> bool {
        let sees = self.sees(sign);
        self.at += usize::from(sees);
        sees
    }

    fn rule(&mut self) -> Result<Rule, String> {
        let when = match self.peek() {
            Some(Token::Name(name)) if name == "BEGIN" => When::Begin,
            Some(Token::Name(name)) if name == "END" => When::End,
            _ => When::Line,
        };
        self.at += usize::from(when != When::Line);
        let bare = when == When::Line && !self.sees("{");
        let condition = if bare { Some(self.expression(0)?) } else { None };
        let mut then = Vec::new();
        if self.takes("{") {
            while !self.takes("}") {
                if self.at == self.tokens.len() {
                    return Err("'{' is not closed".to_owned());
                }
                if !self.takes(";") && !self.takes("\n") {
                    then.push(self.statement()?);
                }
            }
        } else {
            then.push(Statement::Print(Vec::new()));
        }
        Ok(Rule { when, condition, then })
    }

    fn statement(&mut self) -> Result<Statement, String> {
        let Some(Token::Name(name)) = self.peek().cloned() else {
            return Ok(Statement::Other(self.expression(0)?));
        };
        if matches!(
            name.as_str(),
            "if" | "for" | "while" | "function" | "printf" | "getline" | "next"
        ) {
            return Err(format!("'{name}' is not supported"));
        }
        let before = self.at;
        self.at += 1;
        if name == "print" {
            let mut list = Vec::new();
            while !self.sees("}") && !self.sees(";") && !self.sees("\n") && self.peek().is_some() {
                list.push(self.expression(0)?);
                self.takes(",");
            }
            return Ok(Statement::Print(list));
        }
        let old = || Box::new(Expression::Name(name.clone()));
        if self.takes("++") {
            let one = Box::new(Expression::Number(1.0));
            return Ok(Statement::Assign(name.clone(), Expression::Two("+", old(), one)));
        }
        if self.takes("+=") {
            let more = Box::new(self.expression(0)?);
            return Ok(Statement::Assign(name.clone(), Expression::Two("+", old(), more)));
        }
        if self.takes("=") {
            return Ok(Statement::Assign(name, self.expression(0)?));
        }
        self.at = before;
        Ok(Statement::Other(self.expression(0)?))
    }

    /// An expression of operators that bind at least as strongly as `least`.
    fn expression(&mut self, least: u8) -> Result<Expression, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err("the program is nested too deep".to_owned());
        }
        let mut left = self.single()?;
        loop {
            let (sign, strength) = match self.peek() {
                Some(Token::Sign(sign)) => match strength(sign) {
                    Some(strength) => (*sign, strength),
                    None if matches!(*sign, "$" | "(") => ("", CONCATENATION),
                    None => break,
                },
                Some(Token::Number(_) | Token::Text(_) | Token::Name(_)) => ("", CONCATENATION),
                Some(Token::Pattern(_)) | None => break,
            };
            if strength < least {
                break;
            }
            self.at += usize::from(!sign.is_empty());
            left = match (sign, self.peek().cloned()) {
                ("~" | "!~", Some(Token::Pattern(pattern) | Token::Text(pattern))) => {
                    self.at += 1;
                    let matches = Expression::Matches(Box::new(left), pattern);
                    if sign == "~" { matches } else { Expression::Not(Box::new(matches)) }
                }
                _ => {
                    let right = self.expression(strength + 1)?;
                    Expression::Two(sign, Box::new(left), Box::new(right))
                }
            };
        }
        self.depth -= 1;
        Ok(left)
    }

    fn single(&mut self) -> Result<Expression, String> {
        let token = self.peek().cloned().ok_or("the program ends too early")?;
        self.at += 1;
        Ok(match token {
            Token::Number(number) => Expression::Number(number),
            Token::Text(text) => Expression::Text(text),
            Token::Pattern(pattern) => {
                let line = Expression::Field(Box::new(Expression::Number(0.0)));
                Expression::Matches(Box::new(line), pattern)
            }
            Token::Name(name) if self.sees("(") => {
                return Err(format!("the function '{name}' is not supported"));
            }
            Token::Name(name) => Expression::Name(name),
            Token::Sign("$") => Expression::Field(Box::new(self.single()?)),
            Token::Sign("!") => Expression::Not(Box::new(self.single()?)),
            Token::Sign("-") => {
                let zero = Box::new(Expression::Number(0.0));
                Expression::Two("-", zero, Box::new(self.single()?))
            }
            Token::Sign("(") => {
                let inner = self.expression(0)?;
                if !self.takes(")") {
                    return Err("'(' is not closed".to_owned());
                }
                inner
            }
            Token::Sign(sign) => return Err(format!("'{sign}' is not expected here")),
        })
    }
}

/// How strongly one text after another binds.
const CONCATENATION: u8 = 5;

fn strength(sign: &str) -> Option<u8> {
    Some(match sign {
        "||" => 1,
        "&&" => 2,
        "~" | "!~" => 3,
        "==" | "!=" | "<" | "<=" | ">" | ">=" => 4,
        "+" | "-" => 6,
        "*" | "/" | "%" => 7,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(program: &str, lines: &str, expected: &str) {
        let stdin = crate::io::Source::bytes(lines.as_bytes().to_vec());
        let (stdout, written) = crate::io::memory();
        let nothing = crate::io::Sink::nothing();
        let args = vec!["awk".to_owned(), program.to_owned()];
        let mut p = Proc { args, env: Vec::new(), cwd: "/".into(), stdin, stdout, stderr: nothing };
        let code = crate::io::run(async { awk(&mut p).await });
        assert!(matches!(code, Ok(0)));
        assert_eq!(String::from_utf8_lossy(&written.borrow()), expected, "{program}");
    }

    #[test]
    fn fields_of_lines() {
        check("{print $1}", "3 a\n4  b\n", "3\n4\n");
        check("{print $NF, NR}", "a b\nc\n", "b 1\nc 2\n");
        check("NR==2 {print $1 \"-\" $2; print}", "a b\nc d\n", "c-d\nc d\n");
        check("/b+/", "abb\nac\n", "abb\n");
        check("$2 > 9 && $1 !~ /^x/", "a 10\nb 9\nx 11\n", "a 10\n");
        check("{ sum += $1 } END { print sum / NR, -1 + 2*3 }", "1\n2\n6\n", "3 5\n");
        check("BEGIN { x = \"a\\tb\"; print x }", "", "a\tb\n");
    }

    #[test]
    fn what_is_not_supported_is_said() {
        for program in
            ["{ if ($1) print }", "{ print length($1) }", "{ a[1] = 2 }", "{ print", "(1"]
        {
            assert!(parse(program).is_err(), "{program}");
        }
    }
}
