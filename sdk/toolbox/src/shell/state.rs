//! What a shell knows while it runs a script.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::PathBuf;
use std::rc::Rc;

use super::arith::Variables;
use super::ast::Command;
use crate::interrupt;
use crate::io::{Sink, Source};
use crate::proc::Proc;

#[derive(Clone)]
pub(crate) struct Variable {
    pub(crate) value: Option<String>,
    pub(crate) exported: bool,
    pub(crate) read_only: bool,
}

/// `set -e` and its kin.
#[derive(Clone, Default)]
pub(crate) struct Options {
    pub(crate) errexit: bool,
    pub(crate) nounset: bool,
    pub(crate) xtrace: bool,
    pub(crate) noglob: bool,
    pub(crate) pipefail: bool,
    pub(crate) interactive: bool,
}

/// Where commands read and write.
#[derive(Clone)]
pub(crate) struct Streams {
    pub(crate) stdin: Source,
    pub(crate) stdout: Sink,
    pub(crate) stderr: Sink,
}

/// A shell; its clone is a subshell.
#[derive(Clone)]
pub(crate) struct Shell {
    pub(crate) variables: BTreeMap<String, Variable>,
    pub(crate) functions: BTreeMap<String, Rc<Command>>,
    pub(crate) name: String,
    pub(crate) positional: Vec<String>,
    pub(crate) status: i32,
    pub(crate) cwd: PathBuf,
    pub(crate) options: Options,
    pub(crate) streams: Streams,
    /// Over 0 where a failure is looked at, so that `set -e` does not end the script.
    pub(crate) tested: usize,
    pub(crate) loops: usize,
    /// What `local` has hidden, by function.
    pub(crate) hidden: Vec<Vec<(String, Option<Variable>)>>,
    pub(crate) at_exit: Option<String>,
    /// Functions, `eval` and `.` in one another.
    pub(crate) depth: usize,
}

impl Shell {
    pub(crate) fn new(proc: &Proc) -> Self {
        let mut shell = Self {
            variables: BTreeMap::new(),
            functions: BTreeMap::new(),
            name: proc.args.first().cloned().unwrap_or_else(|| "sh".to_owned()),
            positional: Vec::new(),
            status: 0,
            cwd: proc.cwd.clone(),
            options: Options::default(),
            streams: Streams {
                stdin: proc.stdin.clone(),
                stdout: proc.stdout.clone(),
                stderr: proc.stderr.clone(),
            },
            tested: 0,
            loops: 0,
            hidden: Vec::new(),
            at_exit: None,
            depth: 0,
        };
        for (name, value) in &proc.env {
            let value = Some(value.clone());
            let variable = Variable { value, exported: true, read_only: false };
            shell.variables.insert(name.clone(), variable);
        }
        let pwd = shell.cwd.display().to_string();
        shell.put("PWD", pwd, false);
        shell.put("IFS", " \t\n".to_owned(), false);
        shell.put("OPTIND", "1".to_owned(), false);
        shell
    }

    fn put(&mut self, name: &str, value: String, exported: bool) {
        let value = Some(value);
        self.variables.insert(name.to_owned(), Variable { value, exported, read_only: false });
    }

    /// Goes on at the prompt after an interrupt: what `before` read, wrote and was called with; variables and the
    /// directory stay as they are now.
    pub(crate) fn begin_anew(&mut self, before: &Shell) {
        self.streams = before.streams.clone();
        self.streams.stdin.forget();
        self.positional = before.positional.clone();
        while self.hidden.len() > before.hidden.len() {
            let hidden = self.hidden.pop().unwrap_or_default();
            self.restore(hidden);
        }
        (self.tested, self.loops, self.depth) = (before.tested, before.loops, before.depth);
        self.status = interrupt::CODE;
    }

    /// The value of a variable or of a special parameter.
    pub(crate) fn value(&self, name: &str) -> Option<String> {
        match name {
            "?" => Some(self.status.to_string()),
            "#" => Some(self.positional.len().to_string()),
            "$" => Some("1".to_owned()),
            "!" => None,
            "0" => Some(self.name.clone()),
            "-" => Some(self.letters()),
            "@" | "*" => (!self.positional.is_empty()).then(|| self.positional.join(" ")),
            _ => match name.parse::<usize>() {
                Ok(number) => self.positional.get(number - 1).cloned(),
                Err(_) => match self.variables.get(name) {
                    Some(variable) => variable.value.clone(),
                    None => (name == "RANDOM").then(|| random().to_string()),
                },
            },
        }
    }

    fn letters(&self) -> String {
        let options = &self.options;
        let letters = [
            (options.errexit, 'e'),
            (options.noglob, 'f'),
            (options.interactive, 'i'),
            (options.nounset, 'u'),
            (options.xtrace, 'x'),
        ];
        letters.into_iter().filter(|(is_set, _)| *is_set).map(|(_, letter)| letter).collect()
    }

    /// Sets a variable; it stays exported if it was.
    pub(crate) fn assign(&mut self, name: &str, value: String) -> Result<(), String> {
        let variable = self.variables.entry(name.to_owned()).or_insert(Variable {
            value: None,
            exported: false,
            read_only: false,
        });
        if variable.read_only {
            return Err(format!("{name}: is read only"));
        }
        variable.value = Some(value);
        Ok(())
    }

    /// What a tool is started with.
    pub(crate) fn proc(&self, args: Vec<String>) -> Proc {
        let exported = self.variables.iter().filter(|(_, variable)| variable.exported);
        let env = exported.filter_map(|(n, variable)| Some((n.clone(), variable.value.clone()?)));
        let streams = self.streams.clone();
        Proc {
            args,
            env: env.collect(),
            cwd: self.cwd.clone(),
            stdin: streams.stdin,
            stdout: streams.stdout,
            stderr: streams.stderr,
        }
    }

    pub(crate) async fn complain(&self, message: &str) {
        let _ = self.streams.stderr.write(format!("{}: {message}\n", self.name).as_bytes()).await;
    }
}

/// What `$RANDOM` is when nobody has set it: up to 32767, as elsewhere.
fn random() -> u64 {
    RandomState::new().build_hasher().finish() & 0x7fff
}

impl Variables for Shell {
    fn get(&self, name: &str) -> Option<String> {
        self.value(name)
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), String> {
        self.assign(name, value)
    }
}
