//! Built-in kinds through the whole server: what is filled, counted, refused and shown.

use crate::harness::check;
use expect_test::expect;

#[tokio::test]
async fn autoscalers_in_two_versions() {
    let path = "/namespaces/default/horizontalpodautoscalers";
    check(
        &format!(
            r#"
POST /apis/autoscaling/v1{path} | /apiVersion /spec
{{"apiVersion":"autoscaling/v1","kind":"HorizontalPodAutoscaler","metadata":{{"name":"a"}},"spec":{{"maxReplicas":3,"targetCPUUtilizationPercentage":70,"scaleTargetRef":{{"apiVersion":"apps/v1","kind":"Deployment","name":"web"}}}}}}

GET /apis/autoscaling/v2{path}/a | /apiVersion /spec/metrics /spec/minReplicas

PATCH /apis/autoscaling/v1{path}/a | /spec/targetCPUUtilizationPercentage
Content-Type: application/merge-patch+json
{{"spec":{{"targetCPUUtilizationPercentage":50}}}}

GET /apis/autoscaling/v2{path} | /kind /items/0/spec/metrics/0/resource/target

POST /apis/autoscaling/v2{path}
{{"apiVersion":"autoscaling/v2","kind":"HorizontalPodAutoscaler","metadata":{{"name":"b"}},"spec":{{"maxReplicas":0,"scaleTargetRef":{{"kind":"Deployment","name":"web"}}}}}}
"#
        ),
        expect![[r#"
            201
              /apiVersion "autoscaling/v1"
              /spec {"maxReplicas":3,"minReplicas":1,"scaleTargetRef":{"apiVersion":"apps/v1","kind":"Deployment","name":"web"},"targetCPUUtilizationPercentage":70}
            200
              /apiVersion "autoscaling/v2"
              /spec/metrics [{"resource":{"name":"cpu","target":{"averageUtilization":70,"type":"Utilization"}},"type":"Resource"}]
              /spec/minReplicas 1
            200
              /spec/targetCPUUtilizationPercentage 50
            200
              /kind "HorizontalPodAutoscalerList"
              /items/0/spec/metrics/0/resource/target {"averageUtilization":50,"type":"Utilization"}
            422 Invalid: HorizontalPodAutoscaler.autoscaling "b" is invalid: [spec.maxReplicas: Invalid value: 0: must be greater than 0, spec.maxReplicas: Invalid value: 0: must be greater than or equal to `minReplicas`]
              {"causes":[{"field":"spec.maxReplicas","message":"Invalid value: 0: must be greater than 0","reason":"FieldValueInvalid"},{"field":"spec.maxReplicas","message":"Invalid value: 0: must be greater than or equal to `minReplicas`","reason":"FieldValueInvalid"}],"group":"autoscaling","kind":"HorizontalPodAutoscaler","name":"b"}
        "#]],
    )
    .await;
}

#[tokio::test]
async fn jobs_and_replication_controllers() {
    check(
        r#"
POST /apis/batch/v1/namespaces/default/jobs | /spec/completions /spec/backoffLimit /spec/template/metadata/labels/job-name /metadata/generation /status
{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"a"},"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i:1"}]}}}}

PATCH /apis/batch/v1/namespaces/default/jobs/a
Content-Type: application/merge-patch+json
{"spec":{"completions":5}}

POST /api/v1/namespaces/default/replicationcontrollers | /spec/selector /spec/replicas
{"apiVersion":"v1","kind":"ReplicationController","metadata":{"name":"a"},"spec":{"template":{"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"c","image":"i:1"}]}}}}

GET /api/v1/namespaces/default/replicationcontrollers/a/scale | /spec /status

POST /api/v1/namespaces/default/bindings
{"apiVersion":"v1","kind":"Binding","metadata":{"name":"a"},"target":{"name":"n"}}
"#,
        expect![[r#"
            201
              /spec/completions 1
              /spec/backoffLimit 6
              /spec/template/metadata/labels/job-name "a"
              /metadata/generation 1
              /status {}
            422 Invalid: Job.batch "a" is invalid: spec.completions: Invalid value: 5: field is immutable
              {"causes":[{"field":"spec.completions","message":"Invalid value: 5: field is immutable","reason":"FieldValueInvalid"}],"group":"batch","kind":"Job","name":"a"}
            201
              /spec/selector {"app":"web"}
              /spec/replicas 1
            200
              /spec {"replicas":1}
              /status {"replicas":0,"selector":"app=web"}
            404 NotFound: pods "a" not found
              {"kind":"pods","name":"a"}
        "#]],
    )
    .await;
}
