//! Buckets in a Redis, over a connection of the pod's own.
//!
//! The key `k` of the bucket `b` is Redis' key `b:k`, so that other programs find it. Each instance of a guest has
//! a connection of its own, made when it first asks for something, and gone with it. Where that leads, and as whom, is
//! read anew for each connection, so that a Secret with another password holds from the next one on.
//!
//! An edge: it waits for the Redis.
//!
//! *Source:* the commands of Redis 2.8 and newer, and of what speaks its protocol.

mod address;
mod resp;

use std::io;
use std::sync::{Arc, PoisonError};
use std::task::Poll;
use std::time::Duration;

use rustix::io::Errno;
use tokio::io::{AsyncBufRead, AsyncWriteExt as _, BufStream};
use tokio::sync::Mutex;
use tokio::time::timeout;

use self::address::Address;
use self::resp::Reply;
use super::Error;
use super::bucket::{BATCH_BYTES_MAX, Held, PAGE_KEYS, Seen, VALUE_BYTES_MAX, check_value, seen};
use super::bucket::{check_key, name_of};
use crate::container::Core;
use crate::http::outgoing::open::{Duplex, open};
use crate::mounts::{Service, Tree};
use crate::wasi::kept;

/// The file of a granted place that makes it a Redis, with its URL.
const URL_FILE: &str = "url";

/// Time for one call: a Redis answers in less than a millisecond.
const CALL_TIME_MAX: Duration = Duration::from_secs(10);

/// Bytes of a reply: the values of one call, and what is around them.
const REPLY_BYTES_MAX: usize = BATCH_BYTES_MAX + (1 << 20);

/// Pages of `SCAN` that one call reads to find a key at all: of a large database, few may be the bucket's.
const SCANS_MAX: usize = 1000;

/// A Redis as one instance of a guest reaches it.
pub(crate) struct Redis {
    core: Arc<Core>,
    tree: Arc<Tree>,
    /// As it was read last.
    address: std::sync::Mutex<Address>,
    /// Between two calls; a call that fails or is given up takes it along.
    connection: Mutex<Option<Connection>>,
}

type Connection = BufStream<Box<dyn Duplex>>;

/// Whether a command may be sent once more when a connection ends before its answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Repeat {
    /// It does the same twice.
    Fine,
    /// Nobody knows whether it was done.
    Never,
}

/// A bucket of a Redis.
#[derive(Clone)]
pub(crate) struct Bucket {
    redis: Arc<Redis>,
    /// What its keys begin with.
    prefix: String,
}

impl Redis {
    /// The Redis that a place names; nothing if it is a place of files.
    pub(super) fn of_place(core: &Arc<Core>, tree: &Arc<Tree>) -> Result<Option<Arc<Self>>, Error> {
        Ok(named(tree)?.map(|address| {
            let (core, tree, address) = (core.clone(), tree.clone(), address.into());
            Arc::new(Self { core, tree, address, connection: Mutex::new(None) })
        }))
    }

    /// Opens a bucket, which needs nothing of the Redis.
    pub(super) fn bucket(self: &Arc<Self>, identifier: &str) -> Result<Bucket, Error> {
        Ok(Bucket { redis: self.clone(), prefix: format!("{}:", name_of(identifier)?) })
    }

    /// Where it is now, and as whom to speak to it.
    fn address(&self) -> Result<Address, Error> {
        let now = named(&self.tree)?;
        let mut address = self.address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(now) = now {
            *address = now;
        }
        Ok(address.clone())
    }

    async fn connect(&self) -> Result<Connection, Error> {
        let at = self.address()?;
        let opened = open(&self.core, &at.host, at.port, at.is_tls).await;
        let stream = opened.map_err(|why| self.failed(&format_args!("connect: {why}")))?;
        let mut connection = BufStream::new(stream);
        if let Some(password) = &at.password {
            let user = at.user.iter().map(String::as_str);
            let words: Vec<&str> =
                ["AUTH"].into_iter().chain(user).chain([password.as_str()]).collect();
            self.ask(&mut connection, &words.map_bytes()).await?;
        }
        if at.database != 0 {
            let number = at.database.to_string();
            self.ask(&mut connection, &[b"SELECT", number.as_bytes()]).await?;
        }
        Ok(connection)
    }

