//! CronJobs over hours of a model's clock; Jobs run until the test ends them.

use std::sync::Arc;

use expect_test::{Expect, expect};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Action, Cause, Observed, reconcile};
use crate::objects::name;

struct Cluster {
    seen: Observed,
    now: Timestamp,
    serial: u32,
    log: Vec<String>,
}

fn cron(spec: Value) -> Arc<CronJob> {
    let mut object = json!({
        "metadata": {"name": "tick", "namespace": "a", "uid": "c",
            "creationTimestamp": "2026-01-01T00:00:30Z"},
        "spec": {"schedule": "*/10 * * * *", "jobTemplate": {"metadata": {"labels": {"x": "y"}},
            "spec": {"template": {"spec": {"containers": []}}}}},
    });
    for (field, value) in spec.as_object().into_iter().flatten() {
        object["spec"][field] = value.clone();
    }
    serde_json::from_value(object).map(Arc::new).unwrap()
}

impl Cluster {
    fn new(spec: Value) -> Cluster {
        let now = "2026-01-01T00:00:30Z".parse().unwrap();
        let seen = Observed { cron: cron(spec), jobs: Vec::new() };
        Cluster { seen, now, serial: 0, log: Vec::new() }
    }

    /// Passes until nothing but waiting and telling is left; gives what was done.
    fn rest(&mut self) -> String {
        for _ in 0..10 {
            let actions = reconcile(&self.seen, self.now);
            let still =
                |action: &Action| matches!(action, Action::RequeueAfter(_) | Action::Tell(..));
            let done = actions.iter().all(still);
            let told = |action: &Action| matches!(action, Action::Tell(..));
            for action in actions.into_iter().filter(|action| done || !told(action)) {
                self.apply(action);
            }
            if done {
                return std::mem::take(&mut self.log).join(" ");
            }
        }
        panic!("does not come to rest: {:?}", self.log);
    }

    fn apply(&mut self, action: Action) {
        let line = match action {
            Action::Create(job) => {
                let mut job = *job;
                assert!(
                    self.seen.jobs.iter().all(|there| there.metadata.name != job.metadata.name)
                );
                self.serial += 1;
                job.metadata.uid = Some(format!("j{}", self.serial));
                let line = format!("+{}", time_of(&job));
                self.seen.jobs.push(Arc::new(job));
                line
            }
            Action::Delete(job, cause) => {
                self.seen.jobs.retain(|other| *other != job);
                let how = if cause == Cause::Replaced { "x" } else { "-" };
                format!("{how}{}", time_of(&job))
            }
            Action::Tell(_, reason, _) => reason.to_owned(),
            Action::SetStatus(status) => {
                Arc::make_mut(&mut self.seen.cron).status = Some(*status);
                return;
            }
            Action::RequeueAfter(_) => return,
        };
        self.log.push(line);
    }

    fn end(&mut self, kind: &str) {
        for job in &mut self.seen.jobs {
            if !crate::job::is_finished(job) {
                let status = json!({"startTime": self.now.to_string(),
                    "completionTime": (kind == "Complete").then(|| self.now.to_string()),
                    "conditions": [{"type": kind, "status": "True"}]});
                Arc::make_mut(job).status = Some(serde_json::from_value(status).unwrap());
            }
        }
    }

    fn later(&mut self, minutes: i64) -> String {
        self.now += SignedDuration::from_mins(minutes);
        self.rest()
    }

    fn change(&mut self, spec: Value) {
        let cron = Arc::make_mut(&mut self.seen.cron);
        let mut object = serde_json::to_value(&*cron).unwrap();
        for (field, value) in spec.as_object().into_iter().flatten() {
            object["spec"][field] = value.clone();
        }
        *cron = serde_json::from_value(object).unwrap();
    }
}

/// The hour and minute that a Job was made for.
fn time_of(job: &Job) -> String {
    let annotations = job.metadata.annotations.clone().unwrap_or_default();
    let text = annotations["batch.kubernetes.io/cronjob-scheduled-timestamp"].clone();
    text.get(11..16).unwrap().to_owned()
}

fn check(spec: Value, script: &[&str], expected: Expect) {
    let mut cluster = Cluster::new(spec);
    let mut log = vec![cluster.rest()];
    for line in script {
        match line.parse::<i64>() {
            Ok(minutes) => log.push(format!("{minutes}m: {}", cluster.later(minutes))),
            Err(_) => {
                cluster.end(line);
                log.push(format!("{line}: {}", cluster.rest()));
            }
        }
    }
    expected.assert_eq(&log.join("\n"));
}

