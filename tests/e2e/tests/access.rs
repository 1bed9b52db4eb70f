//! Who may do what, with unmodified kubectl: roles, accounts, tokens, questions about rights, quotas and Pod Security.
#![expect(clippy::unwrap_used, reason = "a test")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use coracle_e2e::{Cluster, KUBECTL_NEW, KUBECTL_OLD, Output, eventually};
use serde_json::{Value, json};

#[test]
fn the_newest_kubectl_manages_access() {
    all(KUBECTL_NEW);
}

#[test]
fn the_oldest_kubectl_manages_access() {
    all(KUBECTL_OLD);
}

fn all(version: &str) {
    let cluster = Cluster::start_with(version);
    default_roles_are_there(&cluster);
    a_token_gives_what_its_account_has(&cluster);
    nobody_hands_out_more_than_they_have(&cluster);
    a_quota_is_kept(&cluster);
    pod_security_is_kept(&cluster);
    a_policy_is_kept(&cluster);
    a_certificate_is_asked_for_and_approved(&cluster);
    secrets_are_sealed_on_disk(&cluster);
}

/// Runs kubectl with a token and nothing else.
fn as_token(cluster: &Cluster, token: &str, arguments: &[&str]) -> Output {
    let admin: Value =
        serde_json::from_str(&cluster.run(&["config", "view", "--raw", "-o", "json"])).unwrap();
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": admin["clusters"][0]["cluster"]}],
        "users": [{"name": "u", "user": {"token": token}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    });
    let path = cluster.folder().join("token.kubeconfig");
    std::fs::write(&path, config.to_string()).unwrap();
    let path = path.to_str().unwrap();
    let arguments: Vec<&str> =
        ["--kubeconfig", path].into_iter().chain(arguments.iter().copied()).collect();
    cluster.kubectl(&arguments)
}

fn default_roles_are_there(cluster: &Cluster) {
    assert_eq!(cluster.run(&["auth", "can-i", "*", "*", "--all-namespaces"]), "yes\n");
    let me = cluster.run(&["auth", "whoami"]);
    assert!(me.contains("coracle-admin") && me.contains("system:masters"), "{me}");
    // Each is summed up of the one before, and of more than one role.
    for (role, resource) in
        [("view", "deployments"), ("edit", "deployments"), ("admin", "rolebindings")]
    {
        eventually("aggregated roles have their rules", || {
            let role = cluster.get(&["clusterrole", role]);
            let rules = role["rules"].as_array().cloned().unwrap_or_default();
            let named = |rule: &Value, name: &str| {
                rule["resources"].as_array().is_some_and(|all| all.iter().any(|one| one == name))
            };
            let has = |name: &str| rules.iter().any(|rule| named(rule, name));
            if has(resource) && has("configmaps") { Ok(()) } else { Err(role) }
        });
    }
    let described = cluster.run(&["describe", "clusterrole", "view"]);
    assert!(described.contains("deployments.apps"), "{described}");
    assert!(!described.contains("secrets"), "{described}");
}

