//! Lists, pages and watches over a store in memory, and after a restart.

use super::*;
use coracle_api::meta;
use coracle_api::registry::by_kind;
use coracle_api::selector::{FieldSelector, LabelSelector};
use coracle_store::{Guard, Write};
use expect_test::{Expect, expect};
use futures::FutureExt;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn pods() -> &'static Kind {
    by_kind("", "v1", "Pod").unwrap()
}

fn pod(namespace: &str, name: &str, app: &str, node: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": app}},
        "spec": {"nodeName": node},
    })
}

/// A store with its caches.
struct Cluster {
    store: Store,
    caches: Arc<Caches>,
}

impl Cluster {
    fn new() -> Cluster {
        let store = Store::memory();
        let caches = Caches::start(&store);
        Cluster { store, caches }
    }

    async fn put(&self, object: &Value) -> Revision {
        let key = object_key(pods(), meta::namespace(object), meta::name(object));
        let write = Write::put(key, encode(pods(), object), Guard::Any);
        self.store.commit(vec![write]).await.unwrap().revision
    }

    async fn delete(&self, namespace: &str, name: &str) -> Revision {
        let write = Write::delete(object_key(pods(), namespace, name), Guard::Any);
        self.store.commit(vec![write]).await.unwrap().revision
    }

    fn pods(&self) -> &Arc<ResourceCache> {
        self.caches.resource(pods()).unwrap()
    }

    /// Three pods in `a` and two in `b`, at the revisions 2 to 6.
    async fn filled() -> Cluster {
        let cluster = Cluster::new();
        for (namespace, name, app, node) in [
            ("a", "p1", "web", "n1"),
            ("a", "p2", "db", "n1"),
            ("a", "p3", "web", "n2"),
            ("b", "p1", "web", "n2"),
            ("b", "p4", "db", ""),
        ] {
            cluster.put(&pod(namespace, name, app, node)).await;
        }
        cluster
    }
}

fn selection(namespace: &str, labels: &str, fields: &str) -> Selection {
    let labels = LabelSelector::parse(labels).unwrap();
    Selection::new(pods(), Some(namespace), labels, FieldSelector::parse(fields).unwrap()).unwrap()
}

fn request(selection: Selection) -> ListRequest {
    ListRequest { selection, revision: ListRevision::Latest, limit: 0, continue_token: None }
}

fn places(listing: &Listing) -> String {
    let place = |object: &Arc<Object>| {
        format!("{}/{}@{}", object.header.namespace(), object.header.name(), object.revision)
    };
    listing.objects.iter().map(place).collect::<Vec<_>>().join(" ")
}

#[tokio::main(flavor = "current_thread")]
async fn check_list(namespace: &str, labels: &str, fields: &str, expected: Expect) {
    let cluster = Cluster::filled().await;
    let listing = cluster.pods().list(&request(selection(namespace, labels, fields))).unwrap();
    assert_eq!(listing.revision, Revision(6));
    expected.assert_eq(&places(&listing));
}

#[test]
fn lists_select_by_namespace_labels_and_fields() {
    check_list("", "", "", expect!["a/p1@2 a/p2@3 a/p3@4 b/p1@5 b/p4@6"]);
    check_list("a", "", "", expect!["a/p1@2 a/p2@3 a/p3@4"]);
    check_list("a", "app=web", "", expect!["a/p1@2 a/p3@4"]);
    check_list("", "app in (db)", "", expect!["a/p2@3 b/p4@6"]);
    check_list("", "", "spec.nodeName=n2", expect!["a/p3@4 b/p1@5"]);
    check_list("", "", "spec.nodeName=", expect!["b/p4@6"]);
    check_list("", "", "spec.nodeName!=n2,metadata.namespace!=b", expect!["a/p1@2 a/p2@3"]);
    check_list("", "", "metadata.name=p1", expect!["a/p1@2 b/p1@5"]);
    check_list("b", "", "metadata.name=p1", expect!["b/p1@5"]);
    check_list("", "app=web", "metadata.namespace=b", expect!["b/p1@5"]);
    check_list("none", "", "", expect![""]);
}

#[test]
fn unknown_field_labels_are_refused() {
    let fields = FieldSelector::parse("spec.shoeSize=42").unwrap();
    let error = Selection::new(pods(), None, LabelSelector::everything(), fields).unwrap_err();
    expect!["field label not supported: spec.shoeSize"].assert_eq(&error.to_string());
    assert_eq!(error.code(), 400);
}

