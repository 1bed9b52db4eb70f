//! The compiling child of the tests' engine.

use std::process::ExitCode;

fn main() -> ExitCode {
    coracle_runtime::compile::child_main(std::env::args_os().skip(1))
}
