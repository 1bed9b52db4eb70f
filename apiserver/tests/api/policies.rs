//! Admission policies and webhooks: what they let in, change, refuse and warn of.

use std::convert::Infallible;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use coracle_apiserver::pki::Pki;
use expect_test::expect;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::harness::{Session, check};

const FEW: &str = r#"
POST /apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies | /metadata/name
{"metadata":{"name":"few"},"spec":{
 "matchConstraints":{"resourceRules":[{"apiGroups":["apps"],"apiVersions":["v1"],"operations":["CREATE","UPDATE"],"resources":["deployments"]}]},
 "variables":[{"name":"replicas","expression":"object.spec.replicas"}],
 "validations":[{"expression":"variables.replicas <= 5"},
  {"expression":"object.metadata.name != 'bad'","messageExpression":"'not ' + object.metadata.name","reason":"Forbidden"}]}}

POST /apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings | /metadata/name
{"metadata":{"name":"here"},"spec":{"policyName":"few","validationActions":["Deny"],
 "matchResources":{"namespaceSelector":{"matchLabels":{"kubernetes.io/metadata.name":"default"}}}}}

POST /apis/apps/v1/namespaces/default/deployments
{"metadata":{"name":"many"},"spec":{"replicas":6,"selector":{"matchLabels":{"a":"b"}},
 "template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}

POST /apis/apps/v1/namespaces/kube-system/deployments | /metadata/name
{"metadata":{"name":"many"},"spec":{"replicas":6,"selector":{"matchLabels":{"a":"b"}},
 "template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}

POST /apis/apps/v1/namespaces/default/deployments
{"metadata":{"name":"bad"},"spec":{"replicas":1,"selector":{"matchLabels":{"a":"b"}},
 "template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}

POST /apis/apps/v1/namespaces/default/deployments | /metadata/name
{"metadata":{"name":"good"},"spec":{"replicas":5,"selector":{"matchLabels":{"a":"b"}},
 "template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}

PATCH /apis/apps/v1/namespaces/default/deployments/good
Content-Type: application/merge-patch+json
{"spec":{"replicas":7}}

PUT /apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/here | /spec/validationActions
{"metadata":{"name":"here"},"spec":{"policyName":"few","validationActions":["Warn"]}}

PATCH /apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/here | /spec/validationActions
Content-Type: application/merge-patch+json
{"spec":{"validationActions":["Warn"]}}

PATCH /apis/apps/v1/namespaces/default/deployments/good | /spec/replicas
Content-Type: application/merge-patch+json
{"spec":{"replicas":7}}
"#;

#[tokio::test]
async fn a_policy_refuses_warns_and_may_be_ignored() {
    check(
        FEW,
        expect![[r#"
            201
              /metadata/name "few"
            201
              /metadata/name "here"
            422 Invalid: deployments.apps "many" is forbidden: ValidatingAdmissionPolicy 'few' with binding 'here' denied request: failed expression: variables.replicas <= 5
              {"causes":[{"message":"ValidatingAdmissionPolicy 'few' with binding 'here' denied request: failed expression: variables.replicas <= 5"}],"group":"apps","kind":"deployments","name":"many"}
            201
              /metadata/name "many"
            403 Forbidden: deployments.apps "bad" is forbidden: ValidatingAdmissionPolicy 'few' with binding 'here' denied request: not bad
              {"causes":[{"message":"ValidatingAdmissionPolicy 'few' with binding 'here' denied request: not bad"}],"group":"apps","kind":"deployments","name":"bad"}
            201
              /metadata/name "good"
            422 Invalid: deployments.apps "good" is forbidden: ValidatingAdmissionPolicy 'few' with binding 'here' denied request: failed expression: variables.replicas <= 5
              {"causes":[{"message":"ValidatingAdmissionPolicy 'few' with binding 'here' denied request: failed expression: variables.replicas <= 5"}],"group":"apps","kind":"deployments","name":"good"}
            422 Invalid: ValidatingAdmissionPolicyBinding.admissionregistration.k8s.io "here" is invalid: metadata.resourceVersion: Invalid value: 0x0: must be specified for an update
              {"causes":[{"field":"metadata.resourceVersion","message":"Invalid value: 0x0: must be specified for an update","reason":"FieldValueInvalid"}],"group":"admissionregistration.k8s.io","kind":"ValidatingAdmissionPolicyBinding","name":"here"}
            200
              /spec/validationActions ["Warn"]
            200
              ! 299 - "Validation failed for ValidatingAdmissionPolicy 'few' with binding 'here': failed expression: variables.replicas <= 5"
              /spec/replicas 7
        "#]],
    )
    .await;
}

const NAMED: &str = r#"
POST /apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies | /metadata/name
{"metadata":{"name":"named"},"spec":{"paramKind":{"apiVersion":"v1","kind":"ConfigMap"},
 "matchConstraints":{"resourceRules":[{"apiGroups":[""],"apiVersions":["v1"],"operations":["*"],"resources":["secrets"]}]},
 "matchConditions":[{"name":"not-free","expression":"request.operation != 'DELETE' && !object.metadata.name.startsWith('free')"}],
 "validations":[{"expression":"object.metadata.name.startsWith(params.data.prefix)","message":"the name must begin as the cluster wants it"}]}}

POST /apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings | /metadata/name
{"metadata":{"name":"b"},"spec":{"policyName":"named","validationActions":["Deny"],
 "paramRef":{"name":"p","namespace":"default","parameterNotFoundAction":"Deny"}}}

POST /api/v1/namespaces/default/secrets
{"metadata":{"name":"x"}}

POST /api/v1/namespaces/default/configmaps | /metadata/name
{"metadata":{"name":"p"},"data":{"prefix":"ok-"}}

POST /api/v1/namespaces/default/secrets
{"metadata":{"name":"x"}}

POST /api/v1/namespaces/default/secrets | /metadata/name
{"metadata":{"name":"ok-x"}}

POST /api/v1/namespaces/default/secrets | /metadata/name
{"metadata":{"name":"free-x"}}

DELETE /api/v1/namespaces/default/secrets/ok-x | /status

PATCH /api/v1/namespaces/default/configmaps/p | /data
Content-Type: application/merge-patch+json
{"data":{"prefix":null}}

POST /api/v1/namespaces/default/secrets
{"metadata":{"name":"ok-y"}}

PATCH /apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/named | /spec/failurePolicy
Content-Type: application/merge-patch+json
{"spec":{"failurePolicy":"Ignore"}}

POST /api/v1/namespaces/default/secrets | /metadata/name
{"metadata":{"name":"ok-y"}}
"#;

#[tokio::test]
async fn a_policy_has_parameters_and_may_fail() {
    check(
        NAMED,
        expect![[r#"
            201
              /metadata/name "named"
            201
              /metadata/name "b"
            422 Invalid: secrets "x" is forbidden: ValidatingAdmissionPolicy 'named' with binding 'b' denied request: failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction
              {"causes":[{"message":"ValidatingAdmissionPolicy 'named' with binding 'b' denied request: failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"}],"kind":"secrets","name":"x"}
            201
              /metadata/name "p"
            422 Invalid: secrets "x" is forbidden: ValidatingAdmissionPolicy 'named' with binding 'b' denied request: the name must begin as the cluster wants it
              {"causes":[{"message":"ValidatingAdmissionPolicy 'named' with binding 'b' denied request: the name must begin as the cluster wants it"}],"kind":"secrets","name":"x"}
            201
              /metadata/name "ok-x"
            201
              /metadata/name "free-x"
            200
              /status "Success"
            200
              /data -
            422 Invalid: secrets "ok-y" is forbidden: ValidatingAdmissionPolicy 'named' with binding 'b' denied request: expression 'object.metadata.name.startsWith(params.data.prefix)' resulted in error: No such key: data
              {"causes":[{"message":"ValidatingAdmissionPolicy 'named' with binding 'b' denied request: expression 'object.metadata.name.startsWith(params.data.prefix)' resulted in error: No such key: data"}],"kind":"secrets","name":"ok-y"}
            200
              /spec/failurePolicy "Ignore"
            201
              /metadata/name "ok-y"
        "#]],
    )
    .await;
}

/// Answers a review: names that begin with `bad` are refused, others get a label.
fn verdict(review: &Value) -> Value {
    let request = &review["request"];
    let name = request["object"]["metadata"]["name"].as_str().unwrap_or_default();
    let mut response = json!({"uid": request["uid"], "allowed": !name.starts_with("bad")});
    if name.starts_with("bad") {
        response["status"] =
            json!({"message": format!("{} says no", request["userInfo"]["username"]), "code": 422});
    } else {
        let patch = json!([{"op": "add", "path": "/metadata/labels", "value": {"seen": request["operation"]}}]);
        response["patch"] = json!(STANDARD.encode(patch.to_string()));
        response["patchType"] = json!("JSONPatch");
        response["warnings"] = json!(["looked at it"]);
    }
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    assert_eq!(request.uri().query(), Some("timeout=5s"));
    let bytes = request.into_body().collect().await.unwrap().to_bytes();
    let review = serde_json::from_slice(&bytes).unwrap();
    Ok(Response::new(Full::new(Bytes::from(verdict(&review).to_string()))))
}

/// Starts a webhook; gives its port, and its authority in base64.
async fn webhook() -> (u16, String) {
    webhook_for(&[]).await
}

/// The same, with a certificate for more names.
async fn webhook_for(names: &[String]) -> (u16, String) {
    let folder = tempfile::tempdir().unwrap();
    #[expect(clippy::disallowed_methods, reason = "TLS checks certificates against the real clock")]
    let pki = Pki::open(folder.path(), jiff::Timestamp::now()).unwrap();
    let tls = pki.server_config(&pki.issue_serving(names).unwrap()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = TlsAcceptor::from(Arc::clone(&tls));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            tokio::spawn(async move {
                let builder = Builder::new(TokioExecutor::new());
                let _ended =
                    builder.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
            });
        }
    });
    (port, STANDARD.encode(pki.ca_certificate()))
}

fn configuration(kind: &str, url: &str, authority: &str, policy: &str) -> String {
    configuration_of(kind, &json!({"url": url, "caBundle": authority}), policy)
}

fn configuration_of(kind: &str, client: &Value, policy: &str) -> String {
    let hook = json!({
        "name": "hook.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"], "timeoutSeconds": 5,
        "failurePolicy": policy, "clientConfig": client,
        "matchConditions": [{"name": "not-free", "expression": "object.metadata.name != 'free'"}],
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}],
    });
    let body = json!({"metadata": {"name": "c"}, "webhooks": [hook]});
    format!(
        "POST /apis/admissionregistration.k8s.io/v1/{kind}webhookconfigurations | /metadata/name\n{body}"
    )
}

const CREATES: &str = r#"
POST /api/v1/namespaces/default/configmaps | /metadata/labels
{"metadata":{"name":"good"}}

POST /api/v1/namespaces/default/configmaps
{"metadata":{"name":"bad"}}
"#;

#[tokio::test]
async fn a_webhook_changes_warns_and_refuses() {
    let (port, authority) = webhook().await;
    let session = Session::start().await;
    session
        .run(&configuration("mutating", &format!("https://127.0.0.1:{port}/m"), &authority, "Fail"))
        .await;
    let out = session.run(CREATES).await;
    expect![[r#"
        201
          ! 299 - "looked at it"
          /metadata/labels {"seen":"CREATE"}
        422 Invalid: admission webhook "hook.example.com" denied the request: "admin" says no
    "#]]
    .assert_eq(&out);
}

#[tokio::test]
async fn a_webhook_that_fails_counts_as_its_policy_says() {
    let (port, authority) = webhook().await;
    // A validating webhook may not change anything, so its patch is a failure; the refusal still counts.
    for policy in ["Fail", "Ignore"] {
        let session = Session::start().await;
        session
            .run(&configuration(
                "validating",
                &format!("https://127.0.0.1:{port}/v"),
                &authority,
                policy,
            ))
            .await;
        let out = session.run(CREATES).await.replace(&port.to_string(), "PORT");
        let expected = match policy {
            "Fail" => expect![[r#"
                500 InternalError: Internal error occurred: failed calling webhook "hook.example.com": webhook returned response.patch but not response.patchType 'JSONPatch', or may not change anything
                  {"causes":[{"message":"failed calling webhook \"hook.example.com\": webhook returned response.patch but not response.patchType 'JSONPatch', or may not change anything"}]}
                422 Invalid: admission webhook "hook.example.com" denied the request: "admin" says no
            "#]],
            _ => expect![[r#"
                201
                  /metadata/labels -
                422 Invalid: admission webhook "hook.example.com" denied the request: "admin" says no
            "#]],
        };
        expected.assert_eq(&out);
    }
    // Nobody vouches for the server.
    let session = Session::start().await;
    let (_, other) = webhook().await;
    session
        .run(&configuration("validating", &format!("https://127.0.0.1:{port}/v"), &other, "Fail"))
        .await;
    let out = session.run(CREATES).await;
    assert!(out.contains("500 InternalError") && out.contains("certificate"), "{out}");
}

#[tokio::test]
async fn a_webhook_behind_a_service_is_asked() {
    let (port, authority) = webhook_for(&["hook.qa.svc".to_owned()]).await;
    let session = Session::start().await;
    let client = json!({"service": {"namespace": "qa", "name": "hook", "path": "/m", "port": port}, "caBundle": authority});
    session.run(&configuration_of("mutating", &client, "Fail")).await;
    let create = "POST /api/v1/namespaces/default/configmaps | /metadata/labels\n{\"metadata\":{\"name\":\"NAME\"}}";
    let before = session.run(&create.replace("NAME", "early")).await;
    assert!(before.contains("service/hook in \"qa\" is not present"), "{before}");
    let service = r#"
POST /api/v1/namespaces | /metadata/name
{"metadata":{"name":"qa"}}

POST /api/v1/namespaces/qa/services | /metadata/name
{"metadata":{"name":"hook"},"spec":{"type":"ExternalName","externalName":"localhost"}}
"#;
    session.run(service).await;
    let out = [CREATES, &create.replace("NAME", "free")].join("\n");
    expect![[r#"
        201
          ! 299 - "looked at it"
          /metadata/labels {"seen":"CREATE"}
        422 Invalid: admission webhook "hook.example.com" denied the request: "admin" says no
        201
          /metadata/labels -
    "#]]
    .assert_eq(&session.run(&out).await);
}

#[tokio::test]
async fn a_policys_mistakes_about_types_are_told() {
    let session = Session::start().await;
    let policy = json!({"metadata": {"name": "typed"}, "spec": {
        "matchConstraints": {"resourceRules": [{"apiGroups": ["apps"], "apiVersions": ["v1"],
            "operations": ["*"], "resources": ["deployments"]}]},
        "validations": [{"expression": "object.spec.replicas > '1'",
            "messageExpression": "'got ' + object.spec.replicas"}, {"expression": "object.spec.replicas > 1"}]}});
    let path = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
    session.run(&format!("POST {path} | /metadata/name\n{policy}")).await;
    let checked = async {
        loop {
            let found = session.value(&format!("GET {path}/typed")).await;
            if found["status"]["observedGeneration"] == found["metadata"]["generation"] {
                break found["status"].clone();
            }
            tokio::task::yield_now().await;
        }
    };
    let status = tokio::time::timeout(std::time::Duration::from_secs(120), checked).await.unwrap();
    expect![[r#"{"expressionWarnings":[{"fieldRef":"spec.validations[0].expression","warning":"apps/v1, Kind=Deployment: ERROR: <input>: found no matching overload for '_>_' applied to '(int, string)'\n | object.spec.replicas > '1'"},{"fieldRef":"spec.validations[0].messageExpression","warning":"apps/v1, Kind=Deployment: ERROR: <input>: found no matching overload for '_+_' applied to '(string, int)'\n | 'got ' + object.spec.replicas"}]}"#]].assert_eq(&status["typeChecking"].to_string());
}
