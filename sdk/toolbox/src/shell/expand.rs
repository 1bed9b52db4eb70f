//! From words to fields: parameters, substitutions, splitting, file names.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use super::arith;
use super::ast::{Change, List, Parameter, Part, Word};
use super::pattern;
use super::state::Shell;
use crate::io;

/// Most bytes that a `$(…)` takes in.
const SUBSTITUTION_BYTES_MAX: usize = 16 << 20;

/// A character, and whether quotes protect it from being a pattern.
type Marked = Vec<(char, bool)>;

type Boxed<'a, T> = Pin<Box<dyn Future<Output = Result<T, String>> + 'a>>;

/// Fields while they are put together.
#[derive(Default)]
struct Fields {
    done: Vec<Marked>,
    current: Option<Marked>,
}

impl Fields {
    fn add(&mut self, text: &str, protected: bool) {
        self.current.get_or_insert_default().extend(text.chars().map(|c| (c, protected)));
    }

    fn finish(&mut self) {
        self.done.extend(self.current.take());
    }

    /// Adds what an unquoted expansion gave, cut at the characters of `IFS`.
    fn add_split(&mut self, text: &str, ifs: &str) {
        let mut after_blank = false;
        for c in text.chars() {
            if !ifs.contains(c) {
                self.add(c.encode_utf8(&mut [0; 4]), false);
                after_blank = false;
            } else if c.is_whitespace() {
                after_blank |= self.current.is_some();
                self.finish();
            } else {
                if self.current.is_none() && !after_blank {
                    self.add("", false);
                }
                self.finish();
                after_blank = false;
            }
        }
    }
}

impl Shell {
    /// Expands words to fields, file names included.
    pub(super) async fn fields(&mut self, words: &[Word]) -> Result<Vec<String>, String> {
        let mut all = Vec::new();
        for word in words {
            let mut fields = Fields::default();
            self.parts(&word.0, &mut fields, false).await?;
            fields.finish();
            for field in fields.done {
                let is_pattern = field.iter().any(|(c, quoted)| !quoted && "*?[".contains(*c));
                if is_pattern && !self.options.noglob {
                    let found = pattern::files(&field, &self.cwd);
                    if !found.is_empty() {
                        all.extend(found);
                        continue;
                    }
                }
                all.push(text(&field));
            }
        }
        Ok(all)
    }

    /// Expands a word to one text, neither split nor taken for file names.
    pub(super) async fn single(&mut self, word: &Word) -> Result<String, String> {
        Ok(text(&self.marked(word).await?))
    }

    /// The same, with what quotes protect.
    pub(super) async fn marked(&mut self, word: &Word) -> Result<Marked, String> {
        let mut fields = Fields::default();
        self.parts(&word.0, &mut fields, true).await?;
        fields.finish();
        Ok(fields.done.join(&(' ', true)))
    }

