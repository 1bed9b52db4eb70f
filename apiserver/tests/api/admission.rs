//! What namespaces let in: quotas, limit ranges, Pod Security levels, and what new pods are given.

use crate::harness::{Session, check};
use expect_test::expect;

#[tokio::test]
async fn a_quota_counts_and_refuses() {
    check(
        r#"
POST /api/v1/namespaces/default/resourcequotas | /metadata/name
{"metadata":{"name":"few"},"spec":{"hard":{"configmaps":"2","count/secrets":"1","requests.memory":"1Gi"}}}

POST /api/v1/namespaces/default/configmaps | /metadata/name
{"metadata":{"name":"a"}}

POST /api/v1/namespaces/default/configmaps?dryRun=All | /metadata/name
{"metadata":{"name":"dry"}}

POST /api/v1/namespaces/default/configmaps | /metadata/name
{"metadata":{"name":"b"}}

POST /api/v1/namespaces/default/configmaps
{"metadata":{"name":"c"}}

POST /api/v1/namespaces/default/configmaps
{"metadata":{"name":"a"}}

GET /api/v1/namespaces/default/resourcequotas/few | /status

POST /api/v1/namespaces/kube-system/configmaps | /metadata/name
{"metadata":{"name":"c"}}

POST /api/v1/namespaces/default/pods
{"metadata":{"name":"silent"},"spec":{"containers":[{"name":"c","image":"i"}]}}

POST /api/v1/namespaces/default/pods | /metadata/name
{"metadata":{"name":"fits"},"spec":{"containers":[{"name":"c","image":"i","resources":{"requests":{"memory":"700Mi"}}}]}}

POST /api/v1/namespaces/default/pods
{"metadata":{"name":"big"},"spec":{"containers":[{"name":"c","image":"i","resources":{"requests":{"memory":"700Mi"}}}]}}
"#,
        expect![[r#"
            201
              /metadata/name "few"
            201
              /metadata/name "a"
            201
              /metadata/name "dry"
            201
              /metadata/name "b"
            403 Forbidden: configmaps "c" is forbidden: exceeded quota: few, requested: configmaps=1, used: configmaps=2, limited: configmaps=2
              {"kind":"configmaps","name":"c"}
            403 Forbidden: configmaps "a" is forbidden: exceeded quota: few, requested: configmaps=1, used: configmaps=2, limited: configmaps=2
              {"kind":"configmaps","name":"a"}
            200
              /status {"hard":{"configmaps":"2","count/secrets":"1","requests.memory":"1Gi"},"used":{"configmaps":"2","count/secrets":"0","requests.memory":"0"}}
            201
              /metadata/name "c"
            403 Forbidden: pods "silent" is forbidden: failed quota: few: must specify requests.memory for: c
              {"kind":"pods","name":"silent"}
            201
              /metadata/name "fits"
            403 Forbidden: pods "big" is forbidden: exceeded quota: few, requested: requests.memory=700Mi, used: requests.memory=700Mi, limited: requests.memory=1Gi
              {"kind":"pods","name":"big"}
        "#]],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_do_not_go_beyond_a_quota() {
    let session = Session::start().await;
    session
        .run(
            r#"
POST /api/v1/namespaces/default/resourcequotas
{"metadata":{"name":"ten"},"spec":{"hard":{"count/secrets":"10"}}}
"#,
        )
        .await;
    let session = &session;
    let all = (0..30).map(|index| async move {
        let request = format!(
            "POST /api/v1/namespaces/default/secrets\n{{\"metadata\":{{\"name\":\"s{index}\"}}}}"
        );
        session.send(&request).await.status().as_u16()
    });
    let codes = futures::future::join_all(all).await;
    let count = |code: u16| codes.iter().filter(|other| **other == code).count();
    assert_eq!((count(201), count(403)), (10, 20));
    let quota = session.value("GET /api/v1/namespaces/default/resourcequotas/ten").await;
    assert_eq!(quota["status"]["used"]["count/secrets"], "10");
}

#[tokio::test]
async fn limit_ranges_fill_in_and_refuse() {
    check(
        r#"
POST /api/v1/namespaces/default/limitranges | /metadata/name
{"metadata":{"name":"r"},"spec":{"limits":[{"type":"Container","default":{"cpu":"500m"},"defaultRequest":{"cpu":"100m"},"max":{"cpu":"1"}}]}}

POST /api/v1/namespaces/default/pods | /spec/containers/0/resources /metadata/annotations
{"metadata":{"name":"silent"},"spec":{"containers":[{"name":"c","image":"i"}]}}

POST /api/v1/namespaces/default/pods
{"metadata":{"name":"big"},"spec":{"containers":[{"name":"c","image":"i","resources":{"limits":{"cpu":"2"}}}]}}
"#,
        expect![[r#"
            201
              /metadata/name "r"
            201
              /spec/containers/0/resources {"limits":{"cpu":"500m"},"requests":{"cpu":"100m"}}
              /metadata/annotations {"kubernetes.io/limit-ranger":"LimitRanger plugin set: cpu request for container c; cpu limit for container c"}
            403 Forbidden: pods "big" is forbidden: maximum cpu usage per Container is 1, but limit is 2
              {"kind":"pods","name":"big"}
        "#]],
    )
    .await;
}

#[tokio::test]
async fn pod_security_refuses_and_warns() {
    check(
        r#"
POST /api/v1/namespaces | /metadata/name
{"metadata":{"name":"tight","labels":{"pod-security.kubernetes.io/enforce":"baseline","pod-security.kubernetes.io/warn":"restricted"}}}

POST /api/v1/namespaces/tight/pods
{"metadata":{"name":"host"},"spec":{"hostNetwork":true,"containers":[{"name":"c","image":"i","securityContext":{"privileged":true}}]}}

POST /api/v1/namespaces/tight/pods | /metadata/name
{"metadata":{"name":"plain"},"spec":{"containers":[{"name":"c","image":"i"}]}}

POST /apis/apps/v1/namespaces/tight/deployments | /metadata/name
{"metadata":{"name":"web"},"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},
 "spec":{"hostNetwork":true,"containers":[{"name":"c","image":"i"}]}}}}

PATCH /api/v1/namespaces/tight | /metadata/name
Content-Type: application/merge-patch+json
{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"restricted"}}}

PATCH /api/v1/namespaces/tight
Content-Type: application/merge-patch+json
{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"none"}}}

PATCH /api/v1/namespaces/tight/pods/plain | /metadata/labels
Content-Type: application/merge-patch+json
{"metadata":{"labels":{"a":"b"}}}
"#,
        expect![[r#"
            201
              /metadata/name "tight"
            403 Forbidden: pods "host" is forbidden: violates PodSecurity "baseline:latest": host namespaces (hostNetwork=true), privileged (container "c" must not set securityContext.privileged=true)
              {"kind":"pods","name":"host"}
            201
              ! 299 - "would violate PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false (container \"c\" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container \"c\" must set securityContext.capabilities.drop=[\"ALL\"]), runAsNonRoot != true (pod or container \"c\" must set securityContext.runAsNonRoot=true), seccompProfile (pod or container \"c\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")"
              /metadata/name "plain"
            201
              ! 299 - "would violate PodSecurity \"restricted:latest\": host namespaces (hostNetwork=true), allowPrivilegeEscalation != false (container \"c\" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container \"c\" must set securityContext.capabilities.drop=[\"ALL\"]), runAsNonRoot != true (pod or container \"c\" must set securityContext.runAsNonRoot=true), seccompProfile (pod or container \"c\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")"
              /metadata/name "web"
            200
              ! 299 - "existing pods in namespace \"tight\" violate the new PodSecurity enforce level \"restricted:latest\""
              ! 299 - "plain: allowPrivilegeEscalation != false (container \"c\" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container \"c\" must set securityContext.capabilities.drop=[\"ALL\"]), runAsNonRoot != true (pod or container \"c\" must set securityContext.runAsNonRoot=true), seccompProfile (pod or container \"c\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")"
              /metadata/name "tight"
            422 Invalid: Namespace "tight" is invalid: metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: "none": must be one of privileged, baseline, restricted
              {"causes":[{"field":"metadata.labels[pod-security.kubernetes.io/enforce]","message":"Invalid value: \"none\": must be one of privileged, baseline, restricted","reason":"FieldValueInvalid"}],"kind":"Namespace","name":"tight"}
            200
              /metadata/labels {"a":"b"}
        "#]],
    )
    .await;
}

