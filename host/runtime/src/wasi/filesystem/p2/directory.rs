//! Directory listings.

use super::super::FsCtx;
use super::convert;
use crate::mounts::Listing;
use crate::wasi::{ours, ours_owned};
use wasmtime::component::Resource;
use wasmtime_wasi::p2::FsResult;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    DirectoryEntry, DirectoryEntryStream, HostDirectoryEntryStream,
};

impl HostDirectoryEntryStream for FsCtx<'_> {
    async fn read_directory_entry(
        &mut self,
        stream: Resource<DirectoryEntryStream>,
    ) -> FsResult<Option<DirectoryEntry>> {
        let listing = self.table.get_mut(&ours::<Listing, _>(&stream))?;
        let entry = listing.next();
        Ok(entry.map(|(name, kind)| DirectoryEntry { type_: convert::kind(kind), name }))
    }

    fn drop(&mut self, stream: Resource<DirectoryEntryStream>) -> wasmtime::Result<()> {
        self.table.delete(ours_owned::<Listing, _>(stream))?;
        Ok(())
    }
}
