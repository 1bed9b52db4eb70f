//! Whole lives of pods, told line by line: what happens goes in, what is decided comes out.

use expect_test::{Expect, expect};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::plan::{self, Index};
use super::probe::{Outcome, ProbeKind};
use super::reconcile::{Action, begin, reconcile};
use super::state::{Fault, PodEvent, PodState, Terminated};
use super::status::{HostFacts, pod_status};

/// A pod, its state, and a clock that the script moves. Whatever the agent would do succeeds at
/// once, except what the script holds back.
struct Life {
    pod: Pod,
    state: PodState,
    now: Timestamp,
    lives: u32,
    held: Vec<String>,
    log: String,
}

impl Life {
    fn new(spec: Value) -> Self {
        let pod = json!({"metadata": {"name": "p", "namespace": "n", "uid": "u", "generation": 1}, "spec": spec});
        let pod: Pod = serde_json::from_value(pod).unwrap();
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let state = PodState::new(&pod, now);
        Self { pod, state, now, lives: 0, held: Vec::new(), log: String::new() }
    }

    fn line(&mut self, text: &str) {
        self.log.push_str(text);
        self.log.push('\n');
    }

    fn apply(&mut self, event: PodEvent) {
        for note in self.state.apply(&self.pod, event, self.now) {
            if !matches!(note.reason, "Created" | "Started" | "Pulled" | "Pulling") {
                self.line(&format!("  event {}: {}", note.reason, note.message));
            }
        }
    }

    /// Decides and acts until nothing is left to do now.
    fn settle(&mut self) {
        self.state.observe(&self.pod, self.now);
        for _ in 0..50 {
            let plan = reconcile(&self.pod, &self.state, self.now);
            if plan.actions.is_empty() {
                return;
            }
            for action in plan.actions {
                begin(&mut self.state, &action);
                self.act(action);
            }
        }
        panic!("never comes to rest:\n{}", self.log);
    }

    fn name(&self, index: Index) -> String {
        plan::container(&self.pod, index).unwrap().name.clone()
    }

    fn index(&self, name: &str) -> Index {
        plan::containers(&self.pod).position(|(_, spec)| spec.name == name).unwrap()
    }

    fn act(&mut self, action: Action) {
        let shown = match &action {
            Action::EnsureImage(index) => format!("image {}", self.name(*index)),
            Action::Start(index) => format!("start {}", self.name(*index)),
            Action::PostStart(index) => format!("hook {}", self.name(*index)),
            Action::Probe(index, kind) => format!("probe {} {}", self.name(*index), kind.word()),
            Action::Stop { index, reason, deadline } => {
                let left = deadline.duration_since(self.now).as_secs();
                format!("stop {} {reason:?} {left}s", self.name(*index))
            }
            Action::Condemn(verdict) => format!("condemn {}", verdict.reason),
            Action::CreateSandbox
            | Action::MountVolumes
            | Action::RemoveSandbox
            | Action::RemoveVolumes
            | Action::Finalize => format!("{action:?}"),
        };
        let held = self.held.iter().any(|held| shown.starts_with(held.as_str()));
        let quiet = shown.starts_with("image")
            || shown.starts_with("CreateSandbox")
            || shown.starts_with("MountVolumes");
        if !quiet || held {
            self.line(&format!("  {shown}{}", if held { " (held)" } else { "" }));
        }
        if held {
            return;
        }
        match action {
            Action::CreateSandbox => self.apply(PodEvent::SandboxReady { ip: "10.128.0.2".into() }),
            Action::MountVolumes => self.apply(PodEvent::VolumesMounted),
            Action::EnsureImage(index) => {
                self.apply(PodEvent::ImageReady {
                    index,
                    image_id: "i@d".into(),
                    note: String::new(),
                });
            }
            Action::Start(index) => {
                self.lives += 1;
                let (id, at) = (format!("life{}", self.lives), self.now);
                self.apply(PodEvent::Started { index, id, at });
            }
            Action::PostStart(index) => {
                let id = self.state.containers[index].run().unwrap().id.clone();
                self.apply(PodEvent::PostStartDone { index, id, failure: None });
            }
            Action::Probe(index, kind) => self.probed(index, kind, Outcome::Success),
            Action::Stop { index, .. } => self.exit(index, 143),
            Action::Condemn(verdict) => self.apply(PodEvent::Condemned(verdict)),
            Action::RemoveSandbox => self.apply(PodEvent::SandboxRemoved),
            Action::RemoveVolumes => self.apply(PodEvent::VolumesRemoved),
            Action::Finalize => {}
        }
    }

