//! Rules for CertificateSigningRequests. What is asked for is read where the request is admitted.
//!
//! *Source:* `pkg/apis/certificates/validation`.

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::{Errors, items, metadata, number, text};
use crate::field_error::{FieldError, Path};
use crate::names;
use crate::text::go_quote;

const SPEC: Path<'static> = Path::root("spec");
const STATUS: Path<'static> = Path::root("status");

/// Shortest life that may be asked for.
const EXPIRATION_SECONDS_MIN: i64 = 600;

/// What a certificate may be for, in the order of the message.
const USAGES: &[&str] = &[
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

/// Conditions that are true or absent.
const TRUE_CONDITIONS: [&str; 3] = ["Approved", "Denied", "Failed"];

/// Which part of a request is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Main,
    Status,
    Approval,
}

/// Checks a new request.
pub fn validate(object: &Value) -> Errors {
    let mut errors = metadata::validate(object, false, names::path_segment);
    check(&mut errors, object, None);
    errors
}

/// Checks a changed request.
pub fn validate_update(new: &Value, old: &Value) -> Errors {
    changed(new, old, Part::Main)
}

/// Checks a changed status of a request: its signer's.
pub fn validate_status_update(new: &Value, old: &Value) -> Errors {
    changed(new, old, Part::Status)
}

/// Checks what whoever approves or denies a request made of it.
pub fn validate_approval_update(new: &Value, old: &Value) -> Errors {
    changed(new, old, Part::Approval)
}

fn changed(new: &Value, old: &Value, part: Part) -> Errors {
    let mut errors = Errors::new();
    check(&mut errors, new, Some(old));
    let path = STATUS.child("conditions");
    for kind in TRUE_CONDITIONS {
        if conditions(new, kind).len() < conditions(old, kind).len() {
            let words = format!("updates may not remove a condition of type {}", go_quote(kind));
            errors.push(FieldError::forbidden(path, words));
        }
    }
    if part != Part::Approval {
        for kind in ["Approved", "Denied"] {
            let (now, before) = (conditions(new, kind), conditions(old, kind));
            let verb = match now.len().cmp(&before.len()) {
                std::cmp::Ordering::Greater => "add",
                std::cmp::Ordering::Equal if now != before => "modify",
                std::cmp::Ordering::Equal | std::cmp::Ordering::Less => continue,
            };
            let words = format!("updates may not {verb} a condition of type {}", go_quote(kind));
            errors.push(FieldError::forbidden(path, words));
        }
    }
    let (now, before) = (certificate(new), certificate(old));
    if now != before {
        let path = STATUS.child("certificate");
        if part != Part::Status {
            let words = "updates may not set certificate content";
            errors.push(FieldError::forbidden(path, words));
        } else if !before.is_empty() {
            let words = "updates may not modify existing certificate content";
            errors.push(FieldError::forbidden(path, words));
        }
    }
    errors.extend(metadata::validate_update(new, old));
    errors
}

fn conditions<'a>(object: &'a Value, kind: &str) -> Vec<&'a Value> {
    let all = items(&object["status"], "conditions").iter();
    all.filter(|condition| condition["type"] == kind).collect()
}

fn certificate(object: &Value) -> &str {
    text(&object["status"], "certificate")
}

/// Checks the whole of a request; what the old one has already is left as it is.
fn check(errors: &mut Errors, object: &Value, old: Option<&Value>) {
    let spec = &object["spec"];
    check_usages(errors, spec, old.map(|old| &old["spec"]));
    let signer = text(spec, "signerName");
    let path = SPEC.child("signerName");
    let legacy = "kubernetes.io/legacy-unknown";
    if signer == legacy && old.is_none_or(|old| old["spec"]["signerName"] != legacy) {
        let words = "the legacy signerName is not allowed via this API version";
        errors.push(FieldError::invalid(path, signer, words));
    } else {
        check_signer(errors, &path, signer);
    }
    let seconds = number(spec, "expirationSeconds");
    if let Some(seconds) = seconds.filter(|seconds| *seconds < EXPIRATION_SECONDS_MIN) {
        let words = "may not specify a duration less than 600 seconds (10 minutes)";
        errors.push(FieldError::invalid(SPEC.child("expirationSeconds"), seconds, words));
    }
    check_conditions(errors, object, old);
    let pem = certificate(object);
    if old.is_none_or(|old| certificate(old) != pem)
        && let Err(words) = check_certificate(pem)
    {
        let path = STATUS.child("certificate");
        errors.push(FieldError::invalid(path, "<certificate data>", words));
    }
}

