//! Patches of Pods and Deployments, as kubectl makes them and as hands write them.

use super::*;
use crate::schema;
use proptest::prelude::*;
use serde_json::json;

fn pod() -> &'static Type {
    schema::lookup("", "v1", "Pod").expect("the table has Pod")
}

fn check(original: Value, patch: Value, expected: Value) {
    let found = apply(&original, &patch, pod()).unwrap();
    assert_eq!(found, expected, "{original} + {patch}");
}

fn refuse(original: Value, patch: Value, message: &str) {
    refuse_with(400, original, patch, message);
}

fn refuse_with(code: u16, original: Value, patch: Value, message: &str) {
    let status = apply(&original, &patch, pod()).unwrap_err();
    assert_eq!((status.code(), status.message.as_str()), (code, message));
}

/// A pod spec with containers `a b c`, each with its image.
fn containers(names: &[&str]) -> Value {
    let list: Vec<Value> = names.iter().map(|n| json!({"name": n, "image": n})).collect();
    json!({"spec": {"containers": list}})
}

#[test]
fn maps_merge_and_null_removes() {
    check(
        json!({"metadata": {"labels": {"a": "1", "b": "2"}}}),
        json!({"metadata": {"labels": {"a": null, "c": "3", "d": null}}}),
        json!({"metadata": {"labels": {"b": "2", "c": "3"}}}),
    );
    check(
        json!({}),
        json!({"metadata": {"labels": {"a": null, "c": "3"}}}),
        json!({"metadata": {"labels": {"c": "3"}}}),
    );
}

#[test]
fn lists_merge_by_key() {
    check(
        containers(&["a", "b"]),
        json!({"spec": {"containers": [{"name": "b", "image": "new"}]}}),
        json!({"spec": {"containers": [
            {"name": "a", "image": "a"}, {"name": "b", "image": "new"}]}}),
    );
}

#[test]
fn new_items_stand_in_front_unless_an_order_is_given() {
    check(
        containers(&["a"]),
        json!({"spec": {"containers": [{"name": "b", "image": "b"}]}}),
        containers(&["b", "a"]),
    );
    check(
        containers(&["a"]),
        json!({"spec": {
            "$setElementOrder/containers": [{"name": "a"}, {"name": "b"}],
            "containers": [{"name": "b", "image": "b"}]}}),
        containers(&["a", "b"]),
    );
}

#[test]
fn set_element_order_moves_items() {
    check(
        containers(&["a", "b", "c"]),
        json!({"spec": {"$setElementOrder/containers": [{"name": "c"}, {"name": "a"}]}}),
        containers(&["b", "c", "a"]),
    );
    check(
        containers(&["a", "b"]),
        json!({"spec": {
            "$setElementOrder/containers": [{"name": "b"}],
            "containers": [{"$patch": "delete", "name": "a"}]}}),
        containers(&["b"]),
    );
}

#[test]
fn item_directives() {
    check(
        containers(&["a", "b"]),
        json!({"spec": {"containers": [{"$patch": "delete", "name": "a"}]}}),
        containers(&["b"]),
    );
    check(
        containers(&["a", "b"]),
        json!({"spec": {"containers": [{"name": "c", "image": "c"}, {"$patch": "replace"}]}}),
        containers(&["c"]),
    );
    check(
        json!({"spec": {}}),
        json!({"spec": {"containers": [{"$patch": "delete", "name": "a"}]}}),
        json!({"spec": {"containers": []}}),
    );
}

#[test]
fn object_directives() {
    let volume = |source: Value| json!({"spec": {"volumes": [source]}});
    check(
        json!({"metadata": {"labels": {"a": "1"}}}),
        json!({"metadata": {"labels": {"$patch": "replace", "b": "2"}}}),
        json!({"metadata": {"labels": {"b": "2"}}}),
    );
    check(
        json!({"metadata": {"labels": {"a": "1"}}}),
        json!({"metadata": {"labels": {"$patch": "delete"}}}),
        json!({"metadata": {"labels": {}}}),
    );
    check(
        volume(json!({"name": "v", "emptyDir": {}})),
        volume(
            json!({"name": "v", "hostPath": {"path": "/x"}, "$retainKeys": ["name", "hostPath"]}),
        ),
        volume(json!({"name": "v", "hostPath": {"path": "/x"}})),
    );
}

#[test]
fn scalar_lists() {
    let finalizers = |list: &[&str]| json!({"metadata": {"finalizers": list}});
    check(finalizers(&["a", "b"]), finalizers(&["b", "c"]), finalizers(&["a", "b", "c"]));
    check(
        finalizers(&["a", "b"]),
        json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}}),
        finalizers(&["b"]),
    );
    check(
        finalizers(&["a"]),
        json!({"metadata": {
            "$setElementOrder/finalizers": ["b", "a"], "finalizers": ["b"]}}),
        finalizers(&["b", "a"]),
    );
}

