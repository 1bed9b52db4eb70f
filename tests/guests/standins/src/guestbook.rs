//! `guestbook`: a store with replicas, and a front of both.

use std::collections::BTreeMap;
use std::io::{Error, Result};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::response::Response;

use crate::flags::Flags;
use crate::logs::log;
use crate::serve::{Asked, http, text};
use crate::{client, json};

/// Tries of a replica to register, a second apart, as in the original.
const TRIES_MAX: u32 = 15;

#[derive(Default)]
struct Book {
    store: BTreeMap<String, String>,
    replicas: Vec<String>,
}

type Shared = Arc<Mutex<Book>>;

/// Serves, after it has registered with the primary if there is one.
pub async fn run(flags: Flags) -> Result<()> {
    let port = flags.number("http-port", 80) as u16;
    let backend = flags.number("backend-port", 6379) as u16;
    let book = Shared::default();
    let serve = {
        let book = book.clone();
        http(port, move |asked| answer(asked, book.clone(), backend))
    };
    let register = async {
        match flags.text("replicaof") {
            Some(primary) => register(primary, backend, &book).await,
            None => Ok(()),
        }
    };
    tokio::try_join!(serve, register).map(|_| ())
}

async fn register(primary: &str, port: u16, book: &Shared) -> Result<()> {
    let own = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    let name = crate::hostname();
    let line = own.lines().find(|line| line.split_whitespace().skip(1).any(|word| word == name));
    let address = line.and_then(|line| line.split_whitespace().next()).unwrap_or_default();
    for _ in 0..TRIES_MAX {
        match client::get(primary, port, &format!("register?host={address}")).await {
            Ok(said) => {
                let data = said.split_once("\"data\":").map_or("", |(_, data)| data);
                lock(book).store.extend(json::members(data));
                log(&format!("Registered to node: {primary}"));
                return Ok(());
            }
            Err(error) => log(&format!("register at {primary}:{port}: {error}")),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Err(Error::other("timed out while registering to the primary"))
}

fn lock(book: &Shared) -> std::sync::MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

async fn answer(asked: Asked, book: Shared, backend: u16) -> Response {
    log(&format!("GET {}", asked.parts.uri));
    let (key, value) = (asked.parameter("key"), asked.parameter("value"));
    match asked.path() {
        "/register" => {
            let mut book = lock(&book);
            let answer = json::object([("data", whole(&book.store))]);
            book.replicas.push(asked.parameter("host"));
            text(200, answer)
        }
        "/get" => {
            let store = &lock(&book).store;
            let one = || json::string(store.get(&key).map_or("", String::as_str));
            text(200, json::object([("data", if key.is_empty() { whole(store) } else { one() })]))
        }
        "/set" => set(&book, key, value, backend).await,
        "/guestbook" => front(&asked.parameter("cmd").to_lowercase(), &key, &value, backend).await,
        _ => text(404, "404 page not found\n"),
    }
}

fn whole(store: &BTreeMap<String, String>) -> String {
    json::object(store.iter().map(|(key, value)| (key.as_str(), json::string(value))))
}

async fn set(book: &Shared, key: String, value: String, backend: u16) -> Response {
    if key.is_empty() {
        return text(400, "cannot set with empty key.\n");
    }
    let replicas = lock(book).replicas.clone();
    lock(book).store.insert(key.clone(), value.clone());
    for replica in replicas {
        if let Err(error) =
            client::get(&replica, backend, &format!("set?key={key}&value={value}")).await
        {
            let said =
                format!("encountered error while propagating to replica '{replica}': {error}\n");
            return text(417, said);
        }
    }
    text(200, json::object([("message", json::string("Updated"))]))
}

async fn front(command: &str, key: &str, value: &str, backend: u16) -> Response {
    let host = match command {
        "get" => "agnhost-replica",
        "set" if key.is_empty() => return text(400, "cannot set with empty key.\n"),
        "set" => "agnhost-primary",
        other => return text(400, format!("unsupported cmd: '{other}'\n")),
    };
    match client::get(host, backend, &format!("{command}?key={key}&value={value}")).await {
        Ok(said) => text(200, said),
        Err(error) => text(417, format!("encountered error: {error}\n")),
    }
}
