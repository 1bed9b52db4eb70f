//! Mounts that last, mounts of the host, and mounts that cannot be: with a host that allows a path.
#![expect(clippy::expect_used, reason = "a test")]

use coracle_e2e::{Cluster, HTTP, build_guests, eventually, pod, service, sh};
use serde_json::{Value, json};

fn mount(path: &str, more: Value) -> Value {
    let mut mount = json!({"name": "v", "mountPath": path});
    mount.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    json!({"volumeMounts": [mount]})
}

fn claim(name: &str, modes: &[&str]) -> Value {
    json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name},
        "spec": {"accessModes": modes, "resources": {"requests": {"storage": "1Mi"}}}})
}

fn of_claim(name: &str) -> Value {
    json!({"name": "v", "persistentVolumeClaim": {"claimName": name}})
}

/// Rows `vol.*`, `pv.*` and `pvc.*`.
#[test]
fn mounts() {
    let guests = build_guests("tests/guests");
    let cluster = Cluster::start_flags(|folder| {
        ["allowed", "one.txt"]
            .map(|name| format!("--allow-host-path={}", folder.join(name).display()))
            .to_vec()
    });
    cluster.wait_ready();
    cluster.push_guests(&guests);
    some_volumes_outlive_their_pod(&cluster);
    an_empty_dir_outlives_a_crash(&cluster);
    paths_of_the_host_are_for_the_privileged(&cluster);
    what_cannot_be_mounted_says_so(&cluster);
    no_way_leads_out_of_a_mount(&cluster);
    what_is_in_a_volume_outlives_a_trap(&cluster);
    memory_is_not_on_disk_and_is_charged(&cluster);
    files_come_from_a_repository_by_an_init_container(&cluster);
    a_claim_is_shared_by_sub_paths(&cluster);
    access_modes_hold(&cluster);
    what_is_retained_and_what_goes(&cluster);
    a_claim_grows_under_its_pod(&cluster);
    cluster.push("keeper:1", &guests.join("keeper.wasm"));
    services_keep_things_in_volumes(&cluster);
}

/// Row `vol.lifetimes`.
fn some_volumes_outlive_their_pod(cluster: &Cluster) {
    cluster.make(&[claim("lasting", &["ReadWriteOnce"])]);
    let both = json!({"volumeMounts": [{"name": "v", "mountPath": "/lasting"}, {"name": "e", "mountPath": "/own"}]});
    let script = "ls /lasting; echo --; ls /own; touch /lasting/kept /own/lost";
    let make = || {
        let spec = json!({"restartPolicy": "Never", "containers": [sh("c", script, &both)],
            "volumes": [of_claim("lasting"), {"name": "e", "emptyDir": {}}]});
        cluster.make(&[pod("lives", &spec)]);
        let printed = cluster.printed("lives");
        cluster.run(&["delete", "pod", "lives"]);
        printed
    };
    assert_eq!(make(), "--\n");
    assert_eq!(make(), "kept\n--\n");
}

/// Row `vol.emptydir-uses`: a counter that writes down how far it is, and goes on from there.
fn an_empty_dir_outlives_a_crash(cluster: &Cluster) {
    let script = "n=$(cat /d/n 2>/dev/null || echo 0); echo from $n; while [ $n -lt 10 ]; do n=$((n+1)); echo $n > /d/n; \
        [ $n -eq 4 ] && exit 1; done; echo done at $n";
    let spec = json!({"restartPolicy": "OnFailure", "containers": [sh("c", script, &mount("/d", json!({})))],
        "volumes": [{"name": "v", "emptyDir": {}}]});
    cluster.make(&[pod("counts", &spec)]);
    assert_eq!(cluster.printed("counts"), "from 4\ndone at 10\n");
    let before = cluster.kubectl(&["logs", "counts", "--previous"]);
    assert_eq!(before.stdout, "from 0\n");
}

