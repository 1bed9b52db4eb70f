//! Whole lives of a Job on a small model: pods end when the test says so.

use std::collections::BTreeMap;
use std::sync::Arc;

use expect_test::{Expect, expect};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{Job, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::observe::{INDEX, is_tracked};
use super::{Action, Observed, reconcile};
use crate::claim::Claim;
use crate::objects::{annotation, controller_reference, is_active, is_deleting, name};

mod policies;

struct Cluster {
    seen: Observed,
    now: Timestamp,
    serial: u32,
    log: Vec<String>,
    /// Pods that ever ended well, by uid: the model beside the counters.
    succeeded: BTreeMap<String, Option<String>>,
    failed: BTreeMap<String, Option<String>>,
    expired: bool,
}

fn job(spec: Value) -> Arc<Job> {
    let mut object = json!({
        "metadata": {"name": "sum", "namespace": "a", "uid": "j", "generation": 1},
        "spec": {"parallelism": 1, "completions": 1, "backoffLimit": 6,
            "selector": {"matchLabels": {"j": "j"}},
            "template": {"metadata": {"labels": {"j": "j"}},
                "spec": {"restartPolicy": "Never", "containers": [{"name": "c"}]}}},
    });
    for (field, value) in spec.as_object().into_iter().flatten() {
        object["spec"][field] = value.clone();
    }
    serde_json::from_value(object).map(Arc::new).unwrap()
}

impl Cluster {
    fn new(spec: Value) -> Cluster {
        Cluster {
            seen: Observed { job: job(spec), pods: Vec::new() },
            now: "2026-01-01T00:00:00Z".parse().unwrap(),
            serial: 0,
            log: Vec::new(),
            succeeded: BTreeMap::new(),
            failed: BTreeMap::new(),
            expired: false,
        }
    }

    fn change(&mut self, spec: Value) {
        let job = Arc::make_mut(&mut self.seen.job);
        let mut object = serde_json::to_value(&*job).unwrap();
        for (field, value) in spec.as_object().into_iter().flatten() {
            object["spec"][field] = value.clone();
        }
        *job = serde_json::from_value(object).unwrap();
    }

    fn status(&self) -> JobStatus {
        self.seen.job.status.clone().unwrap_or_default()
    }

    /// Passes until there is nothing to do but wait; gives what was done.
    fn rest(&mut self) -> String {
        for _ in 0..30 {
            let actions = reconcile(&self.seen, self.now);
            let waits = |action: &Action| matches!(action, Action::RequeueAfter(_));
            if actions.iter().all(waits) {
                for action in actions {
                    self.apply(action);
                }
                return std::mem::take(&mut self.log).join(" ");
            }
            for action in actions.into_iter().filter(|action| !waits(action)) {
                self.apply(action);
            }
        }
        panic!("does not come to rest: {:?}", self.log);
    }

    /// Passes until nothing waits for time either, which passes in between.
    fn rest_long(&mut self) -> String {
        let mut all = vec![self.rest()];
        for _ in 0..10 {
            self.now += SignedDuration::from_secs(700);
            let text = self.rest();
            if text.is_empty() || text.starts_with('~') {
                break;
            }
            all.push(text);
        }
        all.retain(|text| !text.is_empty());
        all.join(" ")
    }

    fn find(&mut self, pod: &Pod) -> Option<&mut Arc<Pod>> {
        self.seen.pods.iter_mut().find(|other| other.metadata.uid == pod.metadata.uid)
    }

    fn apply(&mut self, action: Action) {
        let line = match action {
            Action::Create(pods) => {
                let lines: Vec<String> = pods.into_iter().map(|pod| self.create(pod)).collect();
                lines.join(" ")
            }
            Action::Delete(pod) => {
                self.delete(&pod);
                format!("-{}", name(&pod.metadata))
            }
            Action::Discard(pod) => {
                self.untrack(&pod);
                self.delete(&pod);
                self.sweep();
                format!("x{}", name(&pod.metadata))
            }
            Action::Untrack(pods) => {
                pods.iter().for_each(|pod| self.untrack(pod));
                self.sweep();
                return;
            }
            Action::SetStatus(status) => {
                let old = self.status();
                Arc::make_mut(&mut self.seen.job).status = Some(*status.clone());
                let told = super::conditions::told(Some(&old), &status);
                if told.is_empty() {
                    return;
                }
                let words =
                    |told: super::conditions::Told| format!("[{}: {}]", told.reason, told.message);
                told.into_iter().map(words).collect::<Vec<_>>().join(" ")
            }
            Action::Expire => {
                self.expired = true;
                Arc::make_mut(&mut self.seen.job).metadata.deletion_timestamp =
                    Some(Time(self.now));
                "expired".to_owned()
            }
            Action::Claim(Claim::Adopt(pod)) => {
                let owner = controller_reference(&*self.seen.job);
                let meta = &mut Arc::make_mut(self.find(&pod).unwrap()).metadata;
                meta.owner_references = Some(vec![owner]);
                meta.finalizers = Some(vec![super::TRACKING.to_owned()]);
                "adopt".to_owned()
            }
            Action::Claim(Claim::Release(_)) => "release".to_owned(),
            Action::RequeueAfter(wait) => format!("~{}s", wait.as_secs()),
        };
        self.log.push(line);
    }

    fn create(&mut self, mut pod: Pod) -> String {
        self.serial += 1;
        pod.metadata.uid = Some(format!("u{}", self.serial));
        let index = annotation(&pod.metadata, INDEX).map(|index| format!("#{index}"));
        pod.metadata.name = Some(format!("p{}{}", self.serial, index.unwrap_or_default()));
        pod.metadata.creation_timestamp = Some(Time(self.now));
        let status = json!({"phase": "Running"});
        pod.status = Some(serde_json::from_value(status).unwrap());
        let line = format!("+{}", name(&pod.metadata));
        self.seen.pods.push(Arc::new(pod));
        line
    }

    fn delete(&mut self, pod: &Pod) {
        let now = self.now;
        if let Some(found) = self.find(pod).filter(|pod| !is_deleting(&pod.metadata)) {
            Arc::make_mut(found).metadata.deletion_timestamp = Some(Time(now));
        }
    }

    fn untrack(&mut self, pod: &Pod) {
        if let Some(found) = self.find(pod) {
            Arc::make_mut(found).metadata.finalizers = None;
        }
    }

    /// Hosts end what is deleted; what nothing holds is gone.
    fn sweep(&mut self) {
        self.seen.pods.retain(|pod| !is_deleting(&pod.metadata) || is_tracked(pod));
    }

    /// Ends the first active pod (of an index), with an exit code.
    fn end(&mut self, which: &str, code: i32) {
        let now = self.now;
        let fits = |pod: &&mut Arc<Pod>| is_active(pod) && name(&pod.metadata).contains(which);
        let Some(pod) = self.seen.pods.iter_mut().find(fits) else { return };
        let phase = if code == 0 { "Succeeded" } else { "Failed" };
        let status = json!({"phase": phase, "containerStatuses": [{"name": "c", "ready": false,
            "restartCount": 0, "image": "", "imageID": "", "state": {"terminated":
                {"exitCode": code, "finishedAt": now.to_string()}}}]});
        Arc::make_mut(pod).status = Some(serde_json::from_value(status).unwrap());
        let (id, index) = (pod.metadata.uid.clone().unwrap(), annotation(&pod.metadata, INDEX));
        let ends = if code == 0 { &mut self.succeeded } else { &mut self.failed };
        ends.insert(id, index.map(str::to_owned));
    }

    /// Hosts end what is being deleted.
    fn stop_deleted(&mut self) {
        for pod in self.seen.pods.iter_mut().filter(|pod| is_deleting(&pod.metadata)) {
            let status = Arc::make_mut(pod).status.get_or_insert_default();
            status.phase = Some("Failed".to_owned());
        }
        self.sweep();
    }

    fn show(&self) -> String {
        let status = self.status();
        let n = |n: Option<i32>| n.unwrap_or(0);
        let on = status.conditions.iter().flatten().filter(|c| c.status == "True");
        let on: Vec<&str> = on.map(|condition| condition.type_.as_str()).collect();
        format!(
            "active {} succeeded {} failed {} completed '{}' failedIndexes '{}' {on:?}",
            n(status.active),
            n(status.succeeded),
            n(status.failed),
            status.completed_indexes.unwrap_or_default(),
            status.failed_indexes.unwrap_or_default(),
        )
    }
}

/// Runs a script: `ok [POD]`, `fail [POD] [CODE]`, `later SECONDS`, `stop`; then compares.
fn check(spec: Value, script: &[&str], expected: Expect) {
    let mut cluster = Cluster::new(spec);
    let mut log = vec![cluster.rest()];
    for line in script {
        let mut words = line.split(' ');
        let (verb, mut rest) = (words.next().unwrap(), words.collect::<Vec<_>>());
        let code = rest.iter().position(|word| word.parse::<i32>().is_ok() && !word.is_empty());
        let code = code.map(|at| rest.remove(at).parse::<i32>().unwrap());
        let which = rest.first().copied().unwrap_or_default();
        match verb {
            "ok" => cluster.end(which, 0),
            "fail" => cluster.end(which, code.unwrap_or(1)),
            "later" => cluster.now += SignedDuration::from_secs(code.unwrap().into()),
            "stop" => cluster.stop_deleted(),
            other => panic!("{other}"),
        }
        log.push(format!("{line}: {}", cluster.rest()));
    }
    log.push(cluster.show());
    expected.assert_eq(&log.join("\n"));
}

#[test]
fn one_success_completes_it() {
    check(
        json!({}),
        &["ok"],
        expect![[r#"
            +p1
            ok: [Completed: Job completed]
            active 0 succeeded 1 failed 0 completed '' failedIndexes '' ["SuccessCriteriaMet", "Complete"]"#]],
    );
}

#[test]
fn no_more_run_at_once_than_the_parallelism_and_no_more_than_are_left() {
    check(
        json!({"completions": 3, "parallelism": 2}),
        &["ok p1", "ok p2", "ok p3"],
        expect![[r#"
            +p1 +p2
            ok p1: +p3
            ok p2: 
            ok p3: [Completed: Job completed]
            active 0 succeeded 3 failed 0 completed '' failedIndexes '' ["SuccessCriteriaMet", "Complete"]"#]],
    );
}

#[test]
fn a_work_queue_is_done_when_one_has_succeeded_and_all_have_ended() {
    check(
        json!({"completions": null, "parallelism": 2}),
        &["ok p1", "ok p2"],
        expect![[r#"
            +p1 +p2
            ok p1: 
            ok p2: [Completed: Job completed]
            active 0 succeeded 2 failed 0 completed '' failedIndexes '' ["SuccessCriteriaMet", "Complete"]"#]],
    );
}

#[test]
fn failures_are_retried_ever_later_up_to_the_limit() {
    check(
        json!({"backoffLimit": 2}),
        &["fail", "later 10", "fail", "later 10", "later 10", "fail"],
        expect![[r#"
            +p1
            fail: ~10s
            later 10: +p2
            fail: ~20s
            later 10: ~10s
            later 10: +p3
            fail: [BackoffLimitExceeded: Job has reached the specified backoff limit]
            active 0 succeeded 0 failed 3 completed '' failedIndexes '' ["FailureTarget", "Failed"]"#]],
    );
}

#[test]
fn it_has_failed_only_when_its_last_pod_is_gone() {
    check(
        json!({"backoffLimit": 0, "parallelism": 2, "completions": 2,
            "podReplacementPolicy": "Failed"}),
        &["fail p1", "stop"],
        expect![[r#"
            +p1 +p2
            fail p1: -p2
            stop: [BackoffLimitExceeded: Job has reached the specified backoff limit]
            active 0 succeeded 0 failed 2 completed '' failedIndexes '' ["FailureTarget", "Failed"]"#]],
    );
}

#[test]
fn a_deadline_ends_it() {
    check(
        json!({"activeDeadlineSeconds": 60}),
        &["later 59", "later 1", "stop"],
        expect![[r#"
            +p1 ~60s
            later 59: ~1s
            later 1: -p1 [DeadlineExceeded: Job was active longer than specified deadline]
            stop: 
            active 0 succeeded 0 failed 1 completed '' failedIndexes '' ["FailureTarget", "Failed"]"#]],
    );
}

#[test]
fn indexes_are_each_completed_once_lowest_first() {
    check(
        json!({"completionMode": "Indexed", "completions": 4, "parallelism": 2}),
        &["ok #1", "later 1", "fail #0", "later 10", "ok #2", "ok #0", "ok #3"],
        expect![[r#"
            +p1#0 +p2#1
            ok #1: +p3#2
            later 1: 
            fail #0: ~10s
            later 10: +p4#0
            ok #2: +p5#3
            ok #0: 
            ok #3: [Completed: Job completed]
            active 0 succeeded 4 failed 1 completed '0-3' failedIndexes '' ["SuccessCriteriaMet", "Complete"]"#]],
    );
}

#[test]
fn an_indexed_pod_knows_its_index() {
    let mut cluster =
        Cluster::new(json!({"completionMode": "Indexed", "completions": 2, "parallelism": 2}));
    cluster.rest();
    let pod = serde_json::to_value(&*cluster.seen.pods[1]).unwrap();
    assert_eq!(pod["spec"]["hostname"], "sum-1");
    assert_eq!(pod["metadata"]["generateName"], "sum-1-");
    assert_eq!(pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"], "1");
    assert_eq!(pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"], "1");
    assert_eq!(pod["metadata"]["finalizers"], json!(["batch.kubernetes.io/job-tracking"]));
    assert_eq!(pod["spec"]["containers"][0]["env"][0]["name"], "JOB_COMPLETION_INDEX");
}

#[test]
fn a_suspended_job_has_no_pods_and_its_clock_stands_still() {
    let mut cluster = Cluster::new(json!({"suspend": true, "activeDeadlineSeconds": 60}));
    expect!["[Suspended: Job suspended]"].assert_eq(&cluster.rest());
    cluster.now += SignedDuration::from_secs(1000);
    cluster.change(json!({"suspend": false}));
    expect!["[Resumed: Job resumed] +p1 ~60s"].assert_eq(&cluster.rest());
    cluster.change(json!({"suspend": true}));
    expect!["[Suspended: Job suspended] xp1"].assert_eq(&cluster.rest());
    assert_eq!(cluster.status().start_time, None);
    assert_eq!(cluster.status().failed.unwrap_or(0), 0, "a discarded pod has not failed");
}

#[test]
fn a_pod_that_somebody_deletes_counts_as_failed_and_is_replaced_as_the_policy_says() {
    for (policy, expected) in [("TerminatingOrFailed", "+p2"), ("Failed", " then +p2")] {
        let mut cluster = Cluster::new(json!({"podReplacementPolicy": policy}));
        cluster.rest();
        let pod = Arc::clone(&cluster.seen.pods[0]);
        cluster.delete(&pod);
        let mut log = vec![cluster.rest()];
        if policy == "Failed" {
            cluster.stop_deleted();
            log.push(cluster.rest());
        }
        assert_eq!(log.join(" then "), expected);
        assert_eq!(cluster.status().failed, Some(1));
    }
}

#[test]
fn restarts_within_a_pod_count_when_it_may_restart() {
    let template = json!({"metadata": {"labels": {"j": "j"}},
        "spec": {"restartPolicy": "OnFailure", "containers": [{"name": "c"}]}});
    let mut cluster = Cluster::new(json!({"backoffLimit": 2, "template": template}));
    cluster.rest();
    for (n, expected) in [(1, ""), (2, "-p1")] {
        let status = Arc::make_mut(&mut cluster.seen.pods[0]).status.as_mut().unwrap();
        let container = json!([{"name": "c", "ready": true, "restartCount": n, "image": "",
            "imageID": ""}]);
        status.container_statuses = serde_json::from_value(container).unwrap();
        let log = cluster.rest();
        assert_eq!(log.split(' ').next().unwrap(), expected);
    }
}

#[test]
fn an_ended_job_goes_after_its_time_to_live() {
    let mut cluster = Cluster::new(json!({"ttlSecondsAfterFinished": 30}));
    cluster.rest();
    cluster.end("", 0);
    expect!["[Completed: Job completed] ~30s"].assert_eq(&cluster.rest());
    cluster.now += SignedDuration::from_secs(30);
    expect!["expired"].assert_eq(&cluster.rest());
}

#[test]
fn one_that_somebody_else_manages_is_left_alone_but_for_its_time_to_live() {
    let spec = json!({"managedBy": "x.io/queue", "ttlSecondsAfterFinished": 5});
    let mut cluster = Cluster::new(spec);
    expect![""].assert_eq(&cluster.rest());
    let ended = json!({"conditions": [{"type": "Complete", "status": "True",
        "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
    Arc::make_mut(&mut cluster.seen.job).status = Some(serde_json::from_value(ended).unwrap());
    cluster.now += SignedDuration::from_secs(5);
    expect!["expired"].assert_eq(&cluster.rest());
    let mut cluster = Cluster::new(json!({"managedBy": "kubernetes.io/job-controller"}));
    expect!["+p1"].assert_eq(&cluster.rest());
}

#[test]
fn lower_parallelism_discards_pods_that_do_not_count() {
    let mut cluster = Cluster::new(json!({"completions": 5, "parallelism": 3}));
    cluster.rest();
    cluster.change(json!({"parallelism": 1}));
    expect!["xp3 xp2"].assert_eq(&cluster.rest());
    assert_eq!(cluster.status().failed.unwrap_or(0), 0);
    cluster.change(json!({"parallelism": 0}));
    expect!["xp1"].assert_eq(&cluster.rest());
}

#[test]
fn nothing_to_complete_is_complete() {
    check(
        json!({"completions": 0}),
        &[],
        expect![[r#"
            [Completed: Job completed]
            active 0 succeeded 0 failed 0 completed '' failedIndexes '' ["SuccessCriteriaMet", "Complete"]"#]],
    );
}

#[test]
fn a_deleted_job_lets_its_pods_go() {
    let mut cluster = Cluster::new(json!({"completions": 2, "parallelism": 2}));
    cluster.rest();
    let now = cluster.now;
    Arc::make_mut(&mut cluster.seen.job).metadata.deletion_timestamp = Some(Time(now));
    expect![""].assert_eq(&cluster.rest());
    assert!(cluster.seen.pods.iter().all(|pod| !is_tracked(pod)));
}

#[derive(Debug, Clone)]
enum Event {
    Ok(u8),
    Fail(u8),
    Delete(u8),
    Later(u16),
    Suspend(bool),
    Parallelism(i32),
    Stop,
    /// One action of a pass is done, then the controller dies.
    Crash,
    Rest,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => any::<u8>().prop_map(Event::Ok),
        2 => any::<u8>().prop_map(Event::Fail),
        1 => any::<u8>().prop_map(Event::Delete),
        2 => (0..700_u16).prop_map(Event::Later),
        1 => any::<bool>().prop_map(Event::Suspend),
        1 => (0..4_i32).prop_map(Event::Parallelism),
        1 => Just(Event::Stop),
        2 => Just(Event::Crash),
        4 => Just(Event::Rest),
    ]
}

impl Cluster {
    fn happen(&mut self, event: Event) {
        let active: Vec<Arc<Pod>> =
            self.seen.pods.iter().filter(|pod| is_active(pod)).cloned().collect();
        let pick = |n: u8| active.get(usize::from(n) % active.len().max(1)).cloned();
        match event {
            Event::Ok(n) | Event::Fail(n) => {
                let code = i32::from(matches!(event, Event::Fail(_)));
                if let Some(pod) = pick(n) {
                    self.end(name(&pod.metadata), code);
                }
            }
            Event::Delete(n) => {
                if let Some(pod) = pick(n) {
                    self.delete(&pod);
                }
            }
            Event::Later(seconds) => self.now += SignedDuration::from_secs(seconds.into()),
            Event::Suspend(on) => self.change(json!({"suspend": on})),
            Event::Parallelism(n) => self.change(json!({"parallelism": n})),
            Event::Stop => self.stop_deleted(),
            Event::Crash => {
                if let Some(first) = reconcile(&self.seen, self.now).into_iter().next() {
                    self.apply(first);
                }
            }
            Event::Rest => {
                self.rest();
            }
        }
    }
}

proptest! {
    /// Whatever happens and whenever the controller dies: at most `parallelism` are active, every
    /// success counts exactly once, and in the end the Job has an outcome that fits the counts.
    #[test]
    fn every_end_counts_once(
        indexed: bool,
        completions in 1..6_i32,
        parallelism in 1..4_i32,
        per_index in proptest::option::of(0..2_i32),
        events in proptest::collection::vec(event(), 0..40),
    ) {
        let mut spec = json!({"completions": completions, "parallelism": parallelism,
            "backoffLimit": 1000, "completionMode": if indexed { "Indexed" } else { "NonIndexed" }});
        if let Some(limit) = per_index.filter(|_| indexed) {
            spec["backoffLimitPerIndex"] = json!(limit);
        }
        let mut cluster = Cluster::new(spec);
        for event in events {
            cluster.happen(event);
            let most = cluster.seen.job.spec.as_ref().unwrap().parallelism.unwrap().max(parallelism).max(3);
            let active = cluster.seen.pods.iter().filter(|pod| is_active(pod)).count();
            prop_assert!(active <= usize::try_from(most).unwrap());
        }
        cluster.change(json!({"suspend": false, "parallelism": parallelism}));
        for _ in 0..60 {
            cluster.rest_long();
            cluster.stop_deleted();
            cluster.end("", 0);
        }
        cluster.rest();
        prop_assert!(super::is_finished(&cluster.seen.job), "{}", cluster.show());
        let status = cluster.status();
        let succeeded = status.succeeded.unwrap_or(0);
        if indexed {
            let indexes: std::collections::BTreeSet<_> = cluster.succeeded.values().flatten().collect();
            prop_assert!(usize::try_from(succeeded).unwrap() <= indexes.len());
        } else {
            prop_assert!(usize::try_from(succeeded).unwrap() <= cluster.succeeded.len());
            prop_assert!(succeeded >= completions);
        }
        prop_assert!(cluster.seen.pods.iter().all(|pod| !is_tracked(pod)));
        let rest = reconcile(&cluster.seen, cluster.now);
        prop_assert_eq!(rest, []);
    }
}
