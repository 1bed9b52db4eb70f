//! Rows of the kinds beside pods, services and nodes.

use super::*;

#[test]
fn workloads() {
    let template =
        json!({"spec": {"containers": [{"name": "c", "image": "i"}], "nodeSelector": {"x": "y"}}});
    let selector = json!({"matchLabels": {"app": "web"}});
    check(
        "apps",
        "StatefulSet",
        json!({"spec": {"replicas": 3, "template": template}, "status": {"readyReplicas": 1}}),
        "a | 1/3 | 2m | c | i",
    );
    check(
        "apps",
        "DaemonSet",
        json!({"spec": {"template": template, "selector": selector},
            "status": {"desiredNumberScheduled": 5, "currentNumberScheduled": 4, "numberReady": 3,
                "updatedNumberScheduled": 2, "numberAvailable": 1}}),
        "a | 5 | 4 | 3 | 2 | 1 | x=y | 2m | c | i | app=web",
    );
    check(
        "",
        "ReplicationController",
        json!({"spec": {"replicas": 2, "template": template, "selector": {"app": "web"}}, "status": {"replicas": 1}}),
        "a | 2 | 1 | 0 | 2m | c | i | app=web",
    );
    check(
        "policy",
        "PodDisruptionBudget",
        json!({"spec": {"maxUnavailable": "20%"}, "status": {"disruptionsAllowed": 1}}),
        "a | N/A | 20% | 1 | 2m",
    );
}

#[test]
fn jobs() {
    let template = json!({"spec": {"containers": [{"name": "c", "image": "i"}]}});
    check(
        "batch",
        "Job",
        json!({"spec": {"completions": 3, "template": template, "selector": {"matchLabels": {"u": "1"}}},
            "status": {"succeeded": 1, "startTime": "2026-01-01T23:59:00Z"}}),
        "a | Running | 1/3 | 60s | 2m | c | i | u=1",
    );
    check(
        "batch",
        "Job",
        json!({"spec": {"parallelism": 2, "template": template, "selector": {"matchLabels": {"u": "1"}}},
            "status": {"startTime": "2026-01-01T23:59:00Z", "completionTime": "2026-01-01T23:59:05Z",
                "conditions": [{"type": "Failed", "status": "True"}]}}),
        "a | Failed | 0/1 of 2 | 5s | 2m | c | i | u=1",
    );
    check(
        "batch",
        "CronJob",
        json!({"spec": {"schedule": "* * * * *", "suspend": false, "jobTemplate": {"spec": {"template": template}}},
            "status": {"active": [{}], "lastScheduleTime": "2026-01-01T23:59:00Z"}}),
        "a | * * * * * | <none> | False | 1 | 60s | 2m | c | i | <none>",
    );
}

