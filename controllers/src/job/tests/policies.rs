//! Limits by index, failure policies and success policies.

use super::*;

#[test]
fn an_index_has_a_limit_of_its_own_and_the_others_go_on() {
    check(
        json!({"completionMode": "Indexed", "completions": 2, "parallelism": 2,
            "backoffLimit": i32::MAX, "backoffLimitPerIndex": 1}),
        &["fail #0", "later 10", "fail #0", "ok #1"],
        expect![[r#"
            +p1#0 +p2#1
            fail #0: ~10s
            later 10: +p3#0
            fail #0: 
            ok #1: [FailedIndexes: Job has failed indexes]
            active 0 succeeded 1 failed 2 completed '1' failedIndexes '0' ["FailureTarget", "Failed"]"#]],
    );
}

#[test]
fn too_many_failed_indexes_end_it() {
    check(
        json!({"completionMode": "Indexed", "completions": 3, "parallelism": 3,
            "backoffLimit": i32::MAX, "backoffLimitPerIndex": 0, "maxFailedIndexes": 1}),
        &["fail #0", "fail #1", "stop"],
        expect![[r#"
            +p1#0 +p2#1 +p3#2
            fail #0: 
            fail #1: -p3#2 [MaxFailedIndexesExceeded: Job has exceeded the specified maximal number of failed indexes]
            stop: 
            active 0 succeeded 0 failed 3 completed '' failedIndexes '0,1' ["FailureTarget", "Failed"]"#]],
    );
}

fn policy(rules: Value) -> Value {
    json!({"podFailurePolicy": {"rules": rules}, "podReplacementPolicy": "Failed"})
}

#[test]
fn an_exit_code_may_fail_the_job_at_once() {
    check(
        policy(json!([{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}])),
        &["fail 42"],
        expect![[r#"
            +p1
            fail 42: [PodFailurePolicy: Container c for pod a/p1 failed with exit code 42 matching FailJob rule at index 0]
            active 0 succeeded 0 failed 1 completed '' failedIndexes '' ["FailureTarget", "Failed"]"#]],
    );
}

#[test]
fn an_ignored_failure_neither_counts_nor_waits() {
    let mut spec = policy(
        json!([{"action": "Ignore", "onExitCodes": {"operator": "NotIn", "values": [1, 2]}}]),
    );
    spec["backoffLimit"] = json!(0);
    check(
        spec,
        &["fail 3", "fail 4", "fail 2"],
        expect![[r#"
            +p1
            fail 3: +p2
            fail 4: +p3
            fail 2: [BackoffLimitExceeded: Job has reached the specified backoff limit]
            active 0 succeeded 0 failed 1 completed '' failedIndexes '' ["FailureTarget", "Failed"]"#]],
    );
}

#[test]
fn a_rule_may_fail_the_index_and_one_may_be_about_a_condition() {
    let mut spec = policy(json!([
        {"action": "FailJob", "onPodConditions": [{"type": "ConfigIssue", "status": "True"}]},
        {"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [9]}},
    ]));
    for (field, value) in [
        ("completionMode", json!("Indexed")),
        ("completions", json!(2)),
        ("parallelism", json!(2)),
        ("backoffLimit", json!(i32::MAX)),
        ("backoffLimitPerIndex", json!(5)),
    ] {
        spec[field] = value;
    }
    check(
        spec.clone(),
        &["fail #0 9", "ok #1"],
        expect![[r#"
            +p1#0 +p2#1
            fail #0 9: 
            ok #1: [FailedIndexes: Job has failed indexes]
            active 0 succeeded 1 failed 1 completed '1' failedIndexes '0' ["FailureTarget", "Failed"]"#]],
    );
    let mut cluster = Cluster::new(spec);
    cluster.rest();
    cluster.end("#0", 1);
    let status = Arc::make_mut(&mut cluster.seen.pods[0]).status.as_mut().unwrap();
    let condition = json!([{"type": "ConfigIssue", "status": "True"}]);
    status.conditions = serde_json::from_value(condition).unwrap();
    cluster.rest();
    cluster.stop_deleted();
    cluster.rest();
    let failed = super::super::conditions::on(&cluster.status(), "Failed").cloned().unwrap();
    assert_eq!(
        failed.message.as_deref(),
        Some("Pod a/p1#0 has condition ConfigIssue matching FailJob rule at index 0")
    );
}

#[test]
fn some_successes_may_be_enough() {
    let indexed = |rules: Value| {
        json!({"completionMode": "Indexed", "completions": 4, "parallelism": 4,
            "successPolicy": {"rules": rules}})
    };
    check(
        indexed(json!([{"succeededIndexes": "0,2-3", "succeededCount": 2}])),
        &["ok #1", "ok #0", "ok #3", "stop"],
        expect![[r#"
            +p1#0 +p2#1 +p3#2 +p4#3
            ok #1: 
            ok #0: 
            ok #3: -p3#2 [Completed: Job completed]
            stop: 
            active 0 succeeded 3 failed 1 completed '0,1,3' failedIndexes '' ["SuccessCriteriaMet", "Complete"]"#]],
    );
    check(
        indexed(json!([{"succeededIndexes": "0-1"}])),
        &["ok #0", "ok #1"],
        expect![[r#"
            +p1#0 +p2#1 +p3#2 +p4#3
            ok #0: 
            ok #1: -p3#2 -p4#3 [Completed: Job completed]
            active 0 succeeded 2 failed 2 completed '0,1' failedIndexes '' ["SuccessCriteriaMet", "Complete"]"#]],
    );
}
