//! The audit log, as a policy wants it.

use coracle_apiserver::audit::{AuditLog, AuditPolicy};
use expect_test::{Expect, expect};
use serde_json::Value;

use crate::harness::Session;
use crate::serve::{get, serve_session};

const POLICY: &str = "
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  resources: [{group: '', resources: [secrets]}]
- level: RequestResponse
  verbs: [create]
- level: None
  verbs: [get]
  nonResourceURLs: ['/healthz*']
- level: Metadata
";

/// What a log tells; waits until it is as much.
async fn events(path: &std::path::Path, count: usize) -> Vec<Value> {
    let mut text = String::new();
    // The log is written by a thread of its own; a line is whole once it has ended.
    while text.matches('\n').count() < count {
        tokio::task::yield_now().await;
        text = std::fs::read_to_string(path).unwrap();
    }
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The lines of a log, without what differs from run to run; waits until there are as many.
async fn lines(path: &std::path::Path, count: usize) -> String {
    let line = |event: &Value| {
        assert_eq!(event["apiVersion"], "audit.k8s.io/v1");
        assert!(event["auditID"].as_str().is_some_and(|id| id.len() == 36));
        assert!(event["stageTimestamp"].as_str() >= event["requestReceivedTimestamp"].as_str());
        let text = |pointer: &str| event.pointer(pointer).map_or("-".to_owned(), Value::to_string);
        format!(
            "{} {} {} {} as {} ref {} code {} sent {} answered {} from {}\n",
            text("/level"),
            text("/stage"),
            text("/verb"),
            text("/user/username"),
            text("/impersonatedUser/username"),
            text("/objectRef"),
            text("/responseStatus/code"),
            text("/requestObject/data"),
            text("/responseObject/data"),
            text("/sourceIPs")
        )
    };
    events(path, count).await.iter().map(line).collect()
}

#[tokio::test]
async fn a_log_tells_what_its_policy_wants() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    let policy = AuditPolicy::parse(POLICY).unwrap();
    let session =
        Session::with(|config| config.audit = Some(AuditLog::open(policy, &path).unwrap())).await;
    session
        .run(
            r#"
POST /api/v1/namespaces/default/secrets
{"metadata":{"name":"s"},"data":{"k":"c2VjcmV0"}}

POST /api/v1/namespaces/default/configmaps
{"metadata":{"name":"c"},"data":{"k":"v"}}

GET /healthz

GET /api/v1/namespaces/default/configmaps/none

GET /api/v1/secrets
Impersonate-User: ann
"#,
        )
        .await;
    let found = lines(&path, 4).await;
    expect![[r#"
        "Metadata" "ResponseComplete" "create" "admin" as - ref {"apiVersion":"v1","name":"s","namespace":"default","resource":"secrets"} code 201 sent - answered - from -
        "RequestResponse" "ResponseComplete" "create" "admin" as - ref {"apiVersion":"v1","name":"c","namespace":"default","resource":"configmaps"} code 201 sent {"k":"v"} answered {"k":"v"} from -
        "Metadata" "ResponseComplete" "get" "admin" as - ref {"apiVersion":"v1","name":"none","namespace":"default","resource":"configmaps"} code 404 sent - answered - from -
        "Metadata" "ResponseComplete" "list" "admin" as "ann" ref {"apiVersion":"v1","resource":"secrets"} code 403 sent - answered - from -
    "#]].assert_eq(&found);
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_log_tells_where_requests_come_from() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    let policy = AuditPolicy::parse(POLICY).unwrap();
    let session =
        Session::with(|config| config.audit = Some(AuditLog::open(policy, &path).unwrap())).await;
    let served = serve_session(session).await;
    let admin = served.client(Some(("admin", "system:masters")));
    let mut request = get("/api/v1/namespaces/default/secrets/none");
    request.headers_mut().insert("x-forwarded-for", "203.0.113.9, nobody".parse().unwrap());
    assert_eq!(served.http2(admin, request).await.status().as_u16(), 404);
    let found = lines(&path, 1).await;
    assert!(found.ends_with(" from [\"203.0.113.9\",\"127.0.0.1\"]\n"), "{found}");
}

/// A server of which the log tells all.
async fn told_all(path: &std::path::Path) -> Session {
    let policy = "{apiVersion: audit.k8s.io/v1, kind: Policy, omitStages: [RequestReceived], rules: [{level: RequestResponse}]}";
    let policy = AuditPolicy::parse(policy).unwrap();
    Session::with(|config| config.audit = Some(AuditLog::open(policy, path).unwrap())).await
}

/// Runs a script, and compares parts of what the log tells of its last requests.
async fn check(script: &str, last: usize, pointers: &[&str], expected: Expect) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    let session = told_all(&path).await;
    session.run(script).await;
    let found = events(&path, script.trim().split("\n\n").count()).await;
    let mut text = String::new();
    for event in &found[found.len() - last..] {
        for pointer in pointers {
            let value = event.pointer(pointer).map_or("-".to_owned(), Value::to_string);
            text.push_str(&format!("{pointer} {value}\n"));
        }
    }
    expected.assert_eq(&text);
}

#[tokio::test]
async fn an_answer_is_told_in_whatever_form_it_goes_out() {
    check(
        r#"
POST /api/v1/namespaces/default/configmaps
Accept: application/vnd.kubernetes.protobuf
{"metadata":{"generateName":"c"},"data":{"k":"v"}}

GET /apis/rbac.authorization.k8s.io/v1/clusterroles/system:kube-scheduler
Accept: application/vnd.kubernetes.protobuf

GET /apis/rbac.authorization.k8s.io/v1/clusterroles?limit=100
Accept-Encoding: gzip
"#,
        3,
        &["/responseObject/kind", "/responseObject/data", "/responseObject/rules/0/verbs"],
        expect![[r#"
            /responseObject/kind "ConfigMap"
            /responseObject/data {"k":"v"}
            /responseObject/rules/0/verbs -
            /responseObject/kind "ClusterRole"
            /responseObject/data -
            /responseObject/rules/0/verbs ["create","patch","update"]
            /responseObject/kind "ClusterRoleList"
            /responseObject/data -
            /responseObject/rules/0/verbs -
        "#]],
    )
    .await;
}

#[tokio::test]
async fn who_decided_and_why_is_told() {
    check(
        r#"
POST /api/v1/namespaces
{"metadata":{"name":"strict","labels":{"pod-security.kubernetes.io/enforce":"baseline","pod-security.kubernetes.io/audit":"baseline"}}}

POST /api/v1/namespaces/strict/serviceaccounts
{"metadata":{"name":"default"}}

POST /api/v1/namespaces/strict/pods
{"metadata":{"name":"p"},"spec":{"hostPID":true,"containers":[{"name":"c","image":"i"}]}}

POST /api/v1/namespaces/strict/configmaps
Impersonate-User: ann
{"metadata":{"name":"c"}}
"#,
        2,
        &["/objectRef/name", "/responseStatus", "/annotations"],
        expect![[r#"
            /objectRef/name "p"
            /responseStatus {"code":403,"details":{"kind":"pods","name":"p"},"message":"pods \"p\" is forbidden: violates PodSecurity \"baseline:latest\": host namespaces (hostPID=true)","metadata":{},"reason":"Forbidden","status":"Failure"}
            /annotations {"authorization.k8s.io/decision":"allow","authorization.k8s.io/reason":"","pod-security.kubernetes.io/audit-violations":"would violate PodSecurity \"baseline:latest\": host namespaces (hostPID=true)","pod-security.kubernetes.io/enforce-policy":"baseline:latest"}
            /objectRef/name -
            /responseStatus {"code":403,"details":{"kind":"configmaps"},"message":"configmaps is forbidden: User \"ann\" cannot create resource \"configmaps\" in API group \"\" in the namespace \"strict\"","metadata":{},"reason":"Forbidden","status":"Failure"}
            /annotations {"authorization.k8s.io/decision":"forbid","authorization.k8s.io/reason":""}
        "#]],
    )
    .await;
}

#[tokio::test]
async fn policies_have_notes_made() {
    check(
        r#"
POST /apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies
{"metadata":{"name":"keys"},"spec":{"matchConstraints":{"resourceRules":[{"apiGroups":[""],"apiVersions":["v1"],"operations":["CREATE"],"resources":["configmaps"]}]},"validations":[{"expression":"true"},{"expression":"has(object.data)","message":"needs data"}],"auditAnnotations":[{"key":"who","valueExpression":"'made by ' + request.userInfo.username"},{"key":"none","valueExpression":"null"}]}}

POST /apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings
{"metadata":{"name":"all"},"spec":{"policyName":"keys","validationActions":["Audit"]}}

POST /api/v1/namespaces/default/configmaps
{"metadata":{"name":"empty"}}
"#,
        1,
        &["/objectRef/name", "/responseStatus", "/annotations"],
        expect![[r#"
            /objectRef/name "empty"
            /responseStatus {"code":201,"metadata":{}}
            /annotations {"authorization.k8s.io/decision":"allow","authorization.k8s.io/reason":"","keys/who":"made by admin","validation.policy.admission.k8s.io/validation_failure":"[{\"binding\":\"all\",\"expressionIndex\":1,\"message\":\"needs data\",\"policy\":\"keys\",\"validationActions\":[\"Audit\"]}]"}
        "#]],
    )
    .await;
}
