//! Calls of the host with arguments that no sound program gives, and too many of them.

use coracle_runtime::Limits;

use crate::world::{Neighbour, Pod, end, image, kill, resident_bytes, shown};

/// Bytes by which the host may have grown over one case: all that it holds for a small guest.
const GROWTH_BYTES_MAX: u64 = 768 << 20;

/// Memory of each attacker.
const MEMORY_BYTES: u64 = 64 << 20;

/// An attack, and how the container ends and what it says: the beginning of each.
const CASES: [(&str, &str, &str); 12] = [
    ("random 1099511627776", "134 Error", ""),
    ("random 18446744073709551615", "134 Error", ""),
    ("poll 1", "0 Completed", "poll 1 => 1 ready"),
    ("poll 2000000", "", ""),
    ("pollables", "134 Error", ""),
    ("fields 100", "134 Error", ""),
    ("fields 30000", "134 Error", ""),
    ("fields 10000000", "134 Error total size of fields", ""),
    ("zeroes", "", ""),
    ("unasked 1048576", "", ""),
    ("unasked 40000000", "", ""),
    ("sleep 1", "0 Completed", "sleep 1 => slept true"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_calls_end_their_guest_and_cost_the_host_little() {
    let neighbour = Neighbour::start().await;
    for (attack, ends, says) in CASES {
        let before = resident_bytes();
        let pod = Pod::new();
        let mut spec = pod.spec(image("hostile").await, &[attack]);
        spec.limits = Limits { memory_bytes: Some(MEMORY_BYTES), cpu_millis: None };
        let container = pod.sandbox.start(spec).await.unwrap();
        let exit = end(&container, attack).await;
        let grown = resident_bytes().saturating_sub(before);
        assert!(shown(&exit).starts_with(ends), "{attack}: {exit:?}");
        assert!(pod.log().starts_with(says), "{attack}: {}", pod.log());
        assert!(grown < GROWTH_BYTES_MAX, "{attack}: the host has grown by {grown} bytes");
        assert_eq!(pod.sandbox.memory_bytes(), 0, "{attack}");
        neighbour.answers(attack).await;
    }
}

/// Those that wait for ever are not waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_sleeps_for_ever_can_be_killed() {
    let neighbour = Neighbour::start().await;
    for attack in ["sleep 18446744073709551615", "sleep 9223372036854775807"] {
        let pod = Pod::new();
        let container = pod.start("hostile", &[attack]).await;
        neighbour.answers(attack).await;
        kill(&container, attack).await;
    }
}
