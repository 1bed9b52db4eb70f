//! The registry against the OCI Distribution Specification 1.1, category by category: pull, push,
//! content discovery, content management; and what ours adds, rights and rules per namespace.

use bytes::Bytes;
use coracle_apiserver::authn::UserInfo;
use coracle_apiserver::{ApiServer, InProcess};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use sha2::Digest as _;
use tower::ServiceExt as _;

use crate::harness::{Session, header};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn sha256(bytes: &[u8]) -> String {
    let hex = sha2::Sha256::digest(bytes);
    format!("sha256:{}", hex.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// An answer, read to its end.
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        header(&self.headers, name)
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    fn code(&self) -> String {
        self.json()["errors"][0]["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// A client of the registry in the name of somebody.
struct Client(InProcess);

impl Client {
    fn admin(server: &ApiServer) -> Self {
        Self::of(server, UserInfo::new("admin", ["system:masters"]))
    }

    fn of(server: &ApiServer, user: UserInfo) -> Self {
        Self(server.in_process(user))
    }

    /// Sends a request, such as `PUT /v2/a/manifests/1`, with headers and a body.
    async fn send(&self, line: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let (method, uri) = line.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::copy_from_slice(body))).unwrap();
        let answer = self.0.clone().oneshot(request).await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        Answer { status, headers, body }
    }

    async fn get(&self, line: &str) -> Answer {
        self.send(line, &[], b"").await
    }

    /// Pushes a blob in one request; gives its digest.
    async fn blob(&self, name: &str, bytes: &[u8]) -> String {
        let digest = sha256(bytes);
        let line = format!("POST /v2/{name}/blobs/uploads/?digest={digest}");
        let answer = self.send(&line, &[("content-type", "application/octet-stream")], bytes).await;
        assert_eq!(answer.status, 201, "{:?}", answer.body);
        digest
    }

    async fn put(&self, name: &str, reference: &str, manifest: &Value, kind: &str) -> Answer {
        let line = format!("PUT /v2/{name}/manifests/{reference}");
        self.send(&line, &[("content-type", kind)], manifest.to_string().as_bytes()).await
    }
}

fn image(config: &str, layers: &[(&str, usize)]) -> Value {
    let layer = |(digest, size): &(&str, usize)| json!({"mediaType": "application/wasm", "digest": digest, "size": size});
    json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.wasm.config.v0+json", "digest": config, "size": 2},
        "layers": layers.iter().map(layer).collect::<Vec<_>>(),
    })
}

