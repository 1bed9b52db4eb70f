//! Requests for certificates: asked for, approved, signed.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use coracle_apiserver::authn::UserInfo;
use coracle_apiserver::pki::Pki;
use expect_test::expect;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

use crate::harness::{Session, check_as};

fn request(name: &str, group: &str) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, group);
    params.distinguished_name.push(DnType::CommonName, name);
    let request = params.serialize_request(&KeyPair::generate().unwrap()).unwrap();
    STANDARD.encode(request.pem().unwrap())
}

fn create(name: &str, request: &str) -> String {
    format!(
        "POST /apis/certificates.k8s.io/v1/certificatesigningrequests | /spec/username /spec/groups\n\
         {{\"metadata\":{{\"name\":\"{name}\"}},\"spec\":{{\"request\":\"{request}\",\
         \"signerName\":\"kubernetes.io/kube-apiserver-client\",\"usages\":[\"client auth\"],\"username\":\"forged\"}}}}"
    )
}

const APPROVE: &str = r#"
PATCH /apis/certificates.k8s.io/v1/certificatesigningrequests/ann/approval | /status/conditions/0/type
Content-Type: application/merge-patch+json
{"spec":{"signerName":"x"},"status":{"conditions":[{"type":"Approved","status":"True","reason":"Test","message":"m"}],"certificate":"Zm9yZ2Vk"}}
"#;

#[tokio::test]
async fn an_approved_request_is_signed() {
    let folder = tempfile::tempdir().unwrap();
    #[expect(clippy::disallowed_methods, reason = "certificates are dated by the real clock")]
    let now = jiff::Timestamp::now();
    let pki = Arc::new(Pki::open(folder.path(), now).unwrap());
    let session = Session::with(|config| config.signer = Some(pki)).await;
    let out = session
        .run_as(UserInfo::new("root", ["system:masters"]), &create("ann", &request("ann", "dev")))
        .await;
    expect![[r#"
        201
          /spec/username "root"
          /spec/groups ["system:masters","system:authenticated"]
    "#]]
    .assert_eq(&out);
    session
        .run(
            r#"
POST /apis/rbac.authorization.k8s.io/v1/clusterroles
{"metadata":{"name":"updater"},"rules":[{"apiGroups":["certificates.k8s.io"],"resources":["certificatesigningrequests/approval"],"verbs":["patch"]}]}

POST /apis/rbac.authorization.k8s.io/v1/clusterrolebindings
{"metadata":{"name":"updater"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"updater"},
 "subjects":[{"apiGroup":"rbac.authorization.k8s.io","kind":"User","name":"bea"}]}
"#,
        )
        .await;
    check_as(&session, "bea", APPROVE, expect![[r#"
        403 Forbidden: certificatesigningrequests.certificates.k8s.io "ann" is forbidden: user not permitted to approve requests with signerName "kubernetes.io/kube-apiserver-client"
          {"group":"certificates.k8s.io","kind":"certificatesigningrequests","name":"ann"}
    "#]]).await;
    let path = "GET /apis/certificates.k8s.io/v1/certificatesigningrequests/ann";
    assert!(session.value(path).await["status"]["certificate"].is_null());
    session
        .run(
            r#"
POST /apis/rbac.authorization.k8s.io/v1/clusterrolebindings
{"metadata":{"name":"approver"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole",
 "name":"system:certificates.k8s.io:kube-apiserver-client-approver"},
 "subjects":[{"apiGroup":"rbac.authorization.k8s.io","kind":"User","name":"bea"}]}
"#,
        )
        .await;
    check_as(
        &session,
        "bea",
        APPROVE,
        expect![[r#"
        200
          /status/conditions/0/type "Approved"
    "#]],
    )
    .await;
    let signed = session.value(path).await;
    assert_eq!(signed["spec"]["signerName"], "kubernetes.io/kube-apiserver-client");
    let certificate = STANDARD.decode(signed["status"]["certificate"].as_str().unwrap()).unwrap();
    assert!(certificate.starts_with(b"-----BEGIN CERTIFICATE-----"));
}

#[tokio::test]
async fn what_must_not_be_asked_for_is_refused() {
    let session = Session::start().await;
    let script = format!(
        "{}\n\n{}",
        create("root", &request("root", "system:masters")),
        create("junk", "anVuaw==")
    );
    let out = session.run(&script).await;
    expect![[r#"
        403 Forbidden: certificatesigningrequests.certificates.k8s.io "root" is forbidden: use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed
          {"group":"certificates.k8s.io","kind":"certificatesigningrequests","name":"root"}
        422 Invalid: CertificateSigningRequest.certificates.k8s.io "junk" is invalid: spec.request: Invalid value: "": must be a PEM block of type 'CERTIFICATE REQUEST', in base64
          {"causes":[{"field":"spec.request","message":"Invalid value: \"\": must be a PEM block of type 'CERTIFICATE REQUEST', in base64","reason":"FieldValueInvalid"}],"group":"certificates.k8s.io","kind":"CertificateSigningRequest","name":"junk"}
    "#]].assert_eq(&out);
}
