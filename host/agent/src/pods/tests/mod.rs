//! Whole lives of pods, told line by line: what happens goes in, what is decided comes out.

mod actions;
mod life;

use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::{Value, json};

use self::life::Life;
use super::plan::Index;
use super::reconcile::reconcile;
use super::state::{PodEvent, PodVerdict};
use super::status::{HostFacts, pod_status};

#[track_caller]
fn check(spec: Value, script: &str, expected: Expect) {
    let mut life = Life::new(spec);
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        life.tell(line);
    }
    expected.assert_eq(&life.log);
}

fn app(name: &str, more: Value) -> Value {
    let mut container = json!({"name": name, "image": name});
    container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    container
}

fn one(more: Value) -> Value {
    json!({"containers": [app("a", more)]})
}

#[test]
fn a_crash_loop_waits_longer_each_time_and_forgets_after_ten_minutes() {
    let script = "run\nexit a 1\nexit a 1\nstatus\nwait 9\nwait 1\nexit a 0\nstatus\nwait 20\nwait 600\nexit a 1\nstatus";
    check(
        one(json!({})),
        script,
        expect![[r#"
        run
          start a
        exit a 1
          start a
        exit a 1
          event BackOff: Back-off restarting failed container a in pod p_n(u)
        status
          Running; a: CrashLoopBackOff (back-off 10s restarting failed container=a pod=p_n(u)) restarts=1 last=1
          not Ready: ContainersNotReady containers with unready status: [a]
          not ContainersReady: ContainersNotReady containers with unready status: [a]
        wait 9
        wait 1
          start a
        exit a 0
          event BackOff: Back-off restarting failed container a in pod p_n(u)
        status
          Running; a: CrashLoopBackOff (back-off 20s restarting failed container=a pod=p_n(u)) restarts=2 last=0
          not Ready: ContainersNotReady containers with unready status: [a]
          not ContainersReady: ContainersNotReady containers with unready status: [a]
        wait 20
          start a
        wait 600
        exit a 1
          start a
        status
          Running; a: Running ready restarts=4 last=1
    "#]],
    );
}

/// Row `ctr.restart-in-place`, the host's part of it: ten crashes are ten starts in the same sandbox with the same
/// volumes, and nothing that anybody else would have to replace.
#[test]
fn a_container_that_crashes_ten_times_is_started_in_its_place() {
    let mut life = Life::new(one(json!({})));
    life.tell("run");
    for _ in 0..10 {
        life.tell("exit a 1");
        life.tell("wait 300");
    }
    life.tell("status");
    let lines = |word: &str| life.log.lines().filter(|line| line.contains(word)).count();
    assert_eq!(lines("start a"), 11, "{}", life.log);
    assert_eq!(lines("Running; a: Running ready restarts=10 last=1"), 1, "{}", life.log);
    let others = ["stop", "condemn", "RemoveSandbox", "RemoveVolumes", "Finalize", "Failed"];
    assert!(others.iter().all(|word| lines(word) == 0), "{}", life.log);
}

#[test]
fn init_containers_run_one_by_one_and_a_failing_one_is_tried_again() {
    let spec = json!({"initContainers": [app("i", json!({})), app("s", json!({"restartPolicy": "Always"}))],
        "containers": [app("a", json!({})), app("b", json!({}))]});
    let script = "run\nstatus\nexit i 1\nexit i 0\nstatus\nexit s 1\nstatus\nexit a 1\ndelete 30";
    check(
        spec,
        script,
        expect![[r#"
        run
          start i
        status
          Pending; i: Running restarts=0; s: PodInitializing restarts=0; a: PodInitializing restarts=0; b: PodInitializing restarts=0
          not Initialized: ContainersNotInitialized containers with incomplete status: [i s]
          not Ready: ContainersNotReady containers with unready status: [s a b]
          not ContainersReady: ContainersNotReady containers with unready status: [s a b]
        exit i 1
          start i
        exit i 0
          start s
          start a
          start b
        status
          Running; i: Completed 0 ready restarts=1; s: Running ready restarts=0; a: Running ready restarts=0; b: Running ready restarts=0
        exit s 1
          start s
        status
          Running; i: Completed 0 ready restarts=1; s: Running ready restarts=1 last=1; a: Running ready restarts=0; b: Running ready restarts=0
        exit a 1
          start a
        delete 30
          stop a PodEnds 30s
          stop b PodEnds 30s
          stop s PodEnds 30s
          RemoveSandbox
          RemoveVolumes
          Finalize
    "#]],
    );
}

#[test]
fn a_failed_init_container_that_may_not_restart_fails_the_pod() {
    let spec = json!({"restartPolicy": "Never", "initContainers": [app("i", json!({}))], "containers": [app("a", json!({}))]});
    check(
        spec,
        "run\nexit i 3\nstatus",
        expect![[r#"
        run
          start i
        exit i 3
          RemoveSandbox
          RemoveVolumes
        status
          Failed; i: Error 3 restarts=0; a: PodInitializing restarts=0
          not PodReadyToStartContainers:  
          not Initialized: ContainersNotInitialized containers with incomplete status: [i]
          not Ready: PodFailed 
          not ContainersReady: PodFailed 
    "#]],
    );
}

#[test]
fn on_failure_ends_with_the_last_success_and_side_cars_go_after() {
    let spec = json!({"restartPolicy": "OnFailure", "initContainers": [app("s", json!({"restartPolicy": "Always"}))],
        "containers": [app("a", json!({})), app("b", json!({}))]});
    check(
        spec,
        "run\nexit a 0\nexit b 2\nexit b 0\nstatus",
        expect![[r#"
        run
          start s
          start a
          start b
        exit a 0
        exit b 2
          start b
        exit b 0
          stop s PodEnds 30s
          RemoveSandbox
          RemoveVolumes
        status
          Succeeded; s: Error 143 restarts=0; a: Completed 0 restarts=0; b: Completed 0 restarts=1
          not PodReadyToStartContainers:  
          not Ready: PodCompleted 
          not ContainersReady: PodCompleted 
    "#]],
    );
}

#[test]
fn post_start_holds_the_next_container_and_its_failure_ends_its_own() {
    let hook = json!({"lifecycle": {"postStart": {"sleep": {"seconds": 1}}}});
    let spec = json!({"containers": [app("a", hook), app("b", json!({}))]});
    check(
        spec,
        "hold hook\nrun\nstatus\nrelease\nhook-fails a",
        expect![[r#"
        hold hook
        run
          start a
          hook a (held)
        status
          Pending; a: ContainerCreating restarts=0; b: ContainerCreating restarts=0
          not Ready: ContainersNotReady containers with unready status: [a b]
          not ContainersReady: ContainersNotReady containers with unready status: [a b]
        release
        hook-fails a
          event FailedPostStartHook: PostStartHook failed: no
          stop a PostStart 30s
          start b
          start a
          hook a
    "#]],
    );
}

#[test]
fn startup_holds_the_other_probes_and_liveness_ends_the_container() {
    let probe = |failures: i32| json!({"tcpSocket": {"port": 1}, "periodSeconds": 5, "failureThreshold": failures});
    let spec = one(
        json!({"startupProbe": probe(2), "livenessProbe": probe(2), "readinessProbe": probe(1)}),
    );
    let script = "hold probe\nrun\nstatus\nfails a Startup\nrelease\nwait 5\nstatus\nhold probe\nwait 5\nfails a Liveness\nfails a Readiness\nstatus\nwait 5\nfails a Liveness";
    check(
        spec,
        script,
        expect![[r#"
        hold probe
        run
          start a
          probe a Startup (held)
        status
          Running; a: Running restarts=0
          not Ready: ContainersNotReady containers with unready status: [a]
          not ContainersReady: ContainersNotReady containers with unready status: [a]
        fails a Startup
          event Unhealthy: Startup probe failed: no
        release
        wait 5
          probe a Startup
          probe a Liveness
          probe a Readiness
        status
          Running; a: Running ready restarts=0
        hold probe
        wait 5
          probe a Liveness (held)
          probe a Readiness (held)
        fails a Liveness
          event Unhealthy: Liveness probe failed: no
        fails a Readiness
          event Unhealthy: Readiness probe failed: no
        status
          Running; a: Running restarts=0
          not Ready: ContainersNotReady containers with unready status: [a]
          not ContainersReady: ContainersNotReady containers with unready status: [a]
        wait 5
          probe a Liveness (held)
          probe a Readiness (held)
        fails a Liveness
          event Unhealthy: Liveness probe failed: no
          stop a Liveness 30s
          start a
          probe a Startup (held)
    "#]],
    );
}

#[test]
fn an_image_that_cannot_be_had_is_tried_again_later() {
    let script =
        "hold image\nrun\nno-image a ErrImagePull\nstatus\nwait 2\nstatus\nrelease\nwait 8\nstatus";
    check(
        one(json!({})),
        script,
        expect![[r#"
        hold image
        run
          image a (held)
        no-image a ErrImagePull
          event Failed: Failed to pull image "a": why
          event Failed: Error: ErrImagePull
          event BackOff: Back-off pulling image "a"
          event Failed: Error: ImagePullBackOff
        status
          Pending; a: ErrImagePull (why) restarts=0
          not Ready: ContainersNotReady containers with unready status: [a]
          not ContainersReady: ContainersNotReady containers with unready status: [a]
        wait 2
        status
          Pending; a: ImagePullBackOff (Back-off pulling image "a": ErrImagePull: why) restarts=0
          not Ready: ContainersNotReady containers with unready status: [a]
          not ContainersReady: ContainersNotReady containers with unready status: [a]
        release
        wait 8
          start a
        status
          Running; a: Running ready restarts=0
    "#]],
    );
}

#[test]
fn missing_configuration_is_waited_for_and_tried_at_once_when_it_comes() {
    let script = "hold start\nrun\nno-start a\nstatus\nrelease\nconfig\nstatus";
    check(
        one(json!({})),
        script,
        expect![[r#"
        hold start
        run
          start a (held)
        no-start a
          event Failed: Error: why
        status
          Pending; a: CreateContainerConfigError (why) restarts=0
          not Ready: ContainersNotReady containers with unready status: [a]
          not ContainersReady: ContainersNotReady containers with unready status: [a]
        release
        config
          start a
        status
          Running; a: Running ready restarts=0
    "#]],
    );
}

#[test]
fn a_deadline_ends_the_pod() {
    let mut spec = one(json!({}));
    spec["activeDeadlineSeconds"] = 60.into();
    spec["terminationGracePeriodSeconds"] = 5.into();
    check(
        spec,
        "run\nwait 59\nwait 1\nstatus",
        expect![[r#"
        run
          start a
        wait 59
        wait 1
          condemn DeadlineExceeded
          event DeadlineExceeded: Pod was active on the node longer than the specified deadline
          stop a PodEnds 5s
          RemoveSandbox
          RemoveVolumes
        status
          Failed; a: Error 143 restarts=0
          not PodReadyToStartContainers:  
          not Ready: PodFailed 
          not ContainersReady: PodFailed 
    "#]],
    );
}

#[test]
fn a_grace_below_zero_is_a_second() {
    let mut spec = one(json!({}));
    spec["activeDeadlineSeconds"] = 60.into();
    spec["terminationGracePeriodSeconds"] = (-1).into();
    check(
        spec,
        "run\nwait 60",
        expect![[r#"
        run
          start a
        wait 60
          condemn DeadlineExceeded
          event DeadlineExceeded: Pod was active on the node longer than the specified deadline
          stop a PodEnds 1s
          RemoveSandbox
          RemoveVolumes
    "#]],
    );
}

#[test]
fn another_image_starts_the_container_again() {
    check(
        one(json!({})),
        "run\nset-image b\nstatus",
        expect![[r#"
        run
          start a
        set-image b
          stop a Changed 30s
          start a
        status
          Running; a: Running ready restarts=1 last=143
    "#]],
    );
}

#[test]
fn a_second_delete_shortens_the_first() {
    check(
        one(json!({})),
        "run\nhold stop\ndelete 30\nwait 5\ndelete 1\ngone",
        expect![[r#"
        run
          start a
        hold stop
        delete 30
          stop a PodEnds 30s (held)
        wait 5
        delete 1
          stop a PodEnds -4s (held)
        gone
    "#]],
    );
}

#[test]
fn an_ephemeral_container_runs_once_beside_the_others_and_counts_for_nothing() {
    let spec =
        json!({"initContainers": [app("i", json!({}))], "containers": [app("a", json!({}))]});
    let script = "run\ndebug d\nstatus\nexit d 1\nstatus\nexit i 0\nstatus\ndebug e\ndelete 30";
    check(
        spec,
        script,
        expect![[r#"
        run
          start i
        debug d
          start d
        status
          Pending; i: Running restarts=0; a: PodInitializing restarts=0; d: Running restarts=0
          not Initialized: ContainersNotInitialized containers with incomplete status: [i]
          not Ready: ContainersNotReady containers with unready status: [a]
          not ContainersReady: ContainersNotReady containers with unready status: [a]
        exit d 1
        status
          Pending; i: Running restarts=0; a: PodInitializing restarts=0; d: Error 1 restarts=0
          not Initialized: ContainersNotInitialized containers with incomplete status: [i]
          not Ready: ContainersNotReady containers with unready status: [a]
          not ContainersReady: ContainersNotReady containers with unready status: [a]
        exit i 0
          start a
        status
          Running; i: Completed 0 ready restarts=0; a: Running ready restarts=0; d: Error 1 restarts=0
        debug e
          start e
        delete 30
          stop a PodEnds 30s
          stop e PodEnds 30s
          RemoveSandbox
          RemoveVolumes
          Finalize
    "#]],
    );
}

#[test]
fn an_ephemeral_container_does_not_keep_a_pod_that_has_done_its_work() {
    let spec = json!({"restartPolicy": "Never", "containers": [app("a", json!({}))]});
    check(
        spec,
        "run\ndebug d\nexit a 0\nstatus",
        expect![[r#"
        run
          start a
        debug d
          start d
        exit a 0
          stop d PodEnds 30s
          RemoveSandbox
          RemoveVolumes
        status
          Succeeded; a: Completed 0 restarts=0; d: Error 143 restarts=0
          not PodReadyToStartContainers:  
          not Ready: PodCompleted 
          not ContainersReady: PodCompleted 
    "#]],
    );
}

#[test]
fn a_pod_that_waits_for_its_volumes_has_nothing_yet() {
    check(
        one(json!({})),
        "hold MountVolumes\nrun\nstatus",
        expect![[r#"
        hold MountVolumes
        run
          MountVolumes (held)
        status
          Pending; a: ContainerCreating restarts=0
          not PodReadyToStartContainers:  
          not Ready: ContainersNotReady containers with unready status: [a]
          not ContainersReady: ContainersNotReady containers with unready status: [a]
    "#]],
    );
}

/// Row by row what is told of a pod that waits for something of the host.
#[test]
fn what_a_pod_waits_for_is_a_condition() {
    let failed = |event: PodEvent| {
        let mut life = Life::new(one(json!({})));
        life.state.apply(&life.pod, event, life.now);
        let status = pod_status(&life.pod, &life.state, None, &HostFacts::default(), life.now);
        let conditions = status.conditions.unwrap();
        let ground = conditions.into_iter().find(|c| c.type_ == "PodReadyToStartContainers");
        let ground = ground.unwrap();
        (ground.reason.unwrap(), ground.message.unwrap())
    };
    let (reason, message) =
        failed(PodEvent::VolumesFailed { volume: "root".into(), message: "not allowed".into() });
    assert_eq!(reason, "FailedMount");
    assert_eq!(message, "MountVolume.SetUp failed for volume \"root\" : not allowed");
    let (reason, message) = failed(PodEvent::SandboxFailed { message: "no address".into() });
    assert_eq!((&*reason, &*message), ("FailedCreatePodSandBox", "no address"));
}

/// What was refused at once shows no container, so that lists show the reason in its place; what was ended later does.
#[test]
fn a_pod_that_was_not_taken_says_nothing_of_containers() {
    for (script, containers) in [("hold none", 0), ("run", 1)] {
        let mut life = Life::new(one(json!({})));
        life.tell(script);
        let reason = "OutOfcpu".into();
        let verdict = PodVerdict { reason, message: "why".into(), until: None };
        life.state.apply(&life.pod, PodEvent::Condemned(verdict), life.now);
        life.tell("run");
        let status = pod_status(&life.pod, &life.state, None, &HostFacts::default(), life.now);
        assert_eq!(status.phase.as_deref(), Some("Failed"));
        let shown = status.container_statuses.map_or(0, |statuses| statuses.len());
        assert_eq!(shown, containers, "{script}");
    }
}

fn steps() -> impl Strategy<Value = Vec<&'static str>> {
    let ends = ["exit i 0", "exit i 1", "exit s 1", "exit a 0", "exit a 1", "exit b 1"];
    let held = [
        "hold start",
        "hold stop",
        "hold image",
        "hold CreateSandbox",
        "hold MountVolumes",
        "release",
    ];
    let others = ["run", "wait 1", "wait 7", "wait 600", "config", "delete 30", "delete 0", "gone"];
    let lines = [&ends[..], &held[..], &others[..]].concat();
    prop::collection::vec(prop::sample::select(lines), 1..40)
}

proptest! {
    /// It comes to rest, apps never run beside an init container, nothing starts once it is to go.
    #[test]
    fn every_history_comes_to_rest(steps in steps(), policy in prop::sample::select(vec!["Always", "OnFailure", "Never"])) {
        let spec = json!({"restartPolicy": policy,
            "initContainers": [app("i", json!({})), app("s", json!({"restartPolicy": "Always"}))],
            "containers": [app("a", json!({})), app("b", json!({}))]});
        let mut life = Life::new(spec);
        let mut going = false;
        for line in steps {
            let from = life.log.len();
            life.tell(line);
            going |= line.starts_with("delete") || line == "gone";
            prop_assert!(!going || !life.log[from..].contains("  start "), "{}", life.log);
            let live = |index: Index| life.state.containers[index].is_live();
            prop_assert!(!live(0) || !(live(2) || live(3)), "{}", life.log);
            let plan = reconcile(&life.pod, &life.state, life.now);
            prop_assert!(line == "release" || line.starts_with("hold") || plan.actions.is_empty(), "{:?}\n{}", plan, life.log);
        }
    }
}
