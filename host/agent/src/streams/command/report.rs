//! How a program's end is told to a client.
//!
//! *Source:* `k8s.io/apimachinery/pkg/util/remotecommand` and KEP-4006: from version 4 on a
//! `v1.Status` as JSON, before that a sentence when something failed.

use serde_json::{Value, json};

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It has run to its end.
    Exited(i32),
    /// It could not be run, or looked at: a sentence.
    Failed(String),
}

/// The form in which a client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// A `v1.Status`.
    Status,
    /// A sentence, nothing for success.
    Text,
}

impl Report {
    /// Writes an outcome.
    pub(crate) fn write(self, outcome: &Outcome) -> Vec<u8> {
        match self {
            Report::Status => status(outcome).to_string().into_bytes(),
            Report::Text => text(outcome).into_bytes(),
        }
    }
}

fn status(outcome: &Outcome) -> Value {
    let message = text(outcome);
    match outcome {
        Outcome::Exited(0) => json!({ "metadata": {}, "status": "Success" }),
        Outcome::Exited(code) => json!({
            "metadata": {}, "status": "Failure", "message": message, "reason": "NonZeroExitCode",
            "details": { "causes": [{ "reason": "ExitCode", "message": code.to_string() }] },
        }),
        Outcome::Failed(why) => json!({
            "metadata": {}, "status": "Failure", "message": message, "reason": "InternalError",
            "details": { "causes": [{ "message": why }] }, "code": 500,
        }),
    }
}

fn text(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Exited(0) => String::new(),
        Outcome::Exited(code) => {
            format!("command terminated with non-zero exit code: exit status {code}")
        }
        Outcome::Failed(why) => format!("Internal error occurred: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    #[test]
    fn clients_read_the_exit_code_from_the_cause() {
        let check = |outcome: Outcome, expected: Expect| {
            let status = String::from_utf8(Report::Status.write(&outcome)).unwrap();
            let text = String::from_utf8(Report::Text.write(&outcome)).unwrap();
            expected.assert_eq(&format!("{status}\n{text}"));
        };
        check(
            Outcome::Exited(0),
            expect![[r#"
                {"metadata":{},"status":"Success"}
            "#]],
        );
        check(
            Outcome::Exited(3),
            expect![[r#"
                {"details":{"causes":[{"message":"3","reason":"ExitCode"}]},"message":"command terminated with non-zero exit code: exit status 3","metadata":{},"reason":"NonZeroExitCode","status":"Failure"}
                command terminated with non-zero exit code: exit status 3"#]],
        );
        check(
            Outcome::Failed("no such program".into()),
            expect![[r#"
                {"code":500,"details":{"causes":[{"message":"no such program"}]},"message":"Internal error occurred: no such program","metadata":{},"reason":"InternalError","status":"Failure"}
                Internal error occurred: no such program"#]],
        );
    }
}
