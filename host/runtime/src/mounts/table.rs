//! What a container was granted: its root layer and its mounts.

use super::file::{DiskCounts, Files};
use super::lent::Lender;
use super::path;
use super::quota::Charge;
use super::root::Root;
use super::service::Service;
use bytes::Bytes;
use std::fmt;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Most mounts of a container; each path operation looks through them.
const MOUNTS_MAX: usize = 256;

/// Why a mount cannot be added.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MountError {
    /// The mount point is not an absolute path without `..`, or it is `/`.
    #[error("mount point '{0}' must be an absolute path below '/' without '..'")]
    Path(String),
    /// Two mounts at one point.
    #[error("mount point '{0}' is taken twice")]
    Taken(String),
    /// Too many mounts.
    #[error("must have at most {MOUNTS_MAX} mounts")]
    TooMany,
    /// A synthetic file's path is not absolute.
    #[error("file '{0}' must be an absolute path below '/' without '..'")]
    File(String),
}

/// Where a mount's content is.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// A directory or file of the host, opened when it is first used.
    Host { base: PathBuf, sub_path: Option<String> },
    /// A directory that is open.
    Dir(Arc<OwnedFd>),
    /// A file that is open.
    File(Arc<File>),
    /// A file in memory that cannot be written.
    Bytes(Bytes),
    /// What another process has open: the n-th mount of its table.
    Lent(Arc<dyn Lender>, usize),
}

/// One grant: a directory or a single file of the host, or a file in memory.
#[derive(Clone, Debug)]
pub struct Mount {
    pub(crate) source: Source,
    pub(crate) read_only: bool,
    pub(crate) quota: Option<Arc<dyn Charge>>,
}

impl Mount {
    /// A directory or a file of the host by its path. It is opened by the first instance that uses
    /// it, so that an idle container holds no descriptor. The path itself is trusted: no guest may
    /// be able to change its parts; see [`Mount::sub_path`] for one that a guest can.
    #[must_use]
    pub fn host(path: impl AsRef<Path>) -> Mount {
        Mount::new(Source::Host { base: path.as_ref().to_owned(), sub_path: None })
    }

    /// A directory or a file below a volume: resolved beneath `volume`, so that links which guests
    /// put into the volume lead nowhere else.
    #[must_use]
    pub fn sub_path(volume: impl AsRef<Path>, sub_path: &str) -> Mount {
        let sub_path = Some(sub_path.trim_matches('/').to_owned()).filter(|path| !path.is_empty());
        Mount::new(Source::Host { base: volume.as_ref().to_owned(), sub_path })
    }

    /// An open directory.
    #[must_use]
    pub fn dir(dir: cap_std::fs::Dir) -> Mount {
        Mount::new(Source::Dir(Arc::new(dir.into_std_file().into())))
    }

    /// An open file: stays the same file when its name is given to another one. A writable mount
    /// needs a file that was opened for reading and writing.
    #[must_use]
    pub fn file(file: File) -> Mount {
        Mount::new(Source::File(Arc::new(file)))
    }

    /// A file in memory; never writable.
    #[must_use]
    pub fn bytes(content: impl Into<Bytes>) -> Mount {
        Mount { read_only: true, ..Mount::new(Source::Bytes(content.into())) }
    }

    /// Refuses every change.
    #[must_use]
    pub fn read_only(self) -> Mount {
        Mount { read_only: true, ..self }
    }

    /// Charges what is written.
    #[must_use]
    pub fn quota(self, quota: Arc<dyn Charge>) -> Mount {
        Mount { quota: Some(quota), ..self }
    }

    fn new(source: Source) -> Mount {
        Mount { source, read_only: false, quota: None }
    }
}

/// What `/` is made of. `/dev/null` is always there.
#[derive(Clone, Debug, Default)]
pub struct RootSpec {
    /// The image's files: a directory of the host that nobody changes; shared by containers.
    pub image: Option<PathBuf>,
    /// Files that are made up: absolute path and content (`/etc/hosts`, `/etc/resolv.conf`…). They
    /// hide files of the image.
    pub files: Vec<(String, Bytes)>,
    /// Directories that are there even when empty (`/tmp`).
    pub dirs: Vec<String>,
    /// A directory of the host in which the copy-up layer is made at the first write, under a name
    /// of its own, and removed from with the table. `None` refuses every write
    /// (`readOnlyRootFilesystem`).
    pub scratch: Option<PathBuf>,
    /// Charged for the copy-up layer.
    pub quota: Option<Arc<dyn Charge>>,
}

pub(crate) struct Placed {
    pub(crate) at: Vec<String>,
    pub(crate) mount: Mount,
}

pub(crate) struct Inner {
    /// Deepest first, so that the first match is the one that hides the others.
    pub(crate) placed: Vec<Placed>,
    pub(crate) root: Root,
    /// What its instances do with files of the host.
    pub(crate) files: Arc<Files>,
    /// Who has the root layer, when it is another process.
    pub(crate) lender: Option<Arc<dyn Lender>>,
    /// What no path of the guest leads to: where the host's services keep things for it.
    pub(crate) services: Option<MountTable>,
}

/// Collects the grants of a container.
#[derive(Default)]
pub struct MountTableBuilder {
    placed: Vec<Placed>,
    services: Vec<Placed>,
    root: RootSpec,
}