    fn parts<'a>(
        &'a mut self,
        parts: &'a [Part],
        out: &'a mut Fields,
        whole: bool,
    ) -> Boxed<'a, ()> {
        Box::pin(async move {
            for (at, part) in parts.iter().enumerate() {
                match part {
                    Part::Plain(text) if at == 0 && text.starts_with('~') => {
                        let home = self.value("HOME").unwrap_or_else(|| "/".to_owned());
                        let rest = &text[1..];
                        if rest.is_empty() || rest.starts_with('/') {
                            out.add(&home, true);
                            out.add(rest, false);
                        } else {
                            out.add(text, false);
                        }
                    }
                    Part::Plain(text) => out.add(text, false),
                    Part::Quoted(text) => out.add(text, true),
                    Part::Double(parts) => self.double(parts, out).await?,
                    Part::Parameter(parameter) => self.unquoted(parameter, out, whole).await?,
                    Part::Command(list) => {
                        let text = self.substitute(list).await?;
                        self.add_expanded(&text, out, whole);
                    }
                    Part::Arithmetic(word) => {
                        let text = self.compute(word).await?;
                        self.add_expanded(&text, out, whole);
                    }
                }
            }
            Ok(())
        })
    }

    fn add_expanded(&self, text: &str, out: &mut Fields, whole: bool) {
        if whole {
            out.add(text, false);
        } else {
            out.add_split(text, &self.value("IFS").unwrap_or_else(|| " \t\n".to_owned()));
        }
    }

    async fn double(&mut self, parts: &[Part], out: &mut Fields) -> Result<(), String> {
        let is_all = |part: &Part| matches!(part, Part::Parameter(Parameter { name, change: Change::None }) if name == "@");
        if !(parts.len() == 1 && is_all(&parts[0]) && self.positional.is_empty()) {
            out.add("", true);
        }
        for part in parts {
            match part {
                Part::Plain(text) | Part::Quoted(text) => out.add(text, true),
                Part::Double(parts) => Box::pin(self.double(parts, out)).await?,
                Part::Command(list) => out.add(&self.substitute(list).await?, true),
                Part::Arithmetic(word) => out.add(&self.compute(word).await?, true),
                part if is_all(part) => {
                    for (at, value) in self.positional.iter().enumerate() {
                        if at > 0 {
                            out.finish();
                        }
                        out.add(value, true);
                    }
                }
                Part::Parameter(parameter) => {
                    let value = self.parameter(parameter).await?;
                    out.add(&value, true);
                }
            }
        }
        Ok(())
    }

    async fn unquoted(
        &mut self,
        parameter: &Parameter,
        out: &mut Fields,
        whole: bool,
    ) -> Result<(), String> {
        if matches!(parameter.name.as_str(), "@" | "*") && parameter.change == Change::None {
            for (at, value) in self.positional.clone().iter().enumerate() {
                if at > 0 {
                    out.finish();
                }
                self.add_expanded(value, out, whole);
            }
            return Ok(());
        }
        // The word of `${x:-word}` keeps its own quotes.
        if let Change::Absent { act: act @ ('-' | '+'), colon, word } = &parameter.change {
            let value = self.value(&parameter.name).filter(|value| !(*colon && value.is_empty()));
            if value.is_some() == (*act == '+') {
                return self.parts(&word.0, out, whole).await;
            }
        }
        let value = self.parameter(parameter).await?;
        self.add_expanded(&value, out, whole);
        Ok(())
    }

    async fn parameter(&mut self, parameter: &Parameter) -> Result<String, String> {
        let name = &parameter.name;
        let value = self.value(name);
        match &parameter.change {
            Change::Absent { act, colon, word } => {
                let value = value.filter(|value| !(*colon && value.is_empty()));
                self.absent(name, value, *act, word).await
            }
            Change::None => self.present(name, value),
            Change::Length if matches!(name.as_str(), "@" | "*") => {
                Ok(self.positional.len().to_string())
            }
            Change::Length => Ok(self.present(name, value)?.chars().count().to_string()),
            Change::Cut { suffix, longest, pattern } => {
                let value: Vec<char> = self.present(name, value)?.chars().collect();
                let pattern = pattern::read(&self.marked(pattern).await?);
                Ok(cut(&value, &pattern, *suffix, *longest))
            }
        }
    }

    fn present(&self, name: &str, value: Option<String>) -> Result<String, String> {
        if value.is_none() && self.options.nounset && !matches!(name, "@" | "*") {
            return Err(format!("{name}: parameter not set"));
        }
        Ok(value.unwrap_or_default())
    }

    async fn absent(
        &mut self,
        name: &str,
        value: Option<String>,
        act: char,
        word: &Word,
    ) -> Result<String, String> {
        match (act, value) {
            ('+', None) => Ok(String::new()),
            ('+', Some(_)) => self.single(word).await,
            (_, Some(value)) => Ok(value),
            ('-', None) => self.single(word).await,
            ('=', None) => {
                let value = self.single(word).await?;
                self.assign(name, value.clone())?;
                Ok(value)
            }
            (_, None) => {
                let message = self.single(word).await?;
                let message = if message.is_empty() { "parameter not set" } else { &message };
                Err(format!("{name}: {message}"))
            }
        }
    }

    async fn compute(&mut self, word: &Word) -> Result<String, String> {
        let text = self.single(word).await?;
        Ok(arith::value(&text, self)?.to_string())
    }

    /// Runs a `$(…)` and takes in what it writes.
    async fn substitute(&mut self, list: &List) -> Result<String, String> {
        let (sink, source) = io::pipe();
        let mut inner = self.clone();
        inner.streams.stdout = sink;
        let list = list.clone();
        let script: io::Task = Box::pin(async move { inner.subshell(&list).await });
        let taken = Rc::new(RefCell::new(Ok::<_, String>(Vec::new())));
        let place = taken.clone();
        let reader: io::Task = Box::pin(async move {
            let mut bytes = Vec::new();
            loop {
                match source.some().await {
                    Ok(more) if more.is_empty() => break,
                    Ok(more) => bytes.extend(more),
                    Err(_) => break,
                }
                if bytes.len() > SUBSTITUTION_BYTES_MAX {
                    let most = SUBSTITUTION_BYTES_MAX >> 20;
                    *place.borrow_mut() = Err(format!("a $(…) gave more than {most} MiB"));
                    return 1;
                }
            }
            *place.borrow_mut() = Ok(bytes);
            0
        });
        let codes = io::all(vec![script, reader]).await;
        self.status = codes.first().copied().unwrap_or(0);
        let bytes = taken.replace(Ok(Vec::new()))?;
        Ok(String::from_utf8_lossy(&bytes).trim_end_matches('\n').to_owned())
    }
}

fn text(marked: &[(char, bool)]) -> String {
    marked.iter().map(|(c, _)| *c).collect()
}

/// Takes the shortest or longest beginning or end that fits off a value.
fn cut(value: &[char], pattern: &[pattern::Element], suffix: bool, longest: bool) -> String {
    let mut lengths: Vec<usize> = (0..=value.len()).collect();
    if longest {
        lengths.reverse();
    }
    for length in lengths {
        let (taken, rest) = if suffix {
            let (rest, taken) = value.split_at(value.len() - length);
            (taken, rest)
        } else {
            value.split_at(length)
        };
        if pattern::fits(pattern, taken) {
            return rest.iter().collect();
        }
    }
    value.iter().collect()
}
