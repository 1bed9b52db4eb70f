//! Rules for PriorityLevelConfigurations: shares, and what becomes of requests beyond them.
//!
//! *Source:* `ValidatePriorityLevelConfiguration` in `pkg/apis/flowcontrol/validation`.

use serde_json::{Value, json};

use super::flowschema::check_conditions;
use super::{Errors, has, metadata, number, same, text};
use crate::field_error::{FieldError, Path};
use crate::names;

const SPEC: Path<'static> = Path::root("spec");

/// An annotation of an older version, which is not for this one.
const OLD_ANNOTATION: &str = "flowcontrol.k8s.io/v1beta3-preserve-zero-concurrency-shares";

/// Most queues of a level.
const QUEUES_MAX: i64 = 10_000_000;

/// Bits of the hash by which a flow gets its queues. *Source:* `shufflesharding.MaxHashBits`.
const HASH_BITS_MAX: i64 = 60;

/// Checks a new PriorityLevelConfiguration.
pub fn validate(object: &Value) -> Errors {
    let mut errors = metadata::validate(object, false, names::dns1123_subdomain);
    check(&mut errors, object);
    errors
}

/// Checks a changed PriorityLevelConfiguration.
pub fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    check(&mut errors, new);
    errors
}

/// Checks a changed status of a PriorityLevelConfiguration.
pub fn validate_status_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    check_conditions(&mut errors, new);
    errors
}

