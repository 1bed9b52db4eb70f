//! `wasi:keyvalue`: buckets of values, kept in the place that the guest was granted, or in a Redis that it names.
//!
//! Of files nothing is open between two calls; a connection to a Redis is an instance's, and an idle container
//! has none.
//!
//! *Source:* `wasi:keyvalue@0.2.0-draft`, and `-draft2`, where cursors are texts, numbers have a
//! sign and there is a compare-and-swap.

mod bucket;
mod place;
mod redis;

use wasmtime::StoreContextMut;
use wasmtime::component::{
    ComponentType, Lift, Linker, LinkerInstance, Lower, Resource, ResourceType,
};

use crate::store::State;
use crate::wasi::entered;
use bucket::{Seen, seen};
use place::{Bucket, Cursor};

pub(crate) use place::Place;

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
    instance.func_wrap_async(
        "[method]bucket.list-keys",
        |mut store: Context<'_>, (bucket, cursor): (Resource<Bucket>, Option<u64>)| {
            let bucket = opened(store.data_mut(), &bucket);
            Box::new(async move { Ok((list_keys(&bucket?, cursor).await,)) })
        },
    )?;
    let mut instance = linker.instance("wasi:keyvalue/store@0.2.0-draft2")?;
    store(&mut instance)?;
    instance.func_wrap_async(
        "[method]bucket.list-keys",
        |mut store: Context<'_>, (bucket, cursor): (Resource<Bucket>, Option<String>)| {
            let bucket = opened(store.data_mut(), &bucket);
            Box::new(async move { Ok((list_keys2(&bucket?, cursor).await,)) })
        },
    )?;
    let mut instance = linker.instance("wasi:keyvalue/batch@0.2.0-draft")?;
    batch(&mut instance)?;
    instance.func_wrap_async(
        "get-many",
        |mut store: Context<'_>, (bucket, keys): (Resource<Bucket>, Vec<String>)| {
            let bucket = opened(store.data_mut(), &bucket);
            Box::new(async move {
                let found = bucket?.get_many(keys).await;
                let pairs =
                    found.map(|all| all.into_iter().map(|(key, value)| Some((key, value?))));
                Ok((pairs.map(Iterator::collect::<Vec<_>>),))
            })
        },
    )?;
    let mut instance = linker.instance("wasi:keyvalue/batch@0.2.0-draft2")?;
    batch(&mut instance)?;
    instance.func_wrap_async(
        "get-many",
        |mut store: Context<'_>, (bucket, keys): (Resource<Bucket>, Vec<String>)| {
            let bucket = opened(store.data_mut(), &bucket);
            Box::new(async move { Ok((bucket?.get_many(keys).await,)) })
        },
    )?;
    let mut instance = linker.instance("wasi:keyvalue/atomics@0.2.0-draft")?;
    increment::<u64>(&mut instance, (0, i128::from(u64::MAX)))?;
    let mut instance = linker.instance("wasi:keyvalue/atomics@0.2.0-draft2")?;
    increment::<i64>(&mut instance, (i128::from(i64::MIN), i128::from(i64::MAX)))?;
    cas(&mut instance)
}

/// The error ends the guest: it has no such bucket.
fn opened(state: &mut State, bucket: &Resource<Bucket>) -> wasmtime::Result<Bucket> {
    Ok(state.table.get(bucket)?.clone())
}

fn store(instance: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    instance.resource("bucket", ResourceType::host::<Bucket>(), |mut store, index| {
        store.data_mut().table.delete(Resource::<Bucket>::new_own(index))?;
        Ok(())
    })?;
    instance.func_wrap("open", |mut store: Context<'_>, (name,): (String,)| {
        let state = store.data_mut();
        let bucket = Place::of(state).and_then(|place| place.open(&name));
        Ok((entered(state, bucket)?,))
    })?;
    instance.func_wrap_async(
        "[method]bucket.get",
        |mut store: Context<'_>, (bucket, key): (Resource<Bucket>, String)| {
            let bucket = opened(store.data_mut(), &bucket);
            Box::new(async move { Ok((bucket?.get(&key).await,)) })
        },
    )?;
    instance.func_wrap_async(
        "[method]bucket.exists",
        |mut store: Context<'_>, (bucket, key): (Resource<Bucket>, String)| {
            let bucket = opened(store.data_mut(), &bucket);
            Box::new(async move { Ok((bucket?.exists(&key).await,)) })
        },
    )?;
    instance.func_wrap_async(
        "[method]bucket.set",
        |mut store: Context<'_>, (bucket, key, value): (Resource<Bucket>, String, Vec<u8>)| {
            let bucket = opened(store.data_mut(), &bucket);
            Box::new(async move { Ok((bucket?.change(vec![(key, Some(value))]).await,)) })
        },
    )?;
    instance.func_wrap_async(
        "[method]bucket.delete",
        |mut store: Context<'_>, (bucket, key): (Resource<Bucket>, String)| {
            let bucket = opened(store.data_mut(), &bucket);
            Box::new(async move { Ok((bucket?.change(vec![(key, None)]).await,)) })
        },
    )
}