#[tokio::test]
async fn pages_show_the_moment_of_the_first() {
    let cluster = Cluster::filled().await;
    for (namespace, labels) in [("", ""), ("a", ""), ("", "app=web")] {
        let whole = cluster.pods().list(&request(selection(namespace, labels, ""))).unwrap();
        let mut asked = ListRequest { limit: 1, ..request(selection(namespace, labels, "")) };
        let mut pages = Vec::new();
        loop {
            let page = cluster.pods().list(&asked).unwrap();
            assert_eq!(page.revision, whole.revision);
            let rest = whole.objects.len() - pages.len() - 1;
            let counted = (labels.is_empty() && rest > 0).then_some(rest);
            assert_eq!(page.remaining, counted);
            pages.push(places(&page));
            // What happens between the pages is not seen.
            cluster.put(&pod("a", "p2", "changed", "n9")).await;
            cluster.put(&pod("a", &format!("new-{}", pages.len()), "web", "n9")).await;
            cluster.delete("b", "p1").await;
            asked.continue_token = page.continue_token;
            if asked.continue_token.is_none() {
                break;
            }
        }
        assert_eq!(pages.join(" "), places(&whole));
        cluster.put(&pod("b", "p1", "web", "n2")).await;
    }
}

#[tokio::test]
async fn a_page_after_compaction_is_gone_and_says_how_to_go_on() {
    let cluster = Cluster::filled().await;
    let mut asked = ListRequest { limit: 2, ..request(selection("", "", "")) };
    asked.continue_token = cluster.pods().list(&asked).unwrap().continue_token;
    cluster.put(&pod("a", "p0", "web", "n1")).await;
    cluster.delete("a", "p3").await;
    cluster.store.compact(cluster.store.revision()).await.unwrap();
    let error = cluster.pods().list(&asked).unwrap_err();
    assert_eq!(error.code(), 410);
    let status = error.to_value();
    assert_eq!(status["reason"], "Expired");
    asked.continue_token = status["metadata"]["continue"].as_str().map(str::to_owned);
    asked.limit = 0;
    let rest = cluster.pods().list(&asked).unwrap();
    expect!["b/p1@5 b/p4@6"].assert_eq(&places(&rest));
}

