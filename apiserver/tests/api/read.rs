//! `GET` of objects, collections, and paths that are no resources.

use crate::harness::{Session, check, header};
use expect_test::expect;

const THREE: &str = r#"
POST /api/v1/namespaces/default/configmaps | /metadata/name
{"metadata":{"name":"a","labels":{"app":"web"}}}

POST /api/v1/namespaces/default/configmaps | /metadata/name
{"metadata":{"name":"b","labels":{"app":"db"}}}

POST /api/v1/namespaces/kube-system/configmaps | /metadata/name
{"metadata":{"name":"c","labels":{"app":"web"}}}
"#;

#[tokio::test]
async fn lists_by_namespace_labels_and_fields() {
    check(
        &format!(
            "{THREE}
GET /api/v1/configmaps | /kind /apiVersion /items/0/metadata/name /items/1/metadata/name /items/2/metadata/name /metadata/continue

GET /api/v1/namespaces/default/configmaps?labelSelector=app%3Dweb | /items/0/metadata/name /items/1

GET /api/v1/configmaps?labelSelector=app+notin+(web) | /items/0/metadata/name /items/1

GET /api/v1/configmaps?fieldSelector=metadata.name!%3Da,metadata.namespace%3Ddefault | /items/0/metadata/name /items/1

GET /api/v1/namespaces/nowhere/configmaps | /items
"
        ),
        expect![[r#"
            201
              /metadata/name "a"
            201
              /metadata/name "b"
            201
              /metadata/name "c"
            200
              /kind "ConfigMapList"
              /apiVersion "v1"
              /items/0/metadata/name "a"
              /items/1/metadata/name "b"
              /items/2/metadata/name "c"
              /metadata/continue -
            200
              /items/0/metadata/name "a"
              /items/1 -
            200
              /items/0/metadata/name "b"
              /items/1 -
            200
              /items/0/metadata/name "b"
              /items/1 -
            200
              /items []
        "#]],
    )
    .await;
}

#[tokio::test]
async fn pages_show_one_moment() {
    let session = Session::start().await;
    session.run(THREE).await;
    let first = session.value("GET /api/v1/configmaps?limit=2").await;
    assert_eq!(first["items"].as_array().unwrap().len(), 2);
    assert_eq!(first["metadata"]["remainingItemCount"], 1);
    let token = first["metadata"]["continue"].as_str().unwrap();
    session
        .run("POST /api/v1/namespaces/kube-system/configmaps\n{\"metadata\":{\"name\":\"d\"}}")
        .await;
    let second = session.value(&format!("GET /api/v1/configmaps?limit=2&continue={token}")).await;
    assert_eq!(second["items"].as_array().unwrap().len(), 1);
    assert_eq!(second["items"][0]["metadata"]["name"], "c");
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    assert_eq!(second["metadata"].get("continue"), None);
}

#[tokio::test]
async fn selectors_and_revisions_that_make_no_sense() {
    check(
        "
GET /api/v1/configmaps?labelSelector=a%3D%3D%3Db

GET /api/v1/configmaps?fieldSelector=spec.x%3Db

GET /api/v1/configmaps?resourceVersion=abc

GET /api/v1/configmaps?resourceVersion=0&resourceVersionMatch=Exact

GET /api/v1/configmaps?continue=abc

GET /api/v1/configmaps?limit=x
",
        expect![[r#"
            400 BadRequest: unable to parse requirement: found '=', expected: identifier
            400 BadRequest: "spec.x" is not a known field selector: only "metadata.name", "metadata.namespace"
            400 BadRequest: resourceVersion: Invalid value: "abc": strconv.ParseUint: invalid syntax
            422 Invalid: ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch "exact" is forbidden for resourceVersion "0"
              {"causes":[{"field":"resourceVersionMatch","message":"Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"","reason":"FieldValueForbidden"}],"group":"meta.k8s.io","kind":"ListOptions"}
            400 BadRequest: continue key is not valid
            400 BadRequest: strconv.ParseInt: parsing "x": invalid syntax
        "#]],
    )
    .await;
}

#[tokio::test]
async fn what_is_not_there() {
    check(
        "
GET /api/v1/namespaces/default/configmaps/a

GET /api/v1/namespaces/default/deployments/a

GET /apis/apps/v1/namespaces/default/deployments/a

GET /apis/nope/v1/things

GET /nope

GET /api/v1/configmaps/a

GET /api/v1/namespaces/default/nodes

GET /api/v1/namespaces/default/pods/a/nope
",
        expect![[r#"
            404 NotFound: configmaps "a" not found
              {"kind":"configmaps","name":"a"}
            404 NotFound: the server could not find the requested resource
              {}
            404 NotFound: deployments.apps "a" not found
              {"group":"apps","kind":"deployments","name":"a"}
            404 404 page not found

            404 404 page not found

            404 NotFound: the server could not find the requested resource
              {}
            404 NotFound: the server could not find the requested resource
              {}
            404 NotFound: the server could not find the requested resource
              {}
        "#]],
    )
    .await;
}

#[tokio::test]
async fn tables_and_bare_metadata() {
    check(
        &format!(
            "{THREE}
GET /api/v1/namespaces/default/configmaps | /kind /apiVersion /columnDefinitions/0/name /columnDefinitions/1/name /rows/0/cells/0 /rows/0/object/kind /rows/0/object/metadata/name /rows/2
Accept: application/json;as=Table;v=v1;g=meta.k8s.io,application/json

GET /api/v1/namespaces/default/configmaps?includeObject=Object | /rows/1/object/kind
Accept: application/json;as=Table;v=v1beta1;g=meta.k8s.io

GET /api/v1/namespaces/default/configmaps/a | /kind /rows/0/cells/0
Accept: application/json;as=Table;v=v1;g=meta.k8s.io

GET /api/v1/namespaces/default/configmaps | /kind /items/0/kind /items/0/metadata/name
Accept: application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io

GET /api/v1/namespaces/default/configmaps/a | /kind /metadata/labels /data
Accept: application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io

GET /api/v1/namespaces/default/configmaps/a
Accept: application/json;as=Nothing

POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews
Accept: application/json;as=Table;v=v1;g=meta.k8s.io
{{\"spec\":{{\"nonResourceAttributes\":{{\"path\":\"/\",\"verb\":\"get\"}}}}}}

POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews | /kind
Accept: application/json;as=Table;v=v1;g=meta.k8s.io,application/json
{{\"spec\":{{\"nonResourceAttributes\":{{\"path\":\"/\",\"verb\":\"get\"}}}}}}
"
        ),
        expect![[r#"
            201
              /metadata/name "a"
            201
              /metadata/name "b"
            201
              /metadata/name "c"
            200
              /kind "Table"
              /apiVersion "meta.k8s.io/v1"
              /columnDefinitions/0/name "Name"
              /columnDefinitions/1/name "Data"
              /rows/0/cells/0 "a"
              /rows/0/object/kind "PartialObjectMetadata"
              /rows/0/object/metadata/name "a"
              /rows/2 -
            200
              /rows/1/object/kind "ConfigMap"
            200
              /kind "Table"
              /rows/0/cells/0 "a"
            200
              /kind "PartialObjectMetadataList"
              /items/0/kind "PartialObjectMetadata"
              /items/0/metadata/name "a"
            200
              /kind "PartialObjectMetadata"
              /metadata/labels {"app":"web"}
              /data -
            406 NotAcceptable: only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf
            406 NotAcceptable: only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf
            201
              /kind "SelfSubjectAccessReview"
        "#]],
    )
    .await;
}

#[tokio::test]
async fn kinds_on_their_way_out_say_so() {
    check(
        r#"
POST /api/v1/namespaces/default/endpoints | /metadata/name
{"metadata":{"name":"e"},"subsets":[{"addresses":[{"ip":"10.1.2.3"}],"ports":[{"port":80}]}]}

GET /api/v1/namespaces/default/endpoints/e | /subsets/0/ports/0
"#,
        expect![[r#"
            201
              ! 299 - "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"
              /metadata/name "e"
            200
              ! 299 - "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"
              /subsets/0/ports/0 {"port":80,"protocol":"TCP"}
        "#]],
    )
    .await;
}

#[tokio::test]
async fn yaml_and_pretty() {
    check(
        r#"
POST /api/v1/namespaces/default/configmaps | /metadata/name
{"metadata":{"name":"a"},"data":{"k":"line 1\nline 2"}}

GET /api/v1/namespaces/default/configmaps/a
Accept: application/yaml

GET /version
Accept: application/yaml
"#,
        expect![[r#"
            201
              /metadata/name "a"
            200 apiVersion: v1
            data:
              k: |-
                line 1
                line 2
            kind: ConfigMap
            metadata:
              creationTimestamp: "TIME"
              managedFields:
              - apiVersion: v1
                fieldsType: FieldsV1
                fieldsV1:
                  "f:data":
                    ".": {}
                    "f:k": {}
                manager: admin
                operation: Update
                time: "TIME"
              name: a
              namespace: default
              resourceVersion: "RV"
              uid: UID

            200 buildDate: "TIME"
            compiler: rustc
            emulationMajor: "1"
            emulationMinor: "35"
            gitCommit: "0.1.0"
            gitTreeState: clean
            gitVersion: v1.35.4+coracle
            goVersion: none
            major: "1"
            minCompatibilityMajor: "1"
            minCompatibilityMinor: "35"
            minor: "35"
            platform: linux/amd64

        "#]],
    )
    .await;
    let session = Session::start().await;
    let answer = session.send("GET /api/v1/namespaces/default?pretty=true").await;
    let body = crate::harness::body_of(answer, http::StatusCode::OK).await;
    assert!(body.starts_with(b"{\n  \"apiVersion\": \"v1\""));
}

#[tokio::test]
async fn long_lists_are_whole_and_compressed_when_asked() {
    let session = Session::start().await;
    let data = "x".repeat(3000);
    for index in 0..100 {
        let body = format!(r#"{{"metadata":{{"name":"c{index:03}"}},"data":{{"x":"{data}"}}}}"#);
        session.value(&format!("POST /api/v1/namespaces/default/configmaps\n{body}")).await;
    }
    let list = session.value("GET /api/v1/namespaces/default/configmaps").await;
    assert_eq!(list["items"].as_array().unwrap().len(), 100);
    assert_eq!(list["items"][99]["metadata"]["name"], "c099");
    let forms = [("Table", "rows", "/object"), ("PartialObjectMetadataList", "items", "")];
    for (form, items, object) in forms {
        let asked = format!(
            "GET /api/v1/namespaces/default/configmaps\nAccept: application/json;as={form};v=v1;g=meta.k8s.io"
        );
        let shown = session.value(&asked).await;
        for (index, item) in list["items"].as_array().unwrap().iter().enumerate() {
            let metadata = format!("/{items}/{index}{object}/metadata");
            assert_eq!(shown.pointer(&metadata).unwrap(), &item["metadata"]);
        }
        assert_eq!(shown[items].as_array().unwrap().len(), 100);
    }
    let answer =
        session.send("GET /api/v1/namespaces/default/configmaps\nAccept-Encoding: gzip").await;
    assert_eq!(header(answer.headers(), "content-encoding"), "gzip");
    let body = crate::harness::body_of(answer, http::StatusCode::OK).await;
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&*body), &mut text).unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), list);
}

#[tokio::test]
async fn a_revision_to_come_is_too_large() {
    // Paused time makes the wait for the revision pass at once.
    tokio::time::pause();
    check("GET /api/v1/configmaps?resourceVersion=99999", expect![[r#"
        504 Timeout: Timeout: Too large resource version: 99999, current: RV
          {"causes":[{"message":"Too large resource version","reason":"ResourceVersionTooLarge"}],"retryAfterSeconds":1}
    "#]]).await;
}

#[tokio::test]
async fn what_the_server_says_about_itself() {
    check(
        "
GET /version | /major /minor /gitVersion

GET /healthz

GET /readyz?verbose

GET /livez/ping

GET /livez/nope

GET /api | /kind /versions /serverAddressByClientCIDRs/0/serverAddress

GET /apis | /kind /groups/0/name /groups/0/preferredVersion

GET /apis/apps/v1 | /kind /groupVersion /resources/0/name /resources/1

GET /openapi/v3/apis/nope/v1
",
        expect![[r#"
            200
              /major "1"
              /minor "35"
              /gitVersion "v1.35.4+coracle"
            200 ok
            200 [+]ping ok
            [+]store ok
            [+]caches ok
            [+]bootstrap ok
            [+]shutdown ok
            readyz check passed

            200 ok
            404 404 page not found

            200
              /kind "APIVersions"
              /versions ["v1"]
              /serverAddressByClientCIDRs/0/serverAddress "10.0.0.1:6443"
            200
              /kind "APIGroupList"
              /groups/0/name "apiregistration.k8s.io"
              /groups/0/preferredVersion {"groupVersion":"apiregistration.k8s.io/v1","version":"v1"}
            200
              /kind "APIResourceList"
              /groupVersion "apps/v1"
              /resources/0/name "controllerrevisions"
              /resources/1 {"categories":["all"],"kind":"DaemonSet","name":"daemonsets","namespaced":true,"shortNames":["ds"],"singularName":"daemonset","storageVersionHash":"dd7pWHUlMKQ=","verbs":["create","delete","deletecollection","get","list","patch","update","watch"]}
            404 NotFound: the server could not find the requested resource
              {}
        "#]],
    )
    .await;
}

#[tokio::test]
async fn openapi_documents_are_kept_by_hash() {
    let session = Session::start().await;
    let index = session.value("GET /openapi/v3").await;
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap();
    let answer = session.send(&format!("GET {url}")).await;
    assert_eq!(header(answer.headers(), "cache-control"), "public, immutable");
    let etag = header(answer.headers(), "etag").to_owned();
    assert!(url.contains(etag.trim_matches('"')));
    let again = session.send(&format!("GET {url}\nIf-None-Match: {etag}")).await;
    assert_eq!(again.status(), http::StatusCode::NOT_MODIFIED);
    let stale = session.send("GET /openapi/v3/apis/apps/v1?hash=0").await;
    assert_eq!((stale.status().as_u16(), header(stale.headers(), "location")), (301, url));
    let index = session.send("GET /openapi/v3").await;
    let etag = header(index.headers(), "etag").to_owned();
    let again = session.send(&format!("GET /openapi/v3\nIf-None-Match: {etag}")).await;
    assert_eq!(again.status(), http::StatusCode::NOT_MODIFIED);
}

#[tokio::test]
async fn every_answer_has_an_audit_id_and_counts() {
    let session = Session::start().await;
    let answer = session.send("GET /version\nAudit-Id: mine").await;
    assert_eq!(header(answer.headers(), "audit-id"), "mine");
    let answer = session.send("GET /api/v1/pods").await;
    assert_eq!(header(answer.headers(), "audit-id").len(), 36);
    let metrics = session.run("GET /metrics").await;
    assert!(metrics.contains(
        r#"apiserver_request_total{verb="LIST",group="",version="v1",resource="pods",subresource="",scope="cluster",code="200"} 1"#
    ));
}