fn a_token_gives_what_its_account_has(cluster: &Cluster) {
    cluster.run(&["create", "namespace", "qa"]);
    cluster.run(&["create", "serviceaccount", "robot", "-n", "qa"]);
    let token = cluster.run(&["create", "token", "robot", "-n", "qa", "--duration", "10m"]);
    let token = token.trim();
    let me = as_token(cluster, token, &["auth", "whoami"]);
    assert!(me.stdout.contains("system:serviceaccount:qa:robot"), "{me:?}");
    let refused = as_token(cluster, token, &["get", "configmaps", "-n", "qa"]);
    let words = "Error from server (Forbidden): configmaps is forbidden: User \"system:serviceaccount:qa:robot\" cannot list \
                 resource \"configmaps\" in API group \"\" in the namespace \"qa\"\n";
    assert_eq!((refused.ok, refused.stderr.as_str()), (false, words));

    cluster.run(&[
        "create",
        "role",
        "reader",
        "-n",
        "qa",
        "--verb=get,list",
        "--resource=configmaps",
    ]);
    cluster.run(&[
        "create",
        "rolebinding",
        "robot-reads",
        "-n",
        "qa",
        "--role=reader",
        "--serviceaccount=qa:robot",
    ]);
    let read = as_token(cluster, token, &["get", "configmaps", "-n", "qa", "-o", "name"]);
    assert!(read.ok, "{read:?}");
    let elsewhere = as_token(cluster, token, &["get", "configmaps", "-n", "default"]);
    assert!(!elsewhere.ok && elsewhere.stderr.contains("cannot list resource"), "{elsewhere:?}");
    let written = as_token(cluster, token, &["create", "configmap", "x", "-n", "qa"]);
    assert!(!written.ok && written.stderr.contains("cannot create resource"), "{written:?}");

    let may = as_token(cluster, token, &["auth", "can-i", "list", "configmaps", "-n", "qa"]);
    assert_eq!((may.ok, may.stdout.as_str()), (true, "yes\n"));
    let may = as_token(cluster, token, &["auth", "can-i", "delete", "configmaps", "-n", "qa"]);
    assert_eq!((may.ok, may.stdout.as_str()), (false, "no\n"));
    let list = as_token(cluster, token, &["auth", "can-i", "--list", "-n", "qa"]);
    assert!(
        list.ok
            && list
                .stdout
                .lines()
                .any(|line| line.starts_with("configmaps") && line.contains("[get list]")),
        "{list:?}"
    );
    let robot = "--as=system:serviceaccount:qa:robot";
    assert_eq!(cluster.run(&["auth", "can-i", "get", "configmaps", "-n", "qa", robot]), "yes\n");
    let acting = cluster.kubectl(&["get", "secrets", "-n", "qa", robot]);
    assert!(!acting.ok && acting.stderr.contains("system:serviceaccount:qa:robot"), "{acting:?}");

    cluster.run(&["delete", "serviceaccount", "robot", "-n", "qa"]);
    let dead = as_token(cluster, token, &["get", "configmaps", "-n", "qa"]);
    assert!(!dead.ok && dead.stderr.contains("Unauthorized"), "{dead:?}");
}

fn nobody_hands_out_more_than_they_have(cluster: &Cluster) {
    cluster.run(&["create", "rolebinding", "ann", "-n", "qa", "--clusterrole=admin", "--user=ann"]);
    let ann = |arguments: &[&str]| {
        let all: Vec<&str> = arguments.iter().copied().chain(["-n", "qa", "--as=ann"]).collect();
        cluster.kubectl(&all)
    };
    // Rules that came to the smaller role last are in the larger one a moment later.
    eventually("she hands out a part of what she has", || {
        let own = ann(&["create", "rolebinding", "bea", "--clusterrole=view", "--user=bea"]);
        if own.ok { Ok(()) } else { Err(own) }
    });
    let more = ann(&["create", "rolebinding", "cid", "--clusterrole=cluster-admin", "--user=cid"]);
    assert!(
        !more.ok
            && more.stderr.contains("is attempting to grant RBAC permissions not currently held"),
        "{more:?}"
    );
}

fn a_quota_is_kept(cluster: &Cluster) {
    // One is there already, or comes: the cluster's certificate.
    eventually("the namespace has the cluster's certificate", || {
        let found = cluster.kubectl(&["get", "configmap", "kube-root-ca.crt", "-n", "qa"]);
        if found.ok { Ok(()) } else { Err(found) }
    });
    cluster.run(&["create", "quota", "few", "-n", "qa", "--hard=configmaps=3,secrets=1"]);
    cluster.run(&["create", "configmap", "a", "-n", "qa"]);
    cluster.run(&["create", "configmap", "b", "-n", "qa"]);
    let refused = cluster.kubectl(&["create", "configmap", "c", "-n", "qa"]);
    let words =
        "exceeded quota: few, requested: configmaps=1, used: configmaps=3, limited: configmaps=3";
    assert!(!refused.ok && refused.stderr.contains(words), "{refused:?}");
    eventually("the quota tells what is used", || {
        let described = cluster.run(&["describe", "quota", "few", "-n", "qa"]);
        let mut rows = described.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        if rows.any(|row| row == ["configmaps", "3", "3"]) { Ok(()) } else { Err(described) }
    });
}

fn pod_security_is_kept(cluster: &Cluster) {
    let label = |label: &str| {
        cluster.run(&[
            "label",
            "--overwrite",
            "namespace",
            "qa",
            &format!("pod-security.kubernetes.io/{label}"),
        ])
    };
    label("enforce=baseline");
    label("warn=restricted");
    let pod = |name: &str, spec: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: qa}}\nspec: {{{spec}containers: [{{name: c, image: i}}]}}\n"
        )
    };
    let refused = cluster.kubectl_with(&["apply", "-f", "-"], &pod("host", "hostPID: true, "));
    let words = "pods \"host\" is forbidden: violates PodSecurity \"baseline:latest\": host namespaces (hostPID=true)";
    assert!(!refused.ok && refused.stderr.contains(words), "{refused:?}");
    let warned = cluster.kubectl_with(&["apply", "-f", "-"], &pod("plain", ""));
    let words = "Warning: would violate PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false";
    assert!(warned.ok && warned.stderr.contains(words), "{warned:?}");
}

