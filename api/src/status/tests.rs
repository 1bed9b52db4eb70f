//! Each failure on the wire, as kube-apiserver sends it.

use super::*;
use expect_test::{Expect, expect};

fn check(status: Status, expected: Expect) {
    expected.assert_eq(&status.to_value().to_string());
}

fn pods() -> GroupResource {
    GroupResource::new("", "pods")
}

#[test]
fn not_found_and_conflicts() {
    let deployments = GroupResource::new("apps", "deployments");
    check(
        Status::not_found(&deployments, "web"),
        expect![[
            r#"{"apiVersion":"v1","code":404,"details":{"group":"apps","kind":"deployments","name":"web"},"kind":"Status","message":"deployments.apps \"web\" not found","metadata":{},"reason":"NotFound","status":"Failure"}"#
        ]],
    );
    check(
        Status::already_exists(&pods(), "a"),
        expect![[
            r#"{"apiVersion":"v1","code":409,"details":{"kind":"pods","name":"a"},"kind":"Status","message":"pods \"a\" already exists","metadata":{},"reason":"AlreadyExists","status":"Failure"}"#
        ]],
    );
    check(
        Status::modified(&pods(), "a"),
        expect![[
            r#"{"apiVersion":"v1","code":409,"details":{"kind":"pods","name":"a"},"kind":"Status","message":"Operation cannot be fulfilled on pods \"a\": the object has been modified; please apply your changes to the latest version and try again","metadata":{},"reason":"Conflict","status":"Failure"}"#
        ]],
    );
}

#[test]
fn forbidden_says_who_and_what() {
    let log = GroupResource::new("", "pods/log");
    assert_eq!(
        Status::forbidden("u", "get", &log, Some("n"), "a", "").message,
        r#"pods "a" is forbidden: User "u" cannot get resource "pods/log" in API group "" in the namespace "n""#
    );
    assert_eq!(
        Status::forbidden("u", "list", &GroupResource::new("", "nodes"), None, "", "no").message,
        r#"nodes is forbidden: User "u" cannot list resource "nodes" in API group "" at the cluster scope: no"#
    );
    assert_eq!(
        Status::forbidden_path("u", "get", "/x", "").message,
        r#"forbidden: User "u" cannot get path "/x""#
    );
}

#[test]
fn invalid_lists_each_cause_once_in_the_message() {
    let error = || FieldError::required("spec.a", "");
    let kind = GroupKind::new("apps", "Deployment");
    check(
        Status::invalid(&kind, "web", vec![error()]),
        expect![[
            r#"{"apiVersion":"v1","code":422,"details":{"causes":[{"field":"spec.a","message":"Required value","reason":"FieldValueRequired"}],"group":"apps","kind":"Deployment","name":"web"},"kind":"Status","message":"Deployment.apps \"web\" is invalid: spec.a: Required value","metadata":{},"reason":"Invalid","status":"Failure"}"#
        ]],
    );
    let two = vec![error(), error(), FieldError::required("spec.b", "")];
    assert_eq!(
        Status::invalid(&kind, "web", two).message,
        r#"Deployment.apps "web" is invalid: [spec.a: Required value, spec.b: Required value]"#
    );
}

#[test]
fn retry_and_continue() {
    check(
        Status::too_many_requests("later", 1),
        expect![[
            r#"{"apiVersion":"v1","code":429,"details":{"retryAfterSeconds":1},"kind":"Status","message":"later","metadata":{},"reason":"TooManyRequests","status":"Failure"}"#
        ]],
    );
    check(
        Status::resource_expired("old").with_continue("abc"),
        expect![[
            r#"{"apiVersion":"v1","code":410,"kind":"Status","message":"old","metadata":{"continue":"abc"},"reason":"Expired","status":"Failure"}"#
        ]],
    );
    check(
        Status::internal("boom"),
        expect![[
            r#"{"apiVersion":"v1","code":500,"details":{"causes":[{"message":"boom"}]},"kind":"Status","message":"Internal error occurred: boom","metadata":{},"reason":"InternalError","status":"Failure"}"#
        ]],
    );
}

#[test]
fn success_of_a_delete() {
    let details = Details::of(&pods(), "a", "u-1");
    assert_eq!(
        Status::success(details).to_string(),
        r#"{"apiVersion":"v1","details":{"kind":"pods","name":"a","uid":"u-1"},"kind":"Status","metadata":{},"status":"Success"}"#
    );
}
