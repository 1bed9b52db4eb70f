//! A POSIX-like shell. It starts no processes: what it runs are functions, builtins and the tools
//! of this component. Pipelines stream; `&` and job control are refused with a word why.

mod arith;
mod ast;
mod builtins;
mod expand;
mod parse;
pub(crate) mod pattern;
mod run;
mod state;
mod word;

use crate::interrupt;
use crate::proc::{Proc, reason};

use parse::SyntaxError;
use run::Flow;
use state::Shell;

/// Runs `sh`: `-c SCRIPT [name [args]]`, a file, or what stdin says.
pub(crate) async fn main(proc: Proc) -> i32 {
    let mut shell = Shell::new(&proc);
    let mut args = proc.args.get(1..).unwrap_or_default().iter().peekable();
    let mut is_text = false;
    while let Some(arg) = args.next_if(|arg| arg.starts_with(['-', '+']) && arg.len() > 1) {
        if arg == "--" {
            break;
        }
        let is_on = arg.starts_with('-');
        for letter in arg.chars().skip(1) {
            let done = match letter {
                'c' => {
                    is_text = true;
                    Ok(())
                }
                'o' => match args.next() {
                    Some(name) => {
                        let sign = if is_on { "-o" } else { "+o" };
                        shell.set_options(&[sign.to_owned(), name.clone()]).map(drop)
                    }
                    None => Err("an option's name is missing".to_owned()),
                },
                letter => shell.option(letter, is_on),
            };
            if let Err(message) = done {
                shell.complain(&message).await;
                return 2;
            }
        }
    }
    let rest: Vec<String> = args.cloned().collect();
    run_given(shell, is_text, rest).await
}

async fn run_given(mut shell: Shell, is_text: bool, mut rest: Vec<String>) -> i32 {
    if rest.is_empty() {
        if is_text {
            shell.complain("-c requires an argument").await;
            return 2;
        }
        return by_line(shell).await;
    }
    let first = rest.remove(0);
    let text = if is_text {
        if !rest.is_empty() {
            shell.name = rest.remove(0);
        }
        first
    } else {
        shell.name = first.clone();
        match std::fs::read(shell.cwd.join(&first)) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) => {
                shell.complain(&format!("can't open {first}: {}", reason(&error))).await;
                return 127;
            }
        }
    };
    shell.positional = rest;
    shell.script(&text).await;
    shell.leave().await
}

/// Reads commands from stdin, each as soon as it is whole.
async fn by_line(mut shell: Shell) -> i32 {
    shell.options.interactive |= shell.streams.stdin.is_terminal();
    let mut text = String::new();
    loop {
        prompt(&shell, text.is_empty()).await;
        let stdin = shell.streams.stdin.clone();
        let Some(line) = unless_interrupted(&shell, stdin.line()).await else {
            text.clear();
            shell.begin_anew(&shell.clone());
            continue;
        };
        let line = line.ok().flatten();
        let ended = line.is_none();
        text.push_str(&String::from_utf8_lossy(&line.unwrap_or_default()));
        if !ended && matches!(parse::parse(&text), Err(SyntaxError::Incomplete)) {
            continue;
        }
        let before = shell.clone();
        let text = std::mem::take(&mut text);
        match unless_interrupted(&before, shell.script(&text)).await {
            Some(flow) if flow == Flow::Exit || ended => return shell.leave().await,
            Some(_) => {}
            None => shell.begin_anew(&before),
        }
    }
}

/// A person's shell outlives an interrupt of what it runs; any other ends with it.
async fn unless_interrupted<T>(shell: &Shell, work: impl Future<Output = T>) -> Option<T> {
    if shell.options.interactive { interrupt::until(work).await } else { Some(work.await) }
}

async fn prompt(shell: &Shell, is_first: bool) {
    if shell.options.interactive {
        let text = match (is_first, shell.value("PS1")) {
            (false, _) => "> ".to_owned(),
            (true, Some(prompt)) => prompt,
            (true, None) => format!("{} # ", shell.cwd.display()),
        };
        let _ = shell.streams.stderr.write(text.as_bytes()).await;
    }
}
