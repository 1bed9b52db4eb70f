//! Roles, bindings and what nobody may hand out, asked by users who are not administrators.

use crate::harness::{Session, check_as};
use expect_test::expect;

/// Ann may manage roles and bindings of `default`, and read pods; Bea may also bind and escalate.
const ROLES: &str = r#"
POST /apis/rbac.authorization.k8s.io/v1/namespaces/default/roles
{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"Role","metadata":{"name":"manager"},"rules":[
 {"apiGroups":["rbac.authorization.k8s.io"],"resources":["roles","rolebindings"],"verbs":["create","update","get"]},
 {"apiGroups":[""],"resources":["pods"],"verbs":["get","list"]}]}

POST /apis/rbac.authorization.k8s.io/v1/namespaces/default/roles
{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"Role","metadata":{"name":"free"},"rules":[
 {"apiGroups":["rbac.authorization.k8s.io"],"resources":["roles"],"verbs":["create","escalate"]},
 {"apiGroups":["rbac.authorization.k8s.io"],"resources":["rolebindings"],"verbs":["create"]},
 {"apiGroups":["rbac.authorization.k8s.io"],"resources":["clusterroles"],"resourceNames":["cluster-admin"],"verbs":["bind"]}]}

POST /apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings
{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"RoleBinding","metadata":{"name":"ann"},
 "roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"manager"},
 "subjects":[{"apiGroup":"rbac.authorization.k8s.io","kind":"User","name":"ann"}]}

POST /apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings
{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"RoleBinding","metadata":{"name":"bea"},
 "roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"free"},
 "subjects":[{"apiGroup":"rbac.authorization.k8s.io","kind":"User","name":"bea"}]}
"#;

#[tokio::test]
async fn a_role_lets_its_subjects_in_at_once_and_out_again() {
    let session = Session::start().await;
    let pods = "GET /api/v1/namespaces/default/pods | /kind";
    check_as(&session, "ann", pods, expect![[r#"
        403 Forbidden: pods is forbidden: User "ann" cannot list resource "pods" in API group "" in the namespace "default"
          {"kind":"pods"}
    "#]]).await;
    session.run(ROLES).await;
    check_as(
        &session,
        "ann",
        pods,
        expect![[r#"
        200
          /kind "PodList"
    "#]],
    )
    .await;
    session
        .run("DELETE /apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings/ann")
        .await;
    check_as(&session, "ann", pods, expect![[r#"
        403 Forbidden: pods is forbidden: User "ann" cannot list resource "pods" in API group "" in the namespace "default"
          {"kind":"pods"}
    "#]]).await;
}

#[tokio::test]
async fn nobody_hands_out_more_than_they_have() {
    let session = Session::start().await;
    session.run(ROLES).await;
    let grants = r#"
POST /apis/rbac.authorization.k8s.io/v1/namespaces/default/roles | /metadata/name
{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"Role","metadata":{"name":"less"},"rules":[
 {"apiGroups":[""],"resources":["pods"],"resourceNames":["a"],"verbs":["get"]}]}

POST /apis/rbac.authorization.k8s.io/v1/namespaces/default/roles | /metadata/name
{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"Role","metadata":{"name":"more"},"rules":[
 {"apiGroups":[""],"resources":["pods","secrets"],"verbs":["get","delete"]}]}

POST /apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings | /metadata/name
{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"RoleBinding","metadata":{"name":"own"},
 "roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"manager"},
 "subjects":[{"apiGroup":"rbac.authorization.k8s.io","kind":"User","name":"cid"}]}

POST /apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings | /metadata/name
{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"RoleBinding","metadata":{"name":"none"},
 "roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"none"},
 "subjects":[{"apiGroup":"rbac.authorization.k8s.io","kind":"User","name":"cid"}]}

POST /apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings | /metadata/name
{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"RoleBinding","metadata":{"name":"all"},
 "roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"cluster-admin"},
 "subjects":[{"apiGroup":"rbac.authorization.k8s.io","kind":"User","name":"ann"}]}
"#;
    check_as(&session, "ann", grants, expect![[r#"
        201
          /metadata/name "less"
        403 Forbidden: roles.rbac.authorization.k8s.io "more" is forbidden: user "ann" (groups=["system:authenticated"]) is attempting to grant RBAC permissions not currently held:
        {APIGroups:[""], Resources:["pods"], Verbs:["delete"]}
        {APIGroups:[""], Resources:["secrets"], Verbs:["get" "delete"]}
          {"group":"rbac.authorization.k8s.io","kind":"roles","name":"more"}
        201
          /metadata/name "own"
        404 NotFound: roles.rbac.authorization.k8s.io "none" not found
          {"group":"rbac.authorization.k8s.io","kind":"roles","name":"none"}
        403 Forbidden: rolebindings.rbac.authorization.k8s.io "all" is forbidden: user "ann" (groups=["system:authenticated"]) is attempting to grant RBAC permissions not currently held:
        {NonResourceURLs:["*"], Verbs:["*"]}
        {APIGroups:["*"], Resources:["*"], Verbs:["*"]}
          {"group":"rbac.authorization.k8s.io","kind":"rolebindings","name":"all"}
    "#]]).await;
    check_as(&session, "bea", &grants.replace("\"less\"", "\"less2\""), expect![[r#"
        201
          /metadata/name "less2"
        201
          /metadata/name "more"
        403 Forbidden: rolebindings.rbac.authorization.k8s.io "own" is forbidden: user "bea" (groups=["system:authenticated"]) is attempting to grant RBAC permissions not currently held:
        {APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]}
        {APIGroups:["rbac.authorization.k8s.io"], Resources:["rolebindings"], Verbs:["update" "get"]}
        {APIGroups:["rbac.authorization.k8s.io"], Resources:["roles"], Verbs:["update" "get"]}
          {"group":"rbac.authorization.k8s.io","kind":"rolebindings","name":"own"}
        404 NotFound: roles.rbac.authorization.k8s.io "none" not found
          {"group":"rbac.authorization.k8s.io","kind":"roles","name":"none"}
        201
          /metadata/name "all"
    "#]]).await;
}
