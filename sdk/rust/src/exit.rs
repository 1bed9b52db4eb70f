//! Ending with an exit code.

/// Ends the program with `code`.
///
/// `std::process::exit` does the same for WASI preview 1; for WASI 0.2 it knows only success and
/// failure, so that any code but 0 arrives as 1.
pub fn exit(code: u8) -> ! {
    wasip2::cli::exit::exit_with_code(code);
    unreachable!("exit does not return")
}
