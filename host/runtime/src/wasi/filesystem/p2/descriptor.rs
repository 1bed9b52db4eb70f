//! `wasi:filesystem/types.descriptor`.

use super::super::FsCtx;
use super::convert;
use super::{streams, told};
use crate::mounts::{DirHandle, FileHandle, Handle, Open};
use crate::wasi::ours_owned;
use wasmtime::component::Resource;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    Advice, Descriptor, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntryStream,
    ErrorCode, HostDescriptor, MetadataHashValue, NewTimestamp, OpenFlags, PathFlags,
};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, FsResult};

type D = Resource<Descriptor>;

/// Most bytes of one `read`, in bytes: held in memory until the guest has them.
const READ_BYTES_MAX: u64 = 64 * 1024;

/// An open file or directory as 0.2 sees it.
pub(super) struct Entry {
    handle: Handle,
    flags: DescriptorFlags,
}

impl Entry {
    /// The preopened `/`.
    pub(super) fn root(handle: Handle) -> Entry {
        Entry { handle, flags: DescriptorFlags::READ | DescriptorFlags::MUTATE_DIRECTORY }
    }

    fn file(&self) -> FsResult<&FileHandle> {
        match &self.handle {
            Handle::File(file) => Ok(file),
            Handle::Dir(_) => Err(ErrorCode::IsDirectory.into()),
        }
    }

    fn writable(&self) -> FsResult<&FileHandle> {
        let file = self.file()?;
        if file.is_writable() { Ok(file) } else { Err(ErrorCode::NotPermitted.into()) }
    }

    fn dir(&self) -> FsResult<&DirHandle> {
        match &self.handle {
            Handle::Dir(dir) => Ok(dir),
            Handle::File(_) => Err(ErrorCode::NotDirectory.into()),
        }
    }
}

impl FsCtx<'_> {
    fn file(&self, descriptor: &D) -> FsResult<&FileHandle> {
        self.entry(descriptor)?.file()
    }

    fn dir(&self, descriptor: &D) -> FsResult<&DirHandle> {
        self.entry(descriptor)?.dir()
    }

    fn stat_of(&self, descriptor: &D) -> FsResult<crate::mounts::Stat> {
        told(match &self.entry(descriptor)?.handle {
            Handle::File(file) => file.stat(),
            Handle::Dir(dir) => self.tree.stat_dir(dir),
        })
    }
}

