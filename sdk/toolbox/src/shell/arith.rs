//! `$((…))`: whole numbers of 64 bits, as C computes them.

/// Variables that an expression reads and sets.
pub(crate) trait Variables {
    fn get(&self, name: &str) -> Option<String>;
    fn set(&mut self, name: &str, value: String) -> Result<(), String>;
}

/// Parentheses and signs in one another.
const DEPTH_MAX: usize = 100;

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    depth: usize,
    variables: &'a mut dyn Variables,
    /// Over 0 behind `&&`, `||` and `?` where the value does not count.
    skipping: usize,
}

/// Operators of two operands, the loosest first.
const LEVELS: [&[&str]; 10] = [
    &["||"],
    &["&&"],
    &["|"],
    &["^"],
    &["&"],
    &["==", "!="],
    &["<=", ">=", "<", ">"],
    &["<<", ">>"],
    &["+", "-"],
    &["*", "/", "%"],
];

/// Computes an expression.
pub(crate) fn value(text: &str, variables: &mut dyn Variables) -> Result<i64, String> {
    let mut reader = Reader { text: text.as_bytes(), at: 0, depth: 0, variables, skipping: 0 };
    if text.trim().is_empty() {
        return Ok(0);
    }
    let value = reader.assignment()?;
    reader.blanks();
    if reader.at < reader.text.len() {
        return Err(format!("arithmetic syntax error: \"{}\"", text.trim()));
    }
    Ok(value)
}

impl Reader<'_> {
    fn blanks(&mut self) {
        while self.text.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }

    fn eat(&mut self, wanted: &str) -> bool {
        self.blanks();
        let is_next = self.text[self.at..].starts_with(wanted.as_bytes());
        if is_next {
            self.at += wanted.len();
        }
        is_next
    }

    fn name(&mut self) -> Option<String> {
        self.blanks();
        let rest = &self.text[self.at..];
        let is_first = |c: &u8| c.is_ascii_alphabetic() || *c == b'_';
        rest.first().filter(|c| is_first(c))?;
        let length = rest.iter().take_while(|c| is_first(c) || c.is_ascii_digit()).count();
        self.at += length;
        Some(String::from_utf8_lossy(&rest[..length]).into_owned())
    }

    fn assignment(&mut self) -> Result<i64, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err("arithmetic nested too deep".to_owned());
        }
        let start = self.at;
        if let Some(name) = self.name() {
            for operator in ["=", "+=", "-=", "*=", "/=", "%="] {
                let at = self.at;
                if !self.eat(operator) {
                    continue;
                }
                if operator == "=" && self.text.get(self.at) == Some(&b'=') {
                    self.at = at;
                    continue;
                }
                let right = self.assignment()?;
                let value = match operator {
                    "=" => right,
                    other => self.apply(&other[..1], self.variable(&name)?, right)?,
                };
                if self.skipping == 0 {
                    self.variables.set(&name, value.to_string())?;
                }
                self.depth -= 1;
                return Ok(value);
            }
        }
        self.at = start;
        let value = self.ternary()?;
        self.depth -= 1;
        Ok(value)
    }

    fn ternary(&mut self) -> Result<i64, String> {
        let condition = self.level(0)?;
        if !self.eat("?") {
            return Ok(condition);
        }
        let first = self.maybe(condition != 0, Self::assignment)?;
        if !self.eat(":") {
            return Err("arithmetic syntax error: ':' is missing".to_owned());
        }
        let second = self.maybe(condition == 0, Self::ternary)?;
        Ok(if condition != 0 { first } else { second })
    }

    fn maybe(
        &mut self,
        counts: bool,
        part: impl FnOnce(&mut Self) -> Result<i64, String>,
    ) -> Result<i64, String> {
        self.skipping += usize::from(!counts);
        let value = part(self);
        self.skipping -= usize::from(!counts);
        value
    }

    fn level(&mut self, level: usize) -> Result<i64, String> {
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.level(level + 1)?;
        while let Some(operator) = self.operator(operators) {
            let counts = match operator {
                "&&" => left != 0,
                "||" => left == 0,
                _ => true,
            };
            let right = self.maybe(counts, |reader| reader.level(level + 1))?;
            left = self.apply(operator, left, right)?;
        }
        Ok(left)
    }

    fn operator(&mut self, operators: &[&'static str]) -> Option<&'static str> {
        self.blanks();
        let rest = &self.text[self.at..];
        let found = operators.iter().find(|operator| rest.starts_with(operator.as_bytes()))?;
        let next = rest.get(found.len());
        // `|` is not half of `||`, `<` not half of `<<`, `+` not half of `+=`.
        let doubled = matches!(*found, "|" | "&" | "<" | ">") && next == rest.first();
        let assigns = !matches!(*found, "==" | "!=" | "<=" | ">=") && next == Some(&b'=');
        if doubled || (assigns && !matches!(*found, "<" | ">")) {
            return None;
        }
        self.at += found.len();
        Some(found)
    }

    fn apply(&self, operator: &str, left: i64, right: i64) -> Result<i64, String> {
        let truth = i64::from;
        Ok(match operator {
            "||" => truth(left != 0 || right != 0),
            "&&" => truth(left != 0 && right != 0),
            "|" => left | right,
            "^" => left ^ right,
            "&" => left & right,
            "==" => truth(left == right),
            "!=" => truth(left != right),
            "<=" => truth(left <= right),
            ">=" => truth(left >= right),
            "<" => truth(left < right),
            ">" => truth(left > right),
            "<<" => left.wrapping_shl(right as u32),
            ">>" => left.wrapping_shr(right as u32),
            "+" => left.wrapping_add(right),
            "-" => left.wrapping_sub(right),
            "*" => left.wrapping_mul(right),
            _ if self.skipping > 0 => 0,
            _ if right == 0 => return Err("division by zero".to_owned()),
            "/" => left.wrapping_div(right),
            _ => left.wrapping_rem(right),
        })
    }

    fn unary(&mut self) -> Result<i64, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err("arithmetic nested too deep".to_owned());
        }
        let value = if self.eat("-") {
            self.unary()?.wrapping_neg()
        } else if self.eat("+") {
            self.unary()?
        } else if self.eat("!") {
            i64::from(self.unary()? == 0)
        } else if self.eat("~") {
            !self.unary()?
        } else {
            self.primary()?
        };
        self.depth -= 1;
        Ok(value)
    }

    fn primary(&mut self) -> Result<i64, String> {
        if self.eat("(") {
            let value = self.assignment()?;
            return if self.eat(")") {
                Ok(value)
            } else {
                Err("arithmetic syntax error: ')' is missing".to_owned())
            };
        }
        if let Some(name) = self.name() {
            return self.variable(&name);
        }
        let rest = &self.text[self.at..];
        let length = rest.iter().take_while(|c| c.is_ascii_alphanumeric()).count();
        let text = String::from_utf8_lossy(&rest[..length]).into_owned();
        self.at += length;
        number(&text)
    }

    fn variable(&self, name: &str) -> Result<i64, String> {
        match self.variables.get(name).as_deref().map(str::trim) {
            None | Some("") => Ok(0),
            Some(text) => match text.strip_prefix('-') {
                Some(rest) => number(rest).map(i64::wrapping_neg),
                None => number(text),
            },
        }
    }
}

