//! nautilus: says on port 80 which picture it would show.
use std::process::ExitCode;

fn main() -> ExitCode {
    standins::run(standins::web::picture("/usr/share/nautilus", "nautilus.jpg"))
}
