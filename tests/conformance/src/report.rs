//! The suite's report in JSON, as Ginkgo writes it.

use serde_json::Value;

/// Characters of a failure's message that the table keeps: a line that fits on a screen.
const MESSAGE_CHARS_MAX: usize = 160;

/// How a case ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The whole name.
    pub(crate) name: String,
    /// What went wrong, in one line; empty when it passed.
    pub(crate) failure: String,
    /// How long it took.
    pub(crate) seconds: u64,
}

impl Outcome {
    /// Whether it passed.
    pub(crate) fn passed(&self) -> bool {
        self.failure.is_empty()
    }
}

/// The outcomes of the cases of a report that ran, in its order.
pub(crate) fn outcomes(report: &Value) -> Vec<Outcome> {
    specs(report).filter(|spec| spec["State"] != "skipped").map(outcome).collect()
}

fn specs(report: &Value) -> impl Iterator<Item = &Value> {
    let suites = report.as_array().into_iter().flatten();
    let specs = suites.filter_map(|suite| suite["SpecReports"].as_array()).flatten();
    specs.filter(|spec| spec["LeafNodeType"] == "It")
}

fn outcome(spec: &Value) -> Outcome {
    let texts = spec["ContainerHierarchyTexts"].as_array().into_iter().flatten();
    let texts = texts.chain([&spec["LeafNodeText"]]).filter_map(Value::as_str);
    let state = spec["State"].as_str().unwrap_or("unknown");
    let failure = match state {
        "passed" => String::new(),
        other => {
            format!("{other}: {}", one_line(spec["Failure"]["Message"].as_str().unwrap_or("")))
        }
    };
    Outcome {
        name: texts.collect::<Vec<_>>().join(" "),
        failure,
        seconds: spec["RunTime"].as_u64().unwrap_or(0) / 1_000_000_000,
    }
}

/// The message without line ends, without what would end a cell of a table, and with the last part only of paths of
/// the machine that ran the suite.
fn one_line(message: &str) -> String {
    let word = |word: &str| match word.strip_prefix('/').and_then(|path| path.rsplit_once('/')) {
        Some((_, last)) => format!("…/{last}"),
        None => word.replace('|', "/"),
    };
    let words = message.split_whitespace().map(word).collect::<Vec<_>>().join(" ");
    words.chars().take(MESSAGE_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_report_gives_the_cases_that_ran() {
        let spec = |state: &str, leaf: &str, message: &str| {
            json!({"ContainerHierarchyTexts": ["[sig-a]", "Things"], "LeafNodeText": leaf,
                "LeafNodeType": "It", "State": state, "RunTime": 2_500_000_000_u64,
                "Failure": {"Message": message}})
        };
        let report = json!([{"SpecReports": [
            spec("passed", "work", ""), spec("skipped", "wait", ""),
            spec("failed", "break", "wanted a | b\n   got c"),
            {"LeafNodeType": "BeforeSuite", "State": "passed"}]}]);
        let lines = outcomes(&report).into_iter();
        let lines = lines.map(|o| format!("{} {} [{}]", o.seconds, o.name, o.failure));
        expect![[r#"
            2 [sig-a] Things work []
            2 [sig-a] Things break [failed: wanted a / b got c]"#]]
        .assert_eq(&lines.collect::<Vec<_>>().join("\n"));
    }

    #[test]
    fn a_message_is_cut() {
        assert_eq!(one_line(&"x".repeat(MESSAGE_CHARS_MAX + 1)).len(), MESSAGE_CHARS_MAX);
    }
}
