//! Tokens of service accounts, and the questions that clients ask about users and rights.

use crate::harness::{Session, check_as};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use coracle_apiserver::authn::UserInfo;
use expect_test::expect;
use serde_json::{Value, json};

const TOKEN: &str = "POST /api/v1/namespaces/default/serviceaccounts/robot/token";
const REVIEW: &str = "POST /apis/authentication.k8s.io/v1/tokenreviews";

async fn with_robot() -> Session {
    let session = Session::start().await;
    session
        .run(
            r#"
POST /api/v1/namespaces/default/serviceaccounts
{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"robot"}}

POST /api/v1/namespaces/default/pods
{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"spec":{"serviceAccountName":"robot","nodeName":"n1",
 "containers":[{"name":"c","image":"i"}]}}
"#,
        )
        .await;
    session
}

/// Asks for a token; gives it with the whole answer.
async fn token(session: &Session, spec: Value) -> (String, Value) {
    let answer = session.value(&format!("{TOKEN}\n{}", json!({"spec": spec}))).await;
    (answer["status"]["token"].as_str().unwrap_or_default().to_owned(), answer)
}

async fn review(session: &Session, token: &str, audiences: &[&str]) -> Value {
    let body = json!({"spec": {"token": token, "audiences": audiences}});
    session.value(&format!("{REVIEW}\n{body}")).await["status"].clone()
}

