//! Reads the query form of a label selector.
//! *Source:* `k8s.io/apimachinery/pkg/labels` (grammar in the comment of `Parse`).

use std::collections::BTreeSet;

use super::label::{Operator, ParseSelectorError, Requirement};
use super::lexer::{Token, tokens};
use crate::names;
use crate::text::go_quote;

/// Reads the tokens one after the other.
pub(super) struct Parser<'a> {
    tokens: Vec<(Token, &'a str)>,
    position: usize,
}

impl<'a> Parser<'a> {
    /// Begins at the first token.
    pub(super) fn new(query: &'a str) -> Self {
        Parser { tokens: tokens(query), position: 0 }
    }

    /// Looks at the next token; where a value may stand, `in` and `notin` are plain words.
    fn peek(&self) -> (Token, &'a str) {
        let (token, literal) = self.raw();
        (if matches!(token, Token::In | Token::NotIn) { Token::Identifier } else { token }, literal)
    }

    fn raw(&self) -> (Token, &'a str) {
        self.tokens.get(self.position).copied().unwrap_or((Token::End, ""))
    }

    fn next(&mut self) -> (Token, &'a str) {
        let found = self.peek();
        self.position += 1;
        found
    }

    /// Reads all conditions to the end of the text.
    pub(super) fn requirements(&mut self) -> Result<Vec<Requirement>, ParseSelectorError> {
        let mut requirements = vec![];
        loop {
            match self.peek() {
                (Token::Identifier | Token::Not, _) => {
                    let requirement = self.requirement().map_err(|ParseSelectorError(why)| {
                        ParseSelectorError(format!("unable to parse requirement: {why}"))
                    })?;
                    requirements.push(requirement);
                }
                (Token::End, _) => return Ok(requirements),
                (_, literal) => return expected(literal, "!, identifier, or 'end of string'"),
            }
            match self.next() {
                (Token::End, _) => return Ok(requirements),
                (Token::Comma, _) => match self.peek() {
                    (Token::Identifier | Token::Not, _) => {}
                    (_, literal) => return expected(literal, "identifier after ','"),
                },
                (_, literal) => return expected(literal, "',' or 'end of string'"),
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, ParseSelectorError> {
        let negated = self.peek().0 == Token::Not;
        if negated {
            self.next();
        }
        let (Token::Identifier, key) = self.next() else {
            return expected(self.tokens[self.position - 1].1, "identifier");
        };
        let complaints = names::qualified_name(key);
        if !complaints.is_empty() {
            let (quoted, words) = (go_quote(key), complaints.join("; "));
            let message = format!("<nil>: Invalid value: {quoted}: {words}");
            return Err(ParseSelectorError(message));
        }
        let last = matches!(self.peek().0, Token::End | Token::Comma);
        if negated {
            return Requirement::checked(key, Operator::DoesNotExist, vec![], "!");
        }
        if last {
            return Requirement::checked(key, Operator::Exists, vec![], "");
        }
        let (operator, written) = self.operator()?;
        let values = match written {
            "in" | "notin" => self.values()?,
            _ => vec![self.exact_value()?],
        };
        Requirement::checked(key, operator, values, written)
    }

    fn operator(&mut self) -> Result<(Operator, &'static str), ParseSelectorError> {
        let (token, literal) = self.raw();
        self.position += 1;
        match token {
            Token::In => Ok((Operator::In, "in")),
            Token::NotIn => Ok((Operator::NotIn, "notin")),
            Token::Equals => Ok((Operator::In, "=")),
            Token::DoubleEquals => Ok((Operator::In, "==")),
            Token::NotEquals => Ok((Operator::NotIn, "!=")),
            Token::Greater => Ok((Operator::GreaterThan, ">")),
            Token::Less => Ok((Operator::LessThan, "<")),
            Token::End
            | Token::Close
            | Token::Comma
            | Token::Not
            | Token::Identifier
            | Token::Open
            | Token::Unknown => expected(literal, "in, notin, =, ==, !=, gt, lt"),
        }
    }

    fn values(&mut self) -> Result<Vec<String>, ParseSelectorError> {
        let (Token::Open, _) = self.next() else {
            let literal = self.tokens[self.position - 1].1;
            return Err(ParseSelectorError(format!("found '{literal}' expected: '('")));
        };
        let mut values = BTreeSet::new();
        loop {
            match self.next() {
                (Token::Identifier, value) => {
                    values.insert(value.to_owned());
                    match self.next() {
                        (Token::Comma, _) => {}
                        (Token::Close, _) => return Ok(values.into_iter().collect()),
                        (_, literal) => return expected(literal, "',' or ')'"),
                    }
                    if self.peek().0 == Token::Close {
                        values.insert(String::new());
                    }
                }
                (Token::Comma, _) => {
                    values.insert(String::new());
                }
                (Token::Close, _) => {
                    values.insert(String::new());
                    return Ok(values.into_iter().collect());
                }
                (_, literal) => return expected(literal, "',', ')' or identifier"),
            }
        }
    }

    fn exact_value(&mut self) -> Result<String, ParseSelectorError> {
        match self.peek() {
            (Token::End | Token::Comma, _) => Ok(String::new()),
            (Token::Identifier, value) => {
                self.next();
                Ok(value.to_owned())
            }
            (_, literal) => expected(literal, "identifier"),
        }
    }
}

fn expected<T>(found: &str, wanted: &str) -> Result<T, ParseSelectorError> {
    Err(ParseSelectorError(format!("found '{found}', expected: {wanted}")))
}
