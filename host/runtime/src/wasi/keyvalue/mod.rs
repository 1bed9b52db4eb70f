//! `wasi:keyvalue`: buckets of values, kept in the place that the guest was granted.
//!
//! Nothing is open between two calls, so an idle container holds nothing for it.
//!
//! *Source:* `wasi:keyvalue@0.2.0-draft`, and `-draft2`, where cursors are texts, numbers have a
//! sign and there is a compare-and-swap.

mod bucket;

use std::sync::Arc;

use wasmtime::StoreContextMut;
use wasmtime::component::{
    ComponentType, Lift, Linker, LinkerInstance, Lower, Resource, ResourceType,
};

use crate::mounts::{Service, Tree};
use crate::store::State;
use crate::wasi::entered;
use crate::wasi::kept::Flush;
use bucket::{Bucket, Held, Seen, check_batch, seen};

/// What guests import.
pub(crate) const INTERFACES: [&str; 6] = [
    "wasi:keyvalue/store@0.2.0-draft",
    "wasi:keyvalue/atomics@0.2.0-draft",
    "wasi:keyvalue/batch@0.2.0-draft",
    "wasi:keyvalue/store@0.2.0-draft2",
    "wasi:keyvalue/atomics@0.2.0-draft2",
    "wasi:keyvalue/batch@0.2.0-draft2",
];

/// Why something was not done.
#[derive(ComponentType, Lift, Lower, Clone, Debug, PartialEq, Eq)]
#[component(variant)]
enum Error {
    /// There is no such bucket; never said here, because buckets are made when they are opened.
    #[component(name = "no-such-store")]
    NoSuchStore,
    /// The guest was granted no place.
    #[component(name = "access-denied")]
    AccessDenied,
    /// Anything else, in words.
    #[component(name = "other")]
    Other(String),
}

/// Some keys, and where the next ones begin.
#[derive(ComponentType, Lift, Lower)]
#[component(record)]
struct Page {
    #[component(name = "keys")]
    keys: Vec<String>,
    #[component(name = "cursor")]
    cursor: Option<u64>,
}

/// The same in the second draft.
#[derive(ComponentType, Lift, Lower)]
#[component(record)]
struct Page2 {
    #[component(name = "keys")]
    keys: Vec<String>,
    #[component(name = "cursor")]
    cursor: Option<String>,
}

/// A compare-and-swap on its way: what the key held when it was looked at.
struct Cas {
    bucket: Bucket,
    key: String,
    seen: Seen,
}

/// Why a swap was not done.
#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
enum CasError {
    #[component(name = "store-error")]
    Store(Error),
    #[component(name = "cas-failed")]
    Failed(Resource<Cas>),
}

type Context<'a> = StoreContextMut<'a, State>;

/// Puts `wasi:keyvalue` into a linker.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut instance = linker.instance("wasi:keyvalue/store@0.2.0-draft")?;
    store(&mut instance)?;
    instance.func_wrap(
        "[method]bucket.list-keys",
        |mut store: Context<'_>, (bucket, cursor)| {
            Ok((list_keys(store.data_mut(), &bucket, cursor)?,))
        },
    )?;
    let mut instance = linker.instance("wasi:keyvalue/store@0.2.0-draft2")?;
    store(&mut instance)?;
    instance.func_wrap(
        "[method]bucket.list-keys",
        |mut store: Context<'_>, (bucket, cursor)| {
            Ok((list_keys2(store.data_mut(), &bucket, cursor)?,))
        },
    )?;
    let mut instance = linker.instance("wasi:keyvalue/batch@0.2.0-draft")?;
    batch(&mut instance)?;
    instance.func_wrap("get-many", |mut store: Context<'_>, (bucket, keys)| {
        let found = get_many(store.data_mut(), &bucket, keys)?;
        let pairs = found.map(|all| all.into_iter().map(|(key, value)| Some((key, value?))));
        Ok((pairs.map(Iterator::collect::<Vec<_>>),))
    })?;
    let mut instance = linker.instance("wasi:keyvalue/batch@0.2.0-draft2")?;
    batch(&mut instance)?;
    instance.func_wrap("get-many", |mut store: Context<'_>, (bucket, keys)| {
        Ok((get_many(store.data_mut(), &bucket, keys)?,))
    })?;
    let mut instance = linker.instance("wasi:keyvalue/atomics@0.2.0-draft")?;
    increment::<u64>(&mut instance, (0, i128::from(u64::MAX)))?;
    let mut instance = linker.instance("wasi:keyvalue/atomics@0.2.0-draft2")?;
    increment::<i64>(&mut instance, (i128::from(i64::MIN), i128::from(i64::MAX)))?;
    cas(&mut instance)
}