/// Row `vol.hostpath`.
fn paths_of_the_host_are_for_the_privileged(cluster: &Cluster) {
    let allowed = cluster.folder().join("allowed");
    std::fs::create_dir_all(allowed.join("log")).expect("a folder");
    std::fs::write(allowed.join("log/app.log"), "a line\n").expect("a file");
    let path = |below: &str| json!({"name": "v", "hostPath": {"path": allowed.join(below)}});
    let typed = |below: &str, kind: &str| json!({"name": "v", "hostPath": {"path": allowed.join(below), "type": kind}});
    let reads = |volume: Value, script: &str, more: Value| json!({"restartPolicy": "Never", "containers": [sh("c", script, &mount("/var/log", more))], "volumes": [volume]});
    for level in ["privileged", "baseline", "restricted"] {
        cluster.run(&["create", "namespace", level]);
        let label = format!("pod-security.kubernetes.io/enforce={level}");
        cluster.run(&["label", "namespace", level, &label]);
    }
    let script = "cat /var/log/app.log; echo x >> /var/log/app.log || echo refused";
    let ships = pod("ships", &reads(path("log"), script, json!({"readOnly": true})));
    for level in ["baseline", "restricted"] {
        let refused = cluster.kubectl_with(&["apply", "-n", level, "-f", "-"], &ships.to_string());
        let words = "violates PodSecurity";
        assert!(
            !refused.ok && refused.stderr.contains(words) && refused.stderr.contains("hostPath"),
            "{refused:?}"
        );
    }
    let made = cluster.kubectl_with(&["apply", "-n", "privileged", "-f", "-"], &ships.to_string());
    assert!(made.ok, "{made:?}");
    eventually("it has read and was refused", || {
        let log = cluster.kubectl(&["logs", "-n", "privileged", "ships"]);
        if log.stdout.starts_with("a line\n") && log.stdout.ends_with("refused\n") {
            Ok(())
        } else {
            Err(log)
        }
    });
    let writes = |name: &str, volume: Value| {
        pod(name, &reads(volume, "echo made > /var/log/new 2>&1; ls /var/log", json!({})))
    };
    let one = cluster.folder().join("one.txt");
    std::fs::write(&one, "this file alone\n").expect("a file");
    let one = json!({"name": "v", "hostPath": {"path": one, "type": "File"}});
    cluster.make(&[
        pod("one", &reads(one, "cat /var/log", json!({"readOnly": true}))),
        writes("created", typed("deep/er", "DirectoryOrCreate")),
        writes("no-file", typed("log", "File")),
        writes("nowhere", json!({"name": "v", "hostPath": {"path": "/etc"}})),
    ]);
    assert_eq!(cluster.printed("one"), "this file alone\n");
    assert_eq!(cluster.printed("created"), "new\n");
    assert_eq!(
        std::fs::read_to_string(allowed.join("deep/er/new")).expect("it was made"),
        "made\n"
    );
    cluster.says("pod/no-file", &["hostPath type check failed", "is not a file"]);
    cluster.says("pod/nowhere", &["--allow-host-path /etc"]);
    cluster.run(&[
        "delete",
        "pod",
        "one",
        "created",
        "no-file",
        "nowhere",
        "--grace-period=0",
        "--force",
    ]);
}

/// Rows `vol.awsebs` and `csi.flex`, and what of `vol.gitrepo` can be without such a server: the
/// pod waits and says why; the node goes on.
fn what_cannot_be_mounted_says_so(cluster: &Cluster) {
    let rows = [
        (
            "ebs",
            json!({"awsElasticBlockStore": {"volumeID": "vol-1", "fsType": "ext4"}}),
            "awsElasticBlockStore",
        ),
        ("git", json!({"gitRepo": {"repository": "https://git.example/x.git"}}), "gitRepo"),
        ("flex", json!({"flexVolume": {"driver": "example/lvm"}}), "flexVolume"),
    ];
    for (name, source, word) in rows {
        let mut volume = source;
        volume["name"] = json!("v");
        let spec =
            json!({"containers": [sh("c", "true", &mount("/v", json!({})))], "volumes": [volume]});
        cluster.make(&[pod(name, &spec)]);
        let words = format!("'{word}' volumes are not served");
        cluster.says(&format!("pod/{name}"), &["FailedMount", &words, "ContainerCreating"]);
    }
    let ready = cluster.run(&["get", "nodes", "--no-headers"]);
    assert!(ready.contains(" Ready "), "{ready}");
    let pods = ["delete", "pod", "ebs", "git", "flex", "--grace-period=0", "--force"];
    cluster.run(&pods);
}

