//! Mutating admission policies, the `authorizer` variable, and what is asked again.

use coracle_apiserver::authn::UserInfo;
use expect_test::expect;

use crate::harness::{Session, check, check_as};

const POLICIES: &str = "/apis/admissionregistration.k8s.io/v1beta1/mutatingadmissionpolicies";
const BINDINGS: &str = "/apis/admissionregistration.k8s.io/v1beta1/mutatingadmissionpolicybindings";

/// A policy for Deployments and ConfigMaps with its binding; `rest` are members of its spec.
fn policy(name: &str, rest: &str, reference: &str) -> String {
    format!(
        r#"
POST {POLICIES} | /metadata/name
{{"metadata":{{"name":"{name}"}},"spec":{{
 "matchConstraints":{{"resourceRules":[{{"apiGroups":["","apps"],"apiVersions":["v1"],"operations":["CREATE","UPDATE"],"resources":["deployments","configmaps"]}}]}},
 {rest}}}}}

POST {BINDINGS} | /metadata/name
{{"metadata":{{"name":"{name}"}},"spec":{{"policyName":"{name}"{reference}}}}}
"#
    )
}

const DEPLOYMENT: &str = r#"
POST /apis/apps/v1/namespaces/default/deployments | /metadata/labels /spec/replicas /spec/template/spec
{"metadata":{"name":"web"},"spec":{"selector":{"matchLabels":{"a":"b"}},
 "template":{"metadata":{"labels":{"a":"b"}},"spec":{"terminationGracePeriodSeconds":1,"containers":[{"name":"c","image":"i"}]}}}}
"#;