#[tokio::test]
async fn a_token_names_its_account_and_what_it_is_bound_to() {
    let session = with_robot().await;
    let (token, answer) = token(
        &session,
        json!({"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "p"}}),
    )
    .await;
    assert_eq!(answer["spec"]["expirationSeconds"], 3600);
    assert_eq!(
        answer["spec"]["audiences"],
        json!(["https://kubernetes.default.svc.cluster.local"])
    );
    let status = review(&session, &token, &[]).await;
    assert_eq!(status["authenticated"], true, "{status}");
    assert_eq!(status["user"]["username"], "system:serviceaccount:default:robot");
    let groups =
        json!(["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"]);
    assert_eq!(status["user"]["groups"], groups);
    assert_eq!(status["user"]["extra"]["authentication.kubernetes.io/pod-name"], json!(["p"]));
    assert_eq!(status["user"]["extra"]["authentication.kubernetes.io/node-name"], json!(["n1"]));
    session.run("DELETE /api/v1/namespaces/default/pods/p?gracePeriodSeconds=0").await;
    assert_eq!(review(&session, &token, &[]).await["authenticated"], Value::Null);
}

#[tokio::test]
async fn a_token_is_for_its_audiences_and_dies_with_its_account() {
    let session = with_robot().await;
    let (vault, _) = token(&session, json!({"audiences": ["vault", "other"]})).await;
    assert_eq!(review(&session, &vault, &[]).await["authenticated"], Value::Null);
    let status = review(&session, &vault, &["vault", "third"]).await;
    assert_eq!((&status["authenticated"], &status["audiences"]), (&json!(true), &json!(["vault"])));
    session.run("DELETE /api/v1/namespaces/default/serviceaccounts/robot").await;
    assert_eq!(review(&session, &vault, &["vault"]).await["authenticated"], Value::Null);
    // One of the same name is another one.
    session
        .run("POST /api/v1/namespaces/default/serviceaccounts\n{\"metadata\":{\"name\":\"robot\"}}")
        .await;
    assert_eq!(review(&session, &vault, &["vault"]).await["authenticated"], Value::Null);
    assert_eq!(review(&session, "junk", &[]).await["authenticated"], Value::Null);
}

#[tokio::test]
async fn bad_requests_for_tokens_say_why() {
    let session = with_robot().await;
    let script = format!(
        r#"
{TOKEN}
{{"spec":{{"expirationSeconds":10}}}}

{TOKEN}
{{"spec":{{"boundObjectRef":{{"apiVersion":"v1","kind":"Pod","name":"gone"}}}}}}

{TOKEN}
{{"spec":{{"boundObjectRef":{{"apiVersion":"v1","kind":"Pod","name":"p","uid":"x"}}}}}}

{TOKEN}
{{"spec":{{"boundObjectRef":{{"apiVersion":"v1","kind":"ConfigMap","name":"p"}}}}}}

POST /api/v1/namespaces/default/serviceaccounts/none/token
{{}}
"#
    );
    let out = session.run(&script).await;
    expect![[r#"
        422 Invalid: TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: 10: may not specify a duration less than 10 minutes
          {"causes":[{"field":"spec.expirationSeconds","message":"Invalid value: 10: may not specify a duration less than 10 minutes","reason":"FieldValueInvalid"}],"group":"authentication.k8s.io","kind":"TokenRequest"}
        404 NotFound: pods "gone" not found
          {"kind":"pods","name":"gone"}
        409 Conflict: Operation cannot be fulfilled on pods "p": the UID in the bound object reference (x) does not match the UID in record. The object might have been deleted and then recreated
          {"kind":"pods","name":"p"}
        400 BadRequest: cannot bind token to object of type v1, Kind=ConfigMap: must be Pod, Secret or Node of v1
        404 NotFound: serviceaccounts "none" not found
          {"kind":"serviceaccounts","name":"none"}
    "#]].assert_eq(&out);
    let node = |name: &str| UserInfo::new(&format!("system:node:{name}"), ["system:nodes"]);
    let bound = format!(
        "{TOKEN} | /kind\n{{\"spec\":{{\"boundObjectRef\":{{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"name\":\"p\"}}}}}}"
    );
    let mut out = session.run_as(node("n1"), &bound).await;
    out += &session.run_as(node("n1"), &format!("{TOKEN}\n{{}}")).await;
    out += &session.run_as(node("n2"), &bound).await;
    expect![[r#"
        201
          /kind "TokenRequest"
        403 Forbidden: serviceaccounts "robot" is forbidden: node requested token not bound to a pod by node "n1"
          {"kind":"serviceaccounts","name":"robot"}
        403 Forbidden: serviceaccounts "robot" is forbidden: User "system:node:n2" cannot create resource "serviceaccounts/token" in API group "" in the namespace "default": no relationship found between node 'n2' and serviceaccounts 'robot'
          {"kind":"serviceaccounts","name":"robot"}
    "#]].assert_eq(&out);
}

#[tokio::test]
async fn anybody_may_ask_about_themselves() {
    let session = with_robot().await;
    session
        .run(
            r#"
POST /apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings
{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"RoleBinding","metadata":{"name":"ann"},
 "roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"system:auth-delegator"},
 "subjects":[{"apiGroup":"rbac.authorization.k8s.io","kind":"User","name":"ann"}]}
"#,
        )
        .await;
    check_as(
        &session,
        "ann",
        r#"
POST /apis/authentication.k8s.io/v1/selfsubjectreviews | /status
{}

POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews | /status
{"spec":{"resourceAttributes":{"namespace":"default","verb":"create","group":"authorization.k8s.io","resource":"subjectaccessreviews"}}}

POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews | /status
{"spec":{"resourceAttributes":{"namespace":"default","verb":"list","resource":"secrets"}}}

POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews | /status
{"spec":{"nonResourceAttributes":{"verb":"get","path":"/version"}}}

POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews
{"spec":{}}

POST /apis/authorization.k8s.io/v1/selfsubjectrulesreviews | /status
{"spec":{"namespace":"default"}}

POST /apis/authorization.k8s.io/v1/subjectaccessreviews
{"spec":{"user":"bea","resourceAttributes":{"verb":"get","resource":"pods"}}}
"#,
        expect![[r#"
            201
              /status {"userInfo":{"groups":["system:authenticated"],"username":"ann"}}
            201
              /status {"allowed":true,"reason":"RBAC: allowed by RoleBinding \"ann/default\" of ClusterRole \"system:auth-delegator\" to User \"ann\""}
            201
              /status {"allowed":false}
            201
              /status {"allowed":true,"reason":"RBAC: allowed by ClusterRoleBinding \"system:discovery\" of ClusterRole \"system:discovery\" to Group \"system:authenticated\""}
            422 Invalid: SelfSubjectAccessReview.authorization.k8s.io "" is invalid: spec.resourceAttributes: Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified
              {"causes":[{"field":"spec.resourceAttributes","message":"Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified","reason":"FieldValueInvalid"}],"group":"authorization.k8s.io","kind":"SelfSubjectAccessReview"}
            201
              /status {"incomplete":false,"nonResourceRules":[{"nonResourceURLs":["/api","/api/*","/apis","/apis/*","/healthz","/livez","/openapi","/openapi/*","/readyz","/version","/version/"],"verbs":["get"]},{"nonResourceURLs":["/healthz","/livez","/readyz","/version","/version/"],"verbs":["get"]}],"resourceRules":[{"apiGroups":["authorization.k8s.io"],"resources":["selfsubjectaccessreviews","selfsubjectrulesreviews"],"verbs":["create"]},{"apiGroups":["authentication.k8s.io"],"resources":["selfsubjectreviews"],"verbs":["create"]},{"apiGroups":["authentication.k8s.io"],"resources":["tokenreviews"],"verbs":["create"]},{"apiGroups":["authorization.k8s.io"],"resources":["subjectaccessreviews"],"verbs":["create"]}]}
            403 Forbidden: subjectaccessreviews.authorization.k8s.io is forbidden: User "ann" cannot create resource "subjectaccessreviews" in API group "authorization.k8s.io" at the cluster scope
              {"group":"authorization.k8s.io","kind":"subjectaccessreviews"}
        "#]],
    )
    .await;
}

#[tokio::test]
async fn an_administrator_may_ask_about_others_and_act_as_them() {
    let session = with_robot().await;
    let out = session
        .run(
            r#"
POST /apis/authorization.k8s.io/v1/subjectaccessreviews | /status
{"spec":{"groups":["system:masters"],"resourceAttributes":{"verb":"get","resource":"pods"}}}

POST /apis/authorization.k8s.io/v1/subjectaccessreviews
{"spec":{"resourceAttributes":{"verb":"get","resource":"pods"}}}

POST /apis/authorization.k8s.io/v1/namespaces/default/localsubjectaccessreviews
{"spec":{"user":"a","resourceAttributes":{"namespace":"other","verb":"get","resource":"pods"}}}

POST /apis/authentication.k8s.io/v1/selfsubjectreviews | /status
Impersonate-User: ann
Impersonate-Group: dev
Impersonate-Uid: 7
Impersonate-Extra-Acme: a
{}

GET /api/v1/pods
Impersonate-User: ann

GET /api/v1/pods
Impersonate-Group: dev
"#,
        )
        .await;
    expect![[r#"
        201
          /status {"allowed":true}
        422 Invalid: SubjectAccessReview.authorization.k8s.io "" is invalid: spec.user: Invalid value: "": at least one of user or group must be specified
          {"causes":[{"field":"spec.user","message":"Invalid value: \"\": at least one of user or group must be specified","reason":"FieldValueInvalid"}],"group":"authorization.k8s.io","kind":"SubjectAccessReview"}
        422 Invalid: LocalSubjectAccessReview.authorization.k8s.io "" is invalid: spec.resourceAttributes.namespace: Invalid value: "other": must match metadata.namespace
          {"causes":[{"field":"spec.resourceAttributes.namespace","message":"Invalid value: \"other\": must match metadata.namespace","reason":"FieldValueInvalid"}],"group":"authorization.k8s.io","kind":"LocalSubjectAccessReview"}
        201
          /status {"userInfo":{"extra":{"acme":["a"]},"groups":["dev","system:authenticated"],"uid":"7","username":"ann"}}
        403 Forbidden: pods is forbidden: User "ann" cannot list resource "pods" in API group "" at the cluster scope
          {"kind":"pods"}
        400 BadRequest: requested impersonation of groups, uid or extra without impersonating a user
    "#]].assert_eq(&out);
    check_as(&session, "ann", "GET /version\nImpersonate-User: bea", expect![[r#"
        403 Forbidden: users "bea" is forbidden: User "ann" cannot impersonate resource "users" in API group "" at the cluster scope
          {"kind":"users","name":"bea"}
    "#]]).await;
}

#[tokio::test]
async fn keys_are_published() {
    let session = Session::start().await;
    let out = session
        .run("GET /.well-known/openid-configuration\n\nGET /openid/v1/jwks | /keys/0/kty /keys/0/alg /keys/0/use")
        .await;
    expect![[r#"
        200 {"id_token_signing_alg_values_supported":["ES256"],"issuer":"https://kubernetes.default.svc.cluster.local","jwks_uri":"https://10.0.0.1:6443/openid/v1/jwks","response_types_supported":["id_token"],"subject_types_supported":["public"]}
        200
          /keys/0/kty "EC"
          /keys/0/alg "ES256"
          /keys/0/use "sig"
    "#]].assert_eq(&out);
}

#[tokio::test]
async fn a_secret_gets_a_token_that_ends_with_it() {
    let session = Session::start().await;
    session
        .run(
            r#"
POST /api/v1/namespaces/default/serviceaccounts | /metadata/name
{"metadata":{"name":"robot"}}

POST /api/v1/namespaces/default/secrets | /metadata/name
{"metadata":{"name":"long","annotations":{"kubernetes.io/service-account.name":"robot"}},"type":"kubernetes.io/service-account-token"}
"#,
        )
        .await;
    let token = async {
        loop {
            let secret = session.value("GET /api/v1/namespaces/default/secrets/long").await;
            if let Some(token) = secret["data"]["token"].as_str() {
                break token.to_owned();
            }
            tokio::task::yield_now().await;
        }
    };
    let token = tokio::time::timeout(std::time::Duration::from_secs(120), token).await.unwrap();
    let token = String::from_utf8(STANDARD.decode(token).unwrap()).unwrap();
    let review = format!(
        "POST /apis/authentication.k8s.io/v1/tokenreviews\n{}",
        json!({"spec": {"token": token}})
    );
    let found = session.value(&review).await;
    assert_eq!(found["status"]["user"]["username"], "system:serviceaccount:default:robot");
    session.run("DELETE /api/v1/namespaces/default/secrets/long | /status").await;
    let found = session.value(&review).await;
    assert!(found["status"]["authenticated"].is_null(), "{found}");
}
