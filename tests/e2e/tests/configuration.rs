//! ConfigMaps, Secrets and the downward API, from `kubectl create` to what a guest sees.
#![expect(clippy::unwrap_used, reason = "a test")]

use base64::Engine as _;
use coracle_e2e::{Cluster, build_guests, eventually, pod, sh};
use serde_json::{Value, json};

fn cluster() -> Cluster {
    let guests = build_guests("tests/guests");
    let cluster = Cluster::start();
    cluster.push_guests(&guests);
    cluster
}

/// Rows `cm.*`, `secret.*` and `dapi.*`.
#[test]
fn configuration_reaches_the_guest() {
    let cluster = cluster();
    config_maps_are_made_of_files_and_words(&cluster);
    odd_names_are_variables(&cluster);
    sub_paths_stay_as_they_were(&cluster);
    modes_are_kept_and_writes_refused(&cluster);
    a_change_reaches_who_reads_again(&cluster);
    a_change_is_no_rollout(&cluster);
    what_may_not_change_and_what_is_too_large(&cluster);
    secrets_are_for_few(&cluster);
    a_secret_is_waited_for(&cluster);
    a_token_is_there_unless_it_is_not_wanted(&cluster);
    a_pod_knows_itself(&cluster);
}

/// Rows `cm.create-filekey`, `cm.create-file`, `cm.create-dir`, `cm.create-literal`.
fn config_maps_are_made_of_files_and_words(cluster: &Cluster) {
    let folder = cluster.folder().join("config-opts");
    std::fs::create_dir_all(folder.join("sub")).unwrap();
    for (name, text) in [("a.conf", "A"), ("b.conf", "B"), ("foo.json", "{}"), ("sub/c", "C")] {
        std::fs::write(folder.join(name), text).unwrap();
    }
    let file = |name: &str| folder.join(name).display().to_string();
    let rows = [
        (format!("--from-file=bar={}", file("a.conf")), json!({"bar": "A"})),
        (format!("--from-file={}", file("foo.json")), json!({"foo.json": "{}"})),
        (
            format!("--from-file={}", folder.display()),
            json!({"a.conf": "A", "b.conf": "B", "foo.json": "{}"}),
        ),
        ("--from-literal=some=thing".to_owned(), json!({"some": "thing"})),
    ];
    for (number, (argument, wanted)) in rows.into_iter().enumerate() {
        let name = format!("made-{number}");
        cluster.run(&["create", "configmap", &name, &argument]);
        assert_eq!(cluster.get(&["configmap", &name])["data"], wanted, "{argument}");
        cluster.run(&["delete", "configmap", &name]);
    }
}

/// Row `cm.env-invalid`.
fn odd_names_are_variables(cluster: &Cluster) {
    cluster.run(&[
        "create",
        "configmap",
        "odd",
        "--from-literal=CONFIG_FOO-BAR=x",
        "--from-literal=1abc=y",
    ]);
    let from = json!({"envFrom": [{"configMapRef": {"name": "odd"}}]});
    let spec = json!({"restartPolicy": "Never", "containers": [sh("c", "env", &from)]});
    cluster.make(&[pod("odd", &spec)]);
    let printed = cluster.printed("odd");
    assert!(printed.lines().any(|line| line == "CONFIG_FOO-BAR=x"), "{printed}");
    assert!(printed.lines().any(|line| line == "1abc=y"), "{printed}");
}

fn mounted(source: &Value, more: &[Value]) -> Value {
    let mut mounts = vec![json!({"name": "v", "mountPath": "/v"})];
    mounts.extend_from_slice(more);
    let script = "until test -f /tmp/end; do sleep 1; done";
    json!({"containers": [sh("c", script, &json!({"volumeMounts": mounts}))], "volumes": [source]})
}

