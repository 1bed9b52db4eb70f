//! What is decided at once for a pod and what is known of it, row by row.

use serde_json::{Value, json};

use super::app;
use super::life::Life;
use crate::checkpoint::SavedPod;
use crate::pods::reconcile::reconcile;
use crate::pods::state::Volumes;

/// The names of the actions that would begin now.
fn due(life: &Life) -> Vec<String> {
    let plan = reconcile(&life.pod, &life.state, life.now);
    plan.actions.iter().map(|action| format!("{action:?}")).collect()
}

fn spec() -> Value {
    json!({"initContainers": [app("i", json!({})), app("j", json!({}))], "containers": [app("a", json!({}))]})
}

/// A pod after the lines of a script, with a change made to it or to what is known of it.
#[track_caller]
fn check(script: &str, change: impl FnOnce(&mut Life), expected: &[&str]) {
    let mut life = Life::new(spec());
    script.lines().for_each(|line| life.tell(line));
    change(&mut life);
    assert_eq!(due(&life), expected, "{script}");
}

/// Row `node.compute-actions`. *Source:* the cases of kubelet's `computePodActions`.
#[test]
fn observed_pods_give_these_actions() {
    // A new pod: its volumes before anything else, then the first init container alone.
    check("", |_| {}, &["MountVolumes"]);
    let mounted = |life: &mut Life| life.state.volumes = Volumes::Mounted;
    check("", mounted, &["CreateSandbox", "EnsureImage(0)"]);
    // Init order: each is begun once the one before has ended well, and an app container after all.
    check("run", |_| {}, &[]);
    let running = |life: &Life| life.state.containers.iter().filter(|c| c.run().is_some()).count();
    for (script, live) in [("run", 1), ("run\nexit i 0", 1), ("run\nexit i 0\nexit j 0", 1)] {
        check(script, |life| assert_eq!(running(life), live), &[]);
    }
    let begun = "run\nexit i 0\nexit j 0";
    check("run\nexit i 0", |life| assert!(life.state.containers[1].run().is_some()), &[]);
    check(begun, |life| assert!(life.state.containers[2].run().is_some()), &[]);
    // Another image ends its container, which starts again.
    let image = |life: &mut Life| {
        life.pod.spec.as_mut().unwrap().containers[0].image = Some("b".into());
    };
    let deadline = "deadline: 2027-01-15T08:00:30Z";
    check(begun, image, &[&format!("Stop {{ index: 2, reason: Changed, {deadline} }}")]);
    // Whatever else may change of a pod that is there restarts nothing.
    let labels = |life: &mut Life| {
        life.pod.metadata.labels = Some([("app".to_owned(), "new".to_owned())].into());
        life.pod.metadata.generation = Some(2);
        life.pod.spec.as_mut().unwrap().active_deadline_seconds = Some(3600);
    };
    check(begun, labels, &[]);
    // The sandbox is lost with the host: it is made again first; init containers stay done.
    let lost = |life: &mut Life| {
        let saved = SavedPod::of(&life.pod, &life.state);
        life.state = saved.recover(life.now).unwrap();
        assert_eq!(due(life), ["MountVolumes"]);
        mounted(life);
    };
    check(begun, lost, &["CreateSandbox", "EnsureImage(2)"]);
    // Deletion stops what runs and begins nothing.
    let deleted = |life: &mut Life| {
        life.pod.metadata.deletion_timestamp = Some(life.now.into());
        life.state.observe(&life.pod, life.now);
    };
    check(begun, deleted, &[&format!("Stop {{ index: 2, reason: PodEnds, {deadline} }}")]);
}
