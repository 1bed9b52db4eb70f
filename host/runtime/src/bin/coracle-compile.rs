//! The compiling child as a program of its own, for those who embed the runtime without `coracle`;
//! with the one argument `worker`, a pod's worker.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1).peekable();
    if args.peek().is_some_and(|first| first == "worker") {
        return coracle_runtime::worker::child_main();
    }
    coracle_runtime::compile::child_main(args)
}
