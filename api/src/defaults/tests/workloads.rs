//! Defaults of the kinds beside pods and services.

use expect_test::expect;

use super::check;

#[test]
fn workloads() {
    check(
        "StatefulSet",
        "/spec",
        "spec: {serviceName: a, selector: {}, template: {spec: {containers: []}}, volumeClaimTemplates: [{metadata: {name: data}}]}",
        expect![[r#"
        persistentVolumeClaimRetentionPolicy: {"whenDeleted":"Retain","whenScaled":"Retain"}
        podManagementPolicy: "OrderedReady"
        replicas: 1
        revisionHistoryLimit: 10
        selector: {}
        serviceName: "a"
        template: {"metadata":{},"spec":{"containers":[],"dnsPolicy":"ClusterFirst","restartPolicy":"Always","schedulerName":"default-scheduler","securityContext":{},"terminationGracePeriodSeconds":30}}
        updateStrategy: {"rollingUpdate":{"partition":0},"type":"RollingUpdate"}
        volumeClaimTemplates: [{"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{"name":"data"},"spec":{"resources":{},"volumeMode":"Filesystem"},"status":{"phase":"Pending"}}]
    "#]],
    );
    check(
        "DaemonSet",
        "/spec",
        "spec: {selector: {}, template: {spec: {containers: []}}}",
        expect![[r#"
        revisionHistoryLimit: 10
        selector: {}
        template: {"metadata":{},"spec":{"containers":[],"dnsPolicy":"ClusterFirst","restartPolicy":"Always","schedulerName":"default-scheduler","securityContext":{},"terminationGracePeriodSeconds":30}}
        updateStrategy: {"rollingUpdate":{"maxSurge":0,"maxUnavailable":1},"type":"RollingUpdate"}
    "#]],
    );
    check(
        "Job",
        "/spec",
        "spec: {template: {spec: {containers: [], restartPolicy: Never}}}",
        expect![[r#"
        backoffLimit: 6
        completionMode: "NonIndexed"
        completions: 1
        manualSelector: false
        parallelism: 1
        podReplacementPolicy: "TerminatingOrFailed"
        suspend: false
        template: {"metadata":{},"spec":{"containers":[],"dnsPolicy":"ClusterFirst","restartPolicy":"Never","schedulerName":"default-scheduler","securityContext":{},"terminationGracePeriodSeconds":30}}
    "#]],
    );
    check(
        "Job",
        "/spec",
        "spec: {parallelism: 3, podFailurePolicy: {rules: [{action: Ignore, onPodConditions: [{type: DisruptionTarget}]}]}, template: {spec: {containers: [], restartPolicy: Never}}}",
        expect![[r#"
        backoffLimit: 6
        completionMode: "NonIndexed"
        manualSelector: false
        parallelism: 3
        podFailurePolicy: {"rules":[{"action":"Ignore","onPodConditions":[{"status":"True","type":"DisruptionTarget"}]}]}
        podReplacementPolicy: "Failed"
        suspend: false
        template: {"metadata":{},"spec":{"containers":[],"dnsPolicy":"ClusterFirst","restartPolicy":"Never","schedulerName":"default-scheduler","securityContext":{},"terminationGracePeriodSeconds":30}}
    "#]],
    );
}

#[test]
fn workloads_that_make_others() {
    check(
        "CronJob",
        "/spec",
        r#"spec: {schedule: "* * * * *", jobTemplate: {spec: {template: {spec: {containers: []}}}}}"#,
        expect![[r#"
        concurrencyPolicy: "Allow"
        failedJobsHistoryLimit: 1
        jobTemplate: {"metadata":{},"spec":{"template":{"metadata":{},"spec":{"containers":[],"dnsPolicy":"ClusterFirst","restartPolicy":"Always","schedulerName":"default-scheduler","securityContext":{},"terminationGracePeriodSeconds":30}}}}
        schedule: "* * * * *"
        successfulJobsHistoryLimit: 3
        suspend: false
    "#]],
    );
    check(
        "ReplicationController",
        "",
        "spec: {template: {metadata: {labels: {a: b}}, spec: {containers: []}}}",
        expect![[r#"
        metadata: {"labels":{"a":"b"}}
        spec: {"replicas":1,"selector":{"a":"b"},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[],"dnsPolicy":"ClusterFirst","restartPolicy":"Always","schedulerName":"default-scheduler","securityContext":{},"terminationGracePeriodSeconds":30}}}
        status: {"replicas":0}
    "#]],
    );
    check(
        "HorizontalPodAutoscaler",
        "/spec",
        "spec: {maxReplicas: 3, scaleTargetRef: {kind: Deployment, name: a}, behavior: {scaleDown: {stabilizationWindowSeconds: 5}}}",
        expect![[r#"
        behavior: {"scaleDown":{"policies":[{"periodSeconds":15,"type":"Percent","value":100}],"selectPolicy":"Max","stabilizationWindowSeconds":5},"scaleUp":{"policies":[{"periodSeconds":15,"type":"Pods","value":4},{"periodSeconds":15,"type":"Percent","value":100}],"selectPolicy":"Max","stabilizationWindowSeconds":0}}
        maxReplicas: 3
        metrics: [{"resource":{"name":"cpu","target":{"averageUtilization":80,"type":"Utilization"}},"type":"Resource"}]
        minReplicas: 1
        scaleTargetRef: {"kind":"Deployment","name":"a"}
    "#]],
    );
}

#[test]
fn volumes_and_limits() {
    check(
        "PersistentVolumeClaim",
        "",
        "spec: {}",
        expect![[r#"
        metadata: {}
        spec: {"resources":{},"volumeMode":"Filesystem"}
        status: {"phase":"Pending"}
    "#]],
    );
    check(
        "PersistentVolume",
        "",
        "spec: {hostPath: {path: /a}}",
        expect![[r#"
        metadata: {}
        spec: {"hostPath":{"path":"/a","type":""},"persistentVolumeReclaimPolicy":"Retain","volumeMode":"Filesystem"}
        status: {"phase":"Pending"}
    "#]],
    );
    check(
        "LimitRange",
        "/spec",
        "spec: {limits: [{type: Container, max: {cpu: 2}, min: {memory: 1Mi}}, {type: Pod, max: {cpu: 4}}]}",
        expect![[r#"
        limits: [{"default":{"cpu":"2"},"defaultRequest":{"cpu":"2","memory":"1Mi"},"max":{"cpu":"2"},"min":{"memory":"1Mi"},"type":"Container"},{"max":{"cpu":"4"},"type":"Pod"}]
    "#]],
    );
    check(
        "StorageClass",
        "",
        "provisioner: x",
        expect![[r#"
        metadata: {}
        provisioner: "x"
        reclaimPolicy: "Delete"
        volumeBindingMode: "Immediate"
    "#]],
    );
    check(
        "CSIDriver",
        "/spec",
        "spec: {}",
        expect![[r#"
        attachRequired: true
        fsGroupPolicy: "ReadWriteOnceWithFSType"
        podInfoOnMount: false
        requiresRepublish: false
        seLinuxMount: false
        storageCapacity: false
        volumeLifecycleModes: ["Persistent"]
    "#]],
    );
}

#[test]
fn network_and_access() {
    check(
        "NetworkPolicy",
        "/spec",
        "spec: {podSelector: {}, egress: [{ports: [{port: 53}]}]}",
        expect![[r#"
        egress: [{"ports":[{"port":53,"protocol":"TCP"}]}]
        podSelector: {}
        policyTypes: ["Ingress","Egress"]
    "#]],
    );
    check(
        "Endpoints",
        "",
        "subsets: [{ports: [{port: 1}]}]",
        expect![[r#"
        metadata: {}
        subsets: [{"ports":[{"port":1,"protocol":"TCP"}]}]
    "#]],
    );
    check(
        "IngressClass",
        "/spec",
        "spec: {controller: x, parameters: {kind: a, name: b}}",
        expect![[r#"
        controller: "x"
        parameters: {"kind":"a","name":"b","scope":"Cluster"}
    "#]],
    );
    check(
        "RoleBinding",
        "",
        "{roleRef: {kind: Role, name: a}, subjects: [{kind: User, name: b}, {kind: ServiceAccount, name: c}]}",
        expect![[r#"
        metadata: {}
        roleRef: {"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"a"}
        subjects: [{"apiGroup":"rbac.authorization.k8s.io","kind":"User","name":"b"},{"kind":"ServiceAccount","name":"c"}]
    "#]],
    );
}

#[test]
fn extension() {
    check(
        "MutatingWebhookConfiguration",
        "",
        r#"webhooks: [{name: a, clientConfig: {service: {name: web, namespace: b}}, rules: [{apiGroups: [""]}], sideEffects: None, admissionReviewVersions: [v1]}]"#,
        expect![[r#"
            metadata: {}
            webhooks: [{"admissionReviewVersions":["v1"],"clientConfig":{"service":{"name":"web","namespace":"b","port":443}},"failurePolicy":"Fail","matchPolicy":"Equivalent","name":"a","namespaceSelector":{},"objectSelector":{},"reinvocationPolicy":"Never","rules":[{"apiGroups":[""],"scope":"*"}],"sideEffects":"None","timeoutSeconds":10}]
        "#]],
    );
    check(
        "ValidatingAdmissionPolicy",
        "/spec",
        r#"spec: {matchConstraints: {resourceRules: [{apiGroups: [""]}]}}"#,
        expect![[r#"
            failurePolicy: "Fail"
            matchConstraints: {"matchPolicy":"Equivalent","namespaceSelector":{},"objectSelector":{},"resourceRules":[{"apiGroups":[""],"scope":"*"}]}
        "#]],
    );
    check(
        "CustomResourceDefinition",
        "/spec",
        "spec: {group: x.io, scope: Namespaced, names: {kind: CronTab, plural: crontabs}, versions: []}",
        expect![[r#"
            conversion: {"strategy":"None"}
            group: "x.io"
            names: {"kind":"CronTab","listKind":"CronTabList","plural":"crontabs","singular":"crontab"}
            scope: "Namespaced"
            versions: []
        "#]],
    );
    check(
        "APIService",
        "/spec",
        "spec: {service: {name: a, namespace: b}, groupPriorityMinimum: 1, versionPriority: 1}",
        expect![[r#"
            groupPriorityMinimum: 1
            service: {"name":"a","namespace":"b","port":443}
            versionPriority: 1
        "#]],
    );
    check(
        "PriorityLevelConfiguration",
        "/spec",
        "spec: {type: Limited, limited: {limitResponse: {type: Queue, queuing: {}}}}",
        expect![[r#"
            limited: {"lendablePercent":0,"limitResponse":{"queuing":{"handSize":8,"queueLengthLimit":50,"queues":64},"type":"Queue"},"nominalConcurrencyShares":30}
            type: "Limited"
        "#]],
    );
    check(
        "ResourceClaim",
        "/spec",
        "spec: {devices: {requests: [{name: a, exactly: {deviceClassName: gpu}}]}}",
        expect![[r#"
            devices: {"requests":[{"exactly":{"allocationMode":"ExactCount","count":1,"deviceClassName":"gpu"},"name":"a"}]}
        "#]],
    );
}