#[test]
fn a_job_comes_at_each_time_and_not_in_between() {
    check(
        json!({}),
        &["5", "5", "5", "5"],
        expect![[r#"

            5m: 
            5m: +00:10
            5m: 
            5m: +00:20"#]],
    );
}

#[test]
fn of_several_missed_times_the_latest_is_made_up_for() {
    check(
        json!({}),
        &["45"],
        expect![[r#"

        45m: +00:40"#]],
    );
}

#[test]
fn what_is_beyond_the_deadline_is_left() {
    check(
        json!({"startingDeadlineSeconds": 60}),
        &["12", "8"],
        expect![[r#"

            12m: 
            8m: +00:20"#]],
    );
}

#[test]
fn while_one_runs_the_policy_decides() {
    check(
        json!({"concurrencyPolicy": "Allow"}),
        &["10", "10"],
        expect![[r#"

            10m: +00:10
            10m: +00:20"#]],
    );
    check(
        json!({"concurrencyPolicy": "Forbid"}),
        &["10", "10", "Complete"],
        expect![[r#"

            10m: +00:10
            10m: JobAlreadyActive
            Complete: +00:20"#]],
    );
    check(
        json!({"concurrencyPolicy": "Replace"}),
        &["10", "10"],
        expect![[r#"

            10m: +00:10
            10m: x00:10 +00:20"#]],
    );
}

#[test]
fn history_keeps_as_many_as_its_limits() {
    check(
        json!({"successfulJobsHistoryLimit": 2, "failedJobsHistoryLimit": 0}),
        &["10", "Complete", "10", "Complete", "10", "Complete", "10", "Failed"],
        expect![[r#"

            10m: +00:10
            Complete: 
            10m: +00:20
            Complete: 
            10m: +00:30
            Complete: -00:10
            10m: +00:40
            Failed: -00:40"#]],
    );
}

#[test]
fn a_suspended_one_starts_nothing() {
    let mut cluster = Cluster::new(json!({"suspend": true}));
    assert_eq!(cluster.later(60), "");
    cluster.change(json!({"suspend": false}));
    assert_eq!(cluster.rest(), "+01:00");
}

#[test]
fn a_zone_moves_the_time_and_shows_in_the_annotation() {
    let spec = json!({"schedule": "30 1 * * *", "timeZone": "Asia/Kolkata"});
    let mut cluster = Cluster::new(spec);
    assert_eq!(cluster.later(20 * 60), "+01:30");
    let job = &cluster.seen.jobs[0];
    let annotations = job.metadata.annotations.clone().unwrap();
    assert_eq!(
        annotations["batch.kubernetes.io/cronjob-scheduled-timestamp"],
        "2026-01-02T01:30:00+05:30"
    );
    assert_eq!(name(&job.metadata), "tick-29454960");
    assert_eq!(job.metadata.labels.clone().unwrap()["x"], "y");
}

#[test]
fn the_status_tells_what_runs_and_when_it_last_went_well() {
    let mut cluster = Cluster::new(json!({}));
    cluster.later(10);
    let status = cluster.seen.cron.status.clone().unwrap();
    assert_eq!(status.active.unwrap()[0].uid.as_deref(), Some("j1"));
    assert_eq!(status.last_schedule_time.unwrap().0.to_string(), "2026-01-01T00:10:00Z");
    cluster.end("Complete");
    cluster.rest();
    let status = cluster.seen.cron.status.clone().unwrap();
    assert_eq!(status.active, None);
    assert_eq!(status.last_successful_time.unwrap().0, cluster.now);
}

#[test]
fn what_does_not_read_is_told() {
    let mut cluster = Cluster::new(json!({"schedule": "web"}));
    assert_eq!(cluster.rest(), "UnparseableSchedule");
    let mut cluster = Cluster::new(json!({"timeZone": "Mars/Base"}));
    assert_eq!(cluster.rest(), "UnknownTimeZone");
    let mut cluster = Cluster::new(json!({"schedule": "0 0 30 2 *"}));
    assert_eq!(cluster.rest(), "");
}

proptest! {
    /// No time gets two Jobs, none runs beside another where that is forbidden, and history stays
    /// within its limit.
    #[test]
    fn each_time_has_one_job_at_most(
        policy in prop_oneof![Just("Allow"), Just("Forbid"), Just("Replace")],
        steps in proptest::collection::vec((1..40_i64, any::<bool>()), 1..30),
    ) {
        let mut cluster = Cluster::new(json!({"concurrencyPolicy": policy}));
        let mut made = std::collections::BTreeSet::new();
        for (minutes, ends) in steps {
            let log = cluster.later(minutes);
            for word in log.split(' ').filter(|word| word.starts_with('+')) {
                let day = cluster.now.to_string();
                let first = made.insert(format!("{}{word}", day.get(..10).unwrap()));
                prop_assert!(first);
            }
            let running = cluster.seen.jobs.iter().filter(|job| job.status.is_none()).count();
            prop_assert!(policy == "Allow" || running <= 1);
            if ends {
                cluster.end("Complete");
                cluster.rest();
                prop_assert!(cluster.seen.jobs.len() <= 3 + 1);
            }
        }
    }
}