#[tokio::test]
async fn lists_at_a_revision() {
    let cluster = Cluster::filled().await;
    cluster.delete("a", "p1").await;
    cluster.put(&pod("a", "p2", "changed", "n9")).await;
    let list = |revision| {
        cluster.pods().list(&ListRequest { revision, ..request(selection("a", "", "")) })
    };
    let exact = list(ListRevision::Exact(Revision(6))).unwrap();
    assert_eq!(exact.revision, Revision(6));
    expect!["a/p1@2 a/p2@3 a/p3@4"].assert_eq(&places(&exact));
    let later = list(ListRevision::NotOlderThan(Revision(6))).unwrap();
    assert_eq!(later.revision, Revision(8));
    expect!["a/p2@8 a/p3@4"].assert_eq(&places(&later));
    for future in [ListRevision::Exact(Revision(99)), ListRevision::NotOlderThan(Revision(99))] {
        let error = list(future).unwrap_err();
        assert_eq!(error.code(), 504);
        assert_eq!(error.to_value()["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
    }
    cluster.store.compact(Revision(7)).await.unwrap();
    assert_eq!(list(ListRevision::Exact(Revision(6))).unwrap_err().code(), 410);
}

/// What a watch gives without waiting for what may never come.
async fn ready(watch: &mut Watch) -> Vec<WatchEvent> {
    tokio::task::yield_now().await;
    watch.next().now_or_never().map(Option::unwrap).unwrap_or_default()
}

/// What a watch gives until it has seen everything up to `last`: type, place, revision.
async fn drain(watch: &mut Watch, last: Revision) -> String {
    let mut seen = Vec::new();
    let mut show = |event_type: EventType, object: &Object| {
        let value = object.value();
        assert_eq!(meta::resource_version(&value), object.revision.to_string());
        let header = &object.header;
        let app = meta::label(&value, "app").unwrap_or_default();
        seen.push(format!(
            "{} {}/{}={app}@{}",
            event_type.as_str(),
            header.namespace(),
            header.name(),
            object.revision
        ));
    };
    for object in watch.take_initial() {
        show(EventType::Added, &object);
    }
    while watch.bookmark().is_none_or(|revision| revision < last) {
        for event in ready(watch).await {
            show(event.event_type, event.object().unwrap());
        }
    }
    seen.join("\n")
}

async fn scenario(cluster: &Cluster) -> Revision {
    cluster.put(&pod("a", "p1", "db", "n1")).await;
    cluster.put(&pod("a", "p2", "web", "n1")).await;
    cluster.put(&pod("a", "p3", "web", "n3")).await;
    cluster.delete("a", "p3").await;
    cluster.put(&pod("b", "p1", "web", "n2")).await;
    cluster.delete("b", "p4").await;
    // The last word, so that every watch knows when it has seen all.
    cluster.put(&pod("z", "z", "web", "n1")).await
}

/// Runs the scenario under a watch that is open, and again under one that resumes: both see the same.
#[tokio::main(flavor = "current_thread")]
async fn check_watch(namespace: &str, labels: &str, fields: &str, expected: Expect) {
    let cluster = Cluster::filled().await;
    let start = cluster.caches.revision();
    let open = |from| cluster.pods().watch(selection(namespace, labels, fields), from).unwrap();
    let mut live = open(WatchFrom::Now);
    let last = scenario(&cluster).await;
    let seen = drain(&mut live, last).await;
    assert_eq!(drain(&mut open(WatchFrom::After(start)), last).await, seen);
    expected.assert_eq(&seen);
}

#[test]
fn watches_show_what_enters_and_leaves_their_selection() {
    check_watch(
        "",
        "",
        "",
        expect![[r#"
        MODIFIED a/p1=db@7
        MODIFIED a/p2=web@8
        MODIFIED a/p3=web@9
        DELETED a/p3=web@10
        MODIFIED b/p1=web@11
        DELETED b/p4=db@12
        ADDED z/z=web@13"#]],
    );
    check_watch(
        "a",
        "app=web",
        "",
        expect![[r#"
        DELETED a/p1=web@7
        ADDED a/p2=web@8
        MODIFIED a/p3=web@9
        DELETED a/p3=web@10"#]],
    );
    check_watch(
        "",
        "",
        "spec.nodeName=n2",
        expect![[r#"
        DELETED a/p3=web@9
        MODIFIED b/p1=web@11"#]],
    );
    check_watch(
        "a",
        "",
        "metadata.name=p3",
        expect![[r#"
        MODIFIED a/p3=web@9
        DELETED a/p3=web@10"#]],
    );
    check_watch(
        "",
        "app!=web",
        "",
        expect![[r#"
        ADDED a/p1=db@7
        DELETED a/p2=db@8
        DELETED b/p4=db@12"#]],
    );
}

#[tokio::test]
async fn a_watch_of_the_present_begins_with_what_is_there() {
    let cluster = Cluster::filled().await;
    let mut watch =
        cluster.pods().watch(selection("a", "app=web", ""), WatchFrom::Current).unwrap();
    assert_eq!(watch.start(), Revision(6));
    assert_eq!(watch.bookmark(), None);
    let last = cluster.put(&pod("a", "p2", "web", "n1")).await;
    let seen = drain(&mut watch, last).await;
    expect![[r#"
        ADDED a/p1=web@2
        ADDED a/p3=web@4
        ADDED a/p2=web@7"#]]
    .assert_eq(&seen);
    assert_eq!(cluster.pods().watches(), 1);
    drop(watch);
    assert_eq!(cluster.pods().watches(), 0);
}

#[tokio::test]
async fn a_watch_from_the_compacted_past_is_gone() {
    let cluster = Cluster::filled().await;
    cluster.store.compact(Revision(4)).await.unwrap();
    let watch =
        |after| cluster.pods().watch(selection("", "", ""), WatchFrom::After(Revision(after)));
    let error = watch(3).err().unwrap();
    assert_eq!(error.code(), 410);
    expect!["too old resource version: 3 (4)"].assert_eq(&error.to_string());
    assert!(watch(4).is_ok());
}

#[tokio::test]
async fn a_watch_that_is_too_slow_is_closed() {
    let cluster = Cluster::new();
    let mut slow = cluster.pods().watch(selection("", "", ""), WatchFrom::Now).unwrap();
    let writes = (0..=WATCH_EVENTS_QUEUED_MAX).map(|n| {
        let pod = pod("a", &format!("p{n}"), "web", "");
        Write::put(object_key(pods(), "a", &format!("p{n}")), encode(pods(), &pod), Guard::Any)
    });
    let last = cluster.store.commit(writes.collect()).await.unwrap().revision;
    // The watch must not read while it is written, or it would not be slow.
    while cluster.caches.progress.sent() < last {
        tokio::task::yield_now().await;
    }
    let mut seen = 0;
    while let Some(events) = slow.next().await {
        seen += events.len();
    }
    assert_eq!(seen, WATCH_EVENTS_QUEUED_MAX);
    assert_eq!(cluster.pods().len(), WATCH_EVENTS_QUEUED_MAX + 1);
}

#[tokio::test]
async fn a_restart_keeps_objects_revisions_and_history() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let open = || {
        let store = Store::open_redb(&path).unwrap();
        let caches = Caches::start(&store);
        Cluster { store, caches }
    };
    let cluster = open();
    cluster.put(&pod("a", "p1", "web", "n1")).await;
    let middle = cluster.put(&pod("a", "p2", "web", "n1")).await;
    cluster.put(&pod("a", "p1", "db", "n1")).await;
    let last = cluster.delete("a", "p2").await;
    cluster.store.close().await;
    let cluster = open();
    assert_eq!(cluster.caches.revision(), last);
    let mut watch =
        cluster.pods().watch(selection("", "app=web", ""), WatchFrom::After(middle)).unwrap();
    expect![[r#"
        DELETED a/p1=web@4
        DELETED a/p2=web@5"#]]
    .assert_eq(&drain(&mut watch, last).await);
    let listing = cluster.pods().list(&request(selection("", "", ""))).unwrap();
    expect!["a/p1@4"].assert_eq(&places(&listing));
}

#[tokio::test]
async fn reads_wait_for_a_revision_to_come() {
    let cluster = Cluster::new();
    let caches = Arc::clone(&cluster.caches);
    let waiting = tokio::spawn(async move { caches.wait_until(Revision(3)).await });
    cluster.put(&pod("a", "p1", "web", "n1")).await;
    assert!(!waiting.is_finished());
    cluster.put(&pod("a", "p2", "web", "n1")).await;
    waiting.await.unwrap();
}

#[tokio::test]
async fn watch_lines_are_json() {
    let cluster = Cluster::filled().await;
    let mut watch = cluster.pods().watch(selection("a", "", ""), WatchFrom::Now).unwrap();
    let last = cluster.delete("a", "p1").await;
    let events = watch.next().await.unwrap();
    let mut line = Vec::new();
    events[0].write_json(&mut line);
    assert_eq!(line.pop(), Some(b'\n'));
    let value: Value = serde_json::from_slice(&line).unwrap();
    assert_eq!(value["type"], "DELETED");
    assert_eq!(value["object"]["metadata"]["name"], "p1");
    assert_eq!(value["object"]["metadata"]["resourceVersion"], last.to_string());
}

/// What a client that follows a watch believes.
fn follow(state: &mut BTreeMap<String, Revision>, event_type: EventType, object: &Object) {
    let name = object.header.name().to_string();
    match event_type {
        EventType::Added => assert_eq!(state.insert(name, object.revision), None, "added twice"),
        EventType::Modified => {
            assert!(state.insert(name, object.revision).is_some(), "modified before added")
        }
        EventType::Deleted => assert!(state.remove(&name).is_some(), "deleted before added"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whatever is written while a watch opens, in whatever way: what it shows adds up to what a list shows.
    #[test]
    fn a_watch_adds_up_to_the_list(
        before in proptest::collection::vec((0..5_u8, 0..3_u8), 0..10),
        after in proptest::collection::vec((0..5_u8, 0..3_u8), 0..30),
        labels in prop_oneof![Just(""), Just("app=web"), Just("app!=web")],
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        runtime.block_on(async {
            let cluster = Arc::new(Cluster::new());
            write_all(&cluster, &before).await;
            let writer = {
                let cluster = Arc::clone(&cluster);
                tokio::spawn(async move { write_all(&cluster, &after).await })
            };
            let mut watch = cluster.pods().watch(selection("", labels, ""), WatchFrom::Current).unwrap();
            let mut state = BTreeMap::new();
            for object in watch.take_initial() {
                follow(&mut state, EventType::Added, &object);
            }
            writer.await.unwrap();
            let mut last = cluster.put(&pod("z", "z", "web", "")).await;
            last = last.max(cluster.put(&pod("z", "z", "db", "")).await);
            while watch.bookmark().is_none_or(|revision| revision < last) {
                for event in ready(&mut watch).await {
                    follow(&mut state, event.event_type, event.object().unwrap());
                }
            }
            let listing = cluster.pods().list(&request(selection("", labels, ""))).unwrap();
            let expected: BTreeMap<_, _> = listing
                .objects
                .iter()
                .map(|object| (object.header.name().to_string(), object.revision))
                .collect();
            assert_eq!(state, expected);
        });
    }
}

async fn write_all(cluster: &Cluster, writes: &[(u8, u8)]) {
    for (name, what) in writes {
        let name = format!("p{name}");
        match what {
            0 => cluster.delete("a", &name).await,
            1 => cluster.put(&pod("a", &name, "web", "n1")).await,
            _ => cluster.put(&pod("a", &name, "db", "n1")).await,
        };
    }
}
