//! Runs each argument as one call of the drafts that keep something for a guest, through the SDK, and
//! prints what came of it; `kv1` is the first draft of `wasi:keyvalue`, which the SDK does not use.
use std::error::Error;
use std::io::{Read as _, Write as _};

use coracle_sdk::log::Log;
use coracle_sdk::{blob, config, kv};

#[allow(missing_docs, reason = "generated")]
mod first {
    wit_bindgen::generate!({
        inline: "
            package wasi:keyvalue@0.2.0-draft;
            interface store {
                variant error { no-such-store, access-denied, other(string) }
                record key-response { keys: list<string>, cursor: option<u64> }
                open: func(identifier: string) -> result<bucket, error>;
                resource bucket {
                    get: func(key: string) -> result<option<list<u8>>, error>;
                    set: func(key: string, value: list<u8>) -> result<_, error>;
                    delete: func(key: string) -> result<_, error>;
                    exists: func(key: string) -> result<bool, error>;
                    list-keys: func(cursor: option<u64>) -> result<key-response, error>;
                }
            }
            interface atomics {
                use store.{bucket, error};
                increment: func(bucket: borrow<bucket>, key: string, delta: u64) -> result<u64, error>;
            }
            interface batch {
                use store.{bucket, error};
                get-many: func(bucket: borrow<bucket>, keys: list<string>) -> result<list<option<tuple<string, list<u8>>>>, error>;
            }
            world imports { import store; import atomics; import batch; }
        ",
    });
}

type Said = Result<String, Box<dyn Error>>;

fn main() {
    for command in std::env::args().skip(1) {
        let words: Vec<&str> = command.split_whitespace().collect();
        let said = run(&words).unwrap_or_else(|error| error.to_string());
        println!("{command} => {said}");
    }
}

fn run(words: &[&str]) -> Said {
    match *words {
        ["config", key] => Ok(format!("{:?}", config::get(key)?)),
        ["config"] => Ok(config::all()?.into_iter().map(|(k, v)| format!("{k}={v} ")).collect()),
        ["log", context, text] => {
            Log::of(if context == "cart" { "cart" } else { "" }).warn(text);
            Ok("ok".to_owned())
        }
        ["kv1", ref call @ ..] => of_the_first_draft(call),
        ["kv", bucket, ref call @ ..] => values(&kv::open(bucket)?, call),
        ["blob", container, ref call @ ..] => objects(container, call),
        _ => Ok("no such command".to_owned()),
    }
}

fn values(bucket: &kv::Bucket, call: &[&str]) -> Said {
    let ok = || "ok".to_owned();
    Ok(match *call {
        ["get", key] => format!("{:?}", bucket.text(key)?),
        ["set", key, value] => bucket.set(key, value).map(|()| ok())?,
        ["fill", key, bytes] => bucket.set(key, vec![b'x'; bytes.parse()?]).map(|()| ok())?,
        ["delete", key] => bucket.delete(key).map(|()| ok())?,
        ["exists", key] => bucket.exists(key)?.to_string(),
        ["keys"] => bucket.keys()?.join(" "),
        ["many", count] => {
            let keys: Vec<String> =
                (0..count.parse::<u32>()?).map(|n| format!("key-{n:05}")).collect();
            for some in keys.chunks(1000) {
                let pairs: Vec<_> = some.iter().map(|key| (key.clone(), b"v".to_vec())).collect();
                bucket.set_many(&pairs)?;
            }
            let listed = bucket.keys()?;
            let held = bucket.get_many(&keys[..2])?;
            for some in keys.chunks(1000) {
                bucket.delete_many(some)?;
            }
            let left = bucket.keys()?.len();
            format!("{} {} {left}", listed == keys, held.iter().all(|(_, value)| value.is_some()))
        }
        ["increment", key, delta] => bucket.increment(key, delta.parse()?)?.to_string(),
        ["append", key, text] => {
            let next = |held: Option<Vec<u8>>| [held.unwrap_or_default(), text.into()].concat();
            bucket.update(key, next).map(|()| ok())?
        }
        _ => "no such call".to_owned(),
    })
}

fn of_the_first_draft(call: &[&str]) -> Said {
    use first::wasi::keyvalue::{atomics, batch, store};
    let why = |error: store::Error| format!("{error:?}");
    let bucket = store::open("").map_err(why)?;
    Ok(match *call {
        ["increment", key, delta] => {
            atomics::increment(&bucket, key, delta.parse()?).map_err(why)?.to_string()
        }
        ["keys"] => {
            let page = bucket.list_keys(None).map_err(why)?;
            format!("{} {:?}", page.keys.join(" "), page.cursor)
        }
        ["pair", one, two] => {
            let found = batch::get_many(&bucket, &[one.to_owned(), two.to_owned()]).map_err(why)?;
            format!("{:?}", found.iter().map(Option::is_some).collect::<Vec<_>>())
        }
        _ => "no such call".to_owned(),
    })
}

fn objects(name: &str, call: &[&str]) -> Said {
    let ok = |()| "ok".to_owned();
    let open = || blob::open(name);
    Ok(match *call {
        ["write", object, text] => open()?.write(object, text.as_bytes()).map(ok)?,
        ["fill", object, bytes] => open()?.write(object, &vec![b'x'; bytes.parse()?]).map(ok)?,
        ["abandon", object] => {
            let mut writer = open()?.writer(object)?;
            writer.write_all(b"half")?;
            "ok".to_owned()
        }
        ["read", object] => String::from_utf8(open()?.read(object)?)?,
        ["part", object, first, last] => {
            String::from_utf8(open()?.read_part(object, first.parse()?, last.parse()?)?)?
        }
        ["replaced", object] => {
            // Who has begun to read goes on with what it was.
            let (container, mut text) = (open()?, String::new());
            container.write(object, b"old")?;
            let mut reader = container.reader(object)?;
            container.write(object, b"new")?;
            reader.read_to_string(&mut text)?;
            format!("{text} {}", String::from_utf8(container.read(object)?)?)
        }
        ["names"] => open()?.names()?.join(" "),
        ["size", object] => open()?.size(object)?.to_string(),
        ["has", object] => open()?.has(object)?.to_string(),
        ["await", object] => {
            while !open()?.has(object)? {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            "ok".to_owned()
        }
        ["remove", object] => open()?.remove(object).map(ok)?,
        ["copy", object, to, target] => blob::copy((name, object), (to, target)).map(ok)?,
        ["rename", object, to, target] => blob::rename((name, object), (to, target)).map(ok)?,
        ["delete"] => blob::delete(name).map(ok)?,
        ["exists"] => blob::exists(name)?.to_string(),
        _ => "no such call".to_owned(),
    })
}