fn check_usages(errors: &mut Errors, spec: &Value, old: Option<&Value>) {
    let path = SPEC.child("usages");
    let usages = |spec: &Value| -> Vec<String> {
        items(spec, "usages").iter().filter_map(|one| one.as_str().map(str::to_owned)).collect()
    };
    let is_unknown = |usage: &String| !USAGES.contains(&usage.as_str());
    let all = usages(spec);
    if all.is_empty() {
        errors.push(FieldError::required(path, ""));
    }
    let before = old.map(usages).unwrap_or_default();
    if !before.iter().any(is_unknown) {
        for (index, usage) in all.iter().enumerate().filter(|(_, usage)| is_unknown(usage)) {
            errors.push(FieldError::not_supported(path.index(index), usage, USAGES));
        }
    }
    if doubles(&before).is_empty() {
        for (index, usage) in doubles(&all) {
            errors.push(FieldError::duplicate(path.index(index), usage));
        }
    }
}

/// Gives what was there before, and where it is again.
fn doubles(all: &[String]) -> Vec<(usize, &str)> {
    let mut seen = HashSet::new();
    let all = all.iter().map(String::as_str).enumerate();
    all.filter(|(_, one)| !seen.insert(*one)).collect()
}

/// Checks the name of a signer: `example.com/signer`.
fn check_signer(errors: &mut Errors, path: &Path<'_>, signer: &str) {
    if signer.is_empty() {
        return errors.push(FieldError::required(path, ""));
    }
    let (Some((domain, name)), 1) = (signer.split_once('/'), signer.matches('/').count()) else {
        let words =
            "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        return errors.push(FieldError::invalid(path, signer, words));
    };
    let domain_max = names::DNS1123_SUBDOMAIN_BYTES_MAX;
    if domain.len() > domain_max {
        errors.push(FieldError::too_long(path, domain_max));
    }
    check_labels(errors, path, domain, names::dns1123_label);
    if !domain.contains('.') {
        let words = "should be a domain with at least two segments separated by dots";
        errors.push(FieldError::invalid(path, domain, words));
    }
    check_labels(errors, path, name, names::dns1123_subdomain);
    let max = domain_max + 1 + names::DNS1123_LABEL_BYTES_MAX + 1 + domain_max;
    if signer.len() > max {
        errors.push(FieldError::too_long(path, max));
    }
}

/// Checks the labels of a part of a signer's name up to the first that is wrong.
fn check_labels(errors: &mut Errors, path: &Path<'_>, part: &str, rule: fn(&str) -> Vec<String>) {
    let wrong = part.split('.').map(|label| (label, rule(label))).find(|(_, all)| !all.is_empty());
    let Some((label, all)) = wrong else { return };
    for words in all {
        let words = format!("validating label {}: {words}", go_quote(label));
        errors.push(FieldError::invalid(path, part, words));
    }
}