#[tokio::test]
async fn a_configuration_is_merged_in() {
    let rest = r#""reinvocationPolicy":"Never",
 "variables":[{"name":"wanted","expression":"object.?spec.?replicas.orValue(1) + 2"}],
 "matchConditions":[{"name":"d","expression":"request.kind.kind == 'Deployment'"}],
 "mutations":[{"patchType":"ApplyConfiguration","applyConfiguration":{"expression":"Object{metadata: Object.metadata{labels: {'by': 'policy'}}, spec: Object.spec{replicas: int(variables.wanted), template: Object.spec.template{spec: Object.spec.template.spec{containers: [Object.spec.template.spec.containers{name: 'side', image: 'j'}]}}}}"}}]"#;
    let script = format!(
        "{}{DEPLOYMENT}\nPOST /api/v1/namespaces/default/configmaps | /metadata/labels\n{{\"metadata\":{{\"name\":\"c\"}}}}",
        policy("side", rest, "")
    );
    check(&script, expect![[r#"
        201
          /metadata/name "side"
        201
          /metadata/name "side"
        201
          /metadata/labels {"by":"policy"}
          /spec/replicas 3
          /spec/template/spec {"containers":[{"image":"i","imagePullPolicy":"Always","name":"c","resources":{},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File"},{"image":"j","imagePullPolicy":"Always","name":"side","resources":{},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File"}],"dnsPolicy":"ClusterFirst","restartPolicy":"Always","schedulerName":"default-scheduler","securityContext":{},"terminationGracePeriodSeconds":1}
        201
          /metadata/labels -
    "#]]).await;
}

#[tokio::test]
async fn operations_are_applied_with_parameters() {
    let rest = r#""paramKind":{"apiVersion":"v1","kind":"ConfigMap"},"reinvocationPolicy":"Never",
 "matchConditions":[{"name":"d","expression":"request.kind.kind == 'Deployment'"}],
 "mutations":[{"patchType":"JSONPatch","jsonPatch":{"expression":"has(object.metadata.labels) ? [] : [JSONPatch{op: 'add', path: '/metadata/labels', value: {}}]"}},
  {"patchType":"JSONPatch","jsonPatch":{"expression":"[JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('x.io/team'), value: params.data.team}]"}}]"#;
    let reference =
        r#","paramRef":{"name":"p","namespace":"default","parameterNotFoundAction":"Deny"}"#;
    let script = format!(
        "POST /api/v1/namespaces/default/configmaps | /data\n{{\"metadata\":{{\"name\":\"p\"}},\"data\":{{\"team\":\"red\"}}}}\n{}{DEPLOYMENT}\nDELETE /api/v1/namespaces/default/configmaps/p | /status\n{}",
        policy("team", rest, reference),
        DEPLOYMENT.replace("\"web\"", "\"late\"")
    );
    check(&script, expect![[r#"
        201
          /data {"team":"red"}
        201
          /metadata/name "team"
        201
          /metadata/name "team"
        422 Invalid: deployments.apps "web" is forbidden: MutatingAdmissionPolicy 'team' with binding 'team' denied request: the server rejected our request due to an error in our request: operation 0 (add /metadata/labels/x.io~1team): path is invalid
          {"causes":[{"message":"MutatingAdmissionPolicy 'team' with binding 'team' denied request: the server rejected our request due to an error in our request: operation 0 (add /metadata/labels/x.io~1team): path is invalid"}],"group":"apps","kind":"deployments","name":"web"}
        200
          /status "Success"
        422 Invalid: deployments.apps "late" is forbidden: MutatingAdmissionPolicy 'team' with binding 'team' denied request: failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction
          {"causes":[{"message":"MutatingAdmissionPolicy 'team' with binding 'team' denied request: failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"}],"group":"apps","kind":"deployments","name":"late"}
    "#]]).await;
}

#[tokio::test]
async fn what_fails_counts_as_the_policy_says() {
    let failing = |name: &str, failure: &str, expression: &str| {
        let rest = format!(
            r#""failurePolicy":"{failure}","reinvocationPolicy":"Never",
 "matchConditions":[{{"name":"n","expression":"object.metadata.name == '{name}'"}}],
 "mutations":[{{"patchType":"ApplyConfiguration","applyConfiguration":{{"expression":"{expression}"}}}}]"#
        );
        let create = format!(
            "POST /api/v1/namespaces/default/configmaps | /metadata/name\n{{\"metadata\":{{\"name\":\"{name}\"}}}}\n"
        );
        format!("{}\n{create}", policy(name, &rest, ""))
    };
    let script = [
        failing("unknown", "Fail", "Object{nothing: 1}"),
        failing("other", "Fail", "Object{metadata: Object.metadata{name: 'x'}}"),
        failing("text", "Fail", "'text'"),
        failing("left", "Ignore", "Object{data: {'a': object.data.b}}"),
        failing("atomic", "Fail", "Object{metadata: Object.metadata{managedFields: []}}"),
    ];
    check(&script.join("\n"), expect![[r#"
        201
          /metadata/name "unknown"
        201
          /metadata/name "unknown"
        422 Invalid: configmaps "unknown" is forbidden: MutatingAdmissionPolicy 'unknown' with binding 'unknown' denied request: ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: unknown field "nothing"
          {"causes":[{"message":"MutatingAdmissionPolicy 'unknown' with binding 'unknown' denied request: ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: unknown field \"nothing\""}],"kind":"configmaps","name":"unknown"}
        201
          /metadata/name "other"
        201
          /metadata/name "other"
        422 Invalid: configmaps "other" is forbidden: MutatingAdmissionPolicy 'other' with binding 'other' denied request: must not change metadata.name
          {"causes":[{"message":"MutatingAdmissionPolicy 'other' with binding 'other' denied request: must not change metadata.name"}],"kind":"configmaps","name":"other"}
        201
          /metadata/name "text"
        201
          /metadata/name "text"
        422 Invalid: configmaps "text" is forbidden: MutatingAdmissionPolicy 'text' with binding 'text' denied request: the expression must evaluate to Object
          {"causes":[{"message":"MutatingAdmissionPolicy 'text' with binding 'text' denied request: the expression must evaluate to Object"}],"kind":"configmaps","name":"text"}
        201
          /metadata/name "left"
        201
          /metadata/name "left"
        201
          /metadata/name "left"
        201
          /metadata/name "atomic"
        201
          /metadata/name "atomic"
        422 Invalid: configmaps "atomic" is forbidden: MutatingAdmissionPolicy 'atomic' with binding 'atomic' denied request: invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: .metadata.managedFields
          {"causes":[{"message":"MutatingAdmissionPolicy 'atomic' with binding 'atomic' denied request: invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: .metadata.managedFields"}],"kind":"configmaps","name":"atomic"}
    "#]]).await;
}

#[tokio::test]
async fn policies_before_a_change_are_asked_again_if_they_want() {
    let counting = |name: &str, again: &str, label: &str, seen: &str| {
        let rest = format!(
            r#""reinvocationPolicy":"{again}",
 "mutations":[{{"patchType":"ApplyConfiguration","applyConfiguration":{{"expression":"Object{{metadata: Object.metadata{{labels: {{'{label}': has(object.metadata.labels) && '{seen}' in object.metadata.labels ? 'after' : 'before'}}}}}}"}}}}]"#
        );
        policy(name, &rest, "")
    };
    let script = format!(
        "{}{}{}\nPOST /api/v1/namespaces/default/configmaps | /metadata/labels\n{{\"metadata\":{{\"name\":\"c\"}}}}",
        counting("a", "IfNeeded", "wants", "last"),
        counting("b", "Never", "once", "last"),
        counting("c", "Never", "last", "wants"),
    );
    check(
        &script,
        expect![[r#"
        201
          /metadata/name "a"
        201
          /metadata/name "a"
        201
          /metadata/name "b"
        201
          /metadata/name "b"
        201
          /metadata/name "c"
        201
          /metadata/name "c"
        201
          /metadata/labels {"last":"after","once":"before","wants":"after"}
    "#]],
    )
    .await;
}

const GUARDED: &str = r#"
POST /apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies | /metadata/name
{"metadata":{"name":"guard"},"spec":{
 "matchConstraints":{"resourceRules":[{"apiGroups":[""],"apiVersions":["v1"],"operations":["CREATE"],"resources":["configmaps"]}]},
 "validations":[{"expression":"authorizer.group('').resource('secrets').namespace(object.metadata.namespace).check('get').allowed()",
  "message":"who makes this must be allowed to read Secrets"},
  {"expression":"authorizer.requestResource.check('create').allowed()"}]}}

POST /apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings | /metadata/name
{"metadata":{"name":"guard"},"spec":{"policyName":"guard","validationActions":["Deny"]}}

POST /apis/rbac.authorization.k8s.io/v1/namespaces/default/roles | /metadata/name
{"metadata":{"name":"maker"},"rules":[{"apiGroups":[""],"resources":["configmaps"],"verbs":["create"]}]}

POST /apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings | /metadata/name
{"metadata":{"name":"maker"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"maker"},
 "subjects":[{"kind":"User","name":"ann","apiGroup":"rbac.authorization.k8s.io"}]}

POST /api/v1/namespaces/default/configmaps | /metadata/name
{"metadata":{"name":"by-admin"}}
"#;

#[tokio::test]
async fn a_policy_asks_what_the_writer_may() {
    let session = Session::start().await;
    expect![[r#"
        201
          /metadata/name "guard"
        201
          /metadata/name "guard"
        201
          /metadata/name "maker"
        201
          /metadata/name "maker"
        201
          /metadata/name "by-admin"
    "#]]
    .assert_eq(&session.run(GUARDED).await);
    let create = "POST /api/v1/namespaces/default/configmaps\n{\"metadata\":{\"name\":\"by-ann\"}}";
    check_as(&session, "ann", create, expect![[r#"
        422 Invalid: configmaps "by-ann" is forbidden: ValidatingAdmissionPolicy 'guard' with binding 'guard' denied request: who makes this must be allowed to read Secrets
          {"causes":[{"message":"ValidatingAdmissionPolicy 'guard' with binding 'guard' denied request: who makes this must be allowed to read Secrets"}],"kind":"configmaps","name":"by-ann"}
    "#]]).await;
    let root = UserInfo::new("root", ["system:masters"]);
    expect![[r#"
        201
          /metadata/name "by-ann"
    "#]]
    .assert_eq(
        &session
            .run_as(root, &create.replace("configmaps\n", "configmaps | /metadata/name\n"))
            .await,
    );
}