fn a_policy_is_kept(cluster: &Cluster) {
    cluster.apply(
        r#"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: limited}
spec:
  matchConstraints:
    resourceRules:
    - {apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}
  validations:
  - expression: object.spec.containers.all(c, has(c.resources.limits) && 'memory' in c.resources.limits)
    message: every container must have a memory limit
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: limited}
spec:
  policyName: limited
  validationActions: [Deny]
  matchResources: {namespaceSelector: {matchLabels: {limited: "yes"}}}
"#,
    );
    cluster.run(&["create", "namespace", "limited"]);
    cluster.run(&["label", "namespace", "limited", "limited=yes"]);
    let pod = |limits: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: p, namespace: limited}}\n\
             spec: {{containers: [{{name: c, image: i, resources: {{{limits}}}}}]}}\n"
        )
    };
    let refused = cluster.kubectl_with(&["apply", "-f", "-"], &pod(""));
    let words = "ValidatingAdmissionPolicy 'limited' with binding 'limited' denied request: every container must have a memory limit";
    assert!(!refused.ok && refused.stderr.contains(words), "{refused:?}");
    cluster.apply(&pod("limits: {memory: 10Mi}"));
}

fn a_certificate_is_asked_for_and_approved(cluster: &Cluster) {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, "dora");
    let key = rcgen::KeyPair::generate().unwrap();
    let request = params.serialize_request(&key).unwrap().pem().unwrap();
    let request = STANDARD.encode(request);
    cluster.apply(&format!(
        "apiVersion: certificates.k8s.io/v1\nkind: CertificateSigningRequest\nmetadata: {{name: dora}}\n\
         spec: {{signerName: kubernetes.io/kube-apiserver-client, usages: [client auth], request: {request}}}\n"
    ));
    assert!(cluster.run(&["get", "csr", "dora"]).contains("Pending"));
    cluster.run(&["certificate", "approve", "dora"]);
    assert!(cluster.run(&["get", "csr", "dora"]).contains("Approved,Issued"));
    let signed =
        cluster.get(&["csr", "dora"])["status"]["certificate"].as_str().unwrap().to_owned();
    let folder = cluster.folder();
    std::fs::write(folder.join("dora.crt"), STANDARD.decode(signed).unwrap()).unwrap();
    std::fs::write(folder.join("dora.key"), key.serialize_pem()).unwrap();
    let admin: Value =
        serde_json::from_str(&cluster.run(&["config", "view", "--raw", "-o", "json"])).unwrap();
    let user = json!({"client-certificate": folder.join("dora.crt"), "client-key": folder.join("dora.key")});
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": admin["clusters"][0]["cluster"]}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    });
    let path = folder.join("dora.kubeconfig");
    std::fs::write(&path, config.to_string()).unwrap();
    let me = cluster.kubectl(&["--kubeconfig", path.to_str().unwrap(), "auth", "whoami"]);
    assert!(me.ok && me.stdout.contains("dora"), "{me:?}");
}

fn secrets_are_sealed_on_disk(cluster: &Cluster) {
    cluster.run(&[
        "create",
        "secret",
        "generic",
        "safe",
        "--from-literal=word=swordfish-in-the-store",
    ]);
    cluster.run(&["create", "configmap", "open", "--from-literal=word=herring-in-the-store"]);
    let word = cluster.run(&["get", "secret", "safe", "-o", "jsonpath={.data.word}"]);
    assert_eq!(STANDARD.decode(&word).unwrap(), b"swordfish-in-the-store");
    let holds = |stored: &[u8], text: &str| {
        stored.windows(text.len()).any(|window| window == text.as_bytes())
    };
    // Pages move while the file is read.
    let stored = eventually("the file holds both", || {
        let stored = std::fs::read(cluster.data().join("store.redb")).unwrap();
        let both = ["herring-in-the-store", "k8s:enc:envelope:v1:key1:"];
        if both.iter().all(|text| holds(&stored, text)) { Ok(stored) } else { Err("not yet") }
    });
    assert!(!holds(&stored, &word) && !holds(&stored, "swordfish-in-the-store"));
}
