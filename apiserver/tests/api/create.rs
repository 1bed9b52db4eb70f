//! `POST` on collections.

use crate::harness::{Session, check};
use expect_test::expect;

#[tokio::test]
async fn an_object_gets_its_metadata_and_defaults() {
    check(
        r#"
POST /api/v1/namespaces/default/configmaps
{"metadata":{"name":"a","resourceVersion":"","generation":9,"deletionTimestamp":"2020-01-01T00:00:00Z"},"data":{"x":"1"}}

POST /api/v1/namespaces/default/secrets | /type /data
{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a"},"stringData":{"x":"1"}}

POST /apis/apps/v1/namespaces/default/deployments | /metadata/generation /spec/strategy /spec/replicas /status
{"metadata":{"name":"a"},"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}
"#,
        expect![[r#"
            201 {"apiVersion":"v1","data":{"x":"1"},"kind":"ConfigMap","metadata":{"creationTimestamp":"TIME","name":"a","namespace":"default","resourceVersion":"RV","uid":"UID"}}
            201
              /type "Opaque"
              /data {"x":"MQ=="}
            201
              /metadata/generation 1
              /spec/strategy {"rollingUpdate":{"maxSurge":"25%","maxUnavailable":"25%"},"type":"RollingUpdate"}
              /spec/replicas 1
              /status {}
        "#]],
    )
    .await;
}

#[tokio::test]
async fn a_second_object_of_the_name_is_refused() {
    check(
        r#"
POST /api/v1/namespaces | /metadata/name
{"metadata":{"name":"a"}}

POST /api/v1/namespaces
{"metadata":{"name":"a"}}
"#,
        expect![[r#"
            201
              /metadata/name "a"
            409 AlreadyExists: namespaces "a" already exists
              {"kind":"namespaces","name":"a"}
        "#]],
    )
    .await;
}

#[tokio::test]
async fn generated_names_have_a_random_suffix() {
    let session = Session::start().await;
    let body = r#"{"metadata":{"generateName":"web-"}}"#;
    let request = format!("POST /api/v1/namespaces/default/configmaps\n{body}");
    let (first, second) = (session.value(&request).await, session.value(&request).await);
    let name = |value: &serde_json::Value| value["metadata"]["name"].as_str().unwrap().to_owned();
    assert_eq!((name(&first).len(), &name(&first)[..4]), (9, "web-"));
    assert_ne!(name(&first), name(&second));
}

#[tokio::test]
async fn what_does_not_belong_is_refused() {
    check(
        r#"
POST /api/v1/namespaces/default/configmaps
{"kind":"Secret","metadata":{"name":"a"}}

POST /api/v1/namespaces/default/configmaps
{"apiVersion":"v2","metadata":{"name":"a"}}

POST /api/v1/namespaces/default/configmaps
{"metadata":{"name":"a","namespace":"other"}}

POST /api/v1/namespaces/default/configmaps
{"metadata":{"name":"a","resourceVersion":"5"}}

POST /api/v1/namespaces/nowhere/configmaps
{"metadata":{"name":"a"}}

POST /api/v1/namespaces/default/configmaps
{"metadata":{}}

POST /api/v1/namespaces/default/configmaps
{"metadata":{"name":"Not_Valid"}}

POST /api/v1/configmaps
{"metadata":{"name":"a"}}

POST /api/v1/namespaces/default/configmaps/a
{"metadata":{"name":"a"}}
"#,
        expect![[r#"
            400 BadRequest: Secret in version "v1" cannot be handled as a ConfigMap: no kind "Secret" is registered for version "v1"
            400 BadRequest: the API version in the data (v2) does not match the expected API version (v1)
            400 BadRequest: the namespace of the provided object does not match the namespace sent on the request
            400 BadRequest: resourceVersion should not be set on objects to be created
            404 NotFound: namespaces "nowhere" not found
              {"kind":"namespaces","name":"nowhere"}
            422 Invalid: ConfigMap "" is invalid: metadata.name: Required value: name or generateName is required
              {"causes":[{"field":"metadata.name","message":"Required value: name or generateName is required","reason":"FieldValueRequired"}],"kind":"ConfigMap"}
            422 Invalid: ConfigMap "Not_Valid" is invalid: metadata.name: Invalid value: "Not_Valid": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
              {"causes":[{"field":"metadata.name","message":"Invalid value: \"Not_Valid\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')","reason":"FieldValueInvalid"}],"kind":"ConfigMap","name":"Not_Valid"}
            405 MethodNotAllowed: the server does not allow this method on the requested resource
              {}
            405 MethodNotAllowed: the server does not allow this method on the requested resource
              {}
        "#]],
    )
    .await;
}

#[tokio::test]
async fn bodies_that_cannot_be_read() {
    check(
        r#"
POST /api/v1/namespaces/default/configmaps
{"metadata":

POST /api/v1/namespaces/default/configmaps
{"metadata":{"name":"a"},"data":{"x":1}}

POST /api/v1/namespaces/default/configmaps
Content-Type: text/html
x

POST /api/v1/namespaces/default/configmaps | /data
Content-Type: application/yaml
{metadata: {name: yaml}, data: {x: "1"}}
"#,
        expect![[r#"
            400 BadRequest: the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: EOF while parsing a value at line 1 column 12
            400 BadRequest: ConfigMap in version "v1" cannot be handled as a ConfigMap: json: cannot unmarshal number into Go struct field ConfigMap.data.x of type string (put it in quotes: "1")
            415 UnsupportedMediaType: the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf
            201
              /data {"x":"1"}
        "#]],
    )
    .await;
}

#[tokio::test]
async fn unknown_fields_by_field_validation() {
    check(
        r#"
POST /apis/apps/v1/namespaces/default/deployments?fieldValidation=Strict
{"metadata":{"name":"a"},"spec":{"replica":1,"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i","imge":"x"}]}}}}

POST /api/v1/namespaces/default/configmaps | /data
{"metadata":{"name":"a"},"dat":{"x":"1"},"data":{"x":"1","x":"2"}}

POST /api/v1/namespaces/default/configmaps?fieldValidation=Ignore | /data
{"metadata":{"name":"b"},"dat":{"x":"1"}}

POST /api/v1/namespaces/default/configmaps?fieldValidation=Maybe
{"metadata":{"name":"b"}}
"#,
        expect![[r#"
            400 BadRequest: Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: unknown field "spec.replica", unknown field "spec.template.spec.containers[0].imge"
            201
              ! 299 - "unknown field \"dat\""
              ! 299 - "duplicate field \"data.x\""
              /data {"x":"2"}
            201
              /data -
            422 Invalid: CreateOptions.meta.k8s.io "" is invalid: fieldValidation: Unsupported value: "Maybe": supported values: "", "Ignore", "Strict", "Warn"
              {"causes":[{"field":"fieldValidation","message":"Unsupported value: \"Maybe\": supported values: \"\", \"Ignore\", \"Strict\", \"Warn\"","reason":"FieldValueNotSupported"}],"group":"meta.k8s.io","kind":"CreateOptions"}
        "#]],
    )
    .await;
}

#[tokio::test]
async fn a_dry_run_stores_nothing() {
    check(
        r#"
POST /api/v1/namespaces/default/configmaps?dryRun=All | /metadata/name /metadata/resourceVersion
{"metadata":{"name":"a"}}

GET /api/v1/namespaces/default/configmaps/a

POST /api/v1/namespaces/default/configmaps?dryRun=Some
{"metadata":{"name":"a"}}
"#,
        expect![[r#"
            201
              /metadata/name "a"
              /metadata/resourceVersion -
            404 NotFound: configmaps "a" not found
              {"kind":"configmaps","name":"a"}
            422 Invalid: CreateOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: ["Some"]: supported values: "All"
              {"causes":[{"field":"dryRun","message":"Unsupported value: [\"Some\"]: supported values: \"All\"","reason":"FieldValueNotSupported"}],"group":"meta.k8s.io","kind":"CreateOptions"}
        "#]],
    )
    .await;
}

#[tokio::test]
async fn fields_without_meaning_are_warned_about() {
    check(
        r#"
POST /api/v1/namespaces/default/serviceaccounts | /metadata/name
{"metadata":{"name":"default"}}

POST /api/v1/namespaces/default/pods | /spec/hostPID
{"metadata":{"name":"a"},"spec":{"hostPID":true,"containers":[{"name":"c","image":"i"}]}}
"#,
        expect![[r#"
            201
              /metadata/name "default"
            201
              ! 299 - "spec.hostPID: has no effect on Coracle: components have no process table to share"
              /spec/hostPID true
        "#]],
    )
    .await;
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let session = Session::start().await;
    let data = "x".repeat(4 * 1024 * 1024);
    let request = format!(
        r#"POST /api/v1/namespaces/default/configmaps
{{"metadata":{{"name":"a"}},"data":{{"x":"{data}"}}}}"#
    );
    expect![[r#"
        413 RequestEntityTooLarge: Request entity too large: limit is 3145728
    "#]]
    .assert_eq(&session.run(&request).await);
}

#[tokio::test]
async fn a_grace_period_below_zero_is_warned_of() {
    check(
        r#"
POST /api/v1/namespaces/default/serviceaccounts | /metadata/name
{"metadata":{"name":"default"}}

POST /api/v1/namespaces/default/pods | /spec/terminationGracePeriodSeconds
{"metadata":{"name":"a"},"spec":{"terminationGracePeriodSeconds":-1,"nodeName":"n","containers":[{"name":"c","image":"i"}]}}

DELETE /api/v1/namespaces/default/pods/a | /metadata/deletionGracePeriodSeconds
"#,
        expect![[r#"
            201
              /metadata/name "default"
            201
              ! 299 - "spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"
              /spec/terminationGracePeriodSeconds -1
            200
              /metadata/deletionGracePeriodSeconds 1
        "#]],
    )
    .await;
}

#[tokio::test]
async fn what_a_kind_is_not_is_refused_at_creation_and_change() {
    check(
        r#"
POST /apis/storage.k8s.io/v1/csidrivers
{"metadata":{"name":"a.example.com"},"spec":{"fsGroupPolicy":"Q"}}

POST /apis/storage.k8s.io/v1/csidrivers | /spec/attachRequired
{"metadata":{"name":"a.example.com"},"spec":{}}

PATCH /apis/storage.k8s.io/v1/csidrivers/a.example.com
Content-Type: application/merge-patch+json
{"spec":{"attachRequired":false}}

PATCH /apis/flowcontrol.apiserver.k8s.io/v1/flowschemas/own/status
Content-Type: application/merge-patch+json
{"status":{"conditions":[{"type":"","status":"True"}]}}

POST /apis/flowcontrol.apiserver.k8s.io/v1/flowschemas | /metadata/name
{"metadata":{"name":"own"},"spec":{"matchingPrecedence":50,"priorityLevelConfiguration":{"name":"exempt"}}}

PATCH /apis/flowcontrol.apiserver.k8s.io/v1/flowschemas/own/status
Content-Type: application/merge-patch+json
{"status":{"conditions":[{"type":"","status":"True"}]}}
"#,
        expect![[r#"
            422 Invalid: CSIDriver.storage.k8s.io "a.example.com" is invalid: spec.fsGroupPolicy: Unsupported value: "Q": supported values: "File", "None", "ReadWriteOnceWithFSType"
              {"causes":[{"field":"spec.fsGroupPolicy","message":"Unsupported value: \"Q\": supported values: \"File\", \"None\", \"ReadWriteOnceWithFSType\"","reason":"FieldValueNotSupported"}],"group":"storage.k8s.io","kind":"CSIDriver","name":"a.example.com"}
            201
              /spec/attachRequired true
            422 Invalid: CSIDriver.storage.k8s.io "a.example.com" is invalid: spec.attachedRequired: Invalid value: false: field is immutable
              {"causes":[{"field":"spec.attachedRequired","message":"Invalid value: false: field is immutable","reason":"FieldValueInvalid"}],"group":"storage.k8s.io","kind":"CSIDriver","name":"a.example.com"}
            404 NotFound: flowschemas.flowcontrol.apiserver.k8s.io "own" not found
              {"group":"flowcontrol.apiserver.k8s.io","kind":"flowschemas","name":"own"}
            201
              /metadata/name "own"
            422 Invalid: FlowSchema.flowcontrol.apiserver.k8s.io "own" is invalid: status.conditions[0].type: Required value
              {"causes":[{"field":"status.conditions[0].type","message":"Required value","reason":"FieldValueRequired"}],"group":"flowcontrol.apiserver.k8s.io","kind":"FlowSchema","name":"own"}
        "#]],
    )
    .await;
}