    /// Sends a command and reads its reply; a refusal is an error.
    async fn ask(&self, connection: &mut Connection, words: &[&[u8]]) -> Result<Reply, Error> {
        self.accepted(exchange(connection, words).await.map_err(|error| self.failed(&error))?)
    }

    /// Sends a command over the connection that there is, or a new one.
    async fn call(&self, words: &[&[u8]], repeat: Repeat) -> Result<Reply, Error> {
        let call = async {
            let mut place = self.connection.lock().await;
            if let Some(mut connection) = place.take()
                && is_open(&mut connection).await
            {
                match exchange(&mut connection, words).await {
                    // It has done nothing: whoever is known to it by now has to say so over a new connection.
                    Ok(Reply::Refused(why)) if why.starts_with("NOAUTH") => {}
                    Ok(reply) => {
                        *place = Some(connection);
                        return self.accepted(reply);
                    }
                    // The Redis may have closed it since.
                    Err(error)
                        if repeat == Repeat::Fine && error.kind() != io::ErrorKind::InvalidData => {
                    }
                    Err(error) => return Err(self.failed(&error)),
                }
            }
            let mut connection = self.connect().await?;
            let reply =
                exchange(&mut connection, words).await.map_err(|error| self.failed(&error))?;
            *place = Some(connection);
            self.accepted(reply)
        };
        timeout(CALL_TIME_MAX, call)
            .await
            .unwrap_or_else(|_| Err(self.failed(&"no answer in time")))
    }

    fn accepted(&self, reply: Reply) -> Result<Reply, Error> {
        if let Reply::Refused(why) = reply { Err(self.failed(&why)) } else { Ok(reply) }
    }

    fn failed(&self, why: &dyn std::fmt::Display) -> Error {
        let address = self.address.lock().unwrap_or_else(PoisonError::into_inner);
        Error::Other(format!("redis {address:?}: {why}"))
    }

    fn strange(&self) -> Error {
        self.failed(&"an answer of another kind than expected")
    }

    fn number(&self, reply: &Reply) -> Result<i64, Error> {
        if let Reply::Number(number) = reply { Ok(*number) } else { Err(self.strange()) }
    }

    fn value(&self, reply: Reply) -> Result<Option<Vec<u8>>, Error> {
        match reply {
            Reply::Nothing => Ok(None),
            Reply::Bytes(value) if value.len() <= VALUE_BYTES_MAX => Ok(Some(value)),
            Reply::Bytes(_) => {
                Err(Error::Other(format!("it holds more than {VALUE_BYTES_MAX} bytes")))
            }
            Reply::Word(_) | Reply::Refused(_) | Reply::Number(_) | Reply::Many(_) => {
                Err(self.strange())
            }
        }
    }
}

/// What the file of a place names; nothing if there is none.
fn named(tree: &Tree) -> Result<Option<Address>, Error> {
    let file = format!("{}/{URL_FILE}", Service::KeyValue.place());
    let wrong = |what: &str| Error::Other(format!("the volume's file \"{URL_FILE}\": {what}"));
    let url = match kept::read_linked(tree, &file, address::URL_BYTES_MAX) {
        Ok(None) | Err(Errno::ISDIR) => return Ok(None),
        Ok(Some(url)) => String::from_utf8(url).map_err(|_| wrong("it must be text"))?,
        Err(error) => return Err(wrong(&kept::said(error))),
    };
    address::parse(&url).map(Some).map_err(wrong)
}

/// Whether nothing has come since the last reply: neither the end, as of a connection that was idle for too long for the
/// other side, nor something that nobody asked for.
async fn is_open(connection: &mut (impl AsyncBufRead + Unpin)) -> bool {
    std::future::poll_fn(|context| {
        Poll::Ready(std::pin::Pin::new(&mut *connection).poll_fill_buf(context).is_pending())
    })
    .await
}

