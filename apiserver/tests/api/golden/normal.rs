//! Takes away what differs from run to run, on both sides alike.
//!
//! | what | becomes |
//! |---|---|
//! | a uid, wherever it stands | `UID` |
//! | a time, but those that a request gave (the first of January 2026) | `TIME` |
//! | an age in a Table | `AGE` |
//! | `resourceVersion` but `""` and `"0"` | `RV` |
//! | what follows `generateName` in a name (`new-` wherever it stands), and `kube-api-access-` | `*` |
//! | an address that was given out to a Service | `ADDRESS` |
//! | a node port that was given out | `PORT` |
//! | a token, `continue`, keys of `jwks` | `TOKEN`, `CONTINUE`, `KEY` |
//! | the order of `managedFields` with the same time | by their names |
//! | descriptions of a Table's columns, which are upstream's prose | left out |
//! | `kind` and `apiVersion` of a list's items, which upstream leaves out | left out |

use std::net::Ipv4Addr;

use serde_json::Value;

/// Ports that requests name themselves.
const GIVEN_PORTS: [u64; 1] = [30080];

/// Addresses that requests name themselves.
const GIVEN_ADDRESSES: [&str; 4] = ["10.96.0.1", "10.96.7.7", "10.96.9.9", "10.1.1.1"];

/// The lines of a body as one value: the line itself if it is the only one.
pub(super) fn lines(body: &[Value]) -> Value {
    let mut lines: Vec<Value> = body.to_vec();
    lines.iter_mut().for_each(|line| value("", line));
    match <[Value; 1]>::try_from(lines) {
        Ok([only]) => only,
        Err(lines) => Value::Array(lines),
    }
}

fn value(key: &str, of: &mut Value) {
    match of {
        Value::Object(members) => {
            let prefix = members
                .get("generateName")
                .and_then(Value::as_str)
                .map(|prefix| format!("{prefix}*"));
            if let (Some(prefix), Some(name)) = (prefix, members.get_mut("name")) {
                *name = prefix.into();
            }
            if key == "columnDefinitions" {
                members.remove("description");
            }
            if key == "items" && members.contains_key("metadata") {
                members.remove("kind");
                members.remove("apiVersion");
            }
            members.iter_mut().for_each(|(key, member)| value(key, member));
        }
        Value::Array(items) => {
            items.iter_mut().for_each(|item| value(key, item));
            if key == "managedFields" {
                items.sort_by_key(manager);
            }
        }
        Value::String(content) => {
            *content = string(key, content);
        }
        Value::Number(number) => {
            let given_out = number.as_u64().is_some_and(|port| {
                (30000..=32767).contains(&port) && !GIVEN_PORTS.contains(&port)
            });
            if matches!(key, "nodePort" | "healthCheckNodePort") && given_out {
                *of = "PORT".into();
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

/// Upstream orders by operation and time first; entries of one second come in any order.
fn manager(entry: &Value) -> String {
    let names = ["manager", "operation", "subresource", "apiVersion"];
    names.map(|name| entry[name].as_str().unwrap_or_default()).join(" ")
}

fn string(key: &str, content: &str) -> String {
    let whole = match key {
        "resourceVersion" if !matches!(content, "" | "0") && is_digits(content) => "RV",
        "continue" if !content.is_empty() => "CONTINUE",
        "token" if content.len() > 40 => "TOKEN",
        "kid" | "n" | "x" | "y" if content.len() > 20 => "KEY",
        "cells" if content.strip_suffix('s').is_some_and(is_digits) => "AGE",
        _ if is_given_out(content) => "ADDRESS",
        _ => return inner(content),
    };
    whole.to_owned()
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_given_out(text: &str) -> bool {
    let in_range = |address: Ipv4Addr| {
        let [first, second, ..] = address.octets();
        first == 10 && (96..112).contains(&second)
    };
    text.parse().is_ok_and(in_range) && !GIVEN_ADDRESSES.contains(&text)
}

/// Text with the uids, times, revisions and generated names in it replaced.
fn inner(text: &str) -> String {
    const UID: &str = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    const TIME: &str = "dddd-dd-ddTdd:dd:ddZ";
    const PORT: &str = ":3dddd/";
    const VOLUME: &str = "kube-api-access-aaaaa";
    const NAME: &str = "new-aaaaa";
    const REVISION: &str = "resourceVersion: \"";
    let mut out = String::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let (length, word) = if fits(rest, UID) && !rest.starts_with("11111111-") {
            (UID.len(), "UID")
        } else if fits(rest, TIME) && !rest.starts_with("2026-01-01") {
            (TIME.len(), "TIME")
        } else if fits(rest, PORT) && !rest.starts_with(":30080") {
            (PORT.len(), ":PORT/")
        } else if fits(rest, VOLUME) {
            (VOLUME.len(), "kube-api-access-*")
        } else if fits(rest, NAME) {
            (NAME.len(), "new-*")
        } else if let Some(after) = rest.strip_prefix(REVISION) {
            let digits = after.bytes().take_while(u8::is_ascii_digit).count();
            (REVISION.len() + digits, "resourceVersion: \"RV")
        } else {
            out.push(next);
            rest = &rest[next.len_utf8()..];
            continue;
        };
        out.push_str(word);
        rest = &rest[length..];
    }
    out
}

/// Whether a text begins as a pattern: `x` is a hexadecimal digit, `d` a digit, `a` a letter or digit in a name's
/// generated end, everything else itself.
fn fits(text: &str, pattern: &str) -> bool {
    let generated = pattern.len().saturating_sub(5);
    text.len() >= pattern.len()
        && text.bytes().zip(pattern.bytes()).enumerate().all(|(index, (byte, pattern_byte))| {
            match pattern_byte {
                b'x' => byte.is_ascii_hexdigit(),
                b'd' => byte.is_ascii_digit(),
                b'a' if index >= generated => byte.is_ascii_alphanumeric(),
                literal => byte == literal,
            }
        })
}
