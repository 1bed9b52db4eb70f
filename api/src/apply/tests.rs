//! Ownership by cases: objects as YAML, managers by name, field sets as JSON.

use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::decode::{self, FieldValidation};
use crate::registry;

const NOW: &str = "2026-01-01T00:00:00Z";
const LATER: &str = "2026-01-01T00:00:09Z";

fn yaml(text: &str) -> Value {
    decode::decode_yaml(text.as_bytes()).unwrap().0
}

fn schema(object: &Value) -> Builtin {
    let api_version = object["apiVersion"].as_str().unwrap();
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    Builtin::Object(
        registry::by_kind(group, version, object["kind"].as_str().unwrap()).unwrap().ty(),
    )
}

fn stored(object: Value) -> Value {
    let Builtin::Object(ty) = schema(&object) else { unreachable!() };
    decode::conform(object, ty, FieldValidation::Ignore).unwrap().value
}

fn manager<'a>(name: &'a str, object: &'a Value) -> Manager<'a> {
    Manager { name, api_version: object["apiVersion"].as_str().unwrap(), subresource: "" }
}

/// An object with those who write it.
struct World {
    object: Option<Value>,
    now: &'static str,
}

impl World {
    fn new() -> World {
        World { object: None, now: NOW }
    }

    /// Creates or replaces the object.
    fn update(&mut self, name: &str, text: &str) -> &mut World {
        let mut new = stored(yaml(text));
        let sent = new["metadata"].get("managedFields").cloned();
        let by = new.clone();
        let write = Tracked {
            old: self.object.as_ref(),
            sent: sent.as_ref(),
            manager: manager(name, &by),
            excluded: &["status"],
            now: self.now,
        };
        track(schema(&by), &mut new, &write);
        self.object = Some(new);
        self
    }

    fn try_apply(&mut self, name: &str, text: &str, force: bool) -> Result<(), Refused> {
        let mut config = yaml(text);
        let Builtin::Object(ty) = schema(&config) else { unreachable!() };
        assert_eq!(decode::configuration(&mut config, ty).unwrap(), Vec::<String>::new());
        let wanted = Configuration {
            object: &config,
            manager: manager(name, &config),
            force,
            excluded: &["status"],
            now: self.now,
        };
        let applied = apply(schema(&config), self.object.as_ref(), &wanted)?;
        self.object = Some(stored(applied));
        Ok(())
    }

    fn apply(&mut self, name: &str, text: &str) -> &mut World {
        self.try_apply(name, text, false).unwrap();
        self
    }

    fn force(&mut self, name: &str, text: &str) -> &mut World {
        self.try_apply(name, text, true).unwrap();
        self
    }

    fn refused(&mut self, name: &str, text: &str, expected: Expect) -> &mut World {
        let status =
            self.try_apply(name, text, false).unwrap_err().to_status("default/x; v1, Kind=X");
        let mut shown = format!("{} {}", status.code(), status.message);
        for cause in status.details.iter().flat_map(|details| &details.causes) {
            shown.push_str(&format!("\n{}: {}: {}", cause.reason, cause.message, cause.field));
        }
        expected.assert_eq(&shown);
        self
    }

    fn owners(&mut self, expected: Expect) -> &mut World {
        expected.assert_eq(&self.owned());
        self
    }

    fn owned(&self) -> String {
        let entries = self.object.as_ref().unwrap()["metadata"]["managedFields"].clone();
        let mut shown = Vec::new();
        for entry in entries.as_array().into_iter().flatten() {
            let text = |name: &str| entry[name].as_str().unwrap_or("-").to_owned();
            let time = if entry["time"] == NOW { "" } else { " later" };
            shown.push(format!(
                "{} {}{time} {}",
                text("operation"),
                text("manager"),
                entry["fieldsV1"]
            ));
        }
        shown.join("\n")
    }

    fn shows(&mut self, pointer: &str, expected: Expect) -> &mut World {
        let found = self.object.as_ref().unwrap().pointer(pointer).map(Value::to_string);
        expected.assert_eq(&found.unwrap_or_default());
        self
    }
}

const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: a
        image: a:1
        ports: [{containerPort: 80, protocol: TCP}]
";

