//! `wasi:config`: values that the guest reads, each the content of a file of the place that it was
//! granted, else a variable of its environment.
//!
//! Files are read anew each time, so a changed value is seen with the next call.
//!
//! *Source:* `wasi:config@0.2.0-rc.1`; the drafts before it differ in their names alone.

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, Lower};

use super::kept;
use crate::mounts::{Handle, Kind, Open, Service, Tree};
use crate::store::State;

/// What guests import.
pub(crate) const INTERFACES: [&str; 3] = [
    "wasi:config/store@0.2.0-rc.1",
    "wasi:config/store@0.2.0-draft",
    "wasi:config/runtime@0.2.0-draft",
];

/// Bytes of one value: what a ConfigMap of Kubernetes may hold in all.
const VALUE_BYTES_MAX: usize = 1 << 20;

/// Values that are given together.
const VALUES_MAX: usize = 1000;

/// Bytes of values that are given together.
const VALUES_BYTES_MAX: usize = 4 << 20;

/// Why there is no value.
#[derive(ComponentType, Lift, Lower, Clone, Debug, PartialEq, Eq)]
#[component(variant)]
enum Error {
    /// Whoever keeps the values says so.
    #[component(name = "upstream")]
    Upstream(String),
    /// They cannot be read.
    #[component(name = "io")]
    Io(String),
}

type Values = Vec<(String, String)>;

/// Puts `wasi:config` into a linker.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    for interface in INTERFACES {
        let mut instance = linker.instance(interface)?;
        instance.func_wrap("get", |mut store: StoreContextMut<'_, State>, (key,): (String,)| {
            Ok((get(store.data_mut(), &key),))
        })?;
        instance.func_wrap("get-all", |mut store: StoreContextMut<'_, State>, (): ()| {
            Ok((get_all(store.data_mut()),))
        })?;
    }
    Ok(())
}

fn get(state: &mut State, key: &str) -> Result<Option<String>, Error> {
    match state.kept(Service::Config) {
        Some(tree) => value(&tree, key),
        None => {
            let found = state.core.spec.env.iter().rev().find(|(name, _)| name == key);
            Ok(found.map(|(_, value)| value.clone()))
        }
    }
}

fn get_all(state: &mut State) -> Result<Values, Error> {
    match state.kept(Service::Config) {
        Some(tree) => values(&tree),
        None => Ok(state.core.spec.env.clone()),
    }
}

/// Whether a file's name is a key: `..` begins the names of the mount's own.
fn is_key(name: &str) -> bool {
    !name.is_empty() && !name.contains('/') && !name.contains('\0') && !name.starts_with("..")
}

fn value(tree: &Tree, key: &str) -> Result<Option<String>, Error> {
    if !is_key(key) || key == "." {
        return Ok(None);
    }
    let path = format!("{}/{key}", Service::Config.place());
    let how = Open { read: true, ..Open::default() };
    let file = match tree.open(&tree.root(), &path, true, how) {
        Ok(Handle::File(file)) => file,
        Ok(Handle::Dir(_)) | Err(rustix::io::Errno::NOENT | rustix::io::Errno::NAMETOOLONG) => {
            return Ok(None);
        }
        Err(error) => return Err(Error::Io(kept::said(error))),
    };
    let bytes = kept::content(&file, VALUE_BYTES_MAX).map_err(|error| match error {
        rustix::io::Errno::FBIG => {
            Error::Upstream(format!("'{key}' has more than {VALUE_BYTES_MAX} bytes"))
        }
        error => Error::Io(kept::said(error)),
    })?;
    let text = String::from_utf8(bytes);
    text.map(Some).map_err(|_| Error::Upstream(format!("'{key}' is not UTF-8")))
}

fn values(tree: &Tree) -> Result<Values, Error> {
    let how = Open { read: true, directory: true, ..Open::default() };
    let dir = match tree.open(&tree.root(), Service::Config.place(), true, how) {
        Ok(Handle::Dir(dir)) => dir,
        Ok(Handle::File(_)) => return Ok(Values::new()),
        Err(error) => return Err(Error::Io(kept::said(error))),
    };
    let listed = tree.listing(&dir).map_err(|error| Error::Io(kept::said(error)))?;
    // A link may lead to a value; a folder is none.
    let keys = listed.filter(|(name, kind)| is_key(name) && *kind != Kind::Directory);
    let (mut found, mut bytes) = (Values::new(), 0);
    for (key, _) in keys {
        let Some(value) = value(tree, &key)? else { continue };
        bytes += key.len() + value.len();
        if found.len() == VALUES_MAX || bytes > VALUES_BYTES_MAX {
            let most = format!("more than {VALUES_MAX} values or {VALUES_BYTES_MAX} bytes");
            return Err(Error::Upstream(format!("{most}: ask for one at a time")));
        }
        found.push((key, value));
    }
    Ok(found)
}
