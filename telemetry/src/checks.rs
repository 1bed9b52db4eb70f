//! Health checks as they were answered: what a page of service level indicators is written from. Pure.
//!
//! *Source:* `k8s.io/component-base/metrics/prometheus/slis`, whose names these are; Prometheus' text format 0.0.4.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// How one check came out, each time that it was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Outcomes {
    passed_last: bool,
    passed: u64,
    failed: u64,
}

/// The checks of one process, by endpoint (`livez`) and name (`ping`). Both are from the process' own code, so there are
/// few.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checks {
    outcomes: BTreeMap<(&'static str, &'static str), Outcomes>,
}

impl Checks {
    /// Notes that the check `name` was made for `endpoint`, and whether it passed.
    pub fn note(&mut self, endpoint: &'static str, name: &'static str, passed: bool) {
        let outcomes = self.outcomes.entry((endpoint, name)).or_default();
        outcomes.passed_last = passed;
        let count = if passed { &mut outcomes.passed } else { &mut outcomes.failed };
        *count = count.saturating_add(1);
    }

    /// Writes `/metrics/slis`: how each check came out last, and how often in which way. A check that nobody has asked
    /// for is not there.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = "# HELP kubernetes_healthcheck [STABLE] This metric records the result of a single healthcheck.\n\
             # TYPE kubernetes_healthcheck gauge\n"
            .to_owned();
        for ((endpoint, name), outcomes) in &self.outcomes {
            let value = u8::from(outcomes.passed_last);
            let labels = format!("name=\"{name}\",type=\"{endpoint}\"");
            let _infallible = writeln!(text, "kubernetes_healthcheck{{{labels}}} {value}");
        }
        text.push_str(
            "# HELP kubernetes_healthchecks_total [STABLE] This metric records the results of all healthcheck.\n\
             # TYPE kubernetes_healthchecks_total counter\n",
        );
        for ((endpoint, name), outcomes) in &self.outcomes {
            let counts = [("error", outcomes.failed), ("success", outcomes.passed)];
            for (status, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
                let labels = format!("name=\"{name}\",status=\"{status}\",type=\"{endpoint}\"");
                let _infallible =
                    writeln!(text, "kubernetes_healthchecks_total{{{labels}}} {count}");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_check_has_its_last_outcome_and_its_counts() {
        let mut checks = Checks::default();
        for (name, passed) in [("ping", true), ("store", false), ("ping", true), ("store", true)] {
            checks.note("readyz", name, passed);
        }
        checks.note("healthz", "store", false);
        let text = checks.text();
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let wanted = [
            r#"kubernetes_healthcheck{name="store",type="healthz"} 0"#,
            r#"kubernetes_healthcheck{name="ping",type="readyz"} 1"#,
            r#"kubernetes_healthcheck{name="store",type="readyz"} 1"#,
            r#"kubernetes_healthchecks_total{name="store",status="error",type="healthz"} 1"#,
            r#"kubernetes_healthchecks_total{name="ping",status="success",type="readyz"} 2"#,
            r#"kubernetes_healthchecks_total{name="store",status="error",type="readyz"} 1"#,
            r#"kubernetes_healthchecks_total{name="store",status="success",type="readyz"} 1"#,
        ];
        assert_eq!(lines, wanted);
    }
}
