//! Commands that change the shell itself.

use super::parse::{self, SyntaxError};
use super::run::{DEPTH_MAX, Flow};
use super::state::{Shell, Variable};
use crate::tools;

const NAMES: [&str; 22] = [
    ":", ".", "source", "break", "cd", "command", "continue", "eval", "exit", "export", "local",
    "read", "readonly", "return", "set", "shift", "trap", "type", "umask", "unset", "wait", "exec",
];

impl Shell {
    /// Runs a builtin; `None` when there is none of this name.
    pub(super) async fn builtin(&mut self, fields: &[String]) -> Option<Flow> {
        let (name, args) = fields.split_first()?;
        let done: Result<Flow, String> = match name.as_str() {
            ":" | "wait" => self.code(0),
            "." | "source" => self.dot(args).await,
            "break" => self.out_of_loop(args, Flow::Break),
            "continue" => self.out_of_loop(args, Flow::Continue),
            "cd" => self.cd(args),
            "command" | "type" => return self.command_builtin(name, args).await,
            "eval" => Ok(self.deeper(&args.join(" ")).await),
            "exit" => self.end(args, Flow::Exit),
            "return" => self.end(args, Flow::Return),
            "export" => self.declare(args, |variable| variable.exported = true),
            "readonly" => self.declare(args, |variable| variable.read_only = true),
            "local" => self.local(args),
            "read" => self.read(args).await,
            "set" => self.set_options(args),
            "shift" => self.shift(args),
            "trap" => self.trap(args),
            "umask" => self.code(0),
            "unset" => self.unset(args),
            _ => return None,
        };
        Some(match done {
            Ok(flow) => flow,
            Err(message) => {
                self.complain(&format!("{name}: {message}")).await;
                self.status = 1;
                Flow::On
            }
        })
    }

    fn code(&mut self, code: i32) -> Result<Flow, String> {
        self.status = code;
        Ok(Flow::On)
    }

    /// Runs a text as a script in this shell.
    pub(super) async fn script(&mut self, text: &str) -> Flow {
        match parse::parse(text) {
            Ok(list) => {
                self.status = if list.is_empty() { 0 } else { self.status };
                self.list(&list).await
            }
            Err(error) => {
                let message = match error {
                    SyntaxError::Incomplete => "unexpected end of file".to_owned(),
                    SyntaxError::Wrong(message) => message,
                };
                self.complain(&format!("syntax error: {message}")).await;
                self.status = 2;
                if self.options.interactive { Flow::On } else { Flow::Exit }
            }
        }
    }

    async fn deeper(&mut self, text: &str) -> Flow {
        if self.depth >= DEPTH_MAX {
            self.complain("scripts call one another too deep").await;
            self.status = 2;
            return Flow::Exit;
        }
        self.depth += 1;
        let flow = self.script(text).await;
        self.depth -= 1;
        flow
    }

    async fn dot(&mut self, args: &[String]) -> Result<Flow, String> {
        let file = args.first().ok_or("a file is missing")?;
        let text = std::fs::read(self.cwd.join(file));
        let text = text.map_err(|error| format!("{file}: {}", crate::proc::reason(&error)))?;
        Ok(match self.deeper(&String::from_utf8_lossy(&text)).await {
            Flow::Return => Flow::On,
            flow => flow,
        })
    }

    fn number(args: &[String], otherwise: i32) -> Result<i32, String> {
        let Some(text) = args.first() else { return Ok(otherwise) };
        text.parse().map_err(|_| format!("illegal number: {text}"))
    }

    fn out_of_loop(&mut self, args: &[String], flow: fn(usize) -> Flow) -> Result<Flow, String> {
        let wanted = usize::try_from(Self::number(args, 1)?.max(1)).unwrap_or(1);
        self.status = 0;
        Ok(if self.loops == 0 { Flow::On } else { flow(wanted.min(self.loops)) })
    }

