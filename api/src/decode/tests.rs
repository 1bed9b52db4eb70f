//! What is refused, what is dropped, and in what words; and that no body makes it panic.

use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::schema;

fn deployment() -> &'static Type {
    schema::lookup("apps", "v1", "Deployment").unwrap()
}

/// Decodes a Deployment strictly: the object, or the message of the refusal.
fn strict(body: &str, media_type: MediaType) -> String {
    match decode(body.as_bytes(), media_type, deployment(), FieldValidation::Strict) {
        Ok(decoded) => decoded.value.to_string(),
        Err(status) => {
            assert_eq!(status.code(), 400);
            status.to_string()
        }
    }
}

fn check(body: &str, expected: Expect) {
    expected.assert_eq(&strict(body, MediaType::Json));
}

fn check_yaml(body: &str, expected: Expect) {
    expected.assert_eq(&strict(body, MediaType::Yaml));
}

#[test]
fn a_zero_below_zero_is_zero() {
    let body = br#"{"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": -0}}"#;
    let (found, _) = json::parse(body).unwrap();
    assert_eq!(found["spec"]["replicas"], json!(0));
}

#[test]
fn wrong_types_are_named_with_place_and_remedy() {
    check(
        r#"{"spec": {"replicas": "3"}}"#,
        expect![[
            r#"Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32 (leave out the quotes: 3)"#
        ]],
    );
    check(
        r#"{"spec": {"replicas": 3000000000}}"#,
        expect![[
            r#"Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal number 3000000000 into Go struct field DeploymentSpec.spec.replicas of type int32"#
        ]],
    );
    check(
        r#"{"spec": {"replicas": 1.5}}"#,
        expect![[
            r#"Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32"#
        ]],
    );
    check(
        r#"{"spec": {"template": {"spec": {"containers": [{"env": [{"name": "A", "value": 5}]}]}}}}"#,
        expect![[
            r#"Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal number into Go struct field EnvVar.spec.template.spec.containers[0].env[0].value of type string (put it in quotes: "5")"#
        ]],
    );
    check(
        r#"{"spec": {"template": {"spec": {"containers": {}}}}}"#,
        expect![[
            r#"Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal object into Go struct field PodSpec.spec.template.spec.containers of type []v1.Container (write a list)"#
        ]],
    );
    check(
        r#"{"spec": []}"#,
        expect![[
            r#"Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal array into Go struct field Deployment.spec of type v1.DeploymentSpec (write a mapping)"#
        ]],
    );
    check(
        r#"[]"#,
        expect![[
            r#"Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal array into Go value of type v1.Deployment"#
        ]],
    );
    check(
        r#"{"metadata": {"labels": {"a": true}}}"#,
        expect![[
            r#"Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.labels.a of type string (put it in quotes: "true")"#
        ]],
    );
}

