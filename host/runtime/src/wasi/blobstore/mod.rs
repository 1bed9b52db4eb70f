//! `wasi:blobstore`: containers of objects, kept in the place that the guest was granted.
//!
//! An object appears with its last byte or not at all, and who has begun to read one reads it to its
//! end whatever becomes of its name. Nothing is open but what a guest reads or writes.
//!
//! *Source:* `wasi:blobstore@0.2.0-draft`.

mod shelf;
mod value;

use std::iter::Peekable;
use std::sync::Arc;

use wasmtime::StoreContextMut;
use wasmtime::component::{
    ComponentType, Lift, Linker, LinkerInstance, Lower, Resource, ResourceType,
};
use wasmtime_wasi_io::streams::{DynInputStream, DynOutputStream};

use crate::mounts::{Service, Tree, aside};
use crate::store::State;
use crate::wasi::{entered, kept};
use shelf::{Container, Said};
use value::{Body, Incoming, Outgoing};

/// What guests import.
pub(crate) const INTERFACES: [&str; 3] = [
    "wasi:blobstore/types@0.2.0-draft",
    "wasi:blobstore/container@0.2.0-draft",
    "wasi:blobstore/blobstore@0.2.0-draft",
];

/// Names that one call gives.
const NAMES_MAX: u64 = 1000;

/// About a container.
#[derive(ComponentType, Lift, Lower)]
#[component(record)]
struct ContainerMetadata {
    #[component(name = "name")]
    name: String,
    /// Seconds since 1970.
    #[component(name = "created-at")]
    created_at: u64,
}

/// About an object.
#[derive(ComponentType, Lift, Lower)]
#[component(record)]
struct ObjectMetadata {
    #[component(name = "name")]
    name: String,
    #[component(name = "container")]
    container: String,
    /// Seconds since 1970.
    #[component(name = "created-at")]
    created_at: u64,
    /// Bytes.
    #[component(name = "size")]
    size: u64,
}

/// Which object.
#[derive(ComponentType, Lift, Lower)]
#[component(record)]
struct ObjectId {
    #[component(name = "container")]
    container: String,
    #[component(name = "object")]
    object: String,
}

/// The names that are still to be told.
struct Names(Peekable<kept::Names>);

type Context<'a> = StoreContextMut<'a, State>;

/// Puts `wasi:blobstore` into a linker.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let [types, container, blobstore] = INTERFACES;
    outgoing(&mut linker.instance(types)?)?;
    incoming(&mut linker.instance(types)?)?;
    let mut instance = linker.instance(container)?;
    resource::<Container>(&mut instance, "container")?;
    resource::<Names>(&mut instance, "stream-object-names")?;
    containers(&mut instance)?;
    objects(&mut instance)?;
    names(&mut instance)?;
    let mut instance = linker.instance(blobstore)?;
    top(&mut instance)?;
    copies(&mut instance)
}

fn resource<T: Send + 'static>(
    instance: &mut LinkerInstance<'_, State>,
    name: &str,
) -> wasmtime::Result<()> {
    instance.resource(name, ResourceType::host::<T>(), |mut store, index| {
        store.data_mut().table.delete(Resource::<T>::new_own(index))?;
        Ok(())
    })
}

/// The place that the guest was granted.
fn place(state: &mut State) -> Said<Arc<Tree>> {
    state.kept(Service::Blobstore).ok_or_else(|| "no place was granted for objects".to_owned())
}

/// Does something with a container. The outer error ends the guest: it has no such container.
fn with<R>(
    state: &mut State,
    container: &Resource<Container>,
    work: impl FnOnce(&Tree, &Container) -> Said<R>,
) -> wasmtime::Result<Said<R>> {
    let tree = place(state);
    let container = state.table.get(container)?;
    Ok(tree.and_then(|tree| work(&tree, container)))
}

