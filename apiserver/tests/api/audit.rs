//! The audit log, as a policy wants it.

use coracle_apiserver::audit::{AuditLog, AuditPolicy};
use expect_test::expect;
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

/// The lines of a log, without what differs from run to run; waits until there are as many.
async fn lines(path: &std::path::Path, count: usize) -> String {
    let mut text = String::new();
    // The log is written by a thread of its own.
    while text.lines().count() < count {
        tokio::task::yield_now().await;
        text = std::fs::read_to_string(path).unwrap();
    }
    let line = |line: &str| {
        let event: Value = serde_json::from_str(line).unwrap();
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
    text.lines().map(line).collect()
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
        "Metadata" "ResponseComplete" "create" "admin" as - ref {"apiVersion":"v1","namespace":"default","resource":"secrets"} code 201 sent - answered - from -
        "RequestResponse" "ResponseComplete" "create" "admin" as - ref {"apiVersion":"v1","namespace":"default","resource":"configmaps"} code 201 sent {"k":"v"} answered {"k":"v"} from -
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
