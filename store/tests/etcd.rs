//! What the backend in etcd promises beyond what all backends do, against a real etcd.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use coracle_etcd::Etcd;
use coracle_store::{
    CommitError, EtcdConfig, EtcdImportError, Guard, REVISIONS_LEFT_OUT, ReadError, Revision,
    Snapshot, Store, WatchItem, Write,
};
use tokio::io::copy_bidirectional;
use tokio::net::TcpListener;
use tokio::sync::watch;

fn put(key: &str, value: impl Into<Bytes>, guard: Guard) -> Write {
    Write::put(key.to_owned(), value.into(), guard)
}

async fn open(url: &str) -> Store {
    Store::open_etcd(EtcdConfig::parse(url).unwrap()).await.unwrap()
}

/// One call of etcd's JSON gateway, which has to succeed.
fn gateway(port: u16, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let length = body.len();
    write!(stream, "POST /v3/{path} HTTP/1.1\r\nHost: etcd\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    answer
}

fn base64(text: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(text)
}

/// A way to etcd that a test cuts and mends.
struct Relay {
    address: SocketAddr,
    open: watch::Sender<bool>,
}

impl Relay {
    async fn start(port: u16) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (open, state) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut state = state.clone();
                if !*state.borrow_and_update() {
                    continue;
                }
                tokio::spawn(async move {
                    let mut far =
                        tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                    tokio::select! {
                        _ended = copy_bidirectional(&mut near, &mut far) => {}
                        _cut = state.wait_for(|open| !*open) => {}
                    }
                });
            }
        });
        Relay { address, open }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_through_one_process_is_read_through_another() {
    let etcd = Etcd::start();
    let (a, b) = (open(&etcd.url()).await, open(&etcd.url()).await);
    assert!(a.is_shared());
    for round in 0..100 {
        let (writer, reader) = if round % 2 == 0 { (&a, &b) } else { (&b, &a) };
        let before = reader.get(b"/k").await.unwrap();
        let guard = before.map_or(Guard::Absent, |kv| Guard::At(kv.modified));
        let value = format!("{round}");
        let done = writer.commit(vec![put("/k", value.clone(), guard)]).await;
        // A writer that has not heard of the other's write is refused, and has heard of it by then.
        let revision = match done {
            Ok(done) => done.revision,
            Err(CommitError::Conflict { current, .. }) => {
                let known = writer.get(b"/k").await.unwrap();
                assert_eq!(known.map(|kv| kv.modified), current.map(|kv| kv.modified));
                let guard = Guard::At(writer.get(b"/k").await.unwrap().unwrap().modified);
                writer.commit(vec![put("/k", value.clone(), guard)]).await.unwrap().revision
            }
            Err(error) => panic!("{error}"),
        };
        reader.fresh().await.unwrap();
        let found = reader.get(b"/k").await.unwrap().unwrap();
        assert_eq!((found.value.as_ref(), found.modified), (value.as_bytes(), revision));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_may_die_one_after_another_under_load() {
    let mut etcd = Etcd::start_many(3);
    let store = open(&etcd.url()).await;
    let (stop, stopped) = watch::channel(false);
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (store, stopped) = (store.clone(), stopped.clone());
            let acknowledged = Arc::clone(&acknowledged);
            tokio::spawn(async move {
                for number in 0.. {
                    if *stopped.borrow() {
                        return;
                    }
                    let key = format!("/w/{writer}/{number:05}");
                    // No failure reaches a writer: what is doubtful is found out.
                    let done = store.commit(vec![put(&key, "v", Guard::Absent)]).await.unwrap();
                    acknowledged.lock().unwrap().push((done.revision, key));
                }
            })
        })
        .collect();
    let wait_for_more = async |acknowledged: &Mutex<Vec<_>>| {
        let before = acknowledged.lock().unwrap().len();
        while acknowledged.lock().unwrap().len() < before + 100 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    for member in 0..3 {
        wait_for_more(&acknowledged).await;
        etcd.kill(member);
        wait_for_more(&acknowledged).await;
        etcd.start_again(member);
    }
    stop.send_replace(true);
    for writer in writers {
        writer.await.unwrap();
    }
    let mut acknowledged = acknowledged.lock().unwrap().clone();
    acknowledged.sort();
    // A process that comes now sees all of it, at the revisions that were told; each event was told once, in order.
    let fresh = open(&etcd.url()).await;
    let page = fresh.range(b"/w/", None, 0, None).await.unwrap();
    let mut there: Vec<_> = page
        .items
        .iter()
        .map(|kv| (kv.modified, String::from_utf8(kv.key.to_vec()).unwrap()))
        .collect();
    there.sort();
    assert_eq!(there, acknowledged);
    let mut watch = store.watch(b"/w/", Revision::FIRST);
    let mut told = Vec::new();
    while told.len() < acknowledged.len() {
        if let WatchItem::Event(event) = watch.next().await.unwrap() {
            told.push((event.revision, String::from_utf8(event.key.to_vec()).unwrap()));
        }
    }
    assert_eq!(told, acknowledged);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_was_cut_off_catches_up() {
    let etcd = Etcd::start();
    let (other, relay) = (open(&etcd.url()).await, Relay::start(etcd.port(0)).await);
    let store = open(&format!("etcd://{}", relay.address)).await;
    for key in ["/a", "/b", "/c"] {
        store.commit(vec![put(key, "1", Guard::Absent)]).await.unwrap();
    }
    let seen = store.revision();
    // Cut off for a moment: the watch goes on where it was.
    relay.open.send_replace(false);
    let missed = other.commit(vec![put("/d", "1", Guard::Absent)]).await.unwrap().revision;
    relay.open.send_replace(true);
    store.fresh().await.unwrap();
    let mut watch = store.watch(b"/", seen);
    let item = watch.next().await.unwrap();
    assert!(matches!(&item, WatchItem::Event(event) if event.revision == missed), "{item:?}");
    // Cut off for so long that etcd has forgotten what happened: all is read anew, and the past is gone here too.
    relay.open.send_replace(false);
    let seen = store.revision();
    let old = other.get(b"/a").await.unwrap().unwrap().modified;
    other.commit(vec![put("/a", "2", Guard::At(old))]).await.unwrap();
    other.commit(vec![Write::delete("/b", Guard::Any)]).await.unwrap();
    let last = other.commit(vec![put("/e", "1", Guard::Absent)]).await.unwrap().revision;
    other.compact(last).await.unwrap();
    relay.open.send_replace(true);
    store.fresh().await.unwrap();
    let page = store.range(b"/", None, 0, None).await.unwrap();
    assert_eq!(page, other.range(b"/", None, 0, None).await.unwrap());
    let past = store.range(b"/", None, 0, Some(seen)).await;
    assert!(matches!(past, Err(ReadError::Compacted { .. })), "{past:?}");
    let mut late = store.watch(b"/", seen);
    assert!(matches!(late.next().await, Some(WatchItem::Compacted(_))));
    // What is written then is told as before.
    let done = store.commit(vec![put("/f", "1", Guard::Absent)]).await.unwrap();
    assert_eq!(done.events.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_starts_knows_the_history_that_etcd_has() {
    let etcd = Etcd::start();
    let store = open(&etcd.url()).await;
    let mut revisions = Vec::new();
    for number in 0..10 {
        let done = store.commit(vec![put("/k", number.to_string(), Guard::Any)]).await.unwrap();
        revisions.push(done.revision);
    }
    store.compact(revisions[3]).await.unwrap();
    let (key, value) = (base64("compact_rev_key"), base64(&revisions[3].to_string()));
    gateway(etcd.port(0), "kv/put", &format!(r#"{{"key":"{key}","value":"{value}"}}"#));
    let late = open(&etcd.url()).await;
    let mut watch = late.watch(b"/", revisions[5]);
    for expected in &revisions[6..] {
        let item = watch.next().await.unwrap();
        assert!(matches!(&item, WatchItem::Event(event) if event.revision == *expected));
    }
    let mut gone = late.watch(b"/", revisions[2]);
    assert!(matches!(gone.next().await, Some(WatchItem::Compacted(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_database_refuses_writes_as_a_full_disk_does_and_recovers() {
    let etcd = Etcd::start_with(1, "http", &["--quota-backend-bytes=8388608"]);
    let store = open(&etcd.url()).await;
    let value = Bytes::from(vec![b'x'; 1 << 20]);
    let mut count = 0;
    let error = loop {
        match store.commit(vec![put("/big", value.clone(), Guard::Any)]).await {
            Ok(_) => count += 1,
            Err(error) => break error,
        }
        assert!(count < 100, "it is never full");
    };
    assert!(error.is_disk_full(), "{error:?}");
    // Reads go on.
    store.fresh().await.unwrap();
    assert!(store.get(b"/big").await.unwrap().is_some());
    // As the message says.
    store.compact(store.revision()).await.unwrap();
    gateway(etcd.port(0), "maintenance/defragment", "{}");
    let alarms = gateway(etcd.port(0), "maintenance/alarm", r#"{"action":"GET"}"#);
    let (_, member) = alarms.split_once(r#""memberID":""#).unwrap();
    let (member, _) = member.split_once('"').unwrap();
    let disarm = format!(r#"{{"action":"DEACTIVATE","memberID":"{member}","alarm":"NOSPACE"}}"#);
    gateway(etcd.port(0), "maintenance/alarm", &disarm);
    store.commit(vec![put("/small", "1", Guard::Absent)]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_is_too_large_is_refused_once() {
    let etcd = Etcd::start();
    let store = open(&etcd.url()).await;
    let value = Bytes::from(vec![b'x'; 3 << 20]);
    let error = store.commit(vec![put("/big", value, Guard::Absent)]).await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("--max-request-bytes"), "{source}");
    assert!(store.get(b"/big").await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_and_passwords_are_asked_for() {
    let etcd = Etcd::start();
    let port = etcd.port(0);
    gateway(port, "auth/user/add", r#"{"name":"root","password":"secret"}"#);
    gateway(port, "auth/role/add", r#"{"name":"root"}"#);
    gateway(port, "auth/user/grant", r#"{"user":"root","role":"root"}"#);
    gateway(port, "auth/enable", "{}");
    let config = || EtcdConfig::parse(&etcd.url()).unwrap();
    let with = |password: &str| config().with_user("root".to_owned(), password.to_owned());
    for refused in [config(), with("wrong")] {
        assert!(Store::open_etcd(refused).await.is_err());
    }
    let store = Store::open_etcd(with("secret")).await.unwrap();
    store.commit(vec![put("/a", "1", Guard::Absent)]).await.unwrap();
    // Tokens end; here because who may do what has changed.
    gateway(port, "auth/authenticate", r#"{"name":"root","password":"secret"}"#);
    store.fresh().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_who_has_a_certificate_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let issue = |authority: Option<&rcgen::Issuer<'_, rcgen::KeyPair>>, name: &str| {
        let key = rcgen::KeyPair::generate().unwrap();
        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        if authority.is_none() {
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        }
        let certificate = match authority {
            Some(issuer) => params.signed_by(&key, issuer).unwrap(),
            None => params.self_signed(&key).unwrap(),
        };
        (certificate.pem(), key.serialize_pem(), params, key)
    };
    let (ca, _, params, key) = issue(None, "authority");
    let authority = rcgen::Issuer::new(params, key);
    let (server, server_key, ..) = issue(Some(&authority), "etcd");
    let (client, client_key, ..) = issue(Some(&authority), "server");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let flags = [
        "--client-cert-auth".to_owned(),
        format!("--trusted-ca-file={}", file("ca", &ca)),
        format!("--cert-file={}", file("crt", &server)),
        format!("--key-file={}", file("key", &server_key)),
    ];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let etcd = Etcd::start_with(1, "https", &flags);
    let config = EtcdConfig::parse(&etcd.url()).unwrap();
    assert!(config.wants_tls());
    let nobody = config.clone().with_tls(ca.as_bytes(), None).unwrap();
    assert!(Store::open_etcd(nobody).await.is_err());
    let (other, ..) = issue(None, "another");
    let stranger = config.clone().with_tls(other.as_bytes(), None).unwrap();
    assert!(Store::open_etcd(stranger).await.is_err());
    let identity = (client.as_bytes(), client_key.as_bytes());
    let known = config.with_tls(ca.as_bytes(), Some(identity)).unwrap();
    let store = Store::open_etcd(known).await.unwrap();
    store.commit(vec![put("/a", "1", Guard::Absent)]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_moves_to_etcd_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let old = Store::open_redb(folder.path().join("old.redb")).unwrap();
    for number in 0..350 {
        let content = coracle_store::Content {
            bytes: Bytes::from(format!(r#"{{"n":{number},"v":""}}"#)),
            stamp: Some(format!(r#"{{"n":{number},"v":""#).len() as u32),
            note: None,
        };
        let write = Write::put(format!("/k/{number:03}"), content, Guard::Absent);
        old.commit(vec![write]).await.unwrap();
    }
    let snapshot = old.snapshot().await.unwrap();
    let etcd = Etcd::start();
    let config = || EtcdConfig::parse(&etcd.url()).unwrap();
    let revision = snapshot.clone().import(config()).await.unwrap();
    let again = snapshot.clone().import(config()).await;
    assert!(matches!(again, Err(EtcdImportError::NotEmpty)), "{again:?}");
    let store = Store::open_etcd(config()).await.unwrap();
    assert!(store.revision() > revision && revision.0 >= old.revision().0 + REVISIONS_LEFT_OUT);
    let moved = store.range(b"/k/", None, 0, None).await.unwrap();
    assert_eq!(moved.items.len(), 350);
    for (kv, before) in moved.items.iter().zip(&snapshot.items) {
        let text = |value: &Bytes, revision: Revision| {
            let text = String::from_utf8(value.to_vec()).unwrap();
            text.replace(&format!(r#""v":"{revision}""#), r#""v":"""#)
        };
        assert_eq!(kv.key, before.key);
        assert_eq!(text(&kv.value, kv.modified), text(&before.value, before.modified));
    }
    // Whoever knows revisions of the old store is told that they are gone.
    let mut late = store.watch(b"/", old.revision());
    assert!(matches!(late.next().await, Some(WatchItem::Compacted(_))));
    let modified = moved.items[7].modified;
    let done = store.commit(vec![put("/k/007", "new", Guard::At(modified))]).await.unwrap();
    assert!(done.revision > store.get(b"/k/008").await.unwrap().unwrap().modified);
    let path = folder.path().join("new.redb");
    let snapshot: Snapshot = store.snapshot().await.unwrap();
    let revision = snapshot.restore(&path).unwrap();
    let back = Store::open_redb(&path).unwrap();
    assert!(revision > done.revision && back.revision() == revision);
    let items = back.range(b"/k/", None, 0, None).await.unwrap().items;
    assert_eq!(items, store.range(b"/k/", None, 0, None).await.unwrap().items);
    assert!(back.get(b"/coracle/origin").await.unwrap().is_none());
}