fn number(text: &str) -> Result<i64, String> {
    let bad = |_| format!("arithmetic syntax error: \"{text}\" is not a number");
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        i64::from_str_radix(hex, 16).map_err(bad)
    } else if text.len() > 1 && text.starts_with('0') {
        i64::from_str_radix(text, 8).map_err(bad)
    } else {
        text.parse().map_err(bad)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    impl Variables for BTreeMap<String, String> {
        fn get(&self, name: &str) -> Option<String> {
            BTreeMap::get(self, name).cloned()
        }
        fn set(&mut self, name: &str, value: String) -> Result<(), String> {
            self.insert(name.to_owned(), value);
            Ok(())
        }
    }

    #[test]
    fn expressions() {
        let mut variables = BTreeMap::from([("x".to_owned(), "5".to_owned())]);
        let mut check = |text: &str, want: Result<i64, &str>| {
            let found = value(text, &mut variables);
            assert_eq!(found.as_ref().map(|v| *v).map_err(String::as_str), want, "{text}");
        };
        check("1 + 2 * 3", Ok(7));
        check("(1+2)*3 - -1", Ok(10));
        check("x * 2 == 10 && y == 0", Ok(1));
        check("x > 3 ? x << 1 : 1/0", Ok(10));
        check("0x1f % 010", Ok(7));
        check("y = x += 1", Ok(6));
        check("x - y", Ok(0));
        check("1 <= 2 | 4", Ok(5));
        check("!x || ~0 == -1", Ok(1));
        check("1/0", Err("division by zero"));
        check("1 +", Err("arithmetic syntax error: \"\" is not a number"));
    }
}
