//! Requests and what becomes of them.

use super::*;
use serde_json::{Value, json};

fn asked(name: &str, dns: &[&str], addresses: &[&str]) -> Asked {
    Asked {
        name: name.to_owned(),
        groups: vec![NODES.to_owned()],
        dns: dns.iter().map(|name| (*name).to_owned()).collect(),
        addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
        has_other_names: false,
    }
}

fn request(signer: &str, user: &str, usages: &[&str], conditions: &Value) -> Value {
    json!({
        "metadata": {"name": "r", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"request": "", "signerName": signer, "username": user, "usages": usages},
        "status": {"conditions": conditions},
    })
}

fn node() -> Value {
    json!({"metadata": {"name": "a"}, "status": {"addresses": [
        {"type": "InternalIP", "address": "192.0.2.7"}, {"type": "Hostname", "address": "a"}]}})
}

const CLIENT: &[&str] = &["digital signature", "client auth"];
const SERVER: &[&str] = &["digital signature", "server auth"];
const BY_TOKEN: &str = "system:bootstrap:abcdef";

struct Case {
    request: Value,
    asked: Asked,
    permitted: bool,
    node: Option<Value>,
}

fn first() -> Case {
    Case {
        request: request(CLIENT_SIGNER, BY_TOKEN, CLIENT, &Value::Null),
        asked: asked("system:node:a", &[], &[]),
        permitted: true,
        node: None,
    }
}

fn serving(dns: &[&str], addresses: &[&str]) -> Case {
    Case {
        request: request(SERVING_SIGNER, "system:node:a", SERVER, &Value::Null),
        asked: asked("system:node:a", dns, addresses),
        permitted: false,
        node: Some(node()),
    }
}

fn check(case: Case, minutes: i64, expected: &str) {
    let observed = Observed {
        request: Arc::new(serde_json::from_value(case.request).unwrap()),
        asked: Some(case.asked),
        permitted: case.permitted,
        node: case.node.map(|node| Arc::new(serde_json::from_value(node).unwrap())),
    };
    let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let now = start + SignedDuration::from_mins(minutes);
    assert_eq!(format!("{:?}", reconcile(&observed, now)), expected);
}

#[test]
fn a_token_buys_a_name_that_is_free() {
    let approved =
        r#"Approve("Auto approving kubelet client certificate after SubjectAccessReview.")"#;
    check(first(), 0, approved);
    check(Case { permitted: false, ..first() }, 0, "RequeueAfter(24h)");
    check(
        Case { node: Some(node()), ..first() },
        0,
        r#"Deny("the node name 'a' is taken; join under another --node-name, or, if this host takes the place of the other one, first delete that: kubectl delete node a")"#,
    );
    // Its own holder goes on under the name.
    let own = request(CLIENT_SIGNER, "system:node:a", CLIENT, &Value::Null);
    check(Case { request: own, node: Some(node()), ..first() }, 0, approved);
}

#[test]
fn what_is_no_hosts_certificate_is_left_to_people() {
    let left = "RequeueAfter(24h)";
    let mut groups = first();
    groups.asked.groups.push("system:masters".to_owned());
    check(groups, 0, left);
    check(Case { asked: asked("admin", &[], &[]), ..first() }, 0, left);
    check(Case { asked: asked("system:node:a", &["a"], &[]), ..first() }, 0, left);
    let usages = &["client auth", "server auth"];
    let both = request(CLIENT_SIGNER, BY_TOKEN, usages, &Value::Null);
    check(Case { request: both, ..first() }, 0, left);
    let other = request("kubernetes.io/kube-apiserver-client", BY_TOKEN, CLIENT, &Value::Null);
    check(Case { request: other, ..first() }, 0, left);
    // Who serves asks for itself.
    let by_other = request(SERVING_SIGNER, "system:node:b", SERVER, &Value::Null);
    check(Case { request: by_other, ..serving(&["a"], &[]) }, 0, left);
}

#[test]
fn a_host_serves_under_its_own_name_and_addresses() {
    check(
        serving(&["a"], &["192.0.2.7"]),
        0,
        r#"Approve("Auto approving the certificate under which the node serves.")"#,
    );
    check(
        serving(&["a", "kubernetes"], &[]),
        0,
        r#"Deny("node 'a' may not serve under the name 'kubernetes'")"#,
    );
    check(
        serving(&["a"], &["192.0.2.8"]),
        0,
        r#"Deny("node 'a' may not serve under 192.0.2.8, which its status.addresses do not have")"#,
    );
}

#[test]
fn old_requests_go() {
    let done = json!([{"type": "Approved", "status": "True"}]);
    let decided = || Case {
        request: request(CLIENT_SIGNER, BY_TOKEN, CLIENT, &done),
        node: Some(node()),
        ..first()
    };
    check(decided(), 59, "RequeueAfter(1m)");
    check(decided(), 60, "Delete");
    check(Case { permitted: false, ..first() }, 24 * 60, "Delete");
}

/// Made by `openssl req -new -subj "/O=system:nodes/CN=system:node:a" -addext
/// "subjectAltName=DNS:a,IP:192.0.2.7"`.
const PEM: &str = "-----BEGIN CERTIFICATE REQUEST-----\n\
MIIBDzCBtgIBADAvMRUwEwYDVQQKDAxzeXN0ZW06bm9kZXMxFjAUBgNVBAMMDXN5\n\
c3RlbTpub2RlOmEwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASCMIiQOtTWmr+k\n\
qCqra83hulRcPfnTeyF2TN4Pj0cy8g2G130EyBtAaTJQGD8NU+ZLR7FmscxCpRfT\n\
uj8LH1SLoCUwIwYJKoZIhvcNAQkOMRYwFDASBgNVHREECzAJggFhhwTAAAIHMAoG\n\
CCqGSM49BAMCA0gAMEUCIQDYCVBvfbDysOk3jA8F9l45/8pQAGvEUA/yeg1ITWa2\n\
aQIgTD5YmKwb67B3vbvDVuYPxuOGNQUVnvVSEzckZyhq74Y=\n\
-----END CERTIFICATE REQUEST-----\n\n";

#[test]
fn a_request_is_read() {
    assert_eq!(Asked::read(PEM.as_bytes()), Some(asked("system:node:a", &["a"], &["192.0.2.7"])));
    assert_eq!(Asked::read(b"junk"), None);
}
