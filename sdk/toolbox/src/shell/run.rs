//! Runs commands.

use std::fs::File;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use super::ast::{AndOr, Command, Junction, Kind, List, Pipeline, Redirect, RedirectKind, Word};
use super::pattern;
use super::state::{Shell, Streams, Variable};
use crate::interrupt;
use crate::io::{self, Sink, Source};
use crate::proc::{plain, reason};
use crate::tools;

/// Functions, `eval` and `.` in one another, before the stack ends.
pub(super) const DEPTH_MAX: usize = 60;

/// How a script goes on after a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    On,
    Break(usize),
    Continue(usize),
    Return,
    Exit,
}

type Running<'a> = Pin<Box<dyn Future<Output = Flow> + 'a>>;

impl Shell {
    /// Runs a list in this shell, which is a copy: its end is only the list's.
    pub(super) async fn subshell(mut self, list: &List) -> i32 {
        self.at_exit = None;
        self.loops = 0;
        self.list(list).await;
        self.leave().await
    }

    /// Runs what `trap … EXIT` asked for; gives the shell's code.
    pub(super) async fn leave(mut self) -> i32 {
        if let Some(last) = self.at_exit.take() {
            let code = self.status;
            if self.script(&last).await == Flow::On {
                self.status = code;
            }
        }
        self.status
    }

    pub(super) fn list<'a>(&'a mut self, list: &'a List) -> Running<'a> {
        Box::pin(async move {
            for and_or in list {
                let flow = self.and_or(and_or).await;
                if flow != Flow::On {
                    return flow;
                }
            }
            Flow::On
        })
    }

    async fn and_or(&mut self, and_or: &AndOr) -> Flow {
        let mut flow = self.tested_unless(and_or.rest.is_empty(), &and_or.first).await;
        for (at, (junction, pipeline)) in and_or.rest.iter().enumerate() {
            if flow != Flow::On {
                return flow;
            }
            if (self.status == 0) == (*junction == Junction::And) {
                flow = self.tested_unless(at + 1 == and_or.rest.len(), pipeline).await;
            }
        }
        flow
    }

    async fn tested_unless(&mut self, is_last: bool, pipeline: &Pipeline) -> Flow {
        let looked_at = usize::from(!is_last || pipeline.negated);
        self.tested += looked_at;
        let flow = self.pipeline(pipeline).await;
        self.tested -= looked_at;
        if pipeline.negated {
            self.status = i32::from(self.status == 0);
        }
        let fails = flow == Flow::On && self.status != 0;
        let ends = fails && self.options.errexit && self.tested == 0 && looked_at == 0;
        if ends { Flow::Exit } else { flow }
    }

    async fn pipeline(&mut self, pipeline: &Pipeline) -> Flow {
        if let [only] = &pipeline.stages[..] {
            return self.command(only).await;
        }
        let mut stdin = self.streams.stdin.clone();
        let mut tasks = Vec::new();
        for (at, stage) in pipeline.stages.iter().enumerate() {
            let mut shell = self.clone();
            shell.at_exit = None;
            shell.loops = 0;
            shell.streams.stdin = stdin.clone();
            if at + 1 < pipeline.stages.len() {
                let (sink, source) = io::pipe();
                shell.streams.stdout = sink;
                stdin = source;
            }
            let stage = stage.clone();
            let task: io::Task = Box::pin(async move {
                shell.command(&stage).await;
                shell.status
            });
            tasks.push(task);
        }
        // The last stage alone reads what the one before it writes.
        drop(stdin);
        let codes = io::all(tasks).await;
        let last = codes.last().copied().unwrap_or(0);
        let failed = codes.iter().rev().copied().find(|code| *code != 0).unwrap_or(0);
        self.status = if self.options.pipefail { failed } else { last };
        Flow::On
    }

    fn command<'a>(&'a mut self, command: &'a Command) -> Running<'a> {
        Box::pin(async move {
            let before = self.streams.clone();
            if let Err(message) = self.redirect(&command.redirects).await {
                self.streams = before;
                self.complain(&message).await;
                self.status = 1;
                return Flow::On;
            }
            let flow = match &command.kind {
                Kind::Simple { assigns, words } => {
                    let (flow, keeps) = self.simple(assigns, words).await;
                    if keeps {
                        return flow;
                    }
                    flow
                }
                Kind::Group(list) => self.list(list).await,
                Kind::Subshell(list) => {
                    self.status = self.clone().subshell(list).await;
                    Flow::On
                }
                Kind::If { branches, otherwise } => self.branch(branches, otherwise).await,
                Kind::For { name, words, body } => self.each(name, words.as_deref(), body).await,
                Kind::While { until, condition, body } => {
                    self.repeat(*until, condition, body).await
                }
                Kind::Case { word, arms } => self.case(word, arms).await,
                Kind::Function { name, body } => {
                    self.functions.insert(name.clone(), body.clone());
                    self.status = 0;
                    Flow::On
                }
            };
            self.streams = before;
            flow
        })
    }