#[test]
fn lists_without_strategy_are_replaced() {
    check(
        json!({"spec": {"containers": [{"name": "a", "args": ["x", "y"]}]}}),
        json!({"spec": {"containers": [{"name": "a", "args": ["z"]}]}}),
        json!({"spec": {"containers": [{"name": "a", "args": ["z"]}]}}),
    );
    check(
        json!({"spec": {"tolerations": [{"key": "a"}]}}),
        json!({"spec": {"tolerations": [{"key": "b"}]}}),
        json!({"spec": {"tolerations": [{"key": "b"}]}}),
    );
}

#[test]
fn unknown_fields_merge_as_plain_json() {
    check(
        json!({"odd": {"a": [1], "b": {"c": 1}}}),
        json!({"odd": {"a": [2], "b": {"d": 2}}}),
        json!({"odd": {"a": [2], "b": {"c": 1, "d": 2}}}),
    );
}

#[test]
fn refusals_say_where() {
    refuse(json!({}), json!([]), "a strategic merge patch must be a JSON object");
    refuse(
        containers(&["a"]),
        json!({"spec": {"containers": [{"image": "x"}]}}),
        r#"containers: map: {"image":"x"} does not contain declared merge key: name"#,
    );
    refuse(
        containers(&["a"]),
        json!({"spec": {"$patch": "explode"}}),
        r#"unknown patch type: "explode""#,
    );
    refuse(
        containers(&["a"]),
        json!({"spec": {"$retainKeys": "nodeName"}}),
        "invalid patch format of retainKeys",
    );
    refuse_with(
        422,
        containers(&["a"]),
        json!({"spec": {"$retainKeys": ["nodeName"], "containers": []}}),
        "patch content doesn't match retainKeys list",
    );
    refuse_with(
        422,
        json!({"metadata": {"finalizers": [["a"]]}}),
        json!({"metadata": {"finalizers": [["b"]]}}),
        "lists of lists are not supported",
    );
    refuse(
        containers(&["a"]),
        json!({"spec": {
            "$setElementOrder/containers": [{"name": "a"}],
            "containers": [{"name": "b"}]}}),
        "the order in patch list does not match $setElementOrder list: \"b\" is missing there or \
         stands earlier",
    );
    refuse(
        containers(&["a"]),
        json!({"spec": {"containers": [1]}}),
        "list element types are not identical: containers",
    );
    refuse(
        json!({"metadata": {"finalizers": ["a"]}}),
        json!({"metadata": {"$deleteFromPrimitiveList/finalizers": "a"}}),
        "invalid patch format of primitive list",
    );
}

fn names() -> impl Strategy<Value = Vec<String>> {
    proptest::sample::subsequence(vec!["a", "b", "c", "d", "e"], 0..5)
        .prop_shuffle()
        .prop_map(|names| names.into_iter().map(str::to_owned).collect())
}

fn pod_of(names: &[String]) -> Value {
    containers(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

proptest! {
    /// The same patch twice changes nothing more.
    #[test]
    fn applying_twice_is_applying_once(before in names(), change in names()) {
        let once = apply(&pod_of(&before), &pod_of(&change), pod()).unwrap();
        let twice = apply(&once, &pod_of(&change), pod()).unwrap();
        prop_assert_eq!(once, twice);
    }

    /// No item is lost or doubled, and the patch's items stand in the patch's order.
    #[test]
    fn merged_lists_are_complete_and_ordered(before in names(), change in names()) {
        let merged = apply(&pod_of(&before), &pod_of(&change), pod()).unwrap();
        let list = merged["spec"]["containers"].as_array().unwrap();
        let found: Vec<&str> = list.iter().filter_map(|c| c["name"].as_str()).collect();
        let mut sorted = found.clone();
        sorted.sort_unstable();
        let mut wanted: Vec<&str> = before.iter().chain(&change).map(String::as_str).collect();
        wanted.sort_unstable();
        wanted.dedup();
        prop_assert_eq!(sorted, wanted);
        let ordered: Vec<&str> =
            found.into_iter().filter(|name| change.iter().any(|item| item == name)).collect();
        prop_assert_eq!(ordered, change.iter().map(String::as_str).collect::<Vec<_>>());
    }

    /// `$setElementOrder` over all items gives exactly that order.
    #[test]
    fn a_full_order_is_obeyed(before in names(), order in names()) {
        let all: Vec<&String> = order.iter().chain(before.iter().filter(|n| !order.contains(n))).collect();
        let keys: Vec<Value> = all.iter().map(|n| json!({"name": n})).collect();
        let patch = json!({"spec": {"$setElementOrder/containers": keys}});
        let merged = apply(&pod_of(&before), &patch, pod()).unwrap();
        let list = merged["spec"]["containers"].as_array().unwrap();
        let found: Vec<&str> = list.iter().filter_map(|c| c["name"].as_str()).collect();
        let wanted: Vec<&str> =
            all.iter().map(|n| n.as_str()).filter(|n| before.iter().any(|b| b == n)).collect();
        prop_assert_eq!(found, wanted);
    }
}
