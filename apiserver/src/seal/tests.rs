//! Sealing, opening, and what must not open.

use super::*;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use coracle_store::Revision;

fn config(providers: &str) -> String {
    format!(
        "kind: EncryptionConfiguration\nresources:\n- resources: [secrets]\n  providers:\n{}",
        providers.lines().map(|line| format!("  - {line}\n")).collect::<String>()
    )
}

fn key(name: &str, byte: u8) -> String {
    format!("aesgcm: {{keys: [{{name: {name}, secret: {}}}]}}", STANDARD.encode([byte; 32]))
}

fn rule(providers: &str) -> Arc<Rule> {
    Sealer::parse(&config(providers)).unwrap().of_resource("", "secrets").unwrap()
}

fn kv(place: &str, content: Content) -> Kv {
    Kv {
        key: Bytes::copy_from_slice(place.as_bytes()),
        value: content.bytes,
        created: Revision(1),
        modified: Revision(42),
        stamp: content.stamp,
    }
}

fn plain() -> Content {
    let bytes =
        Bytes::from_static(br#"{"metadata":{"resourceVersion":""},"data":{"a":"c2VjcmV0"}}"#);
    Content { bytes, stamp: Some(32), note: None }
}

const PLACE: &str = "/registry/core/secrets/default/a";

#[test]
fn a_value_comes_back_with_its_revision() {
    let rule = rule(&key("one", 1));
    let sealed = rule.seal(PLACE.as_bytes(), plain()).unwrap();
    assert!(!sealed.bytes.windows(8).any(|window| window == b"c2VjcmV0"));
    assert!(sealed.bytes.starts_with(b"k8s:enc:envelope:v1:one:"));
    let opened = rule.open(&kv(PLACE, sealed));
    let expected = r#"{"metadata":{"resourceVersion":"42"},"data":{"a":"c2VjcmV0"}}"#;
    assert_eq!((opened.value.as_ref(), opened.stamp), (expected.as_bytes(), Some(32)));
    assert!(rule.failed.lock().is_empty() && rule.stale.lock().is_empty());
}

#[test]
fn no_value_opens_elsewhere_or_changed_or_with_another_key() {
    let sealed = rule(&key("one", 1)).seal(PLACE.as_bytes(), plain()).unwrap();
    let check = |providers: &str, place: &str, content: Content, expected: &str| {
        let rule = rule(providers);
        assert_eq!(rule.open(&kv(place, content)).value.as_ref(), b"null");
        let error = rule.failed.lock().values().next().unwrap().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(&key("one", 1), "/registry/core/secrets/default/b", sealed.clone(), "was changed");
    check(&key("one", 2), PLACE, sealed.clone(), "was changed");
    check(&key("two", 1), PLACE, sealed.clone(), "sealed by key \"one\", which");
    check(&key("one", 1), PLACE, plain(), "sealed by no key");
    let mut bytes = sealed.bytes.to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    check(&key("one", 1), PLACE, Content { bytes: bytes.into(), ..sealed.clone() }, "was changed");
    for length in 0..sealed.bytes.len() {
        let cut = Content { bytes: sealed.bytes.slice(..length), ..sealed.clone() };
        assert_eq!(rule(&key("one", 1)).open(&kv(PLACE, cut)).value.as_ref(), b"null", "{length}");
    }
}

#[test]
fn old_keys_and_plain_values_are_read_and_noted() {
    let old = rule(&key("old", 1)).seal(PLACE.as_bytes(), plain()).unwrap();
    let rotated = rule(&format!("{}\n{}\nidentity: {{}}", key("new", 2), key("old", 1)));
    assert_ne!(rotated.open(&kv(PLACE, old)).value.as_ref(), b"null");
    rotated.open(&kv("/registry/core/secrets/default/b", plain()));
    assert_eq!(rotated.stale.lock().len(), 2);
    let again = rotated.seal(PLACE.as_bytes(), plain()).unwrap();
    assert!(again.bytes.starts_with(b"k8s:enc:envelope:v1:new:"));
}

#[test]
fn configurations_are_checked() {
    let check = |text: &str, expected: &str| {
        let error = Sealer::parse(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check("kind: Pod", "`kind` must be 'EncryptionConfiguration'");
    check("kind: EncryptionConfiguration", "`resources` must not be empty");
    check(&config("kms: {}"), "the provider 'kms' is not known");
    check(&config("aesgcm: {keys: [{name: a, secret: AAAA}]}"), "must be 16, 24 or 32 bytes");
    check(&config("aesgcm: {keys: []}"), "keys` must not be empty");
    let made = Sealer::parse(&generate().unwrap()).unwrap();
    assert!(
        made.of_resource("", "secrets").is_some() && made.of_resource("", "configmaps").is_none()
    );
    let all = config("identity: {}").replace("[secrets]", "['*.apps']");
    let all = Sealer::parse(&all).unwrap();
    assert!(
        all.of_resource("apps", "deployments").is_some()
            && all.of_resource("", "secrets").is_none()
    );
}