    fn probed(&mut self, index: Index, kind: ProbeKind, outcome: Outcome) {
        let id = self.state.containers[index].run().unwrap().id.clone();
        self.apply(PodEvent::Probed { index, id, kind, outcome });
    }

    fn exit(&mut self, index: Index, exit_code: i32) {
        let Some(run) = self.state.containers[index].run().cloned() else { return };
        let reason = if exit_code == 0 { "Completed" } else { "Error" }.into();
        let exit = Terminated {
            exit_code,
            reason,
            message: String::new(),
            started_at: run.started_at,
            finished_at: self.now,
            id: run.id,
        };
        self.apply(PodEvent::Exited { index, exit });
    }

    /// Carries out one line of a script.
    fn tell(&mut self, line: &str) {
        self.line(line);
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["run"] => {}
            ["wait", seconds] => {
                self.now += SignedDuration::from_secs(seconds.parse().unwrap());
            }
            ["hold", ..] => return self.held.push(line["hold ".len()..].to_owned()),
            ["release"] => return self.held.clear(),
            ["exit", name, code] => self.exit(self.index(name), code.parse().unwrap()),
            ["fails", name, kind] => {
                let kind = ProbeKind::ALL.into_iter().find(|k| k.word() == *kind).unwrap();
                self.probed(self.index(name), kind, Outcome::Failure("no".into()));
            }
            ["hook-fails", name] => {
                let index = self.index(name);
                let id = self.state.containers[index].run().unwrap().id.clone();
                self.apply(PodEvent::PostStartDone { index, id, failure: Some("no".into()) });
            }
            ["no-image", name, reason] => {
                let fault = Fault { reason: (*reason).into(), message: "why".into() };
                self.apply(PodEvent::ImageFailed { index: self.index(name), fault });
            }
            ["no-start", name] => {
                let fault =
                    Fault { reason: "CreateContainerConfigError".into(), message: "why".into() };
                self.apply(PodEvent::StartFailed { index: self.index(name), fault });
            }
            ["config"] => self.apply(PodEvent::ConfigChanged),
            ["delete", grace] => {
                self.pod.metadata.deletion_timestamp = Some(self.now.into());
                self.pod.metadata.deletion_grace_period_seconds = grace.parse().ok();
            }
            ["set-image", image] => {
                self.pod.spec.as_mut().unwrap().containers[0].image = Some((*image).into());
            }
            ["gone"] => self.state.object_gone = true,
            ["status"] => return self.status(),
            _ => panic!("unknown line: {line}"),
        }
        self.settle();
    }

    fn status(&mut self) {
        let status = pod_status(&self.pod, &self.state, None, &HostFacts::default(), self.now);
        let mut out = format!("  {}", status.phase.unwrap());
        for status in status
            .init_container_statuses
            .iter()
            .flatten()
            .chain(status.container_statuses.iter().flatten())
        {
            let state = status.state.as_ref().unwrap();
            let waiting = state.waiting.as_ref().map(|w| {
                let message = w.message.as_ref().map(|m| format!(" ({m})")).unwrap_or_default();
                format!("{}{message}", w.reason.as_deref().unwrap_or_default())
            });
            let ended = state
                .terminated
                .as_ref()
                .map(|t| format!("{} {}", t.reason.as_deref().unwrap(), t.exit_code));
            let shown = waiting.or(ended).unwrap_or_else(|| "Running".into());
            let last = status.last_state.as_ref().and_then(|l| l.terminated.as_ref());
            let last = last.map(|t| format!(" last={}", t.exit_code)).unwrap_or_default();
            let ready = if status.ready { " ready" } else { "" };
            out.push_str(&format!(
                "; {}: {shown}{ready} restarts={}{last}",
                status.name, status.restart_count
            ));
        }
        self.line(&out);
        for condition in status.conditions.iter().flatten().filter(|c| c.status != "True") {
            let reason = condition.reason.as_deref().unwrap_or_default();
            let message = condition.message.as_deref().unwrap_or_default();
            self.line(&format!("  not {}: {reason} {message}", condition.type_));
        }
    }
}

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

fn steps() -> impl Strategy<Value = Vec<&'static str>> {
    let ends = ["exit i 0", "exit i 1", "exit s 1", "exit a 0", "exit a 1", "exit b 1"];
    let held = ["hold start", "hold stop", "hold image", "hold CreateSandbox", "release"];
    let others = ["run", "wait 1", "wait 7", "wait 600", "config", "delete 30", "delete 0", "gone"];
    let lines = [&ends[..], &held[..], &others[..]].concat();
    prop::collection::vec(prop::sample::select(lines), 1..40)
}

proptest! {
    /// Whatever happens in whatever order: it comes to rest, nothing is begun twice, apps never run
    /// beside an init container, and nothing starts once the pod is to go.
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
