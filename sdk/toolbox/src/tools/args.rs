//! Reading of options, as POSIX writes them: `-ab`, `-n 5`, `-n5`, `--`.

use crate::proc::Failure;

/// Options and operands of one call.
pub(crate) struct Args {
    given: Vec<(char, Option<String>)>,
    /// What is no option.
    pub(crate) rest: Vec<String>,
}

impl Args {
    /// Reads `args` (the name not included). `known` lists the letters, each followed by `:` when
    /// it takes a value. Long options are given as `(name, letter)`.
    pub(crate) fn read(
        args: &[String],
        known: &str,
        long: &[(&str, char)],
    ) -> Result<Self, Failure> {
        let mut read = Self { given: Vec::new(), rest: Vec::new() };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            if arg == "--" {
                read.rest.extend(args.cloned());
                break;
            }
            if let Some(name) = arg.strip_prefix("--") {
                let (name, value) =
                    name.split_once('=').map_or((name, None), |(n, v)| (n, Some(v)));
                let found = long.iter().find(|(known, _)| *known == name);
                let (_, letter) = found.ok_or_else(|| bad(arg))?;
                let value = match (takes_value(known, *letter), value) {
                    (Some(true), None) => args.next().cloned(),
                    (_, value) => value.map(str::to_owned),
                };
                read.given.push((*letter, value));
            } else if let Some(letters) = arg.strip_prefix('-').filter(|rest| !rest.is_empty()) {
                read.letters(letters, known, &mut args)?;
            } else {
                read.rest.push(arg.clone());
            }
        }
        Ok(read)
    }

    fn letters<'a>(
        &mut self,
        letters: &str,
        known: &str,
        args: &mut impl Iterator<Item = &'a String>,
    ) -> Result<(), Failure> {
        for (at, letter) in letters.char_indices() {
            let takes = takes_value(known, letter).ok_or_else(|| bad(&format!("-{letter}")))?;
            if !takes {
                self.given.push((letter, None));
                continue;
            }
            let rest = &letters[at + letter.len_utf8()..];
            let value = if rest.is_empty() { args.next().cloned() } else { Some(rest.to_owned()) };
            let value = value.ok_or_else(|| {
                Failure::Say(2, format!("option requires an argument: '{letter}'"))
            })?;
            self.given.push((letter, Some(value)));
            break;
        }
        Ok(())
    }

    pub(crate) fn has(&self, letter: char) -> bool {
        self.given.iter().any(|(given, _)| *given == letter)
    }

    /// The last value of an option.
    pub(crate) fn value(&self, letter: char) -> Option<&str> {
        self.values(letter).last()
    }

    pub(crate) fn values(&self, letter: char) -> impl Iterator<Item = &str> {
        self.given
            .iter()
            .filter(move |(given, _)| *given == letter)
            .filter_map(|(_, v)| v.as_deref())
    }

    pub(crate) fn number(&self, letter: char) -> Result<Option<i64>, Failure> {
        let number = |text: &str| {
            text.parse().map_err(|_| Failure::Say(2, format!("invalid number '{text}'")))
        };
        self.value(letter).map(number).transpose()
    }
}

fn takes_value(known: &str, letter: char) -> Option<bool> {
    let at = known.find(letter).filter(|_| letter != ':')?;
    Some(known[at + letter.len_utf8()..].starts_with(':'))
}

fn bad(option: &str) -> Failure {
    Failure::Say(2, format!("unrecognized option: {option}"))
}
