//! What kubectl looks for in the documents.

use expect_test::{Expect, expect};
use serde_json::Value;

use super::*;

fn document(path: &str) -> Value {
    let documents = Documents::new(|| {
        Box::new(|ty, field| {
            (ty.ends_with(".Pod") && field == "spec").then(|| "Wanted.".to_owned())
        })
    });
    serde_json::from_slice(&documents.render(path).unwrap()).unwrap()
}

/// Compares what is at a JSON pointer.
fn check(path: &str, pointer: &str, expected: Expect) {
    let document = document(path);
    let found = document.pointer(pointer).unwrap_or(&Value::Null);
    expected.assert_eq(&found.to_string());
}

/// Calls `visit` with every value below `value`.
fn walk(value: &Value, visit: &mut impl FnMut(&Value)) {
    visit(value);
    match value {
        Value::Array(items) => items.iter().for_each(|item| walk(item, visit)),
        Value::Object(members) => members.values().for_each(|member| walk(member, visit)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn every_reference_ends_in_the_same_document() {
    for (group, version) in registry::group_versions() {
        let document = document(&path(group, version));
        let mut references = 0;
        walk(&document, &mut |value| {
            if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
                references += 1;
                assert!(
                    document.pointer(&reference[1..]).is_some_and(Value::is_object),
                    "{reference}"
                );
            }
        });
        assert!(references > 20, "{group}/{version} has {references}");
    }
}

#[test]
fn every_patch_takes_field_validation_and_dry_run() {
    for kind in registry::kinds().iter().filter(|kind| kind.has_verb("patch")) {
        let document = document(&path(kind.group, kind.version));
        let wanted = json!({"group": kind.group, "version": kind.version, "kind": kind.kind});
        let mut seen = 0;
        walk(&document["paths"], &mut |value| {
            let Some(patch) = value.get("patch") else { return };
            if patch["x-kubernetes-group-version-kind"] != wanted {
                return;
            }
            let names: Vec<&str> = patch["parameters"]
                .as_array()
                .unwrap()
                .iter()
                .filter_map(|p| p["name"].as_str())
                .collect();
            assert!(names.contains(&"fieldValidation") && names.contains(&"dryRun"), "{kind:?}");
            seen += 1;
        });
        assert!(seen > 0, "{kind:?}");
    }
}

#[test]
fn every_kind_is_found_by_explain() {
    for kind in registry::kinds() {
        let document = document(&path(kind.group, kind.version));
        let wanted = json!({"group": kind.group, "version": kind.version, "kind": kind.kind});
        let schemas = document["components"]["schemas"].as_object().unwrap();
        let named = schemas.values().filter(|schema| {
            schema["x-kubernetes-group-version-kind"]
                .as_array()
                .is_some_and(|l| l.contains(&wanted))
        });
        assert_eq!(named.count(), 1, "{kind:?}");
    }
}

#[test]
fn fields_say_how_they_merge() {
    let spec = "/components/schemas/io.k8s.api.core.v1.PodSpec";
    check(
        "apis/apps/v1",
        &format!("{spec}/properties/volumes"),
        expect![[
            r##"{"items":{"allOf":[{"$ref":"#/components/schemas/io.k8s.api.core.v1.Volume"}],"default":{}},"type":"array","x-kubernetes-list-map-keys":["name"],"x-kubernetes-list-type":"map","x-kubernetes-patch-merge-key":"name","x-kubernetes-patch-strategy":"merge,retainKeys"}"##
        ]],
    );
    check(
        "apis/apps/v1",
        &format!("{spec}/properties/restartPolicy"),
        expect![[r#"{"enum":["Always","Never","OnFailure"],"type":"string"}"#]],
    );
    check("apis/apps/v1", &format!("{spec}/required"), expect![[r#"["containers"]"#]]);
    check(
        "apis/apps/v1",
        "/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector/x-kubernetes-map-type",
        expect![[r#""atomic""#]],
    );
}

#[test]
fn descriptions_and_references_stand_side_by_side() {
    check(
        "api/v1",
        "/components/schemas/io.k8s.api.core.v1.Pod/properties/spec",
        expect![[
            r##"{"allOf":[{"$ref":"#/components/schemas/io.k8s.api.core.v1.PodSpec"}],"default":{},"description":"Wanted."}"##
        ]],
    );
}

#[test]
fn operations_are_named_as_upstream() {
    let document = document("apis/apps/v1");
    let mut ids = Vec::new();
    walk(&document["paths"], &mut |value| {
        ids.extend(value.get("operationId").and_then(Value::as_str).map(str::to_owned));
    });
    ids.retain(|id| id.contains("Deployment"));
    ids.sort();
    expect![[r#"
        createAppsV1NamespacedDeployment
        deleteAppsV1CollectionNamespacedDeployment
        deleteAppsV1NamespacedDeployment
        listAppsV1DeploymentForAllNamespaces
        listAppsV1NamespacedDeployment
        patchAppsV1NamespacedDeployment
        patchAppsV1NamespacedDeploymentScale
        patchAppsV1NamespacedDeploymentStatus
        readAppsV1NamespacedDeployment
        readAppsV1NamespacedDeploymentScale
        readAppsV1NamespacedDeploymentStatus
        replaceAppsV1NamespacedDeployment
        replaceAppsV1NamespacedDeploymentScale
        replaceAppsV1NamespacedDeploymentStatus"#]]
    .assert_eq(&ids.join("\n"));
}

#[test]
fn the_index_names_each_document_by_its_hash() {
    let documents = Documents::undescribed();
    let index = documents.index();
    let paths: Vec<&String> = index["paths"].as_object().unwrap().keys().collect();
    expect![[r#"["api/v1", "apis/admissionregistration.k8s.io/v1", "apis/admissionregistration.k8s.io/v1beta1", "apis/apiextensions.k8s.io/v1", "apis/apiregistration.k8s.io/v1", "apis/apps/v1", "apis/authentication.k8s.io/v1", "apis/authorization.k8s.io/v1", "apis/autoscaling/v1", "apis/autoscaling/v2", "apis/batch/v1", "apis/certificates.k8s.io/v1", "apis/coordination.k8s.io/v1", "apis/discovery.k8s.io/v1", "apis/events.k8s.io/v1", "apis/flowcontrol.apiserver.k8s.io/v1", "apis/networking.k8s.io/v1", "apis/node.k8s.io/v1", "apis/policy/v1", "apis/rbac.authorization.k8s.io/v1", "apis/resource.k8s.io/v1", "apis/scheduling.k8s.io/v1", "apis/storage.k8s.io/v1"]"#]].assert_eq(&format!("{paths:?}"));
    for path in paths {
        let hash = documents.hash(path).unwrap();
        assert_eq!(hash, digest::of(&documents.render(path).unwrap()));
    }
    assert!(documents.render("apis/nothing/v1").is_none());
    let described = Documents::new(|| Box::new(|_, _| Some("x".to_owned())));
    assert_ne!(described.hash("api/v1"), documents.hash("api/v1"));
}

#[test]
fn explain_finds_words_wherever_a_schema_may_be_anything() {
    let path = "apis/apiextensions.k8s.io/v1";
    let schemas = "/components/schemas/io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1";
    for field in ["items", "additionalProperties", "additionalItems", "example"] {
        let document = document(path);
        let place = format!("{schemas}.JSONSchemaProps/properties/{field}/allOf/0/$ref");
        let name = document.pointer(&place).and_then(Value::as_str).unwrap();
        let words = document.pointer(&name[1..]).unwrap()["description"].as_str().unwrap();
        assert!(!words.is_empty(), "{field}");
    }
    check(path, &format!("{schemas}.JSON"), expect![[r#"{"description":"Any JSON value."}"#]]);
}