/// Row `vol.readonly-escape`: neither dots nor links lead out, those of the host's own folder neither.
fn no_way_leads_out_of_a_mount(cluster: &Cluster) {
    let outside = cluster.folder().join("outside");
    std::fs::write(&outside, "of the host\n").expect("a file");
    let allowed = cluster.folder().join("allowed/ways");
    std::fs::create_dir_all(&allowed).expect("a folder");
    std::fs::write(allowed.join("inside"), "inside\n").expect("a file");
    for (name, to) in
        [("root", "/"), ("far", outside.to_str().expect("UTF-8")), ("up", "../../outside")]
    {
        std::os::unix::fs::symlink(to, allowed.join(name)).expect("a link");
    }
    let mounts = json!({"volumeMounts": [
        {"name": "h", "mountPath": "/ways", "readOnly": true}, {"name": "v", "mountPath": "/rw"},
        {"name": "v", "mountPath": "/ro", "readOnly": true}]});
    let tries = format!(
        "echo kept > /rw/f; ln -s / /rw/root; ln -s ../../../../etc/passwd /rw/up; cat /ro/f /ways/inside; \
         for f in /ro/../../etc/passwd /rw/root/etc/passwd /rw/up /ro/up /ways/root{0} /ways/far /ways/up \
         /ways/../../../../../..{0} {0}; do cat $f 2>/dev/null && echo reached $f; done; \
         (echo x > /ro/f) 2>/dev/null || echo refused; rm /ways/inside 2>/dev/null || echo refused; \
         (echo x > /ways/new) 2>/dev/null || echo refused; cat /rw/f",
        outside.display()
    );
    let spec = json!({"restartPolicy": "Never", "containers": [sh("c", &tries, &mounts)], "volumes": [
        {"name": "v", "emptyDir": {}}, {"name": "h", "hostPath": {"path": allowed}}]});
    cluster.make(&[pod("escapes", &spec)]);
    assert_eq!(cluster.printed("escapes"), "kept\ninside\nrefused\nrefused\nrefused\nkept\n");
    assert!(!allowed.join("new").exists());
}

/// Row `vol.survive-restart`.
fn what_is_in_a_volume_outlives_a_trap(cluster: &Cluster) {
    cluster.make(&[claim("tough", &["ReadWriteOnce"])]);
    let mounts = json!([{"name": "e", "mountPath": "/empty"}, {"name": "m", "mountPath": "/memory"},
        {"name": "v", "mountPath": "/claim"}]);
    // Its one instance is the container, which ends when that traps.
    let http = json!({"name": "c", "image": HTTP, "ports": [{"containerPort": 8080}], "volumeMounts": mounts});
    let mut falls = pod(
        "falls",
        &json!({"containers": [http], "volumes": [{"name": "e", "emptyDir": {}},
        {"name": "m", "emptyDir": {"medium": "Memory"}}, of_claim("tough")]}),
    );
    falls["metadata"]["annotations"] = json!({"coracle.dev/isolation": "resident"});
    cluster.make(&[falls]);
    cluster.ready("falls");
    let written =
        cluster.exec("falls", "for d in /empty /memory /claim; do echo kept in $d > $d/f; done");
    assert!(written.ok, "{written:?}");
    let _ends = cluster.exec("falls", "curl -s http://127.0.0.1:8080/trap");
    let path = "/status/containerStatuses/0/restartCount";
    cluster.shows("pod/falls", path, 1);
    let last = "/status/containerStatuses/0/lastState/terminated/exitCode";
    cluster.shows("pod/falls", last, 134);
    let kept = "kept in /empty\nkept in /memory\nkept in /claim";
    cluster.exec_prints("falls", "cat /empty/f /memory/f /claim/f", kept);
    cluster.run(&["delete", "pod", "falls"]);
}