fn outgoing(instance: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    resource::<Outgoing>(instance, "outgoing-value")?;
    let name = "[static]outgoing-value.new-outgoing-value";
    instance.func_wrap(name, |mut store: Context<'_>, (): ()| {
        Ok((store.data_mut().table.push(Outgoing::default())?,))
    })?;
    let name = "[method]outgoing-value.outgoing-value-write-body";
    instance.func_wrap(name, |mut store: Context<'_>, (value,): (Resource<Outgoing>,)| {
        let state = store.data_mut();
        let tree = place(state);
        let value = state.table.get_mut(&value)?;
        let body = tree.and_then(|tree| value.begin(&tree));
        let body = body.map(|spool| -> DynOutputStream { Box::new(Body(spool)) });
        // The interface has no words for why.
        Ok((entered(state, body.map_err(drop))?,))
    })?;
    let name = "[static]outgoing-value.finish";
    instance.func_wrap(name, |mut store: Context<'_>, (value,): (Resource<Outgoing>,)| {
        let state = store.data_mut();
        let value = state.table.delete(value)?;
        Ok((place(state).and_then(|tree| value.finish(&tree)),))
    })
}

fn incoming(instance: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    resource::<Incoming>(instance, "incoming-value")?;
    let name = "[static]incoming-value.incoming-value-consume-sync";
    instance.func_wrap(name, |mut store: Context<'_>, (value,): (Resource<Incoming>,)| {
        let value = store.data_mut().table.delete(value)?;
        Ok((aside(|| value.whole()),))
    })?;
    let name = "[static]incoming-value.incoming-value-consume-async";
    instance.func_wrap(name, |mut store: Context<'_>, (value,): (Resource<Incoming>,)| {
        let state = store.data_mut();
        let stream: DynInputStream = Box::new(state.table.delete(value)?);
        Ok((entered(state, Said::Ok(stream))?,))
    })?;
    let name = "[method]incoming-value.size";
    instance.func_wrap(name, |mut store: Context<'_>, (value,): (Resource<Incoming>,)| {
        Ok((store.data_mut().table.get(&value)?.bytes(),))
    })
}

fn containers(instance: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    type This = (Resource<Container>,);
    instance.func_wrap("[method]container.name", |mut store: Context<'_>, (this,): This| {
        Ok((Said::Ok(store.data_mut().table.get(&this)?.name.clone()),))
    })?;
    instance.func_wrap("[method]container.info", |mut store: Context<'_>, (this,): This| {
        let info = with(store.data_mut(), &this, |tree, container| {
            let created_at = container.created_at(tree)?;
            Ok(ContainerMetadata { name: container.name.clone(), created_at })
        });
        Ok((info?,))
    })?;
    instance.func_wrap("[method]container.clear", |mut store: Context<'_>, (this,): This| {
        let cleared =
            with(store.data_mut(), &this, |tree, container| aside(|| container.clear(tree)));
        Ok((cleared?,))
    })?;
    let name = "[method]container.list-objects";
    instance.func_wrap(name, |mut store: Context<'_>, (this,): This| {
        let state = store.data_mut();
        let names =
            with(state, &this, |tree, container| Ok(Names(container.objects(tree)?.peekable())))?;
        Ok((entered(state, names)?,))
    })
}

