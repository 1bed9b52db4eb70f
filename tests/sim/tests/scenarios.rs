//! Written courses of events on the virtual clock, each in a process of its own: what has to be so to the second.

#![expect(clippy::unwrap_used, reason = "a test's own functions: what they cannot do fails it")]

use std::process::Command;

/// Plays a scenario with one seed after the other: what it demands depends on none.
fn check(scenario: &str, seeds: &[u64]) {
    for seed in seeds {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coracle-sim"));
        command.args(["--scenario", scenario, "--seed", &seed.to_string()]);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{scenario}, seed {seed}\n{said}\n{why}");
    }
}

/// Rows `cron.loop`, `cron.object`.
#[test]
fn a_cron_job_makes_a_job_each_minute() {
    check("cron-each-minute", &[1, 2]);
}

/// Row `job.completions`.
#[test]
fn a_job_of_six_never_has_more_than_two_pods() {
    check("job-two-at-once", &[1, 2]);
}

/// Rows `node.lost-status`, `node.lost-sts`, `pod.schedule-once`.
#[test]
fn a_lost_host_is_noticed_and_its_pods_start_elsewhere() {
    check("node-lost", &[1]);
}

/// Row `sts.at-most-one`.
#[test]
fn a_stateful_pod_of_a_cut_off_host_is_never_doubled() {
    check("partition", &[1]);
}

/// Row `sched.toleration`.
#[test]
fn taints_drive_out_who_does_not_bear_them() {
    check("taint", &[1]);
}

#[test]
fn a_rollout_keeps_its_bounds_though_the_server_dies() {
    check("rollout", &[1, 2]);
}

#[test]
fn evictions_keep_a_budget_though_the_server_dies() {
    check("budget", &[1, 2]);
}

/// Row `cp.restart-any`.
#[test]
fn whatever_begins_anew_a_hundred_times_nothing_is_lost_or_doubled() {
    check("restart-any", &[1]);
}

/// Row `cp.restart-scheduler`.
#[test]
fn a_pod_that_the_scheduler_has_not_heard_of_is_found_when_it_begins_anew() {
    check("forgotten", &[1]);
}

#[test]
fn events_that_are_lost_are_noticed_though_nothing_begins_anew() {
    check("unheard", &[1]);
}

/// Row `hpa.logic`.
#[test]
fn an_autoscaler_follows_its_load_up_at_once_and_down_after_five_minutes() {
    check("autoscale", &[1]);
}

/// Row `ctr.restart-in-place`.
#[test]
fn a_pod_that_crashes_ten_times_stays_where_it_is() {
    check("crash", &[1]);
}