fn batch(instance: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    type Pairs = Vec<(String, Vec<u8>)>;
    instance.func_wrap_async(
        "set-many",
        |mut store: Context<'_>, (bucket, pairs): (Resource<Bucket>, Pairs)| {
            let bucket = opened(store.data_mut(), &bucket);
            let pairs = pairs.into_iter().map(|(key, value)| (key, Some(value))).collect();
            Box::new(async move { Ok((bucket?.change(pairs).await,)) })
        },
    )?;
    instance.func_wrap_async(
        "delete-many",
        |mut store: Context<'_>, (bucket, keys): (Resource<Bucket>, Vec<String>)| {
            let bucket = opened(store.data_mut(), &bucket);
            let pairs = keys.into_iter().map(|key| (key, None)).collect();
            Box::new(async move { Ok((bucket?.change(pairs).await,)) })
        },
    )
}

async fn list_keys(bucket: &Bucket, cursor: Option<u64>) -> Result<Page, Error> {
    let listed = bucket.keys(Cursor::Number(cursor.unwrap_or(0))).await?;
    let cursor = listed.next.map(|next| match next {
        Cursor::Number(number) => Ok(number),
        Cursor::Key(_) => Err(Error::Other("no such cursor".to_owned())),
    });
    Ok(Page { keys: listed.keys, cursor: cursor.transpose()? })
}

async fn list_keys2(bucket: &Bucket, cursor: Option<String>) -> Result<Page2, Error> {
    let listed = bucket.keys(Cursor::Key(cursor.unwrap_or_default())).await?;
    Ok(Page2 { keys: listed.keys, cursor: listed.next.map(Cursor::text) })
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
            let bucket = opened(store.data_mut(), &bucket);
            Box::new(async move {
                let sum = bucket?.add(&key, delta.into(), bounds).await;
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
    instance.func_wrap_async(
        "[static]cas.new",
        |mut store: Context<'_>, (bucket, key): (Resource<Bucket>, String)| {
            Box::new(async move {
                let bucket = opened(store.data_mut(), &bucket)?;
                let held = bucket.get(&key).await;
                let begun = held.map(|held| Cas { bucket, key, seen: seen(held.as_deref()) });
                Ok((entered(store.data_mut(), begun)?,))
            })
        },
    )?;
    instance.func_wrap_async(
        "[method]cas.current",
        |mut store: Context<'_>, (cas,): (Resource<Cas>,)| {
            Box::new(async move { Ok((current(store.data_mut(), &cas).await?,)) })
        },
    )?;
    instance.func_wrap_async(
        "swap",
        |mut store: Context<'_>, (cas, value): (Resource<Cas>, Vec<u8>)| {
            Box::new(async move { Ok((swap(store.data_mut(), cas, &value).await?,)) })
        },
    )
}

async fn current(
    state: &mut State,
    cas: &Resource<Cas>,
) -> wasmtime::Result<Result<Option<Vec<u8>>, Error>> {
    let cas = state.table.get_mut(cas)?;
    let held = cas.bucket.get(&cas.key).await;
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
    match cas.bucket.swap(&cas.key, cas.seen, value).await {
        Ok(Ok(())) => Ok(Ok(())),
        Ok(Err(seen)) => Ok(Err(CasError::Failed(state.table.push(Cas { seen, ..cas })?))),
        Err(error) => Ok(Err(CasError::Store(error))),
    }
}
