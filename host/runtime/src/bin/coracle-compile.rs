//! The compiling child as a program of its own, for those who embed the runtime without `coracle`.

use std::process::ExitCode;

fn main() -> ExitCode {
    coracle_runtime::compile::child_main(std::env::args_os().skip(1))
}
