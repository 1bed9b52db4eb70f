//! The query of an `exec` or `attach` request.

use crate::server::select::pairs;

/// What a client asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// Argument vector, for `exec`.
    pub(crate) command: Vec<String>,
    /// The client sends standard input.
    pub(crate) stdin: bool,
    /// The client wants standard output.
    pub(crate) stdout: bool,
    /// The client wants standard error; never with a terminal, where it comes with the output.
    pub(crate) stderr: bool,
    /// The streams are a terminal.
    pub(crate) tty: bool,
}

impl Options {
    /// Reads a query.
    ///
    /// # Errors
    /// A sentence, when no stream is asked for.
    ///
    /// *Source:* the kubelet's parameters; the API server's own names are understood as well.
    pub(crate) fn parse(query: &str) -> Result<Self, String> {
        let mut options = Self::default();
        for (name, value) in pairs(query) {
            let is_set = matches!(value.as_str(), "1" | "true");
            match name.as_str() {
                "command" => options.command.push(value),
                "input" | "stdin" => options.stdin |= is_set,
                "output" | "stdout" => options.stdout |= is_set,
                "error" | "stderr" => options.stderr |= is_set,
                "tty" => options.tty |= is_set,
                _ => {}
            }
        }
        options.stderr &= !options.tty;
        if options.stdin || options.stdout || options.stderr {
            Ok(options)
        } else {
            Err("you must specify at least 1 of stdin, stdout, stderr".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_are_read() {
        let check = |query: &str, expected: &str| {
            let text = Options::parse(query).map_or_else(|error| error, |o| format!("{o:?}"));
            assert_eq!(text, expected, "{query}");
        };
        check(
            "command=sh&command=-c&command=echo+a%20b&input=1&output=1&error=1",
            "Options { command: [\"sh\", \"-c\", \"echo a b\"], stdin: true, stdout: true, \
             stderr: true, tty: false }",
        );
        check(
            "stdin=true&stdout=true&stderr=true&tty=true",
            "Options { command: [], stdin: true, stdout: true, stderr: false, tty: true }",
        );
        check("tty=1&error=1", "you must specify at least 1 of stdin, stdout, stderr");
        check("output=false", "you must specify at least 1 of stdin, stdout, stderr");
    }
}