/// A guest's bucket, and where it is kept.
type Opened = (Arc<Tree>, Bucket);

/// The outer error ends the guest: it has no such bucket.
fn opened(state: &mut State, bucket: &Resource<Bucket>) -> wasmtime::Result<Result<Opened, Error>> {
    let bucket = state.table.get(bucket)?.clone();
    Ok(state.kept(Service::KeyValue).map(|tree| (tree, bucket)).ok_or(Error::AccessDenied))
}

fn store(instance: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    instance.resource("bucket", ResourceType::host::<Bucket>(), |mut store, index| {
        store.data_mut().table.delete(Resource::<Bucket>::new_own(index))?;
        Ok(())
    })?;
    instance.func_wrap("open", |mut store: Context<'_>, (name,): (String,)| {
        let state = store.data_mut();
        let bucket = state.kept(Service::KeyValue).ok_or(Error::AccessDenied);
        let bucket = bucket.and_then(|tree| Bucket::open(&tree, &name));
        Ok((entered(state, bucket)?,))
    })?;
    instance.func_wrap("[method]bucket.get", |mut store: Context<'_>, (bucket, key)| {
        let key: String = key;
        let opened = opened(store.data_mut(), &bucket)?;
        Ok((opened.and_then(|(tree, bucket)| bucket.get(&tree, &key)),))
    })?;
    instance.func_wrap("[method]bucket.exists", |mut store: Context<'_>, (bucket, key)| {
        let key: String = key;
        let opened = opened(store.data_mut(), &bucket)?;
        Ok((opened.and_then(|(tree, bucket)| bucket.exists(&tree, &key)),))
    })?;
    instance.func_wrap_async(
        "[method]bucket.set",
        |mut store: Context<'_>, (bucket, key, value): (Resource<Bucket>, String, Vec<u8>)| {
            let opened = opened(store.data_mut(), &bucket);
            Box::new(async move { Ok((change(opened?, vec![(key, Some(value))]).await,)) })
        },
    )?;
    instance.func_wrap_async(
        "[method]bucket.delete",
        |mut store: Context<'_>, (bucket, key): (Resource<Bucket>, String)| {
            let opened = opened(store.data_mut(), &bucket);
            Box::new(async move { Ok((change(opened?, vec![(key, None)]).await,)) })
        },
    )
}

fn batch(instance: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    type Pairs = Vec<(String, Vec<u8>)>;
    instance.func_wrap_async(
        "set-many",
        |mut store: Context<'_>, (bucket, pairs): (Resource<Bucket>, Pairs)| {
            let opened = opened(store.data_mut(), &bucket);
            let pairs = pairs.into_iter().map(|(key, value)| (key, Some(value))).collect();
            Box::new(async move { Ok((change(opened?, pairs).await,)) })
        },
    )?;
    instance.func_wrap_async(
        "delete-many",
        |mut store: Context<'_>, (bucket, keys): (Resource<Bucket>, Vec<String>)| {
            let opened = opened(store.data_mut(), &bucket);
            let pairs = keys.into_iter().map(|key| (key, None)).collect();
            Box::new(async move { Ok((change(opened?, pairs).await,)) })
        },
    )
}

/// Lets each key hold its value, or nothing, under one lock; the first error leaves the rest undone.
async fn change(opened: Result<Opened, Error>, changes: Held) -> Result<(), Error> {
    let (tree, bucket) = opened?;
    check_batch(changes.len())?;
    let flush = if changes.len() == 1 { Flush::Now } else { Flush::Soon };
    let _lock = bucket.lock(&tree).await?;
    for (key, value) in changes {
        match value {
            Some(value) => bucket.put(&tree, &key, &value, flush)?,
            None => bucket.remove(&tree, &key)?,
        }
    }
    Ok(())
}

fn get_many(
    state: &mut State,
    bucket: &Resource<Bucket>,
    keys: Vec<String>,
) -> wasmtime::Result<Result<Held, Error>> {
    let opened = opened(state, bucket)?;
    Ok(opened.and_then(|(tree, bucket)| bucket.get_many(&tree, keys)))
}

