//! Each rule of each level, broken alone.

use super::*;
use expect_test::{Expect, expect};
use serde_json::json;

/// A pod that no level has anything against, with some values put in by JSON pointer.
fn pod(changes: &[(&str, Value)]) -> Value {
    let mut pod = json!({
        "metadata": {"name": "p"},
        "spec": {
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "volumes": [{"name": "v", "emptyDir": {}}],
            "containers": [
                {"name": "c", "ports": [{"containerPort": 80}], "securityContext": {
                    "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}},
                {"name": "d", "securityContext": {
                    "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}},
            ],
        },
    });
    for (pointer, value) in changes {
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        pod.pointer_mut(parent).unwrap()[field] = value.clone();
    }
    pod
}

fn check(level: Level, changes: &[(&str, Value)], expected: Expect) {
    let policy = Policy { level, shown: String::new() };
    expected.assert_eq(&policy.check(&pod(changes)).unwrap_or_default());
}

#[test]
fn a_well_kept_pod_is_let_in_everywhere() {
    check(Level::Restricted, &[], expect![""]);
    check(Level::Baseline, &[], expect![""]);
    check(Level::Privileged, &[("/spec/hostPID", json!(true))], expect![""]);
}

fn container(field: &str) -> String {
    format!("/spec/containers/0/securityContext/{field}")
}

#[test]
fn baseline_keeps_pods_from_their_node() {
    for (pointer, value, expected) in [
        ("/spec/hostPID".to_owned(), json!(true), expect!["host namespaces (hostPID=true)"]),
        (
            container("privileged"),
            json!(true),
            expect![[r#"privileged (container "c" must not set securityContext.privileged=true)"#]],
        ),
        (
            container("capabilities"),
            json!({"add": ["NET_ADMIN", "CHOWN"]}),
            expect![[
                r#"non-default capabilities (container "c" must not include "NET_ADMIN" in securityContext.capabilities.add)"#
            ]],
        ),
        (
            container("procMount"),
            json!("Unmasked"),
            expect![[
                r#"procMount (container "c" must not set securityContext.procMount to "Unmasked")"#
            ]],
        ),
        (
            container("seLinuxOptions"),
            json!({"type": "x"}),
            expect![[
                r#"seLinuxOptions (container "c" set forbidden securityContext.seLinuxOptions)"#
            ]],
        ),
        (
            "/spec/securityContext/windowsOptions".to_owned(),
            json!({"hostProcess": true}),
            expect![
                "hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)"
            ],
        ),
    ] {
        check(Level::Baseline, &[(&pointer, value)], expected);
    }
}

#[test]
fn baseline_keeps_profiles_and_addresses() {
    for (pointer, value, expected) in [
        (
            container("seccompProfile"),
            json!({"type": "Unconfined"}),
            expect![[
                r#"seccompProfile (container "c" must not set securityContext.seccompProfile.type to "Unconfined")"#
            ]],
        ),
        (
            container("appArmorProfile"),
            json!({"type": "Unconfined"}),
            expect![[
                r#"forbidden AppArmor profile (container "c" must not set AppArmor profile type to "Unconfined")"#
            ]],
        ),
        (
            "/spec/securityContext/sysctls".to_owned(),
            json!([{"name": "kernel.msgmax", "value": "1"}]),
            expect!["forbidden sysctls (kernel.msgmax)"],
        ),
        (
            "/spec/containers/0/livenessProbe".to_owned(),
            json!({"httpGet": {"host": "10.0.0.1"}}),
            expect![[
                r#"probe or lifecycle host (container "c" must not set host of a probe or lifecycle handler)"#
            ]],
        ),
        (
            "/spec/containers/0/ports".to_owned(),
            json!([{"hostPort": 80}, {"hostPort": 81}]),
            expect![[r#"hostPort (container "c" uses hostPorts 80, 81)"#]],
        ),
        (
            "/spec/volumes".to_owned(),
            json!([{"name": "h", "hostPath": {"path": "/"}}]),
            expect![[r#"hostPath volumes (volume "h")"#]],
        ),
    ] {
        check(Level::Baseline, &[(&pointer, value)], expected);
    }
}

#[test]
fn restricted_asks_for_more() {
    let c = |field: &str| format!("/spec/containers/0/securityContext/{field}");
    for (pointer, value, expected) in [
        (
            c("allowPrivilegeEscalation"),
            Value::Null,
            expect![[
                r#"allowPrivilegeEscalation != false (container "c" must set securityContext.allowPrivilegeEscalation=false)"#
            ]],
        ),
        (
            c("capabilities"),
            json!({"add": ["CHOWN"]}),
            expect![[
                r#"unrestricted capabilities (container "c" must set securityContext.capabilities.drop=["ALL"]; container "c" must not include "CHOWN" in securityContext.capabilities.add)"#
            ]],
        ),
        (
            c("runAsNonRoot"),
            json!(false),
            expect![[
                r#"runAsNonRoot != true (container "c" must not set securityContext.runAsNonRoot=false)"#
            ]],
        ),
        (
            c("runAsUser"),
            json!(0),
            expect![[r#"runAsUser=0 (container "c" must not set runAsUser=0)"#]],
        ),
        (
            "/spec/securityContext/runAsNonRoot".to_owned(),
            Value::Null,
            expect![[
                r#"runAsNonRoot != true (pod or containers "c", "d" must set securityContext.runAsNonRoot=true)"#
            ]],
        ),
        (
            "/spec/securityContext/seccompProfile".to_owned(),
            Value::Null,
            expect![[
                r#"seccompProfile (pod or containers "c", "d" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")"#
            ]],
        ),
        (
            "/spec/volumes".to_owned(),
            json!([{"name": "h", "hostPath": {}}, {"name": "n", "nfs": {}}]),
            expect![[
                r#"restricted volume types (volumes "h", "n" use restricted volume types "hostPath", "nfs")"#
            ]],
        ),
    ] {
        check(Level::Restricted, &[(&pointer, value)], expected);
    }
}

#[test]
fn versions_have_a_form() {
    assert!(is_version("latest") && is_version("v1.35"));
    assert!(!is_version("v1.") && !is_version("1.35") && !is_version("v2.0"));
}
