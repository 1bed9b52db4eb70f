//! Prints what all containers of its node print, line by line: a log collector for a DaemonSet.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use coracle_sdk::kube::{Client, Error};
use serde_json::Value;
use sidecars::api::{self, Chunks};
use sidecars::variable;
use wstd::runtime::spawn;
use wstd::task::sleep;
use wstd::time::Duration;

/// Most containers that are followed at once.
const FOLLOWED_MAX: usize = 1000;

/// A container of a pod's life.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Container {
    namespace: String,
    pod: String,
    uid: String,
    name: String,
}

/// How far a container was read: the time of the last line; and whether it is being read.
#[derive(Debug, Clone, Default)]
struct Place {
    last: String,
    is_open: bool,
}

type Places = Rc<RefCell<BTreeMap<Container, Place>>>;

#[wstd::main]
async fn main() -> Result<(), Error> {
    let client = Client::in_cluster()?;
    let (node, own) = (variable("NODE_NAME", ""), variable("POD_UID", ""));
    let path = format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{node}");
    let places = Places::default();
    loop {
        match client.get(&path).await {
            Ok(pods) => follow_new(&places, &pods, &own),
            Err(error) => println!("again after: {error}"),
        }
        sleep(Duration::from_secs(1)).await;
    }
}

/// Begins to follow the containers that run and are not followed.
fn follow_new(places: &Places, pods: &Value, own: &str) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut there = Vec::new();
    for pod in pods["items"].as_array().into_iter().flatten() {
        let meta = &pod["metadata"];
        // What it prints itself would never end.
        if meta["uid"] == own {
            continue;
        }
        for status in pod["status"]["containerStatuses"].as_array().into_iter().flatten() {
            if status["state"]["waiting"].is_object() && status["lastState"] == serde_json::json!({}) {
                continue;
            }
            there.push(Container {
                namespace: text(&meta["namespace"]),
                pod: text(&meta["name"]),
                uid: text(&meta["uid"]),
                name: text(&status["name"]),
            });
        }
    }
    places.borrow_mut().retain(|container, place| place.is_open || there.contains(container));
    for container in there {
        let mut known = places.borrow_mut();
        if known.len() >= FOLLOWED_MAX && !known.contains_key(&container) {
            continue;
        }
        let place = known.entry(container.clone()).or_default();
        if !std::mem::replace(&mut place.is_open, true) {
            spawn(follow(Rc::clone(places), container)).detach();
        }
    }
}

async fn follow(places: Places, container: Container) {
    let since = places.borrow().get(&container).map(|place| place.last.clone()).unwrap_or_default();
    let mut since = since;
    if let Err(error) = read(&container, &mut since).await {
        println!("{}/{}/{}: again after: {error}", container.namespace, container.pod, container.name);
    }
    if let Some(place) = places.borrow_mut().get_mut(&container) {
        *place = Place { last: since, is_open: false };
    }
}

/// Reads until the container ends. `last` is the time of the last line that was printed.
async fn read(container: &Container, last: &mut String) -> Result<(), String> {
    let Container { namespace, pod, name, .. } = container;
    let mut target = format!(
        "/api/v1/namespaces/{namespace}/pods/{pod}/log?container={name}&follow=true&timestamps=true"
    );
    if !last.is_empty() {
        target.push_str(&format!("&sinceTime={}", last.replace(':', "%3A").replace('+', "%2B")));
    }
    let answer = api::send("GET", &target, &[], Vec::new()).await?;
    if !answer.status().is_success() {
        return Err(format!("the server answered {}", answer.status()));
    }
    let mut chunks = Chunks::of(answer.into_body());
    let (mut unread, from) = (Vec::new(), last.clone());
    while let Some(bytes) = chunks.next().await? {
        unread.extend_from_slice(&bytes);
        while let Some(end) = unread.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = unread.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let (time, line) = line.trim_end().split_once(' ').unwrap_or_default();
            // The server begins at a whole second.
            if time > from.as_str() {
                println!("{namespace}/{pod}/{name}: {line}");
                *last = time.to_owned();
            }
        }
    }
    Ok(())
}
