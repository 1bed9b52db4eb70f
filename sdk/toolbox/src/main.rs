//! A shell and the usual small tools, in one component.
//!
//! The first argument's last path part says which tool this is (`sh`, `/bin/cat`). WASI has neither
//! processes nor pipes nor threads, so every tool is an async function in this one program, and the
//! stages of a pipeline take turns over bounded pipes in memory ([`io`]).

mod interrupt;
mod io;
mod proc;
mod shell;
mod tools;

use std::process::exit;

use crate::proc::Proc;

fn main() {
    let mut args: Vec<String> = std::env::args().collect();
    if args.is_empty() {
        args.push("sh".to_owned());
    }
    let mut name = tools::base(&args[0]).to_owned();
    let is_tool = |name: &str| tools::names().any(|tool| tool == tools::base(name));
    if !is_tool(&name) && args.get(1).is_none_or(|arg| is_tool(arg)) {
        // The program under a name of its own: the first argument is the tool, without one it is the shell.
        args.remove(0);
        if args.is_empty() {
            args.push("sh".to_owned());
        }
        name = tools::base(&args[0]).to_owned();
    }
    let code = io::run(interrupt::until(async {
        let mut proc = Proc::of_process(args);
        match name.as_str() {
            "sh" => shell::main(proc).await,
            tool => match tools::run(tool, &mut proc).await {
                Some(code) => code,
                None => {
                    proc.complain(&format!("{tool}: no such tool")).await;
                    127
                }
            },
        }
    }));
    let code = code.unwrap_or(interrupt::CODE);
    io::flush();
    exit_with(code)
}

/// Ends with any code: std's own exit knows only success and failure on WASI 0.2.
fn exit_with(code: i32) -> ! {
    if code == 0 {
        exit(0);
    }
    #[cfg(target_env = "p2")]
    wasip2::cli::exit::exit_with_code((code & 0xff) as u8);
    exit(code)
}
