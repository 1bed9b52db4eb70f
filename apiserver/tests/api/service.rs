//! Services: addresses and node ports.

use crate::harness::{Session, check};
use coracle_apiserver::{ApiServer, Config};
use expect_test::expect;

#[tokio::test]
async fn requested_addresses_are_honoured_once() {
    check(
        r#"
POST /api/v1/namespaces/default/services | /spec/clusterIP /spec/clusterIPs /spec/ipFamilies /spec/ipFamilyPolicy /spec/ports/0/nodePort
{"metadata":{"name":"a"},"spec":{"type":"NodePort","clusterIP":"10.96.0.50","ports":[{"port":80,"nodePort":30080}]}}

POST /api/v1/namespaces/default/services
{"metadata":{"name":"b"},"spec":{"type":"NodePort","clusterIP":"10.96.0.50","ports":[{"port":80,"nodePort":30080}]}}

POST /api/v1/namespaces/default/services
{"metadata":{"name":"b"},"spec":{"clusterIP":"192.168.0.1","ports":[{"port":80}]}}

POST /api/v1/namespaces/default/services | /spec/clusterIP /spec/clusterIPs
{"metadata":{"name":"h"},"spec":{"clusterIP":"None","ports":[{"port":80}]}}

POST /api/v1/namespaces/default/services | /spec/clusterIP /spec/externalName
{"metadata":{"name":"e"},"spec":{"type":"ExternalName","externalName":"example.com"}}

DELETE /api/v1/namespaces/default/services/a | /metadata/name

POST /api/v1/namespaces/default/services | /spec/clusterIP /spec/ports/0/nodePort
{"metadata":{"name":"b"},"spec":{"type":"NodePort","clusterIP":"10.96.0.50","ports":[{"port":80,"nodePort":30080}]}}

PATCH /api/v1/namespaces/default/services/b | /spec/clusterIP /spec/ports/0/nodePort
Content-Type: application/merge-patch+json
{"metadata":{"labels":{"a":"b"}}}

PUT /api/v1/namespaces/default/services/b | /spec/clusterIP /spec/ports/0/nodePort
{"metadata":{"name":"b"},"spec":{"type":"ClusterIP","ports":[{"port":81}]}}
"#,
        expect![[r#"
            201
              /spec/clusterIP "10.96.0.50"
              /spec/clusterIPs ["10.96.0.50"]
              /spec/ipFamilies ["IPv4"]
              /spec/ipFamilyPolicy "SingleStack"
              /spec/ports/0/nodePort 30080
            422 Invalid: Service "b" is invalid: [spec.clusterIPs: Invalid value: ["10.96.0.50"]: failed to allocate IP 10.96.0.50: provided IP is already allocated, spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated]
              {"causes":[{"field":"spec.clusterIPs","message":"Invalid value: [\"10.96.0.50\"]: failed to allocate IP 10.96.0.50: provided IP is already allocated","reason":"FieldValueInvalid"},{"field":"spec.ports[0].nodePort","message":"Invalid value: 30080: provided port is already allocated","reason":"FieldValueInvalid"}],"kind":"Service","name":"b"}
            422 Invalid: Service "b" is invalid: spec.clusterIPs: Invalid value: ["192.168.0.1"]: failed to allocate IP 192.168.0.1: the provided IP is not in the valid range. The range of valid IPs is 10.96.0.0/12
              {"causes":[{"field":"spec.clusterIPs","message":"Invalid value: [\"192.168.0.1\"]: failed to allocate IP 192.168.0.1: the provided IP is not in the valid range. The range of valid IPs is 10.96.0.0/12","reason":"FieldValueInvalid"}],"kind":"Service","name":"b"}
            201
              /spec/clusterIP "None"
              /spec/clusterIPs ["None"]
            201
              /spec/clusterIP -
              /spec/externalName "example.com"
            200
              /metadata/name "a"
            201
              /spec/clusterIP "10.96.0.50"
              /spec/ports/0/nodePort 30080
            200
              /spec/clusterIP "10.96.0.50"
              /spec/ports/0/nodePort 30080
            200
              /spec/clusterIP "10.96.0.50"
              /spec/ports/0/nodePort -
        "#]],
    )
    .await;
}

#[tokio::test]
async fn every_cluster_has_its_first_objects() {
    check(
        "
GET /api/v1/namespaces | /items/0/metadata/name /items/1/metadata/name /items/2/metadata/name /items/3/metadata/name

GET /api/v1/namespaces/default/services/kubernetes | /spec/clusterIP /spec/ports

GET /apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes | /endpoints /ports /metadata/labels

GET /apis/scheduling.k8s.io/v1/priorityclasses/system-node-critical | /value
",
        expect![[r#"
            200
              /items/0/metadata/name "default"
              /items/1/metadata/name "kube-node-lease"
              /items/2/metadata/name "kube-public"
              /items/3/metadata/name "kube-system"
            200
              /spec/clusterIP "10.96.0.1"
              /spec/ports [{"name":"https","port":443,"protocol":"TCP","targetPort":6443}]
            200
              /endpoints [{"addresses":["10.0.0.1"],"conditions":{"ready":true}}]
              /ports [{"name":"https","port":6443,"protocol":"TCP"}]
              /metadata/labels {"kubernetes.io/service-name":"kubernetes"}
            200
              /value 2000001000
        "#]],
    )
    .await;
}

#[tokio::test]
async fn a_restart_knows_the_addresses_in_use_and_moves_its_own() {
    let session = Session::start().await;
    let service =
        r#"{"metadata":{"name":"a"},"spec":{"clusterIP":"10.96.0.50","ports":[{"port":80}]}}"#;
    session.value(&format!("POST /api/v1/namespaces/default/services\n{service}")).await;
    let config =
        Config::new("10.0.0.2:6444".parse().unwrap(), session.folder.path().join("registry"));
    let server = ApiServer::new(config, session.store.clone()).await.unwrap();
    let slice = session
        .value("GET /apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes")
        .await;
    assert_eq!(slice["endpoints"][0]["addresses"][0], "10.0.0.2");
    assert_eq!(slice["ports"][0]["port"], 6444);
    let admin = coracle_apiserver::authn::UserInfo::new("admin", ["system:masters"]);
    let request = http::Request::post("/api/v1/namespaces/default/services")
        .body(http_body_util::Full::new(bytes::Bytes::from(service.replace("\"a\"", "\"b\""))))
        .unwrap();
    let answer = tower::ServiceExt::oneshot(server.in_process(admin), request).await.unwrap();
    assert_eq!(answer.status().as_u16(), 422);
}

/// An address with one Service, with none, and with another that is held for a while.
const ADDRESSES: &str = r#"
POST /api/v1/namespaces/default/services | /metadata/name
{"metadata":{"name":"a"},"spec":{"clusterIP":"10.96.0.50","ports":[{"port":80}]}}

GET /apis/networking.k8s.io/v1/ipaddresses/10.96.0.50 | /metadata/labels /spec

GET /apis/networking.k8s.io/v1/ipaddresses/10.96.0.1 | /spec

PATCH /api/v1/namespaces/default/services/a | /spec/ipFamilies
Content-Type: application/merge-patch+json
{"spec":{"ipFamilyPolicy":"RequireDualStack","clusterIPs":["10.96.0.50","fd63:6f73::50"],"ipFamilies":["IPv4","IPv6"]}}

GET /apis/networking.k8s.io/v1/ipaddresses/fd63:6f73::50 | /metadata/labels /spec/parentRef/name

PATCH /api/v1/namespaces/default/services/a | /spec/type
Content-Type: application/merge-patch+json
{"spec":{"type":"ExternalName","externalName":"example.com","clusterIP":null,"clusterIPs":null,"ipFamilies":null,"ipFamilyPolicy":null}}

GET /apis/networking.k8s.io/v1/ipaddresses/10.96.0.50

POST /api/v1/namespaces/default/services | /metadata/name
{"metadata":{"name":"b","finalizers":["example.com/held"]},"spec":{"clusterIP":"10.96.0.50","ports":[{"port":80}]}}

DELETE /api/v1/namespaces/default/services/b | /spec/clusterIP

GET /apis/networking.k8s.io/v1/ipaddresses/10.96.0.50 | /spec/parentRef/name

PATCH /api/v1/namespaces/default/services/b | /metadata/name
Content-Type: application/merge-patch+json
{"metadata":{"finalizers":null}}

GET /apis/networking.k8s.io/v1/ipaddresses/10.96.0.50

GET /apis/networking.k8s.io/v1/servicecidrs/kubernetes | /metadata/finalizers /status/conditions/0/status

DELETE /apis/networking.k8s.io/v1/servicecidrs/kubernetes | /metadata/finalizers
"#;

#[tokio::test]
async fn each_address_has_an_object_as_long_as_it_is_given_out() {
    check(
        ADDRESSES,
        expect![[r#"
            201
              /metadata/name "a"
            200
              /metadata/labels {"ipaddress.kubernetes.io/ip-family":"IPv4","ipaddress.kubernetes.io/managed-by":"ipallocator.k8s.io"}
              /spec {"parentRef":{"group":"","name":"a","namespace":"default","resource":"services"}}
            200
              /spec {"parentRef":{"group":"","name":"kubernetes","namespace":"default","resource":"services"}}
            200
              /spec/ipFamilies ["IPv4","IPv6"]
            200
              /metadata/labels {"ipaddress.kubernetes.io/ip-family":"IPv6","ipaddress.kubernetes.io/managed-by":"ipallocator.k8s.io"}
              /spec/parentRef/name "a"
            200
              /spec/type "ExternalName"
            404 NotFound: ipaddresses.networking.k8s.io "10.96.0.50" not found
              {"group":"networking.k8s.io","kind":"ipaddresses","name":"10.96.0.50"}
            201
              /metadata/name "b"
            200
              /spec/clusterIP "10.96.0.50"
            200
              /spec/parentRef/name "b"
            200
              /metadata/name "b"
            404 NotFound: ipaddresses.networking.k8s.io "10.96.0.50" not found
              {"group":"networking.k8s.io","kind":"ipaddresses","name":"10.96.0.50"}
            200
              /metadata/finalizers ["networking.k8s.io/service-cidr-finalizer"]
              /status/conditions/0/status "True"
            200
              /metadata/finalizers ["networking.k8s.io/service-cidr-finalizer"]
        "#]],
    )
    .await;
}

#[tokio::test]
async fn parts_of_the_control_plane_tell_how_they_are() {
    let session = Session::start().await;
    let lease = |seconds: u32| {
        format!(
            r#"{{"metadata":{{"name":"kube-scheduler"}},"spec":{{"holderIdentity":"a","leaseDurationSeconds":{seconds},"renewTime":"2026-01-01T00:00:00.000000Z"}}}}"#
        )
    };
    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
    session.run(&format!("POST {leases} | /kind\n{}", lease(1_000_000_000))).await;
    let parts = session
        .run(
            r#"
GET /api/v1/componentstatuses | /kind /items/0/metadata/name /items/0/conditions/0 /items/1/conditions/0 /items/2/conditions/0

GET /api/v1/componentstatuses | /columnDefinitions/1/name /rows/2/cells
Accept: application/json;as=Table;v=v1;g=meta.k8s.io

GET /api/v1/componentstatuses/scheduler | /metadata/name

GET /api/v1/componentstatuses/nosuch
"#,
        )
        .await;
    expect![[r#"
        200
          ! 299 - "v1 ComponentStatus is deprecated in v1.19+"
          /kind "ComponentStatusList"
          /items/0/metadata/name "controller-manager"
          /items/0/conditions/0 {"error":"there is no Lease kube-system/kube-controller-manager","status":"False","type":"Healthy"}
          /items/1/conditions/0 {"message":"ok","status":"True","type":"Healthy"}
          /items/2/conditions/0 {"message":"ok","status":"True","type":"Healthy"}
        200
          ! 299 - "v1 ComponentStatus is deprecated in v1.19+"
          /columnDefinitions/1/name "Status"
          /rows/2/cells ["scheduler","Healthy","ok",""]
        200
          ! 299 - "v1 ComponentStatus is deprecated in v1.19+"
          /metadata/name "scheduler"
        404 NotFound: componentstatuses "nosuch" not found
          {"kind":"componentstatuses","name":"nosuch"}
    "#]].assert_eq(&parts);
}