fn check_conditions(errors: &mut Errors, object: &Value, old: Option<&Value>) {
    let path = STATUS.child("conditions");
    let is_both = |object: &Value| {
        ["Approved", "Denied"].iter().all(|kind| !conditions(object, kind).is_empty())
    };
    let types = |object: &Value| -> Vec<String> {
        let all = items(&object["status"], "conditions").iter();
        all.map(|condition| text(condition, "type").to_owned()).collect()
    };
    let may_be_both = old.is_some_and(is_both);
    let before = old.map(types).unwrap_or_default();
    let may_be_double = !doubles(&before).is_empty();
    let may_be_empty = before.iter().any(String::is_empty);
    let mut seen = HashSet::new();
    for (index, condition) in items(&object["status"], "conditions").iter().enumerate() {
        let (path, kind) = (path.index(index), text(condition, "type"));
        if kind.is_empty() && !may_be_empty {
            errors.push(FieldError::required(path.child("type"), ""));
        }
        let only_true = TRUE_CONDITIONS.contains(&kind);
        let known: &[&str] = if only_true { &["True"] } else { &["False", "True", "Unknown"] };
        let status = text(condition, "status");
        super::one_of(errors, path.child("status"), status, known);
        let other = if kind == "Approved" { "Denied" } else { "Approved" };
        if matches!(kind, "Approved" | "Denied") && seen.contains(other) && !may_be_both {
            let words = "Approved and Denied conditions are mutually exclusive";
            errors.push(FieldError::invalid(STATUS.child("conditions"), kind, words));
        }
        if !seen.insert(kind) && !may_be_double {
            errors.push(FieldError::duplicate(path.child("type"), kind));
        }
    }
}