impl MountTableBuilder {
    /// Sets the root layer; without it `/` is empty and cannot be written.
    #[must_use]
    pub fn root(mut self, root: RootSpec) -> MountTableBuilder {
        self.root = root;
        self
    }

    /// Adds a mount at an absolute `path`; mounts may lie in one another, in any order.
    ///
    /// # Errors
    /// See [`MountError`].
    pub fn mount(mut self, path: &str, mount: Mount) -> Result<MountTableBuilder, MountError> {
        place(&mut self.placed, path, mount)?;
        Ok(self)
    }

    /// Grants a service of the host a place to keep the guest's things in; no path of the guest leads
    /// there.
    ///
    /// # Errors
    /// See [`MountError`].
    pub fn service(
        mut self,
        service: Service,
        mount: Mount,
    ) -> Result<MountTableBuilder, MountError> {
        place(&mut self.services, service.place(), mount)?;
        Ok(self)
    }

    /// The table.
    ///
    /// # Errors
    /// [`MountError::File`] for a bad path in the root layer.
    pub fn build(mut self) -> Result<MountTable, MountError> {
        self.placed.sort_by_key(|placed| std::cmp::Reverse(placed.at.len()));
        let mut root = Root::new(self.root).map_err(MountError::File)?;
        for placed in &self.placed {
            // The way to a mount point is there even when the image has no such directory.
            path::ancestors(&path::relative(&placed.at)).for_each(|dir| root.add_dir(dir));
        }
        let files = Arc::default();
        let services = services(self.services, &files);
        let placed = self.placed;
        Ok(MountTable(Arc::new(Inner { placed, root, files, lender: None, services })))
    }
}

fn place(all: &mut Vec<Placed>, path: &str, mount: Mount) -> Result<(), MountError> {
    let at = path::granted(path).ok_or_else(|| MountError::Path(path.to_owned()))?;
    if all.iter().any(|placed| placed.at == at) {
        return Err(MountError::Taken(path.to_owned()));
    }
    if all.len() >= MOUNTS_MAX {
        return Err(MountError::TooMany);
    }
    all.push(Placed { at, mount });
    Ok(())
}

/// The table of what services keep; what they do with files counts as the guest's doing.
fn services(placed: Vec<Placed>, files: &Arc<Files>) -> Option<MountTable> {
    let inner = |placed| Inner {
        placed,
        root: Root::default(),
        files: files.clone(),
        lender: None,
        services: None,
    };
    (!placed.is_empty()).then(|| MountTable(Arc::new(inner(placed))))
}

/// All that one container sees under `/`. Clones are the same tree: the copy-up layer is shared by
/// the container's instances, and removed from disk with the last clone.
#[derive(Clone)]
pub struct MountTable(pub(crate) Arc<Inner>);

impl MountTable {
    /// Starts a table.
    #[must_use]
    pub fn builder() -> MountTableBuilder {
        MountTableBuilder::default()
    }

    /// A table with an empty root that cannot be written.
    #[must_use]
    pub fn empty() -> MountTable {
        let (placed, root) = (Vec::new(), Root::default());
        let files = Arc::default();
        MountTable(Arc::new(Inner { placed, root, files, lender: None, services: None }))
    }

    /// What services of the host may keep for the guest, if it was granted any.
    pub(crate) fn services(&self) -> Option<&MountTable> {
        self.0.services.as_ref()
    }

    /// Whether a service was granted a place.
    #[must_use]
    pub fn has_service(&self, service: Service) -> bool {
        let of = |table: &MountTable| {
            let points = table.points();
            points.iter().any(|at| format!("/{}", at.join("/")) == service.place())
        };
        self.services().is_some_and(of)
    }

    /// A mount by its number: those of services follow the guest's own.
    pub(crate) fn numbered(&self, index: usize) -> Option<&Placed> {
        let own = self.0.placed.len();
        let of_service = || self.services()?.0.placed.get(index.checked_sub(own)?);
        self.0.placed.get(index).or_else(of_service)
    }

    /// How many mounts have a number.
    pub(crate) fn numbers(&self) -> usize {
        self.0.placed.len() + self.services().map_or(0, |services| services.0.placed.len())
    }

    /// What was read and written through it.
    pub(crate) fn disk(&self) -> DiskCounts {
        self.0.files.counts()
    }

    /// The mount points, in the table's order.
    pub(crate) fn points(&self) -> Vec<Vec<String>> {
        self.0.placed.iter().map(|placed| placed.at.clone()).collect()
    }

    /// The table that another process has, with its mount points, and those of its services, in that
    /// table's order.
    pub(crate) fn lent(
        points: Vec<Vec<String>>,
        of_services: Vec<Vec<String>>,
        lender: Arc<dyn Lender>,
    ) -> MountTable {
        let own = points.len();
        let place = |(index, at)| {
            let source = Source::Lent(lender.clone(), index);
            Placed { at, mount: Mount::new(source) }
        };
        let mut placed: Vec<_> =
            points.into_iter().chain(of_services).enumerate().map(place).collect();
        let files = Arc::default();
        let services = services(placed.split_off(own), &files);
        let (root, lender) = (Root::default(), Some(lender));
        MountTable(Arc::new(Inner { placed, root, files, lender, services }))
    }
}

impl Default for MountTable {
    fn default() -> MountTable {
        MountTable::empty()
    }
}

impl fmt::Debug for MountTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let points = self.0.placed.iter().map(|placed| format!("/{}", placed.at.join("/")));
        f.debug_set().entries(points).finish()
    }
}
