//! `wasi:filesystem/types.descriptor`.

use super::super::{Fs, FsCtx};
use super::convert;
use super::streams::{Listed, Reading, Writing};
use super::told;
use crate::mounts::{DirHandle, FileHandle, Handle, Stat};
use crate::wasi::{ours, ours_owned};
use rustix::io::Errno;
use tokio::sync::oneshot;
use wasmtime::component::{Access, Accessor, FutureReader, Resource, ResourceTable, StreamReader};
use wasmtime_wasi::p3::bindings::filesystem::types::{
    Advice, Descriptor, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry, ErrorCode,
    HostDescriptor, HostDescriptorWithStore, MetadataHashValue, NewTimestamp, OpenFlags, PathFlags,
};
use wasmtime_wasi::p3::filesystem::{FilesystemError, FilesystemResult};

type D = Resource<Descriptor>;

/// How a stream of a file ends.
type Ending = FutureReader<Result<(), ErrorCode>>;

/// An open file or directory as 0.3 sees it.
pub(super) struct Entry {
    handle: Handle,
    flags: DescriptorFlags,
}

impl Entry {
    /// The preopened `/`.
    pub(super) fn root(handle: Handle) -> Entry {
        Entry { handle, flags: DescriptorFlags::READ | DescriptorFlags::MUTATE_DIRECTORY }
    }

    fn file(&self) -> Result<&FileHandle, Errno> {
        match &self.handle {
            Handle::File(file) => Ok(file),
            Handle::Dir(_) => Err(Errno::ISDIR),
        }
    }

    fn readable(&self) -> Result<&FileHandle, Errno> {
        self.file().and_then(|file| if file.is_readable() { Ok(file) } else { Err(Errno::PERM) })
    }

    fn writable(&self) -> Result<&FileHandle, Errno> {
        self.file().and_then(|file| if file.is_writable() { Ok(file) } else { Err(Errno::PERM) })
    }

    fn dir(&self) -> Result<&DirHandle, Errno> {
        match &self.handle {
            Handle::Dir(dir) => Ok(dir),
            Handle::File(_) => Err(Errno::NOTDIR),
        }
    }
}

fn entry<'a>(table: &'a ResourceTable, fd: &D) -> FilesystemResult<&'a Entry> {
    table.get(&ours(fd)).map_err(FilesystemError::trap)
}

fn file<'a>(table: &'a ResourceTable, fd: &D) -> FilesystemResult<&'a FileHandle> {
    told(entry(table, fd)?.file())
}

fn dir<'a>(table: &'a ResourceTable, fd: &D) -> FilesystemResult<&'a DirHandle> {
    told(entry(table, fd)?.dir())
}

fn stat_of(ctx: &FsCtx<'_>, fd: &D) -> FilesystemResult<Stat> {
    told(match &entry(ctx.table, fd)?.handle {
        Handle::File(file) => file.stat(),
        Handle::Dir(dir) => ctx.tree.stat_dir(dir),
    })
}

