//! The services of the host that keep something for a guest.

/// A service that keeps what a guest gives it, in a place that it was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    /// `wasi:config`: values to read, each a file. Without a place they are the environment.
    Config,
    /// `wasi:keyvalue`: buckets of values.
    KeyValue,
    /// `wasi:blobstore`: containers of objects.
    Blobstore,
}

impl Service {
    /// All of them.
    pub const ALL: [Service; 3] = [Service::Config, Service::KeyValue, Service::Blobstore];

    /// Where a service finds its place in the table of services.
    pub(crate) const fn place(self) -> &'static str {
        match self {
            Self::Config => "/config",
            Self::KeyValue => "/keyvalue",
            Self::Blobstore => "/blobstore",
        }
    }

    /// What the names of its interfaces begin with.
    #[must_use]
    pub const fn package(self) -> &'static str {
        match self {
            Self::Config => "wasi:config/",
            Self::KeyValue => "wasi:keyvalue/",
            Self::Blobstore => "wasi:blobstore/",
        }
    }

    /// Whether a guest that imports it must have been granted a place.
    pub(crate) const fn needs_place(self) -> bool {
        match self {
            Self::Config => false,
            Self::KeyValue | Self::Blobstore => true,
        }
    }
}
