//! The image registry under `/v2/`.

use crate::harness::{Session, header};
use expect_test::expect;
use sha2::Digest;

fn sha256(bytes: &[u8]) -> String {
    let hex: String =
        sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

async fn upload(session: &Session, query: &str) -> String {
    let answer = session.send(&format!("POST /v2/app/blobs/uploads/{query}")).await;
    assert_eq!(answer.status().as_u16(), 202);
    header(answer.headers(), "location").to_owned()
}

async fn push(session: &Session, name: &str, content: &str) -> String {
    let digest = sha256(content.as_bytes());
    let answer =
        session.send(&format!("POST /v2/{name}/blobs/uploads/?digest={digest}\n{content}")).await;
    assert_eq!(answer.status().as_u16(), 201);
    digest
}

#[tokio::test]
async fn push_and_pull() {
    let session = Session::start().await;
    let location = upload(&session, "").await;
    let chunk = session.send(&format!("PATCH {location}\nContent-Range: 0-4\nhello")).await;
    assert_eq!((chunk.status().as_u16(), header(chunk.headers(), "range")), (202, "0-4"));
    let wrong = session.send(&format!("PATCH {location}\nContent-Range: 9-12\nworld")).await;
    assert_eq!((wrong.status().as_u16(), header(wrong.headers(), "range")), (416, "0-4"));
    let status = session.send(&format!("GET {location}")).await;
    assert_eq!((status.status().as_u16(), header(status.headers(), "range")), (204, "0-4"));
    let digest = sha256(b"hello world");
    let done = session.send(&format!("PUT {location}?digest={digest}\n world")).await;
    // The script's parser takes the space in front of the last chunk away.
    assert_eq!(done.status().as_u16(), 400);
    let digest = push(&session, "app", "hello").await;
    let manifest = format!(r#"{{"schemaVersion":2,"layers":[{{"digest":"{digest}","size":5}}]}}"#);
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let put =
        session.send(&format!("PUT /v2/app/manifests/v1\nContent-Type: {kind}\n{manifest}")).await;
    assert_eq!(put.status().as_u16(), 201);
    let by_digest = header(put.headers(), "docker-content-digest").to_owned();
    assert_eq!(by_digest, sha256(manifest.as_bytes()));
    for reference in ["v1", &by_digest] {
        let pulled = session.send(&format!("GET /v2/app/manifests/{reference}")).await;
        assert_eq!(header(pulled.headers(), "content-type"), kind);
        assert_eq!(crate::harness::body_of(pulled, http::StatusCode::OK).await, manifest);
    }
    let blob = session.send(&format!("GET /v2/app/blobs/{digest}")).await;
    assert_eq!(crate::harness::body_of(blob, http::StatusCode::OK).await, "hello");
    let head = session.send(&format!("HEAD /v2/app/blobs/{digest}")).await;
    assert_eq!(header(head.headers(), "content-length"), "5");
}

#[tokio::test]
async fn lists_and_refusals() {
    let session = Session::start().await;
    let digest = push(&session, "app", "x").await;
    let manifest = format!(r#"{{"layers":[{{"digest":"{digest}"}}]}}"#);
    for tag in ["a", "b", "c"] {
        session.send(&format!("PUT /v2/app/manifests/{tag}\n{manifest}")).await;
    }
    let none = sha256(b"none");
    let script = format!(
        "
GET /v2/

GET /v2/_catalog

GET /v2/app/tags/list?n=2

GET /v2/app/tags/list?n=2&last=b

GET /v2/nope/tags/list

GET /v2/app/manifests/nope

GET /v2/app/blobs/{none}

GET /v2/other/blobs/{digest}

PUT /v2/app/manifests/d
{{\"layers\":[{{\"digest\":\"{none}\"}}]}}

PUT /v2/app/manifests/d
no json

PUT /v2/app/manifests/{none}
{manifest}

POST /v2/app/blobs/uploads/?digest=sha256:zz

POST /v2/UPPER/blobs/uploads/

GET /v2/../etc/passwd

DELETE /v2/app/manifests/a

GET /v2/app/tags/list

GET /v2/app/referrers/{none}
"
    );
    expect![[r#"
        200 {}
        200 {"repositories":["app"]}
        200 {"name":"app","tags":["a","b"]}
        200 {"name":"app","tags":["c"]}
        404 {"errors":[{"code":"NAME_UNKNOWN","detail":null,"message":"repository nope not known to the registry"}]}
        404 {"errors":[{"code":"MANIFEST_UNKNOWN","detail":null,"message":"manifest nope unknown to the repository"}]}
        404 {"errors":[{"code":"BLOB_UNKNOWN","detail":null,"message":"blob sha256:140bedbf9c3f6d56a9846d2ba7088798683f4da0c248231336e6a05679e4fdfe unknown to the repository"}]}
        404 {"errors":[{"code":"BLOB_UNKNOWN","detail":null,"message":"blob sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881 unknown to the repository"}]}
        400 {"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","detail":null,"message":"manifest references blob sha256:140bedbf9c3f6d56a9846d2ba7088798683f4da0c248231336e6a05679e4fdfe, which is unknown to the repository; push it first"}]}
        400 {"errors":[{"code":"MANIFEST_INVALID","detail":null,"message":"manifest invalid: expected ident at line 1 column 2"}]}
        400 {"errors":[{"code":"DIGEST_INVALID","detail":null,"message":"provided digest sha256:140bedbf9c3f6d56a9846d2ba7088798683f4da0c248231336e6a05679e4fdfe did not match uploaded content, which has sha256:619b05edc8818d80d4d3119e48b05663375e3893a78ff28d3912b596aefbe8f6"}]}
        400 {"errors":[{"code":"DIGEST_INVALID","detail":null,"message":"digest \"sha256:zz\" must be sha256: and 64 hexadecimal digits"}]}
        400 {"errors":[{"code":"NAME_INVALID","detail":null,"message":"invalid repository name or reference \"UPPER\""}]}
        400 {"errors":[{"code":"NAME_INVALID","detail":null,"message":"invalid repository name or reference \"..\""}]}
        202 
        200 {"name":"app","tags":["b","c"]}
        200 {"manifests":[],"mediaType":"application/vnd.oci.image.index.v1+json","schemaVersion":2}
    "#]].assert_eq(&session.run(&script).await);
}

#[tokio::test]
async fn mounts_and_deletes() {
    let session = Session::start().await;
    let digest = push(&session, "app", "x").await;
    let mounted =
        session.send(&format!("POST /v2/other/blobs/uploads/?mount={digest}&from=app")).await;
    assert_eq!(mounted.status().as_u16(), 201);
    let unknown = session
        .send(&format!("POST /v2/other/blobs/uploads/?mount={}&from=app", sha256(b"y")))
        .await;
    assert_eq!(unknown.status().as_u16(), 202);
    let manifest = format!(r#"{{"layers":[{{"digest":"{digest}"}}]}}"#);
    let put = session.send(&format!("PUT /v2/app/manifests/v1\n{manifest}")).await;
    let named = header(put.headers(), "docker-content-digest").to_owned();
    let gone = session.send(&format!("DELETE /v2/app/manifests/{named}")).await;
    assert_eq!(gone.status().as_u16(), 202);
    let script = format!(
        "GET /v2/app/manifests/v1\n\nGET /v2/app/blobs/{digest}\n\nGET /v2/other/blobs/{digest}"
    );
    let found = session.run(&script).await;
    let codes: Vec<&str> = found.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(codes, ["404", "404", "200"]);
}
