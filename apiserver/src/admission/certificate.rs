//! Requests for certificates: who asks is written in, and not everybody may approve.
//!
//! *Source:* the `CertificateApproval` and `CertificateSubjectRestriction` admission plugins, and the strategy of
//! `CertificateSigningRequest`.

use super::{Operation, Request};
use crate::authz::{Attributes, Authorizer, Decision};
use crate::pki::subject_of_request;
use crate::review::user_value;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use coracle_api::field_error::FieldError;
use coracle_api::status::Status;
use serde_json::Value;

/// The API group of the kind.
const GROUP: &str = "certificates.k8s.io";

/// Whether a write is about a request for a certificate.
fn is_request(request: &Request<'_>) -> bool {
    request.kind.group == GROUP && request.kind.kind == "CertificateSigningRequest"
}

/// The request itself, PEM.
pub(crate) fn pem_of(object: &Value) -> Option<String> {
    let bytes = STANDARD.decode(object["spec"]["request"].as_str()?).ok()?;
    String::from_utf8(bytes).ok()
}

/// Writes into a new request who asks, and keeps what was asked for.
///
/// # Errors
/// 422 when it holds no request for a certificate, 403 when it asks for `system:masters`.
pub(super) fn admit(
    request: &Request<'_>,
    object: &mut Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    if !is_request(request) {
        return Ok(());
    }
    if let Some(old) = old {
        object["spec"] = old["spec"].clone();
        return Ok(());
    }
    if request.operation != Operation::Create || !request.subresource.is_empty() {
        return Ok(());
    }
    if let Some(spec) = object["spec"].as_object_mut() {
        for field in ["username", "uid", "groups", "extra"] {
            spec.remove(field);
        }
        if let Value::Object(user) = user_value(request.user) {
            spec.extend(user);
        }
    }
    let subject = pem_of(object).and_then(|pem| subject_of_request(&pem).ok());
    let Some(subject) = subject else {
        let why = "must be a PEM block of type 'CERTIFICATE REQUEST', in base64";
        let error = FieldError::invalid("spec.request", "", why);
        return Err(Status::invalid(&request.kind.group_kind(), request.name, vec![error]));
    };
    let signer = object["spec"]["signerName"].as_str().unwrap_or_default();
    let masters = subject.groups.iter().any(|group| group == crate::authn::MASTERS);
    if signer == "kubernetes.io/kube-apiserver-client" && masters {
        let why = "use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed";
        return Err(request.forbidden(why));
    }
    Ok(())
}

/// Checks that a user may approve for the signer.
///
/// # Errors
/// 403.
pub(crate) fn check_approval(
    request: &Request<'_>,
    object: &Value,
    authorizer: &Authorizer,
) -> Result<(), Status> {
    if !is_request(request) || request.subresource != "approval" {
        return Ok(());
    }
    let signer = object["spec"]["signerName"].as_str().unwrap_or_default();
    let all = signer.split_once('/').map(|(domain, _)| format!("{domain}/*")).unwrap_or_default();
    let may = |name: &str| {
        let attributes = Attributes {
            verb: "approve",
            group: GROUP,
            resource: "signers",
            name,
            ..Attributes::default()
        };
        matches!(authorizer.authorize(request.user, &attributes), Decision::Allow(_))
    };
    if may(signer) || may(&all) {
        return Ok(());
    }
    Err(request
        .forbidden(format!("user not permitted to approve requests with signerName {signer:?}")))
}