/// What a real cluster shows after `kubectl create`: structures that Go always writes are not owned
/// themselves, pointers, maps and items are.
#[test]
fn a_create_owns_what_it_set() {
    World::new().update("kubectl-create", DEPLOYMENT).owners(expect![[r#"Update kubectl-create {"f:metadata":{"f:labels":{".":{},"f:app":{}}},"f:spec":{"f:replicas":{},"f:selector":{},"f:template":{"f:metadata":{"f:labels":{".":{},"f:app":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"a\"}":{".":{},"f:image":{},"f:name":{},"f:ports":{".":{},"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{},"f:protocol":{}}},"f:resources":{}}}}}}}"#]]);
}

#[test]
fn an_update_takes_what_it_changes_and_no_more() {
    let mut world = World::new();
    world.update("a", DEPLOYMENT);
    world.now = LATER;
    world
        .update("b", &DEPLOYMENT.replace("a:1", "a:2").replace("labels: {app: web}}\nspec", "labels: {x: one}}\nspec"))
        .owners(expect![[r#"
            Update a {"f:metadata":{"f:labels":{}},"f:spec":{"f:replicas":{},"f:selector":{},"f:template":{"f:metadata":{"f:labels":{".":{},"f:app":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"a\"}":{".":{},"f:name":{},"f:ports":{".":{},"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{},"f:protocol":{}}},"f:resources":{}}}}}}}
            Update b later {"f:metadata":{"f:labels":{"f:x":{}}},"f:spec":{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"a\"}":{"f:image":{}}}}}}}"#]]);
}

const CONFIG: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: c}
data: ";

fn config(data: &str) -> String {
    format!("{CONFIG}{data}\n")
}

#[test]
fn conflicts_name_owner_and_place() {
    let mut world = World::new();
    world
        .apply("alice", &config("{a: '1', b: '1'}"))
        .update("edit", &config("{a: '1', b: '1', c: '1'}"))
        .refused(
            "bob",
            &config("{a: '2'}"),
            expect![[r#"
            409 Apply failed with 1 conflict: conflict with "alice": .data.a
            FieldManagerConflict: conflict with "alice": .data.a"#]],
        )
        .refused(
            "bob",
            &config("{a: '2', b: '2', c: '2'}"),
            expect![[r#"
            409 Apply failed with 3 conflicts: conflicts with "alice":
            - .data.a
            - .data.b
            conflicts with "edit" using v1:
            - .data.c
            FieldManagerConflict: conflict with "alice": .data.a
            FieldManagerConflict: conflict with "alice": .data.b
            FieldManagerConflict: conflict with "edit" using v1: .data.c"#]],
        )
        .force("bob", &config("{a: '2', c: '2'}"))
        .shows("/data", expect![[r#"{"a":"2","b":"1","c":"2"}"#]])
        .owners(expect![[r#"
            Apply alice {"f:data":{"f:b":{}}}
            Apply bob {"f:data":{"f:a":{},"f:c":{}}}"#]]);
}

#[test]
fn the_same_value_is_owned_together() {
    World::new()
        .apply("alice", &config("{a: '1', b: '1'}"))
        .apply("bob", &config("{a: '1'}"))
        .owners(expect![[r#"
            Apply alice {"f:data":{"f:a":{},"f:b":{}}}
            Apply bob {"f:data":{"f:a":{}}}"#]])
        // Ownership is handed over: alice no longer names the field, bob keeps it.
        .apply("alice", &config("{b: '1'}"))
        .shows("/data", expect![[r#"{"a":"1","b":"1"}"#]])
        .apply("bob", &config("{}"))
        .shows("/data", expect![[r#"{"b":"1"}"#]])
        .owners(expect![[r#"
            Apply alice {"f:data":{"f:b":{}}}
            Apply bob {"f:data":{}}"#]]);
}

#[test]
fn what_is_owned_and_left_out_goes() {
    let both = DEPLOYMENT
        .replace("      - name: a\n", "      - name: b\n        image: b:1\n      - name: a\n");
    World::new()
        .apply("alice", &both)
        .update("edit", &both.replace("replicas: 1", "replicas: 3"))
        .apply("alice", &DEPLOYMENT.replace("  replicas: 1\n", "").replace(", labels: {app: web}}\nspec", "}\nspec"))
        .shows("/spec/template/spec/containers", expect![[r#"[{"image":"a:1","name":"a","ports":[{"containerPort":80,"protocol":"TCP"}],"resources":{}}]"#]])
        .shows("/spec/replicas", expect!["3"])
        .shows("/metadata/labels", expect![""]);
}

#[test]
fn lists_keep_the_order_of_the_configuration() {
    let with = |names: &[&str]| {
        let items: String =
            names.iter().map(|name| format!("      - name: {name}\n        image: i\n")).collect();
        let (head, _) = DEPLOYMENT.split_once("      - name").unwrap();
        format!("{head}{items}")
    };
    let names = |world: &World| -> String {
        let list = &world.object.as_ref().unwrap()["spec"]["template"]["spec"]["containers"];
        list.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
    };
    for (live, config, expected) in [
        ("abcd", "ab", "abcd"),
        ("abcd", "xa", "xabcd"),
        ("abcd", "db", "acdb"),
        ("ab", "cd", "abcd"),
        ("bxa", "ab", "xab"),
        ("", "ba", "ba"),
    ] {
        let split =
            |text: &'static str| text.split("").filter(|s| !s.is_empty()).collect::<Vec<_>>();
        let mut world = World::new();
        world.update("edit", &with(&split(live))).force("alice", &with(&split(config)));
        assert_eq!(names(&world), expected, "{live} {config}");
    }
}

#[test]
fn applying_again_changes_nothing() {
    let mut world = World::new();
    world.apply("alice", DEPLOYMENT);
    let before = world.object.clone();
    world.now = LATER;
    world.apply("alice", DEPLOYMENT);
    assert_eq!(world.object, before);
    world.apply("alice", &DEPLOYMENT.replace("a:1", "a:2"));
    assert_eq!(world.object.unwrap()["metadata"]["managedFields"][0]["time"], LATER);
}

#[test]
fn untracked_objects_belong_to_whoever_was_before() {
    let mut world = World::new();
    world.object = Some(yaml(&config("{a: '1', b: '1'}")));
    world
        .update("edit", &config("{a: '1', b: '2'}"))
        .owners(expect![""])
        .refused(
            "alice",
            &config("{a: '2'}"),
            expect![[r#"
            409 Apply failed with 1 conflict: conflict with "before-first-apply" using v1: .data.a
            FieldManagerConflict: conflict with "before-first-apply" using v1: .data.a"#]],
        )
        .apply("alice", &config("{c: '1'}"))
        .owners(expect![[r#"
            Apply alice {"f:data":{"f:c":{}}}
            Update before-first-apply {"f:data":{".":{},"f:a":{},"f:b":{}}}"#]]);
}

#[test]
fn clients_may_reset_and_set_the_entries() {
    let with = |managed: &str| {
        config("{a: '1'}").replace("{name: c}", &format!("{{name: c, managedFields: {managed}}}"))
    };
    let entry = "[{manager: m, operation: Apply, apiVersion: v1, fieldsType: FieldsV1, fieldsV1: {'f:data': {'f:a': {}}}}]";
    for (managed, expected) in [
        ("[]", ""),
        ("[{}]", ""),
        (entry, r#"Apply m later {"f:data":{"f:a":{}}}"#),
        (&entry.replace("Apply", "Seize"), r#"Update edit {"f:data":{".":{},"f:a":{}}}"#),
        (&entry.replace("'f:a'", "nonsense"), r#"Update edit {"f:data":{".":{},"f:a":{}}}"#),
    ] {
        let mut world = World::new();
        world.update("edit", &config("{a: '1'}")).update("other", &with(managed));
        assert_eq!(world.owned(), expected);
    }
}

#[test]
fn kubectl_goes_over_from_client_side_apply() {
    let last = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1", "b": "1"}});
    let mut live = yaml(&config("{a: '1', b: '1', z: '1'}"));
    live["metadata"]["annotations"] =
        json!({"kubectl.kubernetes.io/last-applied-configuration": last.to_string()});
    let text = live.to_string();
    let mut world = World::new();
    world
        .update("kubectl-client-side-apply", &text)
        // Somebody else's manager gets no such favour.
        .refused("flux", &config("{a: '2'}"), expect![[r#"
            409 Apply failed with 1 conflict: conflict with "kubectl-client-side-apply" using v1: .data.a
            FieldManagerConflict: conflict with "kubectl-client-side-apply" using v1: .data.a"#]])
        .refused("kubectl", &config("{a: '2', z: '2'}"), expect![[r#"
            409 Apply failed with 1 conflict: conflict with "kubectl-client-side-apply" using v1: .data.z
            FieldManagerConflict: conflict with "kubectl-client-side-apply" using v1: .data.z"#]])
        .apply("kubectl", &config("{a: '2'}"))
        .shows("/data", expect![[r#"{"a":"2","b":"1","z":"1"}"#]])
        .shows(
            "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration",
            expect![[r#""{\"apiVersion\":\"v1\",\"data\":{\"a\":\"2\"},\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"c\"}}\n""#]],
        );
}

#[test]
fn items_have_to_be_told_apart() {
    let twice = DEPLOYMENT.replace("      - name: a\n", "      - name: a\n      - name: a\n");
    let service = "{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {ports: [{port: 1}, {port: 1, protocol: TCP}]}}";
    World::new()
        .refused("alice", &twice, expect![[r#"400 failed to create typed patch object (default/x; v1, Kind=X): .spec.template.spec.containers: duplicate entries for key [name="a"]"#]])
        .refused("alice", service, expect![[r#"400 failed to create typed patch object (default/x; v1, Kind=X): .spec.ports: duplicate entries for key [port=1,protocol="TCP"]"#]])
        .refused("alice", &service.replace("port:", "nodePort:"), expect![[r#"400 failed to create typed patch object (default/x; v1, Kind=X): .spec.ports: duplicate entries for key [protocol="TCP"]"#]]);
}

#[test]
fn atomic_parts_have_one_owner() {
    World::new().apply("alice", DEPLOYMENT).refused(
        "bob",
        &DEPLOYMENT.replace("matchLabels: {app: web}", "matchLabels: {app: web, x: one}"),
        expect![[r#"
            409 Apply failed with 1 conflict: conflict with "alice": .spec.selector
            FieldManagerConflict: conflict with "alice": .spec.selector"#]],
    );
}

#[test]
fn old_updates_are_put_together() {
    let mut world = World::new();
    let mut data = String::new();
    for index in 0..12 {
        data.push_str(&format!("k{index}: '1', "));
        world.update(&format!("m{index:02}"), &config(&format!("{{{data}}}")));
    }
    let entries = world.object.unwrap()["metadata"]["managedFields"].take();
    let names: Vec<&str> = entries
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["manager"].as_str().unwrap())
        .collect();
    assert_eq!(names.len(), 10);
    assert_eq!(names[0], "ancient-changes");
    assert_eq!(entries[0]["fieldsV1"]["f:data"].as_object().unwrap().len(), 4, "{entries}");
}

#[test]
fn without_a_schema_objects_are_maps_and_lists_are_units() {
    let object = json!({"apiVersion": "x/v1", "kind": "X", "metadata": {"name": "x"},
        "spec": {"a": {"b": 1}, "list": [{"c": 1}]}});
    let manager = Manager { name: "m", api_version: "x/v1", subresource: "" };
    let config = Configuration { object: &object, manager, force: false, excluded: &[], now: NOW };
    let applied = apply(Deduced, None, &config).unwrap();
    let fields = &applied["metadata"]["managedFields"][0]["fieldsV1"];
    assert_eq!(fields, &json!({"f:spec": {".": {}, "f:a": {".": {}, "f:b": {}}, "f:list": {}}}));
    let less = json!({"apiVersion": "x/v1", "kind": "X", "metadata": {"name": "x"}, "spec": {"a": {"d": 2}}});
    let applied =
        apply(Deduced, Some(&applied), &Configuration { object: &less, ..config }).unwrap();
    assert_eq!(applied["spec"], json!({"a": {"d": 2}}));
}

fn any_data() -> impl Strategy<Value = String> {
    proptest::collection::btree_map("[a-e]", "[0-2]", 0..5).prop_map(|data| {
        let pairs: Vec<String> =
            data.iter().map(|(key, value)| format!("{key}: '{value}'")).collect();
        config(&format!("{{{}}}", pairs.join(", ")))
    })
}

proptest! {
    /// Whoever wrote before: an applier has what it wants, twice is as once, and every key of the
    /// data has an owner.
    #[test]
    fn an_applier_gets_what_it_wants(
        writes in proptest::collection::vec((0..2_u8, 0..3_u8, any_data()), 1..8),
        last in any_data(),
    ) {
        let mut world = World::new();
        for (way, who, text) in writes {
            let name = format!("m{who}");
            match way {
                0 => { world.update(&name, &text); }
                _ => { world.force(&name, &text); }
            }
        }
        world.force("m0", &last);
        let once = world.object.clone().unwrap();
        world.force("m0", &last);
        prop_assert_eq!(world.object.as_ref(), Some(&once));
        for (key, value) in yaml(&last)["data"].as_object().unwrap() {
            prop_assert_eq!(&once["data"][key], value);
        }
        let entries = once["metadata"]["managedFields"].to_string();
        for key in once["data"].as_object().into_iter().flat_map(|data| data.keys()) {
            let element = format!("\"f:{key}\"");
            prop_assert!(entries.contains(&element), "{} has no owner", key);
        }
    }

    /// Field sets from the wire never bring anything down.
    #[test]
    fn any_entries_are_read_or_ignored(set in "[fkvi.:{}\"a-c]{0,24}", name in "[.a-z:]{0,6}") {
        let set: Value = serde_json::from_str(&set).unwrap_or_else(|_| json!({ name: {set: {}} }));
        let managed = json!([{"manager": "m", "operation": "Update", "apiVersion": "v1",
            "fieldsType": "FieldsV1", "fieldsV1": set}]);
        let mut object = yaml(&config("{a: '1'}"));
        object["metadata"]["managedFields"] = managed;
        let mut world = World { object: Some(object), now: NOW };
        world.force("alice", &config("{a: '2'}"));
    }
}
