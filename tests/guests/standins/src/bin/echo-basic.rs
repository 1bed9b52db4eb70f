//! echo-basic of the Gateway API's conformance suite: says in JSON what it was asked.
use std::process::ExitCode;

fn main() -> ExitCode {
    standins::run(standins::echo::serve())
}