    fn end(&mut self, args: &[String], flow: Flow) -> Result<Flow, String> {
        self.status = Self::number(args, self.status)? & 0xff;
        Ok(flow)
    }

    fn cd(&mut self, args: &[String]) -> Result<Flow, String> {
        let target = match args.first().map(String::as_str) {
            None => self.value("HOME").unwrap_or_else(|| "/".to_owned()),
            Some("-") => self.value("OLDPWD").ok_or("OLDPWD not set")?,
            Some(target) => target.to_owned(),
        };
        self.change_directory(&target)?;
        self.code(0)
    }

    async fn command_builtin(&mut self, name: &str, args: &[String]) -> Option<Flow> {
        let asks = name == "type" || matches!(args.first().map(String::as_str), Some("-v" | "-V"));
        if !asks {
            // Boxed, because a command may be a builtin again.
            let (fields, functions) = (args.to_vec(), std::mem::take(&mut self.functions));
            let flow = Box::pin(self.call(fields)).await;
            self.functions.extend(functions);
            return Some(flow);
        }
        let names = if name == "type" { args } else { args.get(1..).unwrap_or_default() };
        self.status = 0;
        for wanted in names {
            let what = if self.functions.contains_key(wanted) {
                "a function"
            } else if NAMES.contains(&wanted.as_str()) {
                "a shell builtin"
            } else if tools::names().any(|tool| tool == tools::base(wanted)) {
                "a tool of the toolbox"
            } else {
                self.status = 127;
                if name == "type" {
                    self.complain(&format!("{wanted}: not found")).await;
                }
                continue;
            };
            let line = if name == "type" {
                format!("{wanted} is {what}\n")
            } else {
                format!("{wanted}\n")
            };
            let _ = self.streams.stdout.write(line.as_bytes()).await;
        }
        Some(Flow::On)
    }

    fn declare(&mut self, args: &[String], mark: fn(&mut Variable)) -> Result<Flow, String> {
        for arg in args.iter().filter(|arg| *arg != "-p") {
            let (name, value) =
                arg.split_once('=').map_or((arg.as_str(), None), |(n, v)| (n, Some(v)));
            is_name(name)?;
            if let Some(value) = value {
                self.assign(name, value.to_owned())?;
            }
            let none = Variable { value: None, exported: false, read_only: false };
            mark(self.variables.entry(name.to_owned()).or_insert(none));
        }
        self.code(0)
    }

    fn local(&mut self, args: &[String]) -> Result<Flow, String> {
        if self.hidden.is_empty() {
            return Err("not in a function".to_owned());
        }
        for arg in args {
            let (name, value) =
                arg.split_once('=').map_or((arg.as_str(), None), |(n, v)| (n, Some(v)));
            is_name(name)?;
            let before = self.variables.get(name).cloned();
            if let Some(hidden) = self.hidden.last_mut() {
                hidden.push((name.to_owned(), before));
            }
            if let Some(value) = value {
                self.assign(name, value.to_owned())?;
            }
        }
        self.code(0)
    }

    async fn read(&mut self, args: &[String]) -> Result<Flow, String> {
        let raw = args.first().is_some_and(|arg| arg == "-r");
        let names = if raw { &args[1..] } else { args };
        let line = self.streams.stdin.text_line().await.map_err(|error| error.to_string())?;
        let ended = line.is_none();
        let mut line = line.unwrap_or_default();
        if !raw {
            while let Some(joined) = line.strip_suffix('\\') {
                let next = self.streams.stdin.text_line().await.ok().flatten().unwrap_or_default();
                line = format!("{joined}{next}");
            }
        }
        let ifs = self.value("IFS").unwrap_or_else(|| " \t\n".to_owned());
        let is_blank = |c: char| ifs.contains(c) && c.is_whitespace();
        let mut rest = line.trim_matches(is_blank);
        let names: Vec<&str> = if names.is_empty() {
            vec!["REPLY"]
        } else {
            names.iter().map(String::as_str).collect()
        };
        for (at, name) in names.iter().enumerate() {
            is_name(name)?;
            let (word, after) = if at + 1 == names.len() {
                (rest, "")
            } else {
                match rest.find(|c| ifs.contains(c)) {
                    Some(end) => {
                        let width = rest[end..].chars().next().map_or(0, char::len_utf8);
                        (&rest[..end], &rest[end + width..])
                    }
                    None => (rest, ""),
                }
            };
            self.assign(name, word.to_owned())?;
            rest = after.trim_start_matches(is_blank);
        }
        self.code(i32::from(ended))
    }