impl HostDescriptor for FsCtx<'_> {
    async fn advise(&mut self, fd: D, offset: u64, length: u64, advice: Advice) -> FsResult<()> {
        told(self.file(&fd)?.advise(offset, length, convert::advice(advice)))
    }

    async fn sync_data(&mut self, fd: D) -> FsResult<()> {
        told(match &self.entry(&fd)?.handle {
            Handle::File(file) => file.sync_data(),
            Handle::Dir(_) => Ok(()),
        })
    }

    async fn sync(&mut self, fd: D) -> FsResult<()> {
        told(match &self.entry(&fd)?.handle {
            Handle::File(file) => file.sync(),
            Handle::Dir(_) => Ok(()),
        })
    }

    async fn get_flags(&mut self, fd: D) -> FsResult<DescriptorFlags> {
        Ok(self.entry(&fd)?.flags)
    }

    async fn get_type(&mut self, fd: D) -> FsResult<DescriptorType> {
        Ok(match &self.entry(&fd)?.handle {
            Handle::File(file) => convert::kind(file.kind()),
            Handle::Dir(_) => DescriptorType::Directory,
        })
    }

    async fn set_size(&mut self, fd: D, size: u64) -> FsResult<()> {
        told(self.entry(&fd)?.writable()?.set_size(size))
    }

    async fn set_times(
        &mut self,
        fd: D,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FsResult<()> {
        let times = convert::times(accessed, modified);
        let entry = self.entry(&fd)?;
        told(match &entry.handle {
            Handle::File(_) => entry.writable()?.set_times(times),
            Handle::Dir(dir) => self.tree.set_times_dir(dir, times),
        })
    }

    async fn read(&mut self, fd: D, length: u64, offset: u64) -> FsResult<(Vec<u8>, bool)> {
        let length = usize::try_from(length.min(READ_BYTES_MAX)).unwrap_or(usize::MAX);
        let data = told(self.file(&fd)?.read(length, offset))?;
        let ended = data.is_empty() && length > 0;
        Ok((data.into(), ended))
    }

    async fn write(&mut self, fd: D, data: Vec<u8>, offset: u64) -> FsResult<u64> {
        told(self.entry(&fd)?.writable()?.write(&data, Some(offset)))?;
        Ok(data.len() as u64)
    }

    async fn read_directory(&mut self, fd: D) -> FsResult<Resource<DirectoryEntryStream>> {
        let listing = told(self.tree.listing(self.dir(&fd)?))?;
        Ok(ours_owned(self.table.push(listing)?))
    }

    async fn create_directory_at(&mut self, fd: D, path: String) -> FsResult<()> {
        told(self.tree.make_dir(self.dir(&fd)?, &path))
    }

    async fn stat(&mut self, fd: D) -> FsResult<DescriptorStat> {
        Ok(convert::stat(self.stat_of(&fd)?))
    }

    async fn stat_at(&mut self, fd: D, flags: PathFlags, path: String) -> FsResult<DescriptorStat> {
        let stat = self.tree.stat(self.dir(&fd)?, &path, convert::follows(flags));
        Ok(convert::stat(told(stat)?))
    }

    async fn set_times_at(
        &mut self,
        fd: D,
        flags: PathFlags,
        path: String,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FsResult<()> {
        let times = convert::times(accessed, modified);
        told(self.tree.set_times(self.dir(&fd)?, &path, convert::follows(flags), times))
    }

    async fn link_at(
        &mut self,
        fd: D,
        flags: PathFlags,
        old: String,
        new_fd: D,
        new: String,
    ) -> FsResult<()> {
        if convert::follows(flags) {
            return Err(ErrorCode::Invalid.into());
        }
        told(self.tree.link(self.dir(&fd)?, &old, self.dir(&new_fd)?, &new))
    }

    async fn open_at(
        &mut self,
        fd: D,
        path_flags: PathFlags,
        path: String,
        open_flags: OpenFlags,
        flags: DescriptorFlags,
    ) -> FsResult<D> {
        let how: Open = convert::open(open_flags, flags);
        let follow = convert::follows(path_flags);
        let handle = told(self.tree.open(self.dir(&fd)?, &path, follow, how))?;
        Ok(ours_owned(self.table.push(Entry { handle, flags })?))
    }

    async fn readlink_at(&mut self, fd: D, path: String) -> FsResult<String> {
        told(self.tree.read_link(self.dir(&fd)?, &path))
    }

    async fn remove_directory_at(&mut self, fd: D, path: String) -> FsResult<()> {
        told(self.tree.remove_dir(self.dir(&fd)?, &path))
    }

    async fn rename_at(&mut self, fd: D, old: String, new_fd: D, new: String) -> FsResult<()> {
        told(self.tree.rename(self.dir(&fd)?, &old, self.dir(&new_fd)?, &new))
    }

    async fn symlink_at(&mut self, fd: D, target: String, path: String) -> FsResult<()> {
        told(self.tree.symlink(&target, self.dir(&fd)?, &path))
    }

    async fn unlink_file_at(&mut self, fd: D, path: String) -> FsResult<()> {
        told(self.tree.unlink(self.dir(&fd)?, &path))
    }

    fn read_via_stream(&mut self, fd: D, offset: u64) -> FsResult<Resource<DynInputStream>> {
        let file = self.file(&fd)?;
        if !file.is_readable() {
            return Err(ErrorCode::NotPermitted.into());
        }
        let stream = streams::input(file.clone(), offset);
        Ok(self.table.push(stream)?)
    }

    fn write_via_stream(&mut self, fd: D, offset: u64) -> FsResult<Resource<DynOutputStream>> {
        let stream = streams::output(self.entry(&fd)?.writable()?.clone(), Some(offset));
        Ok(self.table.push(stream)?)
    }

    fn append_via_stream(&mut self, fd: D) -> FsResult<Resource<DynOutputStream>> {
        let stream = streams::output(self.entry(&fd)?.writable()?.clone(), None);
        Ok(self.table.push(stream)?)
    }

    async fn is_same_object(&mut self, a: D, b: D) -> wasmtime::Result<bool> {
        let identity = |descriptor| self.stat_of(descriptor).ok().map(|stat| stat.identity);
        Ok(match (identity(&a), identity(&b)) {
            (Some(a), Some(b)) => a == b,
            (Some(_) | None, None) | (None, Some(_)) => false,
        })
    }

    async fn metadata_hash(&mut self, fd: D) -> FsResult<MetadataHashValue> {
        Ok(convert::metadata_hash(self.stat_of(&fd)?))
    }

    async fn metadata_hash_at(
        &mut self,
        fd: D,
        flags: PathFlags,
        path: String,
    ) -> FsResult<MetadataHashValue> {
        let stat = self.tree.stat(self.dir(&fd)?, &path, convert::follows(flags));
        Ok(convert::metadata_hash(told(stat)?))
    }

    fn drop(&mut self, fd: D) -> wasmtime::Result<()> {
        self.table.delete(ours_owned::<Entry, _>(fd))?;
        Ok(())
    }
}