    /// Ends a command whose words cannot be expanded.
    async fn wrong(&mut self, message: &str) -> Flow {
        self.complain(message).await;
        self.status = 2;
        if self.options.interactive { Flow::On } else { Flow::Exit }
    }

    async fn branch(&mut self, branches: &[(List, List)], otherwise: &List) -> Flow {
        for (condition, body) in branches {
            match self.condition(condition).await {
                Err(flow) => return flow,
                Ok(true) => return self.list(body).await,
                Ok(false) => {}
            }
        }
        self.status = 0;
        self.list(otherwise).await
    }

    async fn condition(&mut self, list: &List) -> Result<bool, Flow> {
        self.tested += 1;
        let flow = self.list(list).await;
        self.tested -= 1;
        if flow == Flow::On { Ok(self.status == 0) } else { Err(flow) }
    }

    async fn each(&mut self, name: &str, words: Option<&[Word]>, body: &List) -> Flow {
        let fields = match words {
            None => Ok(self.positional.clone()),
            Some(words) => self.fields(words).await,
        };
        let fields = match fields {
            Ok(fields) => fields,
            Err(message) => return self.wrong(&message).await,
        };
        self.status = 0;
        for field in fields {
            if let Err(message) = self.assign(name, field) {
                return self.wrong(&message).await;
            }
            if let Some(flow) = self.turn(body).await {
                return flow;
            }
        }
        Flow::On
    }

    async fn repeat(&mut self, until: bool, condition: &List, body: &List) -> Flow {
        let mut status = 0;
        loop {
            match self.condition(condition).await {
                Err(flow) => return flow,
                Ok(holds) if holds == until => {
                    self.status = status;
                    return Flow::On;
                }
                Ok(_) => {}
            }
            if let Some(flow) = self.turn(body).await {
                return flow;
            }
            status = self.status;
        }
    }

    /// Runs a loop's body once; gives how the script goes on when the loop is over.
    async fn turn(&mut self, body: &List) -> Option<Flow> {
        interrupt::check().await;
        self.loops += 1;
        let flow = self.list(body).await;
        self.loops -= 1;
        match flow {
            Flow::On | Flow::Continue(1) => None,
            Flow::Break(1) => Some(Flow::On),
            Flow::Break(outer) => Some(Flow::Break(outer - 1)),
            Flow::Continue(outer) => Some(Flow::Continue(outer - 1)),
            Flow::Return | Flow::Exit => Some(flow),
        }
    }

    async fn case(&mut self, word: &Word, arms: &[(Vec<Word>, List)]) -> Flow {
        let value: Vec<char> = match self.single(word).await {
            Ok(value) => value.chars().collect(),
            Err(message) => return self.wrong(&message).await,
        };
        self.status = 0;
        for (patterns, list) in arms {
            for word in patterns {
                match self.marked(word).await {
                    Ok(marked) if pattern::fits(&pattern::read(&marked), &value) => {
                        return self.list(list).await;
                    }
                    Ok(_) => {}
                    Err(message) => return self.wrong(&message).await,
                }
            }
        }
        Flow::On
    }

    async fn redirect(&mut self, redirects: &[Redirect]) -> Result<(), String> {
        for redirect in redirects {
            let target = self.single(&redirect.target).await?;
            self.redirect_one(redirect, &target)?;
        }
        Ok(())
    }

    fn redirect_one(&mut self, redirect: &Redirect, target: &str) -> Result<(), String> {
        let path = self.cwd.join(target);
        let verb = if redirect.kind == RedirectKind::Read { "open" } else { "create" };
        let said = |error: std::io::Error| format!("can't {verb} {target}: {}", reason(&error));
        let streams = &mut self.streams;
        let sink = match redirect.kind {
            RedirectKind::Read if let Some(device) = Source::device(&path) => {
                return streams.read_from(redirect.fd, device);
            }
            RedirectKind::Read => {
                return streams
                    .read_from(redirect.fd, Source::file(File::open(path).map_err(said)?));
            }
            RedirectKind::Text => {
                return streams.read_from(redirect.fd, Source::bytes(target.as_bytes().to_vec()));
            }
            RedirectKind::Duplicate if redirect.fd == 0 => {
                let from = if target == "-" { Source::nothing() } else { streams.stdin.clone() };
                return streams.read_from(0, from);
            }
            RedirectKind::Duplicate => match target {
                "1" => streams.stdout.clone(),
                "2" => streams.stderr.clone(),
                "-" => Sink::nothing(),
                other => return Err(format!("{other}: bad file descriptor; use 1 or 2")),
            },
            RedirectKind::Write | RedirectKind::Append if target == "/dev/null" => Sink::nothing(),
            RedirectKind::Write | RedirectKind::Append if target == "/dev/stderr" => {
                streams.stderr.clone()
            }
            RedirectKind::Write | RedirectKind::Append if target == "/dev/stdout" => {
                streams.stdout.clone()
            }
            RedirectKind::Write => Sink::file(File::create(path).map_err(said)?),
            RedirectKind::Append => {
                let file = File::options().append(true).create(true).open(path);
                Sink::file(file.map_err(said)?)
            }
        };
        streams.write_to(redirect.fd, sink)
    }