#[test]
fn autoscalers() {
    let kind = registry::by_kind("autoscaling", "v2", "HorizontalPodAutoscaler").unwrap();
    let check = |metrics: Value, current: Value, expected: &str| {
        let object = json!({"spec": {"maxReplicas": 3, "metrics": metrics}, "status": {"currentMetrics": current}});
        assert_eq!(row(kind, &object, NOW.parse().unwrap())[2], expected);
    };
    let cpu = json!({"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 80}}});
    let now = json!({"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 7}}});
    let pods = json!({"type": "Pods", "pods": {"target": {"averageValue": "10"}}});
    check(json!([cpu]), json!([]), "cpu: <unknown>/80%");
    check(json!([cpu]), json!([now]), "cpu: 7%/80%");
    check(json!([cpu, pods, pods]), json!([now]), "cpu: 7%/80%, <unknown>/10 + 1 more...");
    check(json!([]), json!([]), "<none>");
}

#[test]
fn volumes() {
    check(
        "",
        "PersistentVolume",
        json!({"spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteMany", "ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain", "claimRef": {"namespace": "b", "name": "c"}, "volumeMode": "Filesystem"},
            "status": {"phase": "Bound"}}),
        "a | 1Gi | RWO,RWX | Retain | Bound | b/c |  | <unset> |  | 2m | Filesystem",
    );
    check(
        "",
        "PersistentVolumeClaim",
        json!({"spec": {"storageClassName": "fast"}, "status": {"phase": "Pending", "capacity": {"storage": "1Gi"}}}),
        "a | Pending |  |  |  | fast | <unset> | 2m | <unset>",
    );
    check(
        "storage.k8s.io",
        "StorageClass",
        json!({"provisioner": "p", "metadata": {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}}),
        "a (default) | p | Delete | Immediate | false | 2m",
    );
    check(
        "",
        "ResourceQuota",
        json!({"status": {"hard": {"pods": "5", "limits.cpu": "2", "requests.cpu": "1"}, "used": {"pods": "2"}}}),
        "a | pods: 2/5, requests.cpu: 0/1 | limits.cpu: 0/2 | 2m",
    );
    check("", "LimitRange", json!({}), "a | 2026-01-01T23:58:00Z");
}

#[test]
fn network() {
    check(
        "networking.k8s.io",
        "Ingress",
        json!({"spec": {"rules": [{"host": "a.b"}, {}], "tls": [{}]},
            "status": {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}}),
        "a | <none> | a.b | 1.2.3.4 | 80, 443 | 2m",
    );
    check(
        "networking.k8s.io",
        "IngressClass",
        json!({"spec": {"controller": "c", "parameters": {"apiGroup": "x.io", "kind": "K", "name": "n"}}}),
        "a | c | K.x.io/n | 2m",
    );
    check(
        "networking.k8s.io",
        "NetworkPolicy",
        json!({"spec": {"podSelector": {}}}),
        "a | <none> | 2m",
    );
    check(
        "networking.k8s.io",
        "IPAddress",
        json!({"spec": {"parentRef": {"resource": "services", "namespace": "b", "name": "c"}}}),
        "a | services/b/c",
    );
    check(
        "",
        "Endpoints",
        json!({"subsets": [{"addresses": [{"ip": "1.1.1.1"}, {"ip": "1.1.1.2"}], "ports": [{"port": 80}, {"port": 81}]}]}),
        "a | 1.1.1.1:80,1.1.1.1:81,1.1.1.2:80 + 1 more... | 2m",
    );
}

#[test]
fn access() {
    check(
        "rbac.authorization.k8s.io",
        "RoleBinding",
        json!({"roleRef": {"kind": "Role", "name": "r"}, "subjects": [
            {"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "namespace": "b", "name": "s"}]}),
        "a | Role/r | 2m | u |  | b/s",
    );
    check(
        "certificates.k8s.io",
        "CertificateSigningRequest",
        json!({"spec": {"signerName": "s", "username": "u", "expirationSeconds": 3600},
            "status": {"conditions": [{"type": "Approved"}], "certificate": "AA=="}}),
        "a | 2m | s | u | 60m | Approved,Issued",
    );
    check(
        "apiregistration.k8s.io",
        "APIService",
        json!({"spec": {}, "status": {"conditions": [{"type": "Available", "status": "True"}]}}),
        "a | Local | True | 2m",
    );
    check(
        "admissionregistration.k8s.io",
        "ValidatingAdmissionPolicyBinding",
        json!({"spec": {"policyName": "p", "paramRef": {"namespace": "b", "name": "c"}}}),
        "a | p | b/c | 2m",
    );
    check("rbac.authorization.k8s.io", "ClusterRole", json!({}), "a | 2026-01-01T23:58:00Z");
}

#[test]
fn flow_control() {
    check(
        "flowcontrol.apiserver.k8s.io",
        "PriorityLevelConfiguration",
        json!({"spec": {"type": "Limited", "limited": {"nominalConcurrencyShares": 30, "limitResponse": {"queuing": {"queues": 64}}}}}),
        "a | Limited | 30 | 64 | <none> | <none> | 2m",
    );
    check(
        "flowcontrol.apiserver.k8s.io",
        "FlowSchema",
        json!({"spec": {"matchingPrecedence": 5, "priorityLevelConfiguration": {"name": "p"}}}),
        "a | p | 5 | <none> | 2m | ?",
    );
}