/// Makes one call on the file tree.
fn act<T, R>(store: &Accessor<T, Fs>, call: impl FnOnce(&mut FsCtx<'_>) -> R) -> R {
    store.with(|mut access| call(&mut access.get()))
}

/// Writes what `data` brings to where the file is open for it.
fn write<T>(
    mut store: Access<'_, T, Fs>,
    fd: &D,
    mut data: StreamReader<u8>,
    offset: Option<u64>,
) -> wasmtime::Result<Ending> {
    let (told, ending) = oneshot::channel();
    let opened: &Entry = store.get().table.get(&ours(fd))?;
    match opened.writable().cloned() {
        Ok(file) => data.pipe(&mut store, Writing::new(file, offset, told))?,
        Err(errno) => {
            data.close(&mut store)?;
            // The receiver is right here.
            let _ = told.send(Err(super::error::code(errno)));
        }
    }
    FutureReader::new(&mut store, ending)
}

impl<T> HostDescriptorWithStore<T> for Fs {
    fn read_via_stream(
        mut store: Access<'_, T, Self>,
        fd: D,
        offset: u64,
    ) -> wasmtime::Result<(StreamReader<u8>, Ending)> {
        let (told, ending) = oneshot::channel();
        let opened: &Entry = store.get().table.get(&ours(&fd))?;
        let data = match opened.readable().cloned() {
            Ok(file) => StreamReader::new(&mut store, Reading::new(file, offset, told))?,
            Err(errno) => {
                // The receiver is right here.
                let _ = told.send(Err(super::error::code(errno)));
                StreamReader::new(&mut store, std::iter::empty())?
            }
        };
        Ok((data, FutureReader::new(&mut store, ending)?))
    }

    fn write_via_stream(
        store: Access<'_, T, Self>,
        fd: D,
        data: StreamReader<u8>,
        offset: u64,
    ) -> wasmtime::Result<Ending> {
        write(store, &fd, data, Some(offset))
    }

    fn append_via_stream(
        store: Access<'_, T, Self>,
        fd: D,
        data: StreamReader<u8>,
    ) -> wasmtime::Result<Ending> {
        write(store, &fd, data, None)
    }

    async fn advise(
        store: &Accessor<T, Self>,
        fd: D,
        offset: u64,
        length: u64,
        advice: Advice,
    ) -> FilesystemResult<()> {
        let advice = convert::advice(advice);
        act(store, |ctx| told(file(ctx.table, &fd)?.advise(offset, length, advice)))
    }

    async fn sync_data(store: &Accessor<T, Self>, fd: D) -> FilesystemResult<()> {
        act(store, |ctx| match &entry(ctx.table, &fd)?.handle {
            Handle::File(file) => told(file.sync_data()),
            Handle::Dir(_) => Ok(()),
        })
    }

    async fn get_flags(store: &Accessor<T, Self>, fd: D) -> FilesystemResult<DescriptorFlags> {
        act(store, |ctx| Ok(entry(ctx.table, &fd)?.flags))
    }

    async fn get_type(store: &Accessor<T, Self>, fd: D) -> FilesystemResult<DescriptorType> {
        act(store, |ctx| {
            Ok(match &entry(ctx.table, &fd)?.handle {
                Handle::File(file) => convert::kind(file.kind()),
                Handle::Dir(_) => DescriptorType::Directory,
            })
        })
    }

    async fn set_size(store: &Accessor<T, Self>, fd: D, size: u64) -> FilesystemResult<()> {
        act(store, |ctx| told(told(entry(ctx.table, &fd)?.writable())?.set_size(size)))
    }

    async fn set_times(
        store: &Accessor<T, Self>,
        fd: D,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FilesystemResult<()> {
        let times = convert::times(accessed, modified);
        act(store, |ctx| {
            let entry = entry(ctx.table, &fd)?;
            told(match &entry.handle {
                Handle::File(_) => entry.writable().and_then(|file| file.set_times(times)),
                Handle::Dir(dir) => ctx.tree.set_times_dir(dir, times),
            })
        })
    }

    fn read_directory(
        mut store: Access<'_, T, Self>,
        fd: D,
    ) -> wasmtime::Result<(StreamReader<DirectoryEntry>, Ending)> {
        let FsCtx { tree, table } = store.get();
        let opened: &Entry = table.get(&ours(&fd))?;
        let listing = opened.dir().and_then(|dir| tree.listing(dir));
        let (entries, ending) = match listing {
            Ok(listing) => (StreamReader::new(&mut store, Listed::new(listing))?, Ok(())),
            Err(errno) => {
                let none = StreamReader::new(&mut store, std::iter::empty())?;
                (none, Err(super::error::code(errno)))
            }
        };
        let ending = FutureReader::new(&mut store, async { wasmtime::error::Ok(ending) })?;
        Ok((entries, ending))
    }

    async fn sync(store: &Accessor<T, Self>, fd: D) -> FilesystemResult<()> {
        act(store, |ctx| match &entry(ctx.table, &fd)?.handle {
            Handle::File(file) => told(file.sync()),
            Handle::Dir(_) => Ok(()),
        })
    }

    async fn create_directory_at(
        store: &Accessor<T, Self>,
        fd: D,
        path: String,
    ) -> FilesystemResult<()> {
        act(store, |ctx| told(ctx.tree.make_dir(dir(ctx.table, &fd)?, &path)))
    }

    async fn stat(store: &Accessor<T, Self>, fd: D) -> FilesystemResult<DescriptorStat> {
        act(store, |ctx| stat_of(ctx, &fd).map(convert::stat))
    }

    async fn stat_at(
        store: &Accessor<T, Self>,
        fd: D,
        flags: PathFlags,
        path: String,
    ) -> FilesystemResult<DescriptorStat> {
        let follows = convert::follows(flags);
        let stat = act(store, |ctx| told(ctx.tree.stat(dir(ctx.table, &fd)?, &path, follows)));
        stat.map(convert::stat)
    }

    async fn set_times_at(
        store: &Accessor<T, Self>,
        fd: D,
        flags: PathFlags,
        path: String,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FilesystemResult<()> {
        let (times, follows) = (convert::times(accessed, modified), convert::follows(flags));
        act(store, |ctx| told(ctx.tree.set_times(dir(ctx.table, &fd)?, &path, follows, times)))
    }

    async fn link_at(
        store: &Accessor<T, Self>,
        fd: D,
        flags: PathFlags,
        old: String,
        new_fd: D,
        new: String,
    ) -> FilesystemResult<()> {
        if convert::follows(flags) {
            return Err(ErrorCode::Invalid.into());
        }
        act(store, |ctx| {
            let (from, to) = (dir(ctx.table, &fd)?, dir(ctx.table, &new_fd)?);
            told(ctx.tree.link(from, &old, to, &new))
        })
    }

    async fn open_at(
        store: &Accessor<T, Self>,
        fd: D,
        path_flags: PathFlags,
        path: String,
        open_flags: OpenFlags,
        flags: DescriptorFlags,
    ) -> FilesystemResult<D> {
        let (how, follows) = (convert::open(open_flags, flags), convert::follows(path_flags));
        act(store, |ctx| {
            let handle = told(ctx.tree.open(dir(ctx.table, &fd)?, &path, follows, how))?;
            Ok(ours_owned(ctx.table.push(Entry { handle, flags }).map_err(FilesystemError::trap)?))
        })
    }

    async fn readlink_at(
        store: &Accessor<T, Self>,
        fd: D,
        path: String,
    ) -> FilesystemResult<String> {
        act(store, |ctx| told(ctx.tree.read_link(dir(ctx.table, &fd)?, &path)))
    }

    async fn remove_directory_at(
        store: &Accessor<T, Self>,
        fd: D,
        path: String,
    ) -> FilesystemResult<()> {
        act(store, |ctx| told(ctx.tree.remove_dir(dir(ctx.table, &fd)?, &path)))
    }

    async fn rename_at(
        store: &Accessor<T, Self>,
        fd: D,
        old: String,
        new_fd: D,
        new: String,
    ) -> FilesystemResult<()> {
        act(store, |ctx| {
            let (from, to) = (dir(ctx.table, &fd)?, dir(ctx.table, &new_fd)?);
            told(ctx.tree.rename(from, &old, to, &new))
        })
    }

    async fn symlink_at(
        store: &Accessor<T, Self>,
        fd: D,
        target: String,
        path: String,
    ) -> FilesystemResult<()> {
        act(store, |ctx| told(ctx.tree.symlink(&target, dir(ctx.table, &fd)?, &path)))
    }

    async fn unlink_file_at(
        store: &Accessor<T, Self>,
        fd: D,
        path: String,
    ) -> FilesystemResult<()> {
        act(store, |ctx| told(ctx.tree.unlink(dir(ctx.table, &fd)?, &path)))
    }

    async fn is_same_object(store: &Accessor<T, Self>, a: D, b: D) -> wasmtime::Result<bool> {
        Ok(act(store, |ctx| {
            let identity = |fd| stat_of(ctx, fd).ok().map(|stat| stat.identity);
            identity(&a).is_some_and(|a| identity(&b) == Some(a))
        }))
    }

    async fn metadata_hash(
        store: &Accessor<T, Self>,
        fd: D,
    ) -> FilesystemResult<MetadataHashValue> {
        act(store, |ctx| stat_of(ctx, &fd).map(convert::metadata_hash))
    }

    async fn metadata_hash_at(
        store: &Accessor<T, Self>,
        fd: D,
        flags: PathFlags,
        path: String,
    ) -> FilesystemResult<MetadataHashValue> {
        let follows = convert::follows(flags);
        let stat = act(store, |ctx| told(ctx.tree.stat(dir(ctx.table, &fd)?, &path, follows)));
        stat.map(convert::metadata_hash)
    }
}

impl HostDescriptor for FsCtx<'_> {
    fn drop(&mut self, fd: D) -> wasmtime::Result<()> {
        self.table.delete(ours_owned::<Entry, _>(fd))?;
        Ok(())
    }
}