#[test]
fn wrong_content_is_named() {
    let container = |field: &str| {
        format!(r#"{{"spec": {{"template": {{"spec": {{"containers": [{{{field}}}]}}}}}}}}"#)
    };
    check(
        &container(r#""resources": {"limits": {"cpu": "many"}}"#),
        expect![[
            r#"Deployment in version "v1" cannot be handled as a Deployment: json: Go struct field ResourceRequirements.spec.template.spec.containers[0].resources.limits.cpu: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"#
        ]],
    );
    check(
        r#"{"metadata": {"creationTimestamp": "yesterday"}}"#,
        expect![[
            r#"Deployment in version "v1" cannot be handled as a Deployment: json: Go struct field ObjectMeta.metadata.creationTimestamp: parsing time "yesterday" as "2006-01-02T15:04:05Z07:00": must be RFC 3339"#
        ]],
    );
    check(
        &container(r#""livenessProbe": {"httpGet": {"port": true}}"#),
        expect![[
            r#"Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal bool into Go struct field HTTPGetAction.spec.template.spec.containers[0].livenessProbe.httpGet.port of type intstr.IntOrString"#
        ]],
    );
}

#[test]
fn unknown_and_duplicate_fields_are_named_with_their_path() {
    check(
        r#"{"spec": {"xyz": 1, "template": {"spec": {"containers": [{"Image": "a"}]}}}}"#,
        expect![[
            r#"Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: unknown field "spec.xyz", unknown field "spec.template.spec.containers[0].Image""#
        ]],
    );
    check(
        r#"{"spec": {"zzz": 1, "replicas": 2, "replicas": 3, "aaa": 2}}"#,
        expect![[
            r#"Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: unknown field "spec.zzz", duplicate field "spec.replicas", unknown field "spec.aaa""#
        ]],
    );
    check(
        r#"{"kind": "Deployment", "apiVersion": "apps/v1", "kind": "Deployment"}"#,
        expect![[
            r#"Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: duplicate field "kind""#
        ]],
    );
    check(
        r#"{"spec": {"template": {"spec": {"containers": [{"image": "a", "image": "b"}]}}}}"#,
        expect![[
            r#"Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: duplicate field "spec.template.spec.containers[0].image""#
        ]],
    );
    check_yaml(
        "spec:\n  replicas: 1\n  replicas: 2\n",
        expect![[
            r#"Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: duplicate field "spec.replicas""#
        ]],
    );
}

#[test]
fn warnings_instead_of_refusal() {
    let body = br#"{"spec": {"xyz": 1, "paused": true, "paused": false}}"#;
    let warn = decode(body, MediaType::Json, deployment(), FieldValidation::Warn).unwrap();
    assert_eq!(warn.warnings, ["unknown field \"spec.xyz\"", "duplicate field \"spec.paused\""]);
    assert!(warn.value["spec"].get("xyz").is_none());
    let ignore = decode(body, MediaType::Json, deployment(), FieldValidation::Ignore).unwrap();
    assert_eq!((ignore.value, ignore.warnings), (warn.value, Vec::new()));
}

#[test]
fn broken_bodies() {
    check(
        "",
        expect![
            "the object provided is unrecognized (must be of type Deployment): couldn't get version/kind; json parse error: EOF while parsing a value at line 1 column 0"
        ],
    );
    check(
        "{\"spec\": ",
        expect![
            "the object provided is unrecognized (must be of type Deployment): couldn't get version/kind; json parse error: EOF while parsing a value at line 1 column 9"
        ],
    );
    check(
        "{} {}",
        expect![
            "the object provided is unrecognized (must be of type Deployment): couldn't get version/kind; json parse error: trailing characters at line 1 column 4"
        ],
    );
    check_yaml(
        "a: [",
        expect![
            "the object provided is unrecognized (must be of type Deployment): unclosed bracket '[' at line 1, column 4"
        ],
    );
    check(
        &"[".repeat(100_000),
        expect![
            "the object provided is unrecognized (must be of type Deployment): couldn't get version/kind; json parse error: recursion limit exceeded at line 1 column 128"
        ],
    );
}

#[test]
fn values_take_the_form_that_is_stored() {
    let pod = schema::lookup("", "v1", "Pod").unwrap();
    let body = r#"{
        "metadata": {"creationTimestamp": "2024-01-01T02:00:00.5+02:00", "labels": {"a": null}, "annotations": {}},
        "spec": {"containers": [{"name": "a", "env": [], "tty": false,
            "resources": {"limits": {"cpu": 0.5, "memory": "1024Mi"}}}], "nodeName": "",
            "terminationGracePeriodSeconds": 0},
        "status": null
    }"#;
    let decoded = decode(body.as_bytes(), MediaType::Json, pod, FieldValidation::Strict).unwrap();
    assert_eq!(
        decoded.value,
        json!({
            "metadata": {"creationTimestamp": "2024-01-01T00:00:00Z", "labels": {"a": ""}},
            "spec": {"containers": [{"name": "a",
                "resources": {"limits": {"cpu": "500m", "memory": "1Gi"}}}],
                "terminationGracePeriodSeconds": 0},
            "status": {},
        })
    );
}

#[test]
fn secrets_may_break_lines() {
    let secret = schema::lookup("", "v1", "Secret").unwrap();
    let body = "{\"data\": {\"a\": \"aGVs\\nbG8=\\n\"}}";
    let decoded = decode(body.as_bytes(), MediaType::Json, secret, FieldValidation::Strict);
    assert_eq!(decoded.unwrap().value["data"]["a"], "aGVsbG8=");
    let error =
        decode(b"{\"data\": {\"a\": \"hello\"}}", MediaType::Json, secret, FieldValidation::Warn);
    expect![[r#"Secret in version "v1" cannot be handled as a Secret: json: Go struct field Secret.data.a: illegal base64 data (Invalid input length: 5): encode the bytes as standard, padded base64"#]].assert_eq(&error.unwrap_err().to_string());
}

#[test]
fn yaml_is_read_as_kubectl_does() {
    let text = "a: 0644\nb: yes\nc: 'yes'\nd: ~\n8080: x\ne: 1e3\nf: 2024-01-01T00:00:00Z\ng: |\n  x\n  y\n";
    let (value, _) = decode_yaml(text.as_bytes()).unwrap();
    assert_eq!(
        value,
        json!({"a": 420, "b": true, "c": "yes", "d": null, "8080": "x", "e": 1000.0,
            "f": "2024-01-01T00:00:00Z", "g": "x\ny\n"})
    );
}

#[test]
fn documents_of_a_stream() {
    let text = "# only a comment\n---\na: 1\n--- # next\n\n---\nb: '---'\n";
    assert_eq!(documents(text).unwrap(), [json!({"a": 1}), json!({"b": "---"})]);
    let error = documents("a: 1\n---\na: 1\na: 2\n").unwrap_err();
    expect![[r#"document 2 is not YAML: duplicate field "a""#]].assert_eq(&error.to_string());
}

#[test]
fn schemas_of_custom_resources() {
    let crd = schema::lookup("apiextensions.k8s.io", "v1", "CustomResourceDefinition").unwrap();
    let body = r#"{"spec": {"group": "g", "names": {"kind": "K", "plural": "ks"}, "scope": "Cluster",
        "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema":
        {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "string", "bad": 1}},
        "b": {"additionalProperties": true, "default": {"x": [1]}}}}}}]}}"#;
    let decoded = decode(body.as_bytes(), MediaType::Json, crd, FieldValidation::Warn).unwrap();
    assert_eq!(
        decoded.warnings,
        ["unknown field \"spec.versions[0].schema.openAPIV3Schema.properties.a.items.bad\""]
    );
}