#[tokio::test]
async fn pull() {
    let session = Session::start().await;
    let client = Client::admin(&session.server);
    let (config, layer) =
        (client.blob("a/b", b"{}").await, client.blob("a/b", b"0123456789").await);
    let manifest = image(&config, &[(&layer, 10)]);
    let digest = sha256(manifest.to_string().as_bytes());
    client.put("a/b", "v1", &manifest, MANIFEST).await;
    for reference in ["v1", &digest] {
        for method in ["GET", "HEAD"] {
            let answer = client.get(&format!("{method} /v2/a/b/manifests/{reference}")).await;
            assert_eq!(
                (answer.status, answer.header("docker-content-digest")),
                (200, digest.as_str())
            );
            assert_eq!(answer.header("content-type"), MANIFEST);
            assert_eq!(answer.header("content-length"), manifest.to_string().len().to_string());
        }
    }
    let blob = format!("/v2/a/b/blobs/{layer}");
    let head = client.get(&format!("HEAD {blob}")).await;
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, "10", 0));
    assert_eq!(head.header("docker-content-digest"), layer);
    let ranges = [
        ("bytes=2-5", 206, "2345", "bytes 2-5/10"),
        ("bytes=7-", 206, "789", "bytes 7-9/10"),
        ("bytes=-1", 206, "9", "bytes 9-9/10"),
        ("bytes=10-", 416, "", "bytes */10"),
        ("bytes=0-0,2-2", 200, "0123456789", ""),
    ];
    for (range, status, body, shown) in ranges {
        let part = client.send(&format!("GET {blob}"), &[("range", range)], b"").await;
        assert_eq!((part.status, &part.body[..]), (status, body.as_bytes()), "{range}");
        assert_eq!(part.headers.get("content-range").map_or("", |h| h.to_str().unwrap()), shown);
    }
    let none = sha256(b"none");
    let absent = [
        ("manifests/v2".to_owned(), "MANIFEST_UNKNOWN"),
        (format!("manifests/{none}"), "MANIFEST_UNKNOWN"),
        ("manifests/.INVALID_MANIFEST_NAME".to_owned(), "MANIFEST_UNKNOWN"),
        (format!("blobs/{none}"), "BLOB_UNKNOWN"),
    ];
    for (path, code) in absent {
        let answer = client.get(&format!("GET /v2/a/b/{path}")).await;
        assert_eq!((answer.status, answer.code().as_str()), (404, code), "{path}");
        assert_eq!(client.get(&format!("HEAD /v2/a/b/{path}")).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn push() {
    let session = Session::start().await;
    let client = Client::admin(&session.server);
    let octets = ("content-type", "application/octet-stream");

    // Monolithic, in two requests.
    let begun = client.get("POST /v2/a/b/blobs/uploads/").await;
    assert_eq!(begun.status, 202);
    let (place, digest) = (begun.header("location"), sha256(b"whole"));
    let done = client.send(&format!("PUT {place}?digest={digest}"), &[octets], b"whole").await;
    assert_eq!(
        (done.status, done.header("location")),
        (201, format!("/v2/a/b/blobs/{digest}").as_str())
    );
    assert_eq!(client.get(&format!("GET {}", done.header("location"))).await.body, "whole");
}

#[tokio::test]
async fn push_in_chunks() {
    let session = Session::start().await;
    let client = Client::admin(&session.server);
    let octets = ("content-type", "application/octet-stream");
    let begun = client.send("POST /v2/a/b/blobs/uploads/", &[("content-length", "0")], b"").await;
    let place = begun.header("location").to_owned();
    let patch = |range: &'static str, bytes: &'static [u8]| {
        let (client, line) = (&client, format!("PATCH {place}"));
        async move { client.send(&line, &[octets, ("content-range", range)], bytes).await }
    };
    let first = patch("0-4", b"hello").await;
    assert_eq!((first.status, first.header("range")), (202, "0-4"));
    for (range, bytes, status) in
        [("0-4", &b"hello"[..], 416), ("6-10", b"world", 416), ("5-99", b"short", 400)]
    {
        let refused = patch(range, bytes).await;
        assert_eq!(
            (refused.status, refused.code().as_str()),
            (status, "BLOB_UPLOAD_INVALID"),
            "{range}"
        );
    }
    let status = client.get(&format!("GET {place}")).await;
    assert_eq!((status.status, status.header("range")), (204, "0-4"));
    assert_eq!(status.header("location"), place);
    assert_eq!(patch("5-5", b" ").await.header("range"), "0-5");
    let digest = sha256(b"hello world");
    let line = format!("PUT {place}?digest={digest}");
    let done = client.send(&line, &[octets, ("content-range", "6-10")], b"world").await;
    assert_eq!((done.status, done.header("docker-content-digest")), (201, digest.as_str()));
    assert_eq!(client.get(&format!("GET {place}")).await.status, 404, "the session is over");
}

#[tokio::test]
async fn push_what_is_wrong_and_what_is_there() {
    let session = Session::start().await;
    let client = Client::admin(&session.server);
    let octets = ("content-type", "application/octet-stream");
    let digest = client.blob("a/b", b"hello world").await;
    let begun = client.get("POST /v2/a/b/blobs/uploads/").await;
    let line = format!("PUT {}?digest={}", begun.header("location"), sha256(b"other"));
    let refused = client.send(&line, &[octets], b"this").await;
    assert_eq!((refused.status, refused.code().as_str()), (400, "DIGEST_INVALID"));
    let begun = client.get("POST /v2/a/b/blobs/uploads/").await;
    let place = begun.header("location");
    assert_eq!(client.get(&format!("DELETE {place}")).await.status, 204);
    assert_eq!(client.get(&format!("GET {place}")).await.code(), "BLOB_UPLOAD_UNKNOWN");

    // Mounts: of what is there, of what is not, and without a place to look.
    let mount = |query: String| {
        let client = &client;
        async move { client.get(&format!("POST /v2/c/d/blobs/uploads/?{query}")).await }
    };
    let mounted = mount(format!("mount={digest}&from=a/b")).await;
    assert_eq!(
        (mounted.status, mounted.header("location")),
        (201, format!("/v2/c/d/blobs/{digest}").as_str())
    );
    assert_eq!(mount(format!("mount={}&from=a/b", sha256(b"none"))).await.status, 202);
    assert_eq!(mount(format!("mount={digest}")).await.status, 202);

    // Manifests: with no layers, by digest, with what is missing, and nonsense.
    let config = client.blob("a/b", b"{}").await;
    let manifest = image(&config, &[]);
    let put = client.put("a/b", "empty", &manifest, MANIFEST).await;
    let digest = sha256(manifest.to_string().as_bytes());
    assert_eq!((put.status, put.header("docker-content-digest")), (201, digest.as_str()));
    assert_eq!(client.put("a/b", &digest, &manifest, MANIFEST).await.status, 201);
    let lacking = image(&config, &[(&sha256(b"never pushed"), 1)]);
    let lacking = client.put("a/b", "lacking", &lacking, MANIFEST).await;
    assert_eq!((lacking.status, lacking.code().as_str()), (400, "MANIFEST_BLOB_UNKNOWN"));
    let headers = [("content-type", MANIFEST)];
    let nonsense = client.send("PUT /v2/a/b/manifests/x", &headers, b"blablabla").await;
    assert_eq!((nonsense.status, nonsense.code().as_str()), (400, "MANIFEST_INVALID"));
    let big = format!("{{\"x\":\"{}\"}}", "x".repeat(4 << 20));
    let big = client.send("PUT /v2/a/b/manifests/x", &headers, big.as_bytes()).await;
    assert_eq!((big.status, big.code().as_str()), (413, "SIZE_INVALID"));
    let name = client.get("POST /v2/A/b/blobs/uploads/").await;
    assert_eq!((name.status, name.code().as_str()), (400, "NAME_INVALID"));
}

#[tokio::test]
async fn content_discovery() {
    let session = Session::start().await;
    let client = Client::admin(&session.server);
    let config = client.blob("a/b", b"{}").await;
    let manifest = image(&config, &[]);
    for tag in ["test2", "TEST1", "test0", "1.0"] {
        client.put("a/b", tag, &manifest, MANIFEST).await;
    }
    let tags = |query: &'static str| {
        let client = &client;
        async move {
            let answer = client.get(&format!("GET /v2/a/b/tags/list{query}")).await;
            let next =
                answer.headers.get("link").map_or("", |link| link.to_str().unwrap()).to_owned();
            (answer.json()["tags"].to_string(), next)
        }
    };
    assert_eq!(tags("").await.0, r#"["1.0","test0","TEST1","test2"]"#, "in lexical order");
    let (page, next) = tags("?n=3").await;
    assert_eq!(page, r#"["1.0","test0","TEST1"]"#);
    assert_eq!(next, "</v2/a/b/tags/list?n=3&last=TEST1>; rel=\"next\"");
    assert_eq!(tags("?n=3&last=TEST1").await, (r#"["test2"]"#.to_owned(), String::new()));
    assert_eq!(tags("?n=0").await, ("[]".to_owned(), String::new()));

    // Referrers, pushed before and after their subject.
    let subject = image(&config, &[(&client.blob("a/b", b"layer").await, 5)]);
    let bytes = subject.to_string();
    let digest = sha256(bytes.as_bytes());
    let descriptor = json!({"mediaType": MANIFEST, "digest": digest, "size": bytes.len()});
    let mut signature = image(&config, &[]);
    signature["subject"] = descriptor.clone();
    signature["artifactType"] = "application/vnd.example.signature".into();
    signature["annotations"] = json!({"org.example": "yes"});
    let put =
        client.put("a/b", &sha256(signature.to_string().as_bytes()), &signature, MANIFEST).await;
    assert_eq!((put.status, put.header("oci-subject")), (201, digest.as_str()));
    assert_eq!(client.put("a/b", "subject", &subject, MANIFEST).await.status, 201);
    let mut sbom = image(&config, &[]);
    sbom["subject"] = descriptor.clone();
    client.put("a/b", &sha256(sbom.to_string().as_bytes()), &sbom, MANIFEST).await;
    let index =
        json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [], "subject": descriptor});
    client.put("a/b", &sha256(index.to_string().as_bytes()), &index, INDEX).await;
    let all = client.get(&format!("GET /v2/a/b/referrers/{digest}")).await;
    assert_eq!((all.status, all.header("content-type")), (200, INDEX));
    let mut types: Vec<_> = all.json()["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one.get("artifactType").map_or("-", |t| t.as_str().unwrap()).to_owned())
        .collect();
    types.sort();
    assert_eq!(
        types,
        ["-", "application/vnd.example.signature", "application/vnd.wasm.config.v0+json"]
    );
    let query = "artifactType=application/vnd.example.signature";
    let some = client.get(&format!("GET /v2/a/b/referrers/{digest}?{query}")).await;
    assert_eq!(some.header("oci-filters-applied"), "artifactType");
    let found = some.json();
    assert_eq!(found["manifests"].as_array().unwrap().len(), 1);
    assert_eq!(found["manifests"][0]["annotations"]["org.example"], "yes");
    assert_eq!(found["manifests"][0]["size"], signature.to_string().len());
    let none = client.get(&format!("GET /v2/a/b/referrers/{}", sha256(b"none"))).await;
    assert_eq!((none.status, none.json()["manifests"].to_string().as_str()), (200, "[]"));
    assert_eq!(client.get("GET /v2/a/b/referrers/sha256:zz").await.status, 400);
}

#[tokio::test]
async fn content_management() {
    let session = Session::start().await;
    let client = Client::admin(&session.server);
    let (config, layer) = (client.blob("a/b", b"{}").await, client.blob("a/b", b"layer").await);
    let manifest = image(&config, &[(&layer, 5)]);
    let digest = sha256(manifest.to_string().as_bytes());
    for tag in ["one", "two"] {
        client.put("a/b", tag, &manifest, MANIFEST).await;
    }
    let status = |line: String| {
        let client = &client;
        async move { client.get(&line).await.status }
    };
    assert_eq!(status("DELETE /v2/a/b/manifests/one".into()).await, 202);
    assert_eq!(status("GET /v2/a/b/manifests/one".into()).await, 404);
    assert_eq!(status(format!("GET /v2/a/b/manifests/{digest}")).await, 200, "only the tag went");
    assert_eq!(status(format!("DELETE /v2/a/b/manifests/{digest}")).await, 202);
    for gone in
        ["manifests/two".to_owned(), format!("manifests/{digest}"), format!("blobs/{layer}")]
    {
        assert_eq!(status(format!("GET /v2/a/b/{gone}")).await, 404, "{gone}");
        assert_eq!(status(format!("DELETE /v2/a/b/{gone}")).await, 404, "{gone}");
    }
    let tags = client.get("GET /v2/a/b/tags/list").await;
    assert_eq!((tags.status, tags.json()["tags"].to_string().as_str()), (200, "[]"));
    let blob = client.blob("a/b", b"alone").await;
    assert_eq!(status(format!("DELETE /v2/a/b/blobs/{blob}")).await, 202);
    assert_eq!(status(format!("HEAD /v2/a/b/blobs/{blob}")).await, 404);
    assert_eq!(status("PUT /v2/a/b/tags/list".into()).await, 405);
}

#[tokio::test]
async fn rights_and_rules_of_a_namespace() {
    let session = Session::start().await;
    let admin = Client::admin(&session.server);
    let script = r#"
POST /api/v1/namespaces | /metadata/name
{"metadata": {"name": "shop", "annotations": {"registry.coracle.dev/quota": "100", "registry.coracle.dev/immutable-tags": "true"}}}

POST /api/v1/namespaces | /metadata/name
{"metadata": {"name": "stock"}}

POST /apis/rbac.authorization.k8s.io/v1/namespaces/shop/roles | /metadata/name
{"metadata": {"name": "push"}, "rules": [{"verbs": ["get", "list", "create", "delete"], "apiGroups": ["registry.coracle.dev"], "resources": ["repositories"]}]}

POST /apis/rbac.authorization.k8s.io/v1/namespaces/stock/roles | /metadata/name
{"metadata": {"name": "pull"}, "rules": [{"verbs": ["get", "list"], "apiGroups": ["registry.coracle.dev"], "resources": ["repositories"], "resourceNames": ["app"]}]}

POST /apis/rbac.authorization.k8s.io/v1/namespaces/shop/rolebindings | /metadata/name
{"metadata": {"name": "e"}, "subjects": [{"kind": "User", "name": "alice", "apiGroup": "rbac.authorization.k8s.io"}], "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "push"}}

POST /apis/rbac.authorization.k8s.io/v1/namespaces/stock/rolebindings | /metadata/name
{"metadata": {"name": "v"}, "subjects": [{"kind": "User", "name": "alice", "apiGroup": "rbac.authorization.k8s.io"}], "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "pull"}}
"#;
    let made = session.run(script).await;
    assert_eq!(made.matches("201\n").count(), 6, "{made}");
    let alice = Client::of(&session.server, UserInfo::new("alice", ["system:authenticated"]));
    let stocked = admin.blob("stock/app", b"in stock").await;
    let secret = admin.blob("vault/app", b"a secret").await;
    for name in ["stock/app", "vault/app"] {
        assert_eq!(admin.put(name, "1", &json!({"schemaVersion": 2}), MANIFEST).await.status, 201);
    }

    assert_eq!(alice.get("GET /v2/").await.status, StatusCode::OK.as_u16());
    let own = alice.blob("shop/app", b"hello").await;
    assert_eq!(alice.get(&format!("GET /v2/shop/app/blobs/{own}")).await.status, 200);
    assert_eq!(alice.get(&format!("GET /v2/stock/app/blobs/{stocked}")).await.status, 200);
    let refused = [
        "POST /v2/stock/app/blobs/uploads/".to_owned(),
        "DELETE /v2/stock/app/manifests/1".to_owned(),
        format!("GET /v2/vault/app/blobs/{secret}"),
        "GET /v2/vault/app/tags/list".to_owned(),
        "POST /v2/hello/blobs/uploads/".to_owned(),
    ];
    for line in refused {
        let answer = alice.get(&line).await;
        assert_eq!((answer.status, answer.code().as_str()), (403, "DENIED"), "{line}");
    }
    let mount = |digest: &str, from: &str| {
        format!("POST /v2/shop/app/blobs/uploads/?mount={digest}&from={from}")
    };
    assert_eq!(
        alice.get(&mount(&secret, "vault/app")).await.status,
        202,
        "it is not there for her"
    );
    assert_eq!(alice.get(&mount(&stocked, "stock/app")).await.status, 201);
    let listed = |client: Client| async move {
        client.get("GET /v2/_catalog").await.json()["repositories"].to_string()
    };
    assert_eq!(listed(alice).await, r#"["stock/app"]"#);
    assert_eq!(listed(admin).await, r#"["stock/app","vault/app"]"#);

    let alice = Client::of(&session.server, UserInfo::new("alice", ["system:authenticated"]));
    rules_hold(&alice).await;
}

/// Pushes what the annotations of the namespace `shop` do not allow.
async fn rules_hold(alice: &Client) {
    let put = |text: &'static str| async move {
        alice.put("shop/app", "1", &json!({"a": text}), MANIFEST).await
    };
    assert_eq!(put("b").await.status, 201);
    let moved = put("c").await;
    assert_eq!((moved.status, moved.code().as_str()), (409, "DENIED"), "the tag is locked");
    let digest = sha256(&[7; 100]);
    let line = format!("POST /v2/shop/more/blobs/uploads/?digest={digest}");
    let full = alice.send(&line, &[], &[7; 100]).await;
    assert_eq!((full.status, full.code().as_str()), (403, "DENIED"));
    let message = full.json()["errors"][0]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("namespace shop may hold 100 bytes"), "{message}");
}