    /// `set -e`, `set +x`, `set -o pipefail`, `set -- a b`.
    pub(super) fn set_options(&mut self, args: &[String]) -> Result<Flow, String> {
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let is_on = arg.starts_with('-');
            if arg == "--" || !(is_on || arg.starts_with('+')) {
                let first = (arg != "--").then(|| arg.clone());
                self.positional = first.into_iter().chain(args.cloned()).collect();
                break;
            }
            for letter in arg.chars().skip(1) {
                if letter == 'o' {
                    let name = args.next().ok_or("an option's name is missing")?;
                    self.named_option(name, is_on)?;
                } else {
                    self.option(letter, is_on)?;
                }
            }
        }
        self.code(0)
    }

    pub(super) fn option(&mut self, letter: char, is_on: bool) -> Result<(), String> {
        let options = &mut self.options;
        match letter {
            'e' => options.errexit = is_on,
            'u' => options.nounset = is_on,
            'x' => options.xtrace = is_on,
            'f' => options.noglob = is_on,
            'i' => options.interactive = is_on,
            // What there is no need for: jobs, and remembering where programs are.
            'm' | 'h' | 'a' | 's' | 'l' => {}
            other => return Err(format!("illegal option -{other}")),
        }
        Ok(())
    }

    fn named_option(&mut self, name: &str, is_on: bool) -> Result<(), String> {
        match name {
            "pipefail" => self.options.pipefail = is_on,
            "errexit" => self.options.errexit = is_on,
            "nounset" => self.options.nounset = is_on,
            "xtrace" => self.options.xtrace = is_on,
            "noglob" => self.options.noglob = is_on,
            other => return Err(format!("illegal option -o {other}")),
        }
        Ok(())
    }

    fn shift(&mut self, args: &[String]) -> Result<Flow, String> {
        let count = usize::try_from(Self::number(args, 1)?).map_err(|_| "illegal number")?;
        if count > self.positional.len() {
            return Err("can't shift that many".to_owned());
        }
        self.positional.drain(..count);
        self.code(0)
    }

    /// Only the end of the script can be caught: a guest gets no signals.
    fn trap(&mut self, args: &[String]) -> Result<Flow, String> {
        let Some((action, signals)) = args.split_first() else { return self.code(0) };
        let is_exit = |signal: &String| signal == "EXIT" || signal == "0";
        if signals.iter().any(is_exit) {
            self.at_exit = (action != "-" && !action.is_empty()).then(|| action.clone());
        }
        self.code(0)
    }

    fn unset(&mut self, args: &[String]) -> Result<Flow, String> {
        let functions = args.first().is_some_and(|arg| arg == "-f");
        for name in args.iter().filter(|arg| !matches!(arg.as_str(), "-f" | "-v")) {
            if functions {
                self.functions.remove(name);
            } else if self.variables.get(name).is_some_and(|variable| variable.read_only) {
                return Err(format!("{name}: is read only"));
            } else {
                self.variables.remove(name);
            }
        }
        self.code(0)
    }
}

fn is_name(name: &str) -> Result<(), String> {
    let first = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let rest = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if first && rest { Ok(()) } else { Err(format!("{name}: bad variable name")) }
}
