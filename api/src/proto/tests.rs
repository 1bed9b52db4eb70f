//! The transcoder against objects that Kubernetes' own serializers wrote, and against hostile bytes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::decode::{self as body, FieldValidation, MediaType};

/// Made by `go run ./golden 7 1 …` in `api/schema/generate`: `apiVersion kind json protobuf`.
const OBJECTS: &str = include_str!("testdata/objects.txt");

fn decoded(bytes: &[u8], media_type: MediaType, ty: &'static Type) -> Value {
    let mut value = body::decode(bytes, media_type, ty, FieldValidation::Strict).unwrap().value;
    drop_empty_lists(&mut value);
    value
}

/// Protobuf cannot tell an empty list or map from an absent one.
fn drop_empty_lists(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(drop_empty_lists),
        Value::Object(members) => {
            members.values_mut().for_each(drop_empty_lists);
            members.retain(|_, value| value != &json!([]) && value != &json!({}));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Names the first place at which two objects differ.
fn difference(one: &Value, other: &Value) -> Option<String> {
    let below = |name: &str, one: &Value, other: &Value| {
        difference(one, other).map(|rest| format!("/{name}{rest}"))
    };
    match (one, other) {
        (Value::Object(a), Value::Object(b)) => {
            let names = a.keys().chain(b.keys());
            names.into_iter().find_map(|name| below(name, &one[name], &other[name]))
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            (0..a.len()).find_map(|index| below(&index.to_string(), &a[index], &b[index]))
        }
        _ => (one != other).then(|| format!(": {one} is not {other}")),
    }
}

/// Compares one line: both forms decode to the same object, and our protobuf does, too.
fn check(line: &str) {
    let columns: Vec<&str> = line.split(' ').collect();
    let [api_version, kind, json, proto] = columns[..] else { panic!("malformed line {line}") };
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let ty = schema::lookup(group, version, kind).unwrap();
    let json = STANDARD.decode(json).unwrap();
    let expected = decoded(&json, MediaType::Json, ty);
    let found = decoded(&STANDARD.decode(proto).unwrap(), MediaType::Protobuf, ty);
    assert_eq!(difference(&found, &expected), None, "{api_version} {kind} from protobuf");
    let ours = decoded(&encode(&expected, ty), MediaType::Protobuf, ty);
    assert_eq!(difference(&ours, &expected), None, "{api_version} {kind} both ways");
}

#[test]
fn objects_written_by_kubernetes() {
    let lines: Vec<&str> = OBJECTS.lines().collect();
    assert!(lines.len() > 20);
    lines.into_iter().for_each(check);
}

#[test]
fn the_envelope_names_the_object() {
    let pod = schema::lookup("", "v1", "Pod").unwrap();
    let object = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}});
    let bytes = encode(&object, pod);
    assert_eq!(type_meta(&bytes), Ok(("v1", "Pod")));
    assert_eq!(decode(&bytes, pod), Ok(object));
    assert_eq!(decode(b"{}", pod), Err(ProtoError::Prefix));
    assert_eq!(decode(b"k8s\0\x0a\xff", pod), Err(ProtoError::Truncated("runtime.Unknown")));
}

#[test]
fn zero_of_a_pointer_is_kept() {
    let deployment = schema::lookup("apps", "v1", "Deployment").unwrap();
    let object = json!({"spec": {"replicas": 0, "paused": false}});
    let read = decoded(&encode(&object, deployment), MediaType::Protobuf, deployment);
    assert_eq!(read["spec"]["replicas"], 0);
    assert!(read["spec"].get("paused").is_none());
}

#[test]
fn deep_nesting_is_refused() {
    let crd = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";
    let ty = schema::named(crd).unwrap();
    let number = ty.field("not").unwrap().proto.unwrap();
    let mut message = Vec::new();
    for _ in 0..=DEPTH_MAX + 1 {
        let inner = std::mem::take(&mut message);
        wire::put_bytes(&mut message, number, &inner);
    }
    let mut envelope = MAGIC.to_vec();
    wire::put_bytes(&mut envelope, 2, &message);
    assert_eq!(decode(&envelope, ty), Err(ProtoError::Depth));
}

proptest! {
    /// No bytes make it panic.
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let pod = schema::lookup("", "v1", "Pod").unwrap();
        let mut envelope = MAGIC.to_vec();
        wire::put_bytes(&mut envelope, 2, &bytes);
        let _ = decode(&envelope, pod);
        let _ = decode(&[MAGIC.as_slice(), &bytes].concat(), pod);
    }

    /// A damaged body is refused or read, never worse.
    #[test]
    fn damaged_objects_are_survived(line in 0..OBJECTS.lines().count(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let line = OBJECTS.lines().nth(line).unwrap();
        let columns: Vec<&str> = line.split(' ').collect();
        let (group, version) = columns[0].split_once('/').unwrap_or(("", columns[0]));
        let ty = schema::lookup(group, version, columns[1]).unwrap();
        let mut bytes = STANDARD.decode(columns[3]).unwrap();
        let index = at.index(bytes.len());
        bytes[index] = byte;
        if let Ok(value) = decode(&bytes, ty) {
            let _ = body::conform(value, ty, FieldValidation::Warn);
        }
    }
}

/// Checks a larger file of the same form, for whoever changes the transcoder.
#[test]
fn objects_of_a_file_named_by_the_environment() {
    if let Some(path) = std::env::var_os("CORACLE_PROTO_OBJECTS") {
        std::fs::read_to_string(path).unwrap().lines().for_each(check);
    }
}
