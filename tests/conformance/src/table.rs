//! `specs/conformance.md`: every case of the suite, what it needs and how it ended the last time.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::case::{Case, Need};
use crate::report::Outcome;

/// What the table says before it was run.
const UNKNOWN: &str = "not run";

/// The word of a case that passed.
const PASS: &str = "pass";

/// The table.
#[derive(Debug)]
pub(crate) struct Table {
    rows: BTreeMap<String, Row>,
}

#[derive(Debug)]
struct Row {
    case: Case,
    result: String,
}

impl Row {
    fn passed(&self) -> bool {
        self.result == PASS
    }

    /// The result, or why there cannot be a better one.
    fn shown(&self) -> String {
        if self.passed() || self.case.why.is_empty() {
            return self.result.clone();
        }
        format!("no: {}", self.case.why)
    }
}

impl Table {
    /// The results that `text` has of `cases`; cases that it does not know have not run.
    pub(crate) fn parse(text: &str, cases: Vec<Case>) -> Self {
        let known: BTreeMap<&str, &str> = text.lines().filter_map(row).collect();
        let result = |case: &Case| known.get(case.name.as_str()).copied().unwrap_or(UNKNOWN);
        let row = |case: Case| {
            let result = result(&case).to_owned();
            (case.name.clone(), Row { case, result })
        };
        Self { rows: cases.into_iter().map(row).collect() }
    }

    /// The cases, by name.
    pub(crate) fn cases(&self) -> impl Iterator<Item = Case> {
        self.rows.values().map(|row| row.case.clone())
    }

    /// Whether the case passed the last time.
    pub(crate) fn passed(&self, name: &str) -> bool {
        self.rows.get(name).is_some_and(Row::passed)
    }

    /// Takes an outcome in.
    pub(crate) fn note(&mut self, outcome: Outcome) {
        if let Some(row) = self.rows.get_mut(&outcome.name) {
            row.result = if outcome.passed() { PASS.to_owned() } else { outcome.failure };
        }
    }

    /// The page.
    pub(crate) fn render(&self) -> String {
        let mut page = HEAD.to_owned();
        for need in NEEDS {
            let of = self.rows.values().filter(|row| row.case.need == need);
            let passed = of.clone().filter(|row| row.passed()).count();
            let _ = writeln!(
                page,
                "| {} | {} | {passed} | {} |",
                need.word(),
                meaning(need),
                of.count()
            );
        }
        let passed = self.rows.values().filter(|row| row.passed()).count();
        let _ = writeln!(page, "| | all | {passed} | {} |", self.rows.len());
        page.push_str("\n## Cases\n\n| result | needs | case |\n|---|---|---|\n");
        for (name, row) in &self.rows {
            let _ = writeln!(page, "| {} | {} | {name} |", row.shown(), row.case.need.word());
        }
        page
    }
}

const NEEDS: [Need; 7] = [
    Need::Api,
    Need::Container,
    Need::Program,
    Need::Volume,
    Need::Network,
    Need::Callback,
    Need::Linux,
];

/// What the words of the table mean, for its readers.
fn meaning(need: Need) -> &'static str {
    match need {
        Need::Api => "nothing besides the API",
        Need::Container => "a container that runs",
        Need::Program => "a program that does what the image's original does",
        Need::Volume => "a program that reads and writes volumes",
        Need::Network => "pods that reach each other",
        Need::Callback => "a pod that the API server calls",
        Need::Linux => "what a pod of WebAssembly does not have",
    }
}

const HEAD: &str = "\
# Conformance

Kubernetes' own conformance suite (1.35) against Coracle. `just conformance` builds and runs the suite and writes
this page; `tests/conformance/README.md` says how. The suite's images are stand-ins from
`tests/guests/standins`, served by the built-in registry under the upstream names.

| needs | which is | passed | of |
|---|---|---|---|
";

/// Name and result of a line of the table of cases.
fn row(line: &str) -> Option<(&str, &str)> {
    let mut cells = line.strip_prefix("| ")?.strip_suffix(" |")?.splitn(3, " | ");
    let (result, need, name) = (cells.next()?, cells.next()?, cells.next()?);
    NEEDS.iter().any(|known| known.word() == need).then_some((name, result))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cases() -> Vec<Case> {
        let case = |name: &str, need, why| Case { name: name.to_owned(), need, why };
        vec![
            case("[sig-a] b", Need::Api, ""),
            case("[sig-a] a", Need::Volume, ""),
            case("[sig-a] c", Need::Linux, "it needs what is not there"),
        ]
    }

    #[test]
    fn what_is_rendered_is_read_again() {
        let mut table = Table::parse("", cases());
        let outcome = |name: &str, failure: &str| Outcome {
            name: name.to_owned(),
            failure: failure.to_owned(),
            seconds: 1,
        };
        table.note(outcome("[sig-a] a", ""));
        table.note(outcome("[sig-a] b", "failed: no"));
        table.note(outcome("[sig-a] c", "failed: no"));
        table.note(outcome("[sig-a] gone", ""));
        let page = table.render();
        let rows = "| pass | volume | [sig-a] a |\n| failed: no | api | [sig-a] b |\n\
            | no: it needs what is not there | linux | [sig-a] c |\n";
        assert!(page.ends_with(rows), "{page}");
        assert!(page.contains("| | all | 1 | 3 |"), "{page}");
        let again = Table::parse(&page, cases());
        assert_eq!(again.render(), page);
        assert!(again.passed("[sig-a] a") && !again.passed("[sig-a] b"));
    }
}