#[tokio::test]
async fn new_pods_are_given_what_their_cluster_says() {
    check(
        r#"
POST /apis/node.k8s.io/v1/runtimeclasses | /metadata/name
{"metadata":{"name":"process"},"handler":"process","overhead":{"podFixed":{"cpu":"10m"}},
 "scheduling":{"nodeSelector":{"fast":"yes"},"tolerations":[{"key":"only","operator":"Exists"}]}}

POST /api/v1/namespaces/default/pods | /spec/overhead /spec/nodeSelector /spec/tolerations/2
{"metadata":{"name":"a"},"spec":{"runtimeClassName":"process","containers":[{"name":"c","image":"i"}]}}

POST /api/v1/namespaces/default/pods
{"metadata":{"name":"b"},"spec":{"runtimeClassName":"none","containers":[{"name":"c","image":"i"}]}}

POST /apis/storage.k8s.io/v1/storageclasses | /metadata/name
{"metadata":{"name":"std","annotations":{"storageclass.kubernetes.io/is-default-class":"true"}},"provisioner":"x"}

POST /api/v1/namespaces/default/persistentvolumeclaims | /spec/storageClassName
{"metadata":{"name":"c"},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}}
"#,
        expect![[r#"
            201
              /metadata/name "process"
            201
              /spec/overhead {"cpu":"10m"}
              /spec/nodeSelector {"fast":"yes"}
              /spec/tolerations/2 {"key":"only","operator":"Exists"}
            403 Forbidden: pods "b" is forbidden: pod rejected: RuntimeClass "none" not found
              {"kind":"pods","name":"b"}
            201
              /metadata/name "std"
            201
              /spec/storageClassName "std"
        "#]],
    )
    .await;
    check(
        r#"
POST /api/v1/namespaces/default/serviceaccounts | /metadata/name
{"metadata":{"name":"silent"},"automountServiceAccountToken":false}

POST /api/v1/namespaces/default/pods | /spec/volumes /spec/containers/0/volumeMounts
{"metadata":{"name":"a"},"spec":{"serviceAccountName":"silent","containers":[{"name":"c","image":"i"}]}}

POST /api/v1/namespaces/default/pods | /spec/volumes/0/projected /spec/containers/0/volumeMounts/0/mountPath
{"metadata":{"name":"b"},"spec":{"serviceAccountName":"silent","automountServiceAccountToken":true,"containers":[{"name":"c","image":"i"}]}}
"#,
        expect![[r#"
            201
              /metadata/name "silent"
            201
              /spec/volumes -
              /spec/containers/0/volumeMounts -
            201
              /spec/volumes/0/projected {"defaultMode":420,"sources":[{"serviceAccountToken":{"expirationSeconds":3607,"path":"token"}},{"configMap":{"items":[{"key":"ca.crt","path":"ca.crt"}],"name":"kube-root-ca.crt"}},{"downwardAPI":{"items":[{"fieldRef":{"apiVersion":"v1","fieldPath":"metadata.namespace"},"path":"namespace"}]}}]}
              /spec/containers/0/volumeMounts/0/mountPath "/var/run/secrets/kubernetes.io/serviceaccount"
        "#]],
    )
    .await;
}
