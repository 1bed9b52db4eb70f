//! A backup that is made while writes go on, and the cluster that is made of it.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use coracle_e2e::{Cluster, eventually};

fn answers(cluster: &Cluster) {
    eventually("the API answers", || {
        let found = cluster.kubectl(&["get", "namespace", "default"]);
        if found.ok { Ok(()) } else { Err((found, cluster.logs())) }
    });
}

#[test]
fn a_backup_is_the_cluster_again_and_watches_begin_anew() {
    let mut cluster = Cluster::start_flags(|_| vec!["--no-host".to_owned()]);
    answers(&cluster);
    cluster.run(&["create", "secret", "generic", "kept", "--from-literal=word=open"]);
    let before = cluster.get(&["secret", "kept"]);
    cluster.run(&[
        "create",
        "deployment",
        "web",
        "--image=registry.coracle.internal/web:1",
        "--replicas=2",
    ]);
    cluster.run(&["expose", "deployment", "web", "--port=80"]);
    eventually("two pods are there", || {
        let pods = cluster.run(&["get", "pods", "-o", "name"]);
        if pods.lines().count() == 2 { Ok(()) } else { Err(pods) }
    });
    let all = cluster.run(&["get", "all", "-A", "-o", "name"]);
    let file = cluster.folder().join("cluster.backup");
    let file = file.to_str().unwrap();
    let (writing, written) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU32::new(0)));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while writing.load(Ordering::Relaxed) {
                let name = format!("map-{}", written.fetch_add(1, Ordering::Relaxed));
                cluster.run(&["create", "configmap", &name]);
            }
        });
        eventually("writes go on", || match written.load(Ordering::Relaxed) {
            0..3 => Err("not yet"),
            _ => Ok(()),
        });
        let made = cluster.coracle(&["backup", file]);
        writing.store(false, Ordering::Relaxed);
        assert!(made.ok, "{made:?}");
        for word in ["whoever has this file has the cluster", "persistent volumes"] {
            assert!(made.stdout.contains(word), "{made:?}");
        }
    });
    let mode = std::fs::metadata(file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    cluster.run(&["create", "configmap", "too-late"]);
    let again = cluster.coracle(&["backup", file]);
    assert!(!again.ok && again.stderr.contains("exists"), "{again:?}");
    let refused = cluster.coracle(&["restore", file]);
    assert!(!refused.ok && refused.stderr.contains("is not empty"), "{refused:?}");
    cluster.kill_server();
    std::fs::rename(cluster.data(), cluster.folder().join("former")).unwrap();
    let restored = cluster.coracle(&["restore", file]);
    assert!(restored.ok, "{restored:?}");
    cluster.start_server();
    answers(&cluster);
    let after = cluster.get(&["secret", "kept"]);
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
    assert_eq!(after["data"], before["data"], "the key that seals Secrets is there");
    assert_eq!(cluster.run(&["get", "all", "-A", "-o", "name"]), all);
    assert!(cluster.kubectl(&["get", "configmap", "map-0"]).ok);
    assert!(!cluster.kubectl(&["get", "configmap", "too-late"]).ok);
    let revision = before["metadata"]["resourceVersion"].as_str().unwrap();
    let watch = format!("/api/v1/secrets?watch=true&timeoutSeconds=5&resourceVersion={revision}");
    let watched = cluster.run(&["get", "--raw", &watch]);
    assert!(watched.contains("\"code\":410"), "{watched}");
}
