//! What a check found: how well something is, and what to do about it.

use anyhow::bail;
use serde_json::json;

use crate::config::ReportForm;
use crate::out;

/// How well something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Ok,
    Warning,
    Wrong,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Warning => "warning",
            State::Wrong => "wrong",
        }
    }
}

/// Something that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) state: State,
    pub(crate) what: String,
    /// What to do; empty when all is well.
    pub(crate) cure: String,
}

pub(crate) fn ok(what: impl Into<String>) -> Finding {
    Finding { state: State::Ok, what: what.into(), cure: String::new() }
}

pub(crate) fn warning(what: impl Into<String>, cure: impl Into<String>) -> Finding {
    Finding { state: State::Warning, what: what.into(), cure: cure.into() }
}

pub(crate) fn wrong(what: impl Into<String>, cure: impl Into<String>) -> Finding {
    Finding { state: State::Wrong, what: what.into(), cure: cure.into() }
}

/// Prints all findings, and fails if something is wrong.
pub(crate) fn report(findings: &[Finding], form: ReportForm) -> anyhow::Result<()> {
    if form.is_json() {
        let all: Vec<_> = findings
            .iter()
            .map(|f| json!({"state": f.state.word(), "what": f.what, "cure": f.cure}))
            .collect();
        out::line(serde_json::to_string_pretty(&json!({"findings": all}))?);
    } else {
        for finding in findings {
            out::line(format_args!("{:<8} {}", finding.state.word(), finding.what));
            if !finding.cure.is_empty() {
                out::line(format_args!("         -> {}", finding.cure));
            }
        }
    }
    let count = findings.iter().filter(|finding| finding.state == State::Wrong).count();
    if count > 0 {
        bail!("{count} of {} checks found something wrong", findings.len());
    }
    Ok(())
}
