//! What a webhook answers.
//!
//! Pure. *Source:* `admission.k8s.io/v1 AdmissionResponse`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use coracle_api::status::{Reason, Status};
use serde_json::Value;

/// What a webhook says of a write.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Verdict {
    /// A JSON patch of the object.
    pub(super) patch: Option<Value>,
    /// What the writer should know.
    pub(super) warnings: Vec<String>,
    /// Why the write is refused, with the code and reason of the answer.
    pub(super) refusal: Option<(String, u16, String)>,
}

/// Reads a review that came back.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read(review: &Value, uid: &str, may_patch: bool) -> Result<Verdict, String> {
    if review["apiVersion"] != "admission.k8s.io/v1" || review["kind"] != "AdmissionReview" {
        return Err(
            "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview".to_owned()
        );
    }
    let response = review.get("response").filter(|response| response.is_object());
    let response = response.ok_or_else(|| "webhook response was absent".to_owned())?;
    if response["uid"] != uid {
        return Err(format!("expected response.uid={uid:?}, got {}", response["uid"]));
    }
    let warnings = response["warnings"].as_array().into_iter().flatten();
    let warnings = warnings.filter_map(|text| text.as_str().map(str::to_owned)).collect();
    let allowed = response["allowed"]
        .as_bool()
        .ok_or_else(|| "response.allowed must be true or false".to_owned())?;
    if !allowed {
        let status = &response["status"];
        let text = |field: &str| status[field].as_str().unwrap_or_default().to_owned();
        let code = status["code"].as_u64().and_then(|code| u16::try_from(code).ok());
        let words = match (text("message"), text("reason")) {
            (message, _) if !message.is_empty() => format!(": {message}"),
            (_, reason) if !reason.is_empty() => format!(": {reason}"),
            _ => " without explanation".to_owned(),
        };
        let code = code.filter(|code| (400..600).contains(code)).unwrap_or(403);
        return Ok(Verdict { warnings, refusal: Some((words, code, text("reason"))), patch: None });
    }
    let encoded = response["patch"].as_str().unwrap_or_default();
    if encoded.is_empty() {
        return Ok(Verdict { warnings, ..Verdict::default() });
    }
    if !may_patch || response["patchType"] != "JSONPatch" {
        return Err("webhook returned response.patch but not response.patchType 'JSONPatch', or may not change anything".to_owned());
    }
    let bytes = STANDARD.decode(encoded).map_err(|error| format!("response.patch: {error}"))?;
    let patch =
        serde_json::from_slice(&bytes).map_err(|error| format!("response.patch: {error}"))?;
    Ok(Verdict { patch: Some(patch), warnings, refusal: None })
}

/// The answer to a write that a webhook refused.
pub(super) fn refused(hook: &str, words: &str, code: u16) -> Status {
    let message = format!("admission webhook {hook:?} denied the request{words}");
    let mut status = Status::bad_request(message);
    status.reason = match code {
        400 => Reason::BadRequest,
        401 => Reason::Unauthorized,
        404 => Reason::NotFound,
        409 => Reason::Conflict,
        413 => Reason::RequestEntityTooLarge,
        422 => Reason::Invalid,
        429 => Reason::TooManyRequests,
        500..=599 => Reason::InternalError,
        _ => Reason::Forbidden,
    };
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(response: Value, may_patch: bool, expected: Result<Verdict, &str>) {
        let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
        match (read(&review, "u", may_patch), expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected),
            (Err(found), Err(expected)) => assert!(found.contains(expected), "{found}"),
            (found, expected) => panic!("{found:?} and not {expected:?}"),
        }
    }

    #[test]
    fn answers_are_read() {
        check(json!({"uid": "u", "allowed": true}), false, Ok(Verdict::default()));
        let refusal = |words: &str, code, reason: &str| Verdict {
            refusal: Some((words.to_owned(), code, reason.to_owned())),
            warnings: vec!["w".to_owned()],
            patch: None,
        };
        let no =
            |status| json!({"uid": "u", "allowed": false, "warnings": ["w"], "status": status});
        check(no(json!({"message": "no", "code": 422})), true, Ok(refusal(": no", 422, "")));
        check(no(json!({"reason": "Why"})), true, Ok(refusal(": Why", 403, "Why")));
        check(no(json!({"code": 200})), true, Ok(refusal(" without explanation", 403, "")));
        let patch = STANDARD.encode(r#"[{"op":"remove","path":"/a"}]"#);
        let patched =
            json!({"uid": "u", "allowed": true, "patch": patch, "patchType": "JSONPatch"});
        let expected = json!([{"op": "remove", "path": "/a"}]);
        check(patched.clone(), true, Ok(Verdict { patch: Some(expected), ..Verdict::default() }));
        check(patched, false, Err("may not change anything"));
        check(json!({"uid": "x", "allowed": true}), true, Err("expected response.uid=\"u\""));
        check(json!({"uid": "u"}), true, Err("response.allowed must be"));
        assert!(read(&json!({}), "u", true).is_err());
        assert_eq!(
            refused("h", ": no", 422).to_string(),
            "admission webhook \"h\" denied the request: no"
        );
    }
}