/// Gives the spec that one of the two levels without which nothing works has; what `exempt` has in `exempt` may be
/// changed.
pub fn mandatory(name: &str) -> Option<Value> {
    match name {
        "exempt" => Some(
            json!({"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}}),
        ),
        "catch-all" => Some(
            json!({"type": "Limited", "limited": {"nominalConcurrencyShares": 5, "lendablePercent": 0,
            "limitResponse": {"type": "Reject"}}}),
        ),
        _ => None,
    }
}

fn check(errors: &mut Errors, object: &Value) {
    let (name, spec) = (text(&object["metadata"], "name"), &object["spec"]);
    if has(&object["metadata"]["annotations"], OLD_ANNOTATION) {
        let words = format!("annotation '{OLD_ANNOTATION}' is forbidden");
        errors.push(FieldError::forbidden("metadata.annotations", words));
    }
    check_spec(errors, name, spec);
    if let Some(mut fixed) = mandatory(name) {
        let except = if name == "exempt" { " except the 'spec.exempt' field" } else { "" };
        if name == "exempt" {
            fixed["exempt"] = spec["exempt"].clone();
        }
        if !same(spec, &fixed) {
            let words = format!("spec of '{name}'{except} must equal the fixed value");
            errors.push(FieldError::invalid("spec", spec, words));
        }
    }
    check_conditions(errors, object);
}

fn check_spec(errors: &mut Errors, name: &str, spec: &Value) {
    let kind = text(spec, "type");
    if (name == "exempt") != (kind == "Exempt") {
        let words = "must be 'Exempt' if and only if `name` is 'exempt'";
        errors.push(FieldError::invalid(SPEC.child("type"), kind, words));
    }
    let (exempt, limited) = (SPEC.child("exempt"), SPEC.child("limited"));
    match kind {
        "Exempt" => {
            if has(spec, "limited") {
                let words = "must be nil if the type is not Limited";
                errors.push(FieldError::forbidden(limited, words));
            }
            check_shares(errors, &exempt, &spec["exempt"]);
        }
        "Limited" => {
            if has(spec, "exempt") {
                let words = "must be nil if the type is Limited";
                errors.push(FieldError::forbidden(exempt, words));
            }
            if has(spec, "limited") {
                check_limited(errors, &limited, &spec["limited"]);
            } else {
                let words = "must not be empty when type is Limited";
                errors.push(FieldError::required(limited, words));
            }
        }
        _ => {
            let known = ["Exempt", "Limited"];
            errors.push(FieldError::not_supported(SPEC.child("type"), kind, &known));
        }
    }
}

fn check_number(
    errors: &mut Errors,
    path: Path<'_>,
    value: Option<i64>,
    is_fine: impl Fn(i64) -> bool,
    words: &str,
) {
    if let Some(value) = value.filter(|value| !is_fine(*value)) {
        errors.push(FieldError::invalid(path, value, words));
    }
}

fn check_shares(errors: &mut Errors, path: &Path<'_>, level: &Value) {
    check_nominal(errors, path, level);
    check_lendable(errors, path, level);
}

fn check_nominal(errors: &mut Errors, path: &Path<'_>, level: &Value) {
    let field = "nominalConcurrencyShares";
    let words = "must be a non-negative integer";
    check_number(errors, path.child(field), number(level, field), |value| value >= 0, words);
}

fn check_lendable(errors: &mut Errors, path: &Path<'_>, level: &Value) {
    let field = "lendablePercent";
    let words = "must be between 0 and 100, inclusive";
    let is_fine = |value: i64| (0..=100).contains(&value);
    check_number(errors, path.child(field), number(level, field), is_fine, words);
}

fn check_limited(errors: &mut Errors, path: &Path<'_>, level: &Value) {
    check_nominal(errors, path, level);
    check_response(errors, &path.child("limitResponse"), &level["limitResponse"]);
    check_lendable(errors, path, level);
    let field = "borrowingLimitPercent";
    let words = "if specified, must be a non-negative integer";
    check_number(errors, path.child(field), number(level, field), |value| value >= 0, words);
}

fn check_response(errors: &mut Errors, path: &Path<'_>, response: &Value) {
    let queuing = path.child("queuing");
    match text(response, "type") {
        "Reject" => {
            if has(response, "queuing") {
                let words = "must be nil if limited.limitResponse.type is not Limited";
                errors.push(FieldError::forbidden(queuing, words));
            }
        }
        "Queue" if !has(response, "queuing") => {
            let words = "must not be empty if limited.limitResponse.type is Limited";
            errors.push(FieldError::required(queuing, words));
        }
        "Queue" => check_queuing(errors, &queuing, &response["queuing"]),
        other => {
            let known = ["Queue", "Reject"];
            errors.push(FieldError::not_supported(path.child("type"), other, &known));
        }
    }
}

fn check_queuing(errors: &mut Errors, path: &Path<'_>, queuing: &Value) {
    let count = |field: &str| number(queuing, field).unwrap_or_default();
    let (length, queues, hand) = (count("queueLengthLimit"), count("queues"), count("handSize"));
    let mut refuse = |field: &str, value: i64, words: &str| {
        errors.push(FieldError::invalid(path.child(field), value, words));
    };
    if length <= 0 {
        refuse("queueLengthLimit", length, "must be positive");
    }
    if queues <= 0 {
        refuse("queues", queues, "must be positive");
    } else if queues > QUEUES_MAX {
        refuse("queues", queues, &format!("must not be greater than {QUEUES_MAX}"));
    }
    if hand <= 0 {
        refuse("handSize", hand, "must be positive");
    } else if hand > queues {
        refuse("handSize", hand, &format!("should not be greater than queues ({queues})"));
    } else if entropy_bits(queues, hand) > HASH_BITS_MAX {
        let words = format!(
            "required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {HASH_BITS_MAX}"
        );
        refuse("handSize", hand, &words);
    }
}

/// Bits that it takes to draw a hand of this many of so many queues.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "both numbers are below 2^24"
)]
fn entropy_bits(queues: i64, hand: i64) -> i64 {
    ((queues as f64).log2() * hand as f64).ceil() as i64
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    fn check(name: &str, spec: Value, expected: &[&str]) {
        testing::check(validate(&json!({"metadata": {"name": name}, "spec": spec})), expected);
    }

    fn queue(queues: i64, hand: i64) -> Value {
        json!({"type": "Limited", "limited": {"limitResponse": {"type": "Queue",
            "queuing": {"queues": queues, "handSize": hand, "queueLengthLimit": 50}}}})
    }

    #[test]
    fn types() {
        check(
            "own",
            json!({"type": "Foo"}),
            &["spec.type: Unsupported value: \"Foo\": supported values: \"Exempt\", \"Limited\""],
        );
        check(
            "own",
            json!({"type": "Exempt", "limited": {}}),
            &[
                "spec.type: Invalid value: \"Exempt\": must be 'Exempt' if and only if `name` is 'exempt'",
                "spec.limited: Forbidden: must be nil if the type is not Limited",
            ],
        );
        check(
            "own",
            json!({"type": "Limited", "exempt": {}}),
            &[
                "spec.exempt: Forbidden: must be nil if the type is Limited",
                "spec.limited: Required value: must not be empty when type is Limited",
            ],
        );
    }

    #[test]
    fn shares_and_queues() {
        check("own", queue(64, 8), &[]);
        check(
            "own",
            json!({"type": "Limited", "limited": {"nominalConcurrencyShares": -1, "lendablePercent": 101,
                "borrowingLimitPercent": -1, "limitResponse": {"type": "Reject", "queuing": {}}}}),
            &[
                "spec.limited.nominalConcurrencyShares: Invalid value: -1: must be a non-negative integer",
                "spec.limited.limitResponse.queuing: Forbidden: must be nil if limited.limitResponse.type is not Limited",
                "spec.limited.lendablePercent: Invalid value: 101: must be between 0 and 100, inclusive",
                "spec.limited.borrowingLimitPercent: Invalid value: -1: if specified, must be a non-negative integer",
            ],
        );
        let hand = "spec.limited.limitResponse.queuing.handSize: Invalid value:";
        check("own", queue(4, 8), &[&format!("{hand} 8: should not be greater than queues (4)")]);
        check("own", queue(64, 10), &[]);
        check(
            "own",
            queue(64, 11),
            &[&format!(
                "{hand} 11: required entropy bits of deckSize 64 and handSize 11 should not be greater than 60"
            )],
        );
        check(
            "own",
            queue(20_000_000, 1),
            &[
                "spec.limited.limitResponse.queuing.queues: Invalid value: 20000000: must not be greater than 10000000",
            ],
        );
    }

    #[test]
    fn two_are_what_they_are() {
        let mut exempt = mandatory("exempt").unwrap();
        exempt["exempt"]["lendablePercent"] = json!(50);
        check("exempt", exempt, &[]);
        let mut all = mandatory("catch-all").unwrap();
        check("catch-all", all.clone(), &[]);
        all["limited"]["nominalConcurrencyShares"] = json!(6);
        let found = validate(&json!({"metadata": {"name": "catch-all"}, "spec": all}));
        let words = "spec of 'catch-all' must equal the fixed value";
        assert!(found.len() == 1 && found[0].message.ends_with(words), "{found:?}");
    }
}