#[test]
fn hostile_yaml_is_refused() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let before = level - 1;
        let list = vec![format!("*a{before}"); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{list}]\n"));
    }
    assert!(decode_yaml(bomb.as_bytes()).is_err());
    for deep in ["[".repeat(100_000), "{a: ".repeat(100_000), "- ".repeat(100_000)] {
        assert!(decode_yaml(deep.as_bytes()).is_err());
    }
    assert!(decode_yaml(b"a: !!binary x\nb: [1, *nothing]").is_err());
    assert!(decode_yaml(b"\xff\xfe").is_err());
}

/// JSON of any shape with names that the schema of pods knows.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<i32>().prop_map(|n| Value::from(f64::from(n) / 8.0)),
        "[ -~]{0,12}".prop_map(Value::from),
        Just(json!("2024-01-01T00:00:00Z")),
        Just(json!("100m")),
    ];
    let name = prop_oneof![
        Just("metadata"),
        Just("spec"),
        Just("status"),
        Just("containers"),
        Just("volumes"),
        Just("env"),
        Just("resources"),
        Just("limits"),
        Just("labels"),
        Just("ports"),
        Just("livenessProbe"),
        Just("creationTimestamp"),
        Just("tolerations"),
        Just("other"),
    ];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(name.clone(), inner, 0..6).prop_map(|members| {
                members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
            }),
        ]
    })
}

proptest! {
    /// What was decoded once fits, and decoding it again changes nothing.
    #[test]
    fn decoding_is_idempotent(value in any_json()) {
        let pod = schema::lookup("", "v1", "Pod").unwrap();
        if let Ok(once) = conform(value, pod, FieldValidation::Ignore) {
            let twice = conform(once.value.clone(), pod, FieldValidation::Strict).unwrap();
            prop_assert_eq!(once.value, twice.value);
        }
    }

    /// No bytes make it panic, and JSON that is read is read like everyone else reads it.
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let pod = schema::lookup("", "v1", "Pod").unwrap();
        for media_type in [MediaType::Json, MediaType::Yaml, MediaType::Protobuf] {
            let _ = decode(&bytes, media_type, pod, FieldValidation::Warn);
        }
        let theirs: Option<Value> = serde_json::from_slice(&bytes).ok();
        prop_assert_eq!(decode_json(&bytes).ok().map(|(value, _)| value), theirs);
    }

    /// Trees survive the way through text.
    #[test]
    fn trees_are_read_as_written(value in any_json()) {
        let text = serde_json::to_vec(&value).unwrap();
        let (read, duplicates) = decode_json(&text).unwrap();
        prop_assert_eq!(read, value);
        prop_assert!(duplicates.is_empty());
    }
}