/// Row `vol.emptydir-memory`.
fn memory_is_not_on_disk_and_is_charged(cluster: &Cluster) {
    let marker = "a-word-that-is-nowhere-else";
    let line = "x".repeat(1023);
    let fill = |kib: u32| {
        format!(
            "for i in $(seq 1 {kib}); do echo {line}; done > /m/fill && echo filled {kib} || echo refused {kib}"
        )
    };
    let mount = json!({"volumeMounts": [{"name": "m", "mountPath": "/m"}]});
    let script = |kib: u32| format!("echo {marker} > /m/word; {}; sleep 600", fill(kib));
    let small = json!({"containers": [sh("c", &script(2048), &mount)],
        "volumes": [{"name": "m", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}]});
    let mut limited = sh("c", &script(20_480), &mount);
    limited["resources"] = json!({"limits": {"memory": "16Mi"}});
    let limited = json!({"containers": [limited], "volumes": [{"name": "m", "emptyDir": {"medium": "Memory"}}]});
    cluster.make(&[pod("small", &small), pod("limited", &limited)]);
    for (name, kib) in [("small", 2048), ("limited", 20_480)] {
        eventually("the volume is full", || {
            let log = cluster.kubectl(&["logs", name]);
            if log.stdout.contains(&format!("refused {kib}")) { Ok(()) } else { Err(log) }
        });
    }
    cluster.exec_prints("small", "cat /m/word", marker);
    // Pods' folders are all that holds what pods write.
    let pods = cluster.data().join("host/pods");
    let found = std::process::Command::new("grep").args(["-rl", marker]).arg(&pods).output();
    let found = found.expect("grep runs").stdout;
    assert_eq!(String::from_utf8_lossy(&found), "", "it is on disk");
    cluster.run(&["delete", "pod", "small", "limited", "--grace-period=0", "--force"]);
}

/// Row `vol.gitrepo`: what to do instead. A server of archives stands for one of repositories.
fn files_come_from_a_repository_by_an_init_container(cluster: &Cluster) {
    let serve = "mkdir /src; echo from the repository > /src/index.html; tar -c -f /tmp/a.tar -C /src index.html; \
        while true; do (printf 'HTTP/1.0 200 OK\\r\\n\\r\\n'; cat /tmp/a.tar) | nc -l -p 8080; done";
    let mut archives = sh("c", serve, &json!({}));
    archives["ports"] = json!([{"containerPort": 8080}]);
    let fetch = "until wget -q -O /tmp/a.tar http://archives/main.tar && tar -x -f /tmp/a.tar -C /repo; do sleep 1; done";
    let mount = mount("/repo", json!({}));
    let spec = json!({"restartPolicy": "Never", "initContainers": [sh("fetch", fetch, &mount)],
        "containers": [sh("c", "cat /repo/index.html", &mount)], "volumes": [{"name": "v", "emptyDir": {}}]});
    cluster.make(&[
        service("archives", 8080),
        pod("archives", &json!({"containers": [archives]})),
        pod("site", &spec),
    ]);
    assert_eq!(cluster.printed("site"), "from the repository\n");
    cluster.run(&["delete", "pod", "archives", "--grace-period=0", "--force"]);
}