    /// Runs a simple command; says too whether its redirections stay (`exec >file`).
    async fn simple(&mut self, assigns: &[(String, Word)], words: &[Word]) -> (Flow, bool) {
        let fields = match self.fields(words).await {
            Ok(fields) => fields,
            Err(message) => return (self.wrong(&message).await, false),
        };
        if fields.is_empty() {
            let has_substitution = words.is_empty();
            if has_substitution {
                self.status = 0;
            }
            return (self.assign_all(assigns).await, false);
        }
        if self.options.xtrace {
            let line = format!("+ {}\n", fields.join(" "));
            let _ = self.streams.stderr.write(line.as_bytes()).await;
        }
        if fields[0] == "exec" {
            if let Flow::Exit = self.assign_all(assigns).await {
                return (Flow::Exit, false);
            }
            if fields.len() == 1 {
                self.status = 0;
                return (Flow::On, true);
            }
            self.call(fields[1..].to_vec()).await;
            return (Flow::Exit, false);
        }
        let before = self.saved(assigns);
        if let Flow::Exit = self.assign_all(assigns).await {
            return (Flow::Exit, false);
        }
        for (name, _) in assigns {
            if let Some(variable) = self.variables.get_mut(name) {
                variable.exported = true;
            }
        }
        let flow = self.call(fields).await;
        self.restore(before);
        (flow, false)
    }

    async fn assign_all(&mut self, assigns: &[(String, Word)]) -> Flow {
        for (name, word) in assigns {
            let value = self.single(word).await;
            if let Err(message) = value.and_then(|value| self.assign(name, value)) {
                return self.wrong(&message).await;
            }
        }
        Flow::On
    }

    fn saved(&self, assigns: &[(String, Word)]) -> Vec<(String, Option<Variable>)> {
        let saved = |(name, _): &(String, Word)| (name.clone(), self.variables.get(name).cloned());
        assigns.iter().map(saved).collect()
    }

    pub(super) fn restore(&mut self, saved: Vec<(String, Option<Variable>)>) {
        for (name, variable) in saved.into_iter().rev() {
            match variable {
                Some(variable) => self.variables.insert(name, variable),
                None => self.variables.remove(&name),
            };
        }
    }

    /// Runs a function, a builtin or a tool.
    pub(super) async fn call(&mut self, fields: Vec<String>) -> Flow {
        let name = fields.first().cloned().unwrap_or_default();
        if let Some(body) = self.functions.get(&name).cloned() {
            return self.function(&body, fields[1..].to_vec()).await;
        }
        if let Some(flow) = self.builtin(&fields).await {
            return flow;
        }
        let tool = tools::base(&name).to_owned();
        let mut proc = self.proc(fields);
        self.status = match Box::pin(tools::run(&tool, &mut proc)).await {
            Some(code) => code,
            None => {
                self.complain(&format!("{name}: not found")).await;
                127
            }
        };
        Flow::On
    }

    async fn function(&mut self, body: &Rc<Command>, args: Vec<String>) -> Flow {
        if self.depth >= DEPTH_MAX {
            return self.wrong("functions call one another too deep").await;
        }
        self.depth += 1;
        let loops = std::mem::take(&mut self.loops);
        let positional = std::mem::replace(&mut self.positional, args);
        self.hidden.push(Vec::new());
        let flow = self.command(body).await;
        let hidden = self.hidden.pop().unwrap_or_default();
        self.restore(hidden);
        self.positional = positional;
        self.loops = loops;
        self.depth -= 1;
        if flow == Flow::Exit { Flow::Exit } else { Flow::On }
    }

    /// Changes the working directory.
    pub(super) fn change_directory(&mut self, given: &str) -> Result<(), String> {
        let path = plain(&self.cwd.join(given));
        let found = std::fs::metadata(&path);
        let found = found.map_err(|error| format!("can't cd to {given}: {}", reason(&error)))?;
        if !found.is_dir() {
            return Err(format!("can't cd to {given}: Not a directory"));
        }
        let before = std::mem::replace(&mut self.cwd, path);
        self.assign("OLDPWD", before.display().to_string())?;
        let now = self.cwd.display().to_string();
        self.assign("PWD", now)
    }
}

impl Streams {
    fn read_from(&mut self, fd: u8, source: Source) -> Result<(), String> {
        if fd != 0 {
            return Err(format!("{fd}: bad file descriptor; only 0 can be read"));
        }
        self.stdin = source;
        Ok(())
    }

    fn write_to(&mut self, fd: u8, sink: Sink) -> Result<(), String> {
        match fd {
            1 => self.stdout = sink,
            2 => self.stderr = sink,
            _ => return Err(format!("{fd}: bad file descriptor; only 1 and 2 can be written")),
        }
        Ok(())
    }
}