fn objects(instance: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    type Named = (Resource<Container>, String);
    let name = "[method]container.get-data";
    type Part = (Resource<Container>, String, u64, u64);
    instance.func_wrap(name, |mut store: Context<'_>, (this, name, start, last): Part| {
        let state = store.data_mut();
        let value = with(state, &this, |tree, container| {
            Incoming::new(container.open(tree, &name)?, start, last)
        })?;
        Ok((entered(state, value)?,))
    })?;
    let name = "[method]container.write-data";
    type Written = (Resource<Container>, String, Resource<Outgoing>);
    instance.func_wrap(name, |mut store: Context<'_>, (this, name, value): Written| {
        let state = store.data_mut();
        let target = with(state, &this, |_, container| container.path(&name))?;
        let value = state.table.get_mut(&value)?;
        Ok((target.map(|target| value.target = Some(target)),))
    })?;
    let name = "[method]container.delete-object";
    instance.func_wrap(name, |mut store: Context<'_>, (this, name): Named| {
        let removed =
            with(store.data_mut(), &this, |tree, container| container.remove(tree, &name));
        Ok((removed?,))
    })?;
    let name = "[method]container.delete-objects";
    type Many = (Resource<Container>, Vec<String>);
    instance.func_wrap(name, |mut store: Context<'_>, (this, names): Many| {
        let removed = with(store.data_mut(), &this, |tree, container| {
            aside(|| names.iter().try_for_each(|name| container.remove(tree, name)))
        });
        Ok((removed?,))
    })?;
    let name = "[method]container.has-object";
    instance.func_wrap(name, |mut store: Context<'_>, (this, name): Named| {
        let found = with(store.data_mut(), &this, |tree, container| container.stat(tree, &name));
        Ok((found?.map(|found| found.is_some()),))
    })?;
    let name = "[method]container.object-info";
    instance.func_wrap(name, |mut store: Context<'_>, (this, object): Named| {
        let info = with(store.data_mut(), &this, |tree, of| {
            let missing = || format!("there is no object '{object}' in '{}'", of.name);
            let (size, created_at) = of.stat(tree, &object)?.ok_or_else(missing)?;
            let (name, container) = (object.clone(), of.name.clone());
            Ok(ObjectMetadata { name, container, created_at, size })
        });
        Ok((info?,))
    })
}

fn names(instance: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    type Some = (Resource<Names>, u64);
    let name = "[method]stream-object-names.read-stream-object-names";
    instance.func_wrap(name, |mut store: Context<'_>, (this, wanted): Some| {
        let names = &mut store.data_mut().table.get_mut(&this)?.0;
        let wanted = usize::try_from(wanted.min(NAMES_MAX)).unwrap_or_default();
        let some: Vec<String> = names.by_ref().take(wanted).map(|(_, name)| name).collect();
        Ok((Said::Ok((some, names.peek().is_none())),))
    })?;
    let name = "[method]stream-object-names.skip-stream-object-names";
    instance.func_wrap(name, |mut store: Context<'_>, (this, wanted): Some| {
        let names = &mut store.data_mut().table.get_mut(&this)?.0;
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
        let skipped = names.by_ref().take(wanted).count() as u64;
        Ok((Said::Ok((skipped, names.peek().is_none())),))
    })
}

fn top(instance: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    type Named = (String,);
    instance.func_wrap("create-container", |mut store: Context<'_>, (name,): Named| {
        let state = store.data_mut();
        let made = place(state).and_then(|tree| Container::create(&tree, &name));
        Ok((entered(state, made)?,))
    })?;
    instance.func_wrap("get-container", |mut store: Context<'_>, (name,): Named| {
        let state = store.data_mut();
        let found = place(state).and_then(|tree| Container::find(&tree, &name));
        Ok((entered(state, found)?,))
    })?;
    instance.func_wrap("delete-container", |mut store: Context<'_>, (name,): Named| {
        let tree = place(store.data_mut());
        Ok((tree.and_then(|tree| aside(|| Container::delete(&tree, &name))),))
    })?;
    instance.func_wrap("container-exists", |mut store: Context<'_>, (name,): Named| {
        let tree = place(store.data_mut());
        Ok((tree.and_then(|tree| Container::exists(&tree, &name)),))
    })
}

fn copies(instance: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    type Pair = (ObjectId, ObjectId);
    let find = |tree: &Tree, from: &ObjectId, to: &ObjectId| {
        Ok::<_, String>((
            Container::find(tree, &from.container)?,
            Container::find(tree, &to.container)?,
        ))
    };
    instance.func_wrap("copy-object", move |mut store: Context<'_>, (from, to): Pair| {
        let copied = place(store.data_mut()).and_then(|tree| {
            let (source, target) = find(&tree, &from, &to)?;
            aside(|| shelf::copy(&tree, (&source, &from.object), (&target, &to.object)))
        });
        Ok((copied,))
    })?;
    instance.func_wrap("move-object", move |mut store: Context<'_>, (from, to): Pair| {
        let moved = place(store.data_mut()).and_then(|tree| {
            let (source, target) = find(&tree, &from, &to)?;
            shelf::rename(&tree, (&source, &from.object), (&target, &to.object))
        });
        Ok((moved,))
    })
}