/// Row `pvc.shared-subdir`.
fn a_claim_is_shared_by_sub_paths(cluster: &Cluster) {
    cluster.make(&[claim("shared", &["ReadWriteMany"])]);
    let more = json!({"subPathExpr": "$(POD_NAME)"});
    for name in ["web-0", "web-1"] {
        let mut own = mount("/data", more.clone());
        own["env"] = json!([{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]);
        let spec = json!({"restartPolicy": "Never", "containers": [sh("c", "ls /data; hostname > /data/who", &own)],
            "volumes": [of_claim("shared")]});
        cluster.make(&[pod(name, &spec)]);
        assert_eq!(cluster.printed(name), "", "{name} sees its own folder alone");
    }
    let spec = json!({"restartPolicy": "Never", "volumes": [of_claim("shared")],
        "containers": [sh("c", "cd /data; cat web-0/who web-1/who", &mount("/data", json!({})))]});
    cluster.make(&[pod("whole", &spec)]);
    assert_eq!(cluster.printed("whole"), "web-0\nweb-1\n");
}

/// Row `pv.accessmodes`.
fn access_modes_hold(cluster: &Cluster) {
    // A folder of one host: its volume says where, and the scheduler holds to it.
    let volume = cluster.run(&["get", "pvc", "lasting", "-o", "jsonpath={.spec.volumeName}"]);
    let shown = cluster.get(&["pv", &volume]);
    let node = cluster.run(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"]);
    let term =
        &shown["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"][0]["matchExpressions"][0];
    assert_eq!(
        (&term["key"], &term["values"][0]),
        (&json!("kubernetes.io/hostname"), &json!(node))
    );
    let elsewhere = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "elsewhere",
        "labels": {"kubernetes.io/hostname": "elsewhere"}}});
    cluster.make(&[elsewhere]);
    let spec = json!({"nodeSelector": {"kubernetes.io/hostname": "elsewhere"}, "volumes": [of_claim("lasting")],
        "containers": [sh("c", "true", &mount("/d", json!({})))]});
    cluster.make(&[pod("far", &spec)]);
    cluster.says("pod/far", &["FailedScheduling"]);
    cluster.run(&["delete", "pod", "far"]);
    cluster.run(&["delete", "node", "elsewhere"]);

    let allowed = cluster.folder().join("allowed/fixed");
    std::fs::create_dir_all(&allowed).expect("a folder");
    std::fs::write(allowed.join("f"), "fixed\n").expect("a file");
    let fixed = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "fixed"}, "spec": {
        "capacity": {"storage": "1Mi"}, "accessModes": ["ReadOnlyMany"], "storageClassName": "fixed",
        "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": allowed}}});
    let mut wants = claim("fixed", &["ReadOnlyMany"]);
    wants["spec"]["storageClassName"] = json!("fixed");
    let script = "cat /d/f; echo x > /d/f || echo refused";
    let spec = json!({"restartPolicy": "Never", "volumes": [of_claim("fixed")],
        "containers": [sh("c", script, &mount("/d", json!({})))]});
    cluster.make(&[fixed, wants, pod("reader", &spec)]);
    let read = cluster.printed("reader");
    assert!(read.starts_with("fixed\n") && read.ends_with("refused\n"), "{read}");

    // One pod at a time, by `ReadWriteOncePod`.
    cluster.make(&[claim("single", &["ReadWriteOncePod"])]);
    let holds = json!({"terminationGracePeriodSeconds": 1, "volumes": [of_claim("single")],
        "containers": [sh("c", "sleep 600", &mount("/d", json!({})))]});
    cluster.make(&[pod("first", &holds)]);
    cluster.ready("first");
    cluster.make(&[pod("second", &holds)]);
    cluster.says("pod/second", &["FailedScheduling", "ReadWriteOncePod"]);
    cluster.run(&["delete", "pod", "first"]);
    cluster.ready("second");
}

/// Row `pv.reclaim`.
fn what_is_retained_and_what_goes(cluster: &Cluster) {
    let phase = |wanted: &str| cluster.shows("pv/fixed", "/status/phase", wanted);
    phase("Bound");
    cluster.run(&["delete", "pod", "reader"]);
    cluster.run(&["delete", "pvc", "fixed"]);
    phase("Released");
    assert!(cluster.folder().join("allowed/fixed/f").exists());
    let volume = cluster.run(&["get", "pvc", "shared", "-o", "jsonpath={.spec.volumeName}"]);
    let folder = cluster.data().join("host/persistent").join(&volume);
    assert!(folder.join("web-0/who").exists());
    cluster.run(&["delete", "pod", "web-0", "web-1", "whole"]);
    cluster.run(&["delete", "pvc", "shared"]);
    eventually("volume and files are gone", || {
        let there = cluster.kubectl(&["get", "pv", &volume]).ok;
        if !there && !folder.exists() { Ok(()) } else { Err((there, folder.exists())) }
    });
}