fn list_keys(
    state: &mut State,
    bucket: &Resource<Bucket>,
    cursor: Option<u64>,
) -> wasmtime::Result<Result<Page, Error>> {
    let first = usize::try_from(cursor.unwrap_or(0)).unwrap_or(usize::MAX);
    let keys = opened(state, bucket)?.and_then(|(tree, bucket)| bucket.keys(&tree, first, None));
    Ok(keys.map(|(keys, has_more)| {
        let next = first.saturating_add(keys.len()) as u64;
        Page { keys, cursor: has_more.then_some(next) }
    }))
}

/// The cursor is the last key of the page before, so no key is missed whatever is deleted meanwhile.
fn list_keys2(
    state: &mut State,
    bucket: &Resource<Bucket>,
    cursor: Option<String>,
) -> wasmtime::Result<Result<Page2, Error>> {
    let opened = opened(state, bucket)?;
    let keys = opened.and_then(|(tree, bucket)| bucket.keys(&tree, 0, cursor.as_deref()));
    Ok(keys.map(|(keys, has_more)| {
        let cursor = if has_more { keys.last().cloned() } else { None };
        Page2 { keys, cursor }
    }))
}

/// The number of either draft.
trait Number:
    ComponentType + Lift + Lower + Copy + Into<i128> + TryFrom<i128> + Send + 'static
{
}

impl Number for u64 {}
impl Number for i64 {}

fn increment<N: Number + Sync>(
    instance: &mut LinkerInstance<'_, State>,
    bounds: (i128, i128),
) -> wasmtime::Result<()> {
    instance.func_wrap_async(
        "increment",
        move |mut store: Context<'_>, (bucket, key, delta): (Resource<Bucket>, String, N)| {
            let opened = opened(store.data_mut(), &bucket);
            Box::new(async move {
                let sum = match opened? {
                    Ok((tree, bucket)) => bucket.add(&tree, &key, delta.into(), bounds).await,
                    Err(error) => Err(error),
                };
                let outside = |_| Error::Other("out of range".to_owned());
                Ok((sum.and_then(|sum| N::try_from(sum).map_err(outside)),))
            })
        },
    )
}

fn cas(instance: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    instance.resource("cas", ResourceType::host::<Cas>(), |mut store, index| {
        store.data_mut().table.delete(Resource::<Cas>::new_own(index))?;
        Ok(())
    })?;
    instance.func_wrap("[static]cas.new", |mut store: Context<'_>, (bucket, key)| {
        let key: String = key;
        let state = store.data_mut();
        let begun = opened(state, &bucket)?.and_then(|(tree, bucket)| {
            let seen = seen(bucket.get(&tree, &key)?.as_deref());
            Ok(Cas { bucket, key, seen })
        });
        Ok((entered(state, begun)?,))
    })?;
    instance.func_wrap("[method]cas.current", |mut store: Context<'_>, (cas,)| {
        Ok((current(store.data_mut(), &cas)?,))
    })?;
    instance.func_wrap_async(
        "swap",
        |mut store: Context<'_>, (cas, value): (Resource<Cas>, Vec<u8>)| {
            Box::new(async move { Ok((swap(store.data_mut(), cas, &value).await?,)) })
        },
    )
}

fn current(
    state: &mut State,
    cas: &Resource<Cas>,
) -> wasmtime::Result<Result<Option<Vec<u8>>, Error>> {
    let Some(tree) = state.kept(Service::KeyValue) else { return Ok(Err(Error::AccessDenied)) };
    let cas = state.table.get_mut(cas)?;
    let held = cas.bucket.get(&tree, &cas.key);
    if let Ok(held) = &held {
        cas.seen = seen(held.as_deref());
    }
    Ok(held)
}

async fn swap(
    state: &mut State,
    cas: Resource<Cas>,
    value: &[u8],
) -> wasmtime::Result<Result<(), CasError>> {
    let cas = state.table.delete(cas)?;
    let Some(tree) = state.kept(Service::KeyValue) else {
        return Ok(Err(CasError::Store(Error::AccessDenied)));
    };
    match cas.bucket.swap(&tree, &cas.key, cas.seen, value).await {
        Ok(Ok(())) => Ok(Ok(())),
        Ok(Err(seen)) => Ok(Err(CasError::Failed(state.table.push(Cas { seen, ..cas })?))),
        Err(error) => Ok(Err(CasError::Store(error))),
    }
}
