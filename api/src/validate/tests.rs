//! Whatever comes in, nothing panics: not the rules, not the tables, not the patches.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::patch::{merge, strategic};
use crate::{registry, table};

/// Field names that rules look at, so that random objects get past the first of them.
const FIELDS: [&str; 52] = [
    "metadata",
    "spec",
    "status",
    "name",
    "generateName",
    "namespace",
    "labels",
    "annotations",
    "finalizers",
    "ownerReferences",
    "template",
    "jobTemplate",
    "volumeClaimTemplates",
    "versions",
    "schema",
    "openAPIV3Schema",
    "rules",
    "parentRefs",
    "backendRefs",
    "metrics",
    "schedule",
    "data",
    "items",
    "selector",
    "matchLabels",
    "matchExpressions",
    "containers",
    "initContainers",
    "volumes",
    "volumeMounts",
    "env",
    "valueFrom",
    "fieldRef",
    "fieldPath",
    "ports",
    "port",
    "resources",
    "limits",
    "requests",
    "cpu",
    "livenessProbe",
    "httpGet",
    "tolerations",
    "affinity",
    "type",
    "clusterIPs",
    "strategy",
    "rollingUpdate",
    "conditions",
    "containerStatuses",
    "$patch",
    "$setElementOrder/containers",
];

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        proptest::sample::select(vec![
            "",
            "a",
            "..",
            "-1",
            "1Gi",
            "9e999",
            "replace",
            "delete",
            "None",
            "ClusterIP",
            "metadata.labels['",
            "127.0.0.1",
            "::1/129",
            "\u{0}é",
        ])
        .prop_map(Value::from),
    ]
}

fn tree() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(6, 64, 6, |inner| {
        let field = proptest::sample::select(FIELDS.to_vec());
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(field, inner, 0..6).prop_map(
                |map: BTreeMap<&str, Value>| {
                    map.into_iter().map(|(field, value)| (field.to_owned(), value)).collect()
                }
            ),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn nothing_panics(spec in tree(), metadata in tree(), status in tree(), patch in tree()) {
        let new = json!({"metadata": metadata, "spec": spec, "status": status, "data": patch});
        let old = json!({"metadata": metadata, "spec": patch, "status": spec});
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        for kind in registry::kinds() {
            let rules = kind.rules;
            (rules.validate)(&new);
            kind.validate_update(&new, &old);
            kind.validate_status_update(&new, &old);
            prop_assert_eq!(table::row(kind, &new, now).len(), table::columns(kind).len());
            let _ = strategic::apply(&new, &old, kind.ty());
            let _ = merge::apply(&new, &old);
        }
    }
}