/// Checks that a certificate is PEM blocks of certificates, in base64 as bytes are in JSON.
fn check_certificate(data: &str) -> Result<(), String> {
    if data.is_empty() {
        return Ok(());
    }
    let bytes = STANDARD.decode(data).unwrap_or_default();
    let pem = String::from_utf8_lossy(&bytes);
    let mut blocks = 0;
    for block in pem.split("-----BEGIN ").skip(1) {
        let Some((kind, rest)) = block.split_once("-----") else { break };
        if kind != "CERTIFICATE" {
            return Err(format!(
                "only CERTIFICATE PEM blocks are allowed, found {}",
                go_quote(kind)
            ));
        }
        let Some((body, _)) = rest.split_once("-----END CERTIFICATE-----") else { break };
        if body.contains(':') {
            return Err("no PEM block headers are permitted".to_owned());
        }
        let body: String = body.split_whitespace().collect();
        // A certificate is a sequence, whose first byte this is.
        if STANDARD.decode(body).unwrap_or_default().first() != Some(&0x30) {
            return Err("x509: malformed certificate".to_owned());
        }
        blocks += 1;
    }
    if blocks == 0 {
        return Err("must contain at least one CERTIFICATE PEM block".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use super::*;
    use serde_json::json;

    fn request(change: Value) -> Value {
        let mut object = json!({"metadata": {"name": "a:b"}, "spec": {"request": "",
            "signerName": "example.com/own", "usages": ["client auth"]}});
        object["spec"].as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        object
    }

    fn with(conditions: Value, certificate: &str) -> Value {
        let mut object = request(json!({}));
        object["status"] = json!({"conditions": conditions, "certificate": certificate});
        object
    }

    #[test]
    fn what_is_asked_for() {
        check(validate(&request(json!({"expirationSeconds": 600}))), &[]);
        check(
            validate(&request(json!({"expirationSeconds": 60, "usages": []}))),
            &[
                "spec.usages: Required value",
                "spec.expirationSeconds: Invalid value: 60: may not specify a duration less than 600 seconds (10 minutes)",
            ],
        );
        let found = validate(&request(json!({"usages": ["fun", "signing", "signing"]})));
        assert!(found[0].to_string().starts_with(
            "spec.usages[0]: Unsupported value: \"fun\": supported values: \"any\", \"cert sign\""
        ));
        check(found[1..].to_vec(), &["spec.usages[2]: Duplicate value: \"signing\""]);
    }

    #[test]
    fn names_of_signers() {
        for (signer, expected) in [
            ("", "spec.signerName: Required value"),
            (
                "a.b",
                "spec.signerName: Invalid value: \"a.b\": must be a fully qualified domain and path of the form 'example.com/signer-name'",
            ),
            (
                "a/b",
                "spec.signerName: Invalid value: \"a\": should be a domain with at least two segments separated by dots",
            ),
            (
                "kubernetes.io/legacy-unknown",
                "spec.signerName: Invalid value: \"kubernetes.io/legacy-unknown\": the legacy signerName is not allowed via this API version",
            ),
        ] {
            check(validate(&request(json!({"signerName": signer}))), &[expected]);
        }
        let found = validate(&request(json!({"signerName": "A.b/c"})));
        let begins = "spec.signerName: Invalid value: \"A.b\": validating label \"A\": a lowercase";
        assert!(found.len() == 1 && found[0].to_string().starts_with(begins), "{found:?}");
    }

    #[test]
    fn who_may_write_what() {
        let approved = json!([{"type": "Approved", "status": "True", "reason": "r"}]);
        let none = with(json!([]), "");
        let yes = with(approved.clone(), "");
        check(validate_approval_update(&yes, &none), &[]);
        for rule in [validate_update, validate_status_update] {
            let words = "status.conditions: Forbidden: updates may not add a condition of type \"Approved\"";
            check(rule(&yes, &none), &[words]);
        }
        check(
            validate_approval_update(&none, &yes),
            &[
                "status.conditions: Forbidden: updates may not remove a condition of type \"Approved\"",
            ],
        );
        let both = with(
            json!([approved[0], {"type": "Denied", "status": "False"}, {"type": "", "status": ""}]),
            "",
        );
        check(
            validate_approval_update(&both, &yes),
            &[
                "status.conditions[1].status: Unsupported value: \"False\": supported values: \"True\"",
                "status.conditions: Invalid value: \"Denied\": Approved and Denied conditions are mutually exclusive",
                "status.conditions[2].type: Required value",
                "status.conditions[2].status: Required value",
            ],
        );
    }

    #[test]
    fn conditions_that_were_wrong_before_may_stay() {
        let condition = |kind: &str| json!({"type": kind, "status": "True"});
        let (ready, empty) = (condition("Ready"), condition(""));
        let double = "status.conditions[1].type: Duplicate value: \"Ready\"";
        let missing = "status.conditions[0].type: Required value";
        for (old, new, expected) in [
            (json!([ready]), json!([ready, ready]), vec![double]),
            (json!([ready, ready]), json!([ready, ready, condition("Other")]), vec![]),
            (json!([ready]), json!([empty]), vec![missing]),
            (json!([empty]), json!([empty, ready]), vec![]),
            (json!([empty]), json!([ready, ready]), vec![double]),
            (json!([ready, ready]), json!([empty]), vec![missing]),
        ] {
            check(validate_status_update(&with(new, ""), &with(old, "")), &expected);
        }
    }

    #[test]
    fn a_certificate_is_set_once_by_its_signer() {
        let pem = |text: &str| STANDARD.encode(text);
        let block = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
        let (none, signed) = (with(json!([]), ""), with(json!([]), &pem(block)));
        check(validate_status_update(&signed, &none), &[]);
        let words = "status.certificate: Forbidden: updates may not set certificate content";
        check(validate_approval_update(&signed, &none), &[words]);
        let other = with(json!([]), &pem(&block.repeat(2)));
        let words =
            "status.certificate: Forbidden: updates may not modify existing certificate content";
        check(validate_status_update(&other, &signed), &[words]);
        for (text, words) in [
            ("junk", "must contain at least one CERTIFICATE PEM block"),
            (
                "-----BEGIN KEY-----\nMIIB\n-----END KEY-----\n",
                "only CERTIFICATE PEM blocks are allowed, found \"KEY\"",
            ),
        ] {
            let line =
                format!("status.certificate: Invalid value: \"<certificate data>\": {words}");
            check(validate_status_update(&with(json!([]), &pem(text)), &none), &[&line]);
        }
    }
}