/// Rows `cm.subpath` and `cm.subpath-noupdate`.
fn sub_paths_stay_as_they_were(cluster: &Cluster) {
    cluster.run(&["create", "configmap", "conf", "--from-literal=app.conf=one"]);
    let over = json!({"name": "v", "mountPath": "/etc/app.conf", "subPath": "app.conf"});
    let source = json!({"name": "v", "configMap": {"name": "conf"}});
    cluster.make(&[pod("sub", &mounted(&source, &[over]))]);
    cluster.ready("sub");
    assert_eq!(cluster.exec("sub", "cat /etc/app.conf").stdout, "one");
    assert!(
        cluster.exec("sub", "cat /etc/hosts").stdout.contains("localhost"),
        "its siblings are there"
    );
    cluster.run(&["patch", "configmap", "conf", "-p", r#"{"data": {"app.conf": "two"}}"#]);
    cluster.exec_prints("sub", "cat /v/app.conf", "two");
    assert_eq!(cluster.exec("sub", "cat /etc/app.conf").stdout, "one");
    // The next life of the container has the new one.
    // It may end before the command that ends it has.
    let _ended = cluster.exec("sub", "touch /tmp/end");
    cluster.shows("pod/sub", "/status/containerStatuses/0/restartCount", 1);
    cluster.ready("sub");
    cluster.exec_prints("sub", "cat /etc/app.conf", "two");
}

/// Row `cm.default-mode`.
fn modes_are_kept_and_writes_refused(cluster: &Cluster) {
    let manifest = "apiVersion: v1\nkind: Pod\nmetadata: {name: modes}\nspec:\n  containers:\n  - name: c\n    \
        image: registry.coracle.internal/behave:1\n    command: [sleep, \"600\"]\n    volumeMounts: [{name: v, mountPath: /v}]\n  \
        volumes:\n  - {name: v, configMap: {name: conf, defaultMode: 0400}}\n";
    cluster.apply(manifest);
    let shown = cluster.ready("modes");
    let volumes = shown["spec"]["volumes"].as_array().unwrap();
    assert_eq!(volumes.iter().find(|v| v["name"] == "v").unwrap()["configMap"]["defaultMode"], 256);
    let written = cluster.exec("modes", "echo x > /v/app.conf");
    assert!(!written.ok, "{written:?}");
    assert_eq!(cluster.exec("modes", "cat /v/app.conf").stdout, "two");
}

/// Rows `cm.app-reload` and `cm.mixed-config`.
fn a_change_reaches_who_reads_again(cluster: &Cluster) {
    cluster.run(&["create", "configmap", "words", "--from-literal=word=old"]);
    // One serves what the file says at each request, the other what its environment said.
    let mounts = json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}],
        "env": [{"name": "WORD", "valueFrom": {"configMapKeyRef": {"name": "words", "key": "word"}}}]});
    let serves = "while true; do cat /v/word | nc -l -p 8080; done";
    let app = || json!({"containers": [sh("c", serves, &mounts)], "volumes": [{"name": "v", "configMap": {"name": "words"}}]});
    cluster.make(&[pod("reads", &app())]);
    let address = cluster.ready("reads")["status"]["podIP"].as_str().unwrap().to_owned();
    let ask = format!("nc {address} 8080 < /dev/null");
    cluster.exec_prints("sub", &ask, "old");
    cluster.run(&["patch", "configmap", "words", "-p", r#"{"data": {"word": "new"}}"#]);
    cluster.exec_prints("sub", &ask, "new");
    cluster.make(&[pod("comes", &app())]);
    cluster.ready("comes");
    assert_eq!(cluster.exec("reads", "echo $WORD").stdout, "old\n");
    assert_eq!(cluster.exec("comes", "echo $WORD").stdout, "new\n");
}

/// Row `cm.no-rollout`.
fn a_change_is_no_rollout(cluster: &Cluster) {
    cluster.run(&["create", "configmap", "v1", "--from-literal=a=1"]);
    cluster.run(&["create", "configmap", "v2", "--from-literal=a=2"]);
    let from = json!({"envFrom": [{"configMapRef": {"name": "v1"}}]});
    let template = json!({"metadata": {"labels": {"app": "rolls"}}, "spec": {"containers": [sh("c", "sleep 600", &from)]}});
    cluster.make(&[json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "rolls"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "rolls"}}, "template": template}})]);
    cluster.run(&["rollout", "status", "deploy/rolls", "--timeout=180s"]);
    let history = || cluster.run(&["rollout", "history", "deploy/rolls"]);
    let before = history();
    cluster.run(&["patch", "configmap", "v1", "-p", r#"{"data": {"a": "9"}}"#]);
    cluster.run(&["rollout", "status", "deploy/rolls", "--timeout=180s"]);
    assert_eq!(history(), before);
    let path = "/spec/template/spec/containers/0/envFrom/0/configMapRef/name";
    let patch = json!([{"op": "replace", "path": path, "value": "v2"}]).to_string();
    cluster.run(&["patch", "deploy", "rolls", "--type=json", "-p", &patch]);
    cluster.run(&["rollout", "status", "deploy/rolls", "--timeout=180s"]);
    assert_eq!(history().lines().filter(|line| line.starts_with(char::is_numeric)).count(), 2);
    // As long as the old pod ends, it may be the one that is asked.
    eventually("the new pods have it", || {
        let said = cluster.kubectl(&["exec", "deploy/rolls", "--", "printenv", "a"]);
        if said.stdout == "2\n" { Ok(()) } else { Err(said) }
    });
    cluster.run(&["delete", "deploy", "rolls"]);
}

/// Rows `cm.immutable-versions` and `cm.nonsensitive`.
fn what_may_not_change_and_what_is_too_large(cluster: &Cluster) {
    let fixed = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "fixed"}, "immutable": true, "data": {"a": "1"}});
    cluster.make(&[fixed]);
    let edited = cluster.kubectl(&["patch", "configmap", "fixed", "-p", r#"{"data": {"a": "2"}}"#]);
    assert!(
        !edited.ok && edited.stderr.contains("field is immutable when `immutable` is set"),
        "{edited:?}"
    );
    let hashed = cluster.run(&[
        "create",
        "configmap",
        "hashed",
        "--from-literal=a=1",
        "--append-hash",
        "-o",
        "name",
    ]);
    assert!(hashed.trim().len() > "configmap/hashed-".len(), "{hashed}");
    let large = cluster.folder().join("large");
    std::fs::write(&large, vec![b'x'; (1 << 20) + 1]).unwrap();
    let file = format!("--from-file={}", large.display());
    let refused = cluster.kubectl(&["create", "configmap", "large", &file]);
    assert!(
        !refused.ok && refused.stderr.contains("may not be more than 1048576 bytes"),
        "{refused:?}"
    );
}

/// Row `secret.when`: who reads ConfigMaps reads no Secrets by that.
fn secrets_are_for_few(cluster: &Cluster) {
    cluster.run(&["create", "role", "reads-config", "--verb=get,list", "--resource=configmaps"]);
    cluster.run(&["create", "rolebinding", "ann", "--role=reads-config", "--user=ann"]);
    cluster.run(&["create", "secret", "generic", "key", "--from-literal=pw=hunter2"]);
    assert!(cluster.kubectl(&["get", "configmap", "conf", "--as=ann"]).ok);
    let refused = cluster.kubectl(&["get", "secret", "key", "--as=ann"]);
    assert!(
        !refused.ok && refused.stderr.contains("User \"ann\" cannot get resource \"secrets\""),
        "{refused:?}"
    );
}

/// Row `secret.wait`, for variables and for files.
fn a_secret_is_waited_for(cluster: &Cluster) {
    let env = json!({"env": [{"name": "PW", "valueFrom": {"secretKeyRef": {"name": "late", "key": "pw"}}}]});
    let mut by_file = mounted(&json!({"name": "v", "secret": {"secretName": "late"}}), &[]);
    by_file["terminationGracePeriodSeconds"] = json!(1);
    cluster.make(&[
        pod("by-name", &json!({"containers": [sh("c", "sleep 600", &env)]})),
        pod("by-file", &by_file),
    ]);
    let reason = "/status/containerStatuses/0/state/waiting/reason";
    cluster.shows("pod/by-name", reason, "CreateContainerConfigError");
    cluster.says("pod/by-file", &["FailedMount", "secret \"late\" not found"]);
    cluster.run(&["create", "secret", "generic", "late", "--from-literal=pw=hunter2"]);
    cluster.ready("by-name");
    cluster.ready("by-file");
    assert_eq!(cluster.exec("by-name", "echo $PW").stdout, "hunter2\n");
    assert_eq!(cluster.exec("by-file", "cat /v/pw").stdout, "hunter2");
}

/// What row `secret.token` says of a fresh token; that it rotates, the agent's own tests show.
fn a_token_is_there_unless_it_is_not_wanted(cluster: &Cluster) {
    let folder = "/var/run/secrets/kubernetes.io/serviceaccount";
    let token = cluster.exec("by-name", &format!("cat {folder}/token")).stdout;
    let claims = token.split('.').nth(1).unwrap();
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    let seconds = |name: &str| claims[name].as_i64().unwrap();
    assert!(seconds("exp") - seconds("iat") <= 3607, "{claims}");
    assert_eq!(claims["kubernetes.io"]["pod"]["name"], "by-name");
    assert!(
        cluster
            .exec("by-name", &format!("cat {folder}/ca.crt"))
            .stdout
            .starts_with("-----BEGIN CERTIFICATE")
    );
    assert_eq!(cluster.exec("by-name", &format!("cat {folder}/namespace")).stdout, "default");
    let without = json!({"automountServiceAccountToken": false, "containers": [sh("c", "sleep 600", &json!({}))]});
    cluster.make(&[pod("without", &without)]);
    cluster.ready("without");
    assert!(!cluster.exec("without", &format!("ls {folder}")).ok);
}

/// Rows `dapi.annotations`, `dapi.env` and `dapi.volume`.
fn a_pod_knows_itself(cluster: &Cluster) {
    let item = |path: &str, field: &str| json!({"path": path, "fieldRef": {"fieldPath": field}});
    let items = [
        item("notes", "metadata.annotations"),
        item("one", "metadata.annotations['team']"),
        item("name", "metadata.name"),
        item("labels", "metadata.labels"),
    ];
    let mut knows =
        pod("knows", &mounted(&json!({"name": "v", "downwardAPI": {"items": items}}), &[]));
    knows["metadata"]["annotations"] = json!({"team": "blue"});
    cluster.make(&[knows]);
    cluster.ready("knows");
    assert_eq!(cluster.exec("knows", "ls /v").stdout, "labels\nname\nnotes\none\n");
    assert_eq!(
        cluster.exec("knows", "cat /v/name /v/labels").stdout.trim_end(),
        "knowsapp=\"knows\""
    );
    cluster.exec_prints("knows", "cat /v/one", "blue");
    cluster.run(&["annotate", "--overwrite", "pod", "knows", "team=green"]);
    cluster.exec_prints("knows", "cat /v/one", "green");
    cluster.exec_prints("knows", "grep ^team= /v/notes", "team=\"green\"");
    let bad = json!({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.foo"}}}]});
    let bad = pod("bad", &json!({"containers": [sh("c", "true", &bad)]})).to_string();
    let refused = cluster.kubectl_with(&["apply", "-f", "-"], &bad);
    assert!(
        !refused.ok
            && refused.stderr.contains("spec.containers[0].env[0].valueFrom.fieldRef.fieldPath"),
        "{refused:?}"
    );
    assert!(!cluster.kubectl(&["get", "pod", "bad"]).ok);
}