/// The words of a command as bytes.
trait MapBytes<'a> {
    fn map_bytes(&self) -> Vec<&'a [u8]>;
}

impl<'a> MapBytes<'a> for Vec<&'a str> {
    fn map_bytes(&self) -> Vec<&'a [u8]> {
        self.iter().map(|word| word.as_bytes()).collect()
    }
}

async fn exchange(connection: &mut Connection, words: &[&[u8]]) -> io::Result<Reply> {
    let mut sent = Vec::new();
    resp::command(words, &mut sent);
    connection.write_all(&sent).await?;
    connection.flush().await?;
    resp::reply(connection, REPLY_BYTES_MAX).await
}

impl Bucket {
    fn key(&self, key: &str) -> Result<Vec<u8>, Error> {
        check_key(key)?;
        Ok(format!("{}{key}", self.prefix).into_bytes())
    }

    fn keys_of<'a>(&self, keys: impl Iterator<Item = &'a str>) -> Result<Vec<Vec<u8>>, Error> {
        keys.map(|key| self.key(key)).collect()
    }

    /// What a key holds.
    pub(super) async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        let reply = self.redis.call(&[b"GET", &self.key(key)?], Repeat::Fine).await?;
        self.redis.value(reply)
    }

    /// Whether a key holds something.
    pub(super) async fn exists(&self, key: &str) -> Result<bool, Error> {
        let reply = self.redis.call(&[b"EXISTS", &self.key(key)?], Repeat::Fine).await?;
        self.redis.number(&reply).map(|count| count > 0)
    }

    /// What many keys hold, in their order.
    pub(super) async fn get_many(&self, keys: Vec<String>) -> Result<Held, Error> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let named = self.keys_of(keys.iter().map(String::as_str))?;
        let words = [b"MGET".as_slice()].into_iter().chain(named.iter().map(Vec::as_slice));
        let reply = self.redis.call(&words.collect::<Vec<_>>(), Repeat::Fine).await?;
        let Reply::Many(values) = reply else { return Err(self.redis.strange()) };
        if values.len() != keys.len() {
            return Err(self.redis.strange());
        }
        keys.into_iter()
            .zip(values)
            .map(|(key, reply)| Ok((key, self.redis.value(reply)?)))
            .collect()
    }

    /// Lets each key hold its value, or nothing.
    pub(super) async fn change(&self, changes: Held) -> Result<(), Error> {
        let (mut set, mut gone) = (Vec::new(), Vec::new());
        for (key, value) in &changes {
            let named = self.key(key)?;
            match value {
                None => gone.push(named),
                Some(value) => {
                    check_value(value)?;
                    set.push((named, value));
                }
            }
        }
        if !set.is_empty() {
            let mut words = vec![b"MSET".as_slice()];
            for (key, value) in &set {
                words.extend([key.as_slice(), value.as_slice()]);
            }
            self.redis.call(&words, Repeat::Fine).await?;
        }
        if !gone.is_empty() {
            let words = [b"DEL".as_slice()].into_iter().chain(gone.iter().map(Vec::as_slice));
            self.redis.call(&words.collect::<Vec<_>>(), Repeat::Fine).await?;
        }
        Ok(())
    }

    /// Some keys after a cursor of the Redis' own, and the next one. A key may come twice when others
    /// change much meanwhile. *Source:* Redis, `SCAN`.
    pub(super) async fn keys(&self, cursor: u64) -> Result<(Vec<String>, Option<u64>), Error> {
        // The bucket's name has no signs that a pattern has.
        let pattern = format!("{}*", self.prefix);
        let page = PAGE_KEYS.to_string();
        let mut next = cursor;
        for _ in 0..SCANS_MAX {
            let from = next.to_string();
            let words: [&[u8]; 6] =
                [b"SCAN", from.as_bytes(), b"MATCH", pattern.as_bytes(), b"COUNT", page.as_bytes()];
            let reply = self.redis.call(&words, Repeat::Fine).await?;
            let (after, keys) = self.page(reply).ok_or_else(|| self.redis.strange())?;
            next = after;
            if next == 0 || !keys.is_empty() {
                return Ok((keys, Some(next).filter(|next| *next != 0)));
            }
        }
        Ok((Vec::new(), Some(next)))
    }

    fn page(&self, reply: Reply) -> Option<(u64, Vec<String>)> {
        let Reply::Many(parts) = reply else { return None };
        let [Reply::Bytes(next), Reply::Many(keys)] = parts.as_slice() else { return None };
        let next = std::str::from_utf8(next).ok()?.parse().ok()?;
        // What others keep there and no guest could is left out.
        let keys = keys.iter().filter_map(|key| {
            let Reply::Bytes(key) = key else { return None };
            let key = std::str::from_utf8(key).ok()?.strip_prefix(&self.prefix)?;
            check_key(key).is_ok().then(|| key.to_owned())
        });
        Some((next, keys.collect()))
    }

    /// Adds to the number that a key holds; nothing is 0.
    pub(super) async fn add(
        &self,
        key: &str,
        delta: i128,
        (least, most): (i128, i128),
    ) -> Result<i128, Error> {
        let out_of_range = || Error::Other(format!("'{key}' would be out of range"));
        let delta = i64::try_from(delta).map_err(|_| out_of_range())?.to_string();
        let words: [&[u8]; 3] = [b"INCRBY", &self.key(key)?, delta.as_bytes()];
        let reply = self.redis.call(&words, Repeat::Never).await?;
        let sum = i128::from(self.redis.number(&reply)?);
        if (least..=most).contains(&sum) { Ok(sum) } else { Err(out_of_range()) }
    }

    /// Lets a key hold a value if it holds what was seen; else says what it holds now.
    pub(super) async fn swap(
        &self,
        key: &str,
        expected: Seen,
        value: &[u8],
    ) -> Result<Result<(), Seen>, Error> {
        check_value(value)?;
        let key = self.key(key)?;
        let swap = async {
            let mut place = self.redis.connection.lock().await;
            // Over a new connection, so that nothing needs to be sent twice.
            drop(place.take());
            let mut connection = self.redis.connect().await?;
            let swapped = self.swap_over(&mut connection, &key, expected, value).await?;
            *place = Some(connection);
            Ok(swapped)
        };
        let failed = |_| Err(self.redis.failed(&"no answer in time"));
        timeout(CALL_TIME_MAX, swap).await.unwrap_or_else(failed)
    }

    async fn swap_over(
        &self,
        connection: &mut Connection,
        key: &[u8],
        expected: Seen,
        value: &[u8],
    ) -> Result<Result<(), Seen>, Error> {
        let redis = &self.redis;
        redis.ask(connection, &[b"WATCH", key]).await?;
        let held = redis.value(redis.ask(connection, &[b"GET", key]).await?)?;
        let now = seen(held.as_deref());
        if now != expected {
            redis.ask(connection, &[b"UNWATCH"]).await?;
            return Ok(Err(now));
        }
        redis.ask(connection, &[b"MULTI"]).await?;
        redis.ask(connection, &[b"SET", key, value]).await?;
        if redis.ask(connection, &[b"EXEC"]).await? != Reply::Nothing {
            return Ok(Ok(()));
        }
        let held = redis.value(redis.ask(connection, &[b"GET", key]).await?)?;
        Ok(Err(seen(held.as_deref())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_that_the_other_side_has_closed_is_not_used() {
        let (near, mut far) = tokio::io::duplex(64);
        let mut near = BufStream::new(near);
        assert!(is_open(&mut near).await && is_open(&mut near).await);
        far.write_all(b"+OK\r\n").await.unwrap();
        assert!(!is_open(&mut near).await, "nobody has asked");
        assert_eq!(resp::reply(&mut near, 1024).await.unwrap(), Reply::Word("OK".to_owned()));
        assert!(is_open(&mut near).await, "all of it is read");
        drop(far);
        assert!(!is_open(&mut near).await);
    }
}