/// A claim grows while its pod runs, and the pod may write more at once.
fn a_claim_grows_under_its_pod(cluster: &Cluster) {
    cluster.make(&[claim("grows", &["ReadWriteOnce"])]);
    let spec = json!({"terminationGracePeriodSeconds": 1, "volumes": [of_claim("grows")],
        "containers": [sh("c", "sleep 600", &mount("/d", json!({})))]});
    cluster.make(&[pod("fills", &spec)]);
    cluster.ready("fills");
    let line = "x".repeat(999);
    let fill = |name: &str| {
        cluster.exec("fills", &format!("for i in $(seq 1 900); do echo {line}; done > /d/{name}"))
    };
    assert!(fill("one").ok);
    assert!(!fill("two").ok, "one Mi is full");
    let patch = r#"{"spec": {"resources": {"requests": {"storage": "4Mi"}}}}"#;
    cluster.run(&["patch", "pvc", "grows", "-p", patch]);
    cluster.shows("pvc/grows", "/status/capacity/storage", "4Mi");
    eventually("the pod may write more", || {
        let filled = fill("two");
        if filled.ok { Ok(()) } else { Err(filled) }
    });
    assert_eq!(cluster.get(&["pod", "fills"])["status"]["containerStatuses"][0]["restartCount"], 0);
}

/// What a guest keeps by `wasi:keyvalue` and `wasi:blobstore` is in the volume that its pod names, in a
/// process of its own too; a guest that is granted none waits and says what it wants.
fn services_keep_things_in_volumes(cluster: &Cluster) {
    let settings = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "keeps"},
        "data": {"title": "Shop"}});
    cluster.make(&[claim("keeps", &["ReadWriteMany"]), settings]);
    let keeps = |name: &str, class: Value, grants: Value| {
        let calls = ["config title", "kv shop increment n 1", "blob a write b c", "log cart full"];
        let image = "registry.coracle.internal/keeper:1";
        let spec = json!({"restartPolicy": "Never", "runtimeClassName": class,
            "containers": [{"name": "c", "image": image, "args": calls}],
            "volumes": [of_claim("keeps"), {"name": "s", "configMap": {"name": "keeps"}}]});
        let mut made = pod(name, &spec);
        made["metadata"]["annotations"] = grants;
        cluster.make(&[made]);
    };
    keeps("ungranted", Value::Null, json!({"coracle.dev/keyvalue.c": "v"}));
    let waits = "/status/containerStatuses/0/state/waiting";
    let shown = cluster.shows("pod/ungranted", &format!("{waits}/reason"), "ErrImportsUnsatisfied");
    let said = shown.pointer(waits).expect("a waiting state")["message"].to_string();
    for part in ["wasi:blobstore/container@0.2.0-draft", "coracle.dev/blobstore.c"] {
        assert!(said.contains(part), "{said}");
    }
    let all = json!({"coracle.dev/keyvalue.c": "v", "coracle.dev/blobstore.c": "v",
        "coracle.dev/config.c": "s"});
    for (name, class, count) in [("one", Value::Null, 1), ("two", json!("coracle-process"), 2)] {
        keeps(name, class, all.clone());
        let printed = cluster.printed(name);
        let sum = format!("kv shop increment n 1 => {count}");
        let log = r#"{"level":"warn","message":"full","context":"cart"}"#;
        for line in ["config title => Some(\"Shop\")", &sum, "blob a write b c => ok", log] {
            assert!(printed.lines().any(|printed| printed == line), "{line}: {printed}");
        }
    }
    let script = "cat /d/keyvalue/shop/n; echo; cat /d/blobstore/a/b";
    let spec = json!({"restartPolicy": "Never", "containers": [sh("c", script, &mount("/d", json!({})))],
        "volumes": [of_claim("keeps")]});
    cluster.make(&[pod("looks", &spec)]);
    assert_eq!(cluster.printed("looks"), "2\nc");
    cluster.run(&["delete", "pod", "ungranted", "one", "two", "looks", "--now"]);
}
