//! Objects that outlive the guest, by `wasi:blobstore`: bytes of any size under names in containers.
//! The pod says where they are kept, with the annotation `coracle.dev/blobstore.<container>`.

use std::io::{self, Read, Write as _};

use wasip2::io::streams::{InputStream, OutputStream};

use crate::drafts::wasi::blobstore::types::{IncomingValue, ObjectId, OutgoingValue};
use crate::drafts::wasi::blobstore::{blobstore, container};

/// Names that are asked for at once.
const NAMES: u64 = 1000;

/// A container of objects.
///
/// ```no_run
/// use coracle_sdk::blob;
///
/// let photos = blob::open("photos")?;
/// photos.write("cat.jpg", b"...")?;
/// for name in photos.names()? {
///     println!("{name}: {} bytes", photos.size(&name)?);
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Container(container::Container);

fn failed(words: String) -> io::Error {
    io::Error::other(words)
}

/// Opens a container; one that is not there is made.
///
/// # Errors
/// When there is no place for objects, or the name is too long.
pub fn open(name: &str) -> io::Result<Container> {
    let opened = if exists(name)? {
        blobstore::get_container(name)
    } else {
        // Somebody else may be faster.
        blobstore::create_container(name).or_else(|_| blobstore::get_container(name))
    };
    opened.map(Container).map_err(failed)
}

/// Says whether there is a container of a name.
///
/// # Errors
/// As [`open`].
pub fn exists(name: &str) -> io::Result<bool> {
    crate::linked::drafts();
    blobstore::container_exists(name).map_err(failed)
}

/// Removes a container and all its objects.
///
/// # Errors
/// As [`open`], and when there is none.
pub fn delete(name: &str) -> io::Result<()> {
    crate::linked::drafts();
    blobstore::delete_container(name).map_err(failed)
}

/// Puts a copy of an object in the place of another; each is a container and a name in it.
///
/// # Errors
/// When the object or a container is not there.
pub fn copy(from: (&str, &str), to: (&str, &str)) -> io::Result<()> {
    crate::linked::drafts();
    blobstore::copy_object(&id(from), &id(to)).map_err(failed)
}

/// Gives an object another place.
///
/// # Errors
/// As [`copy`].
pub fn rename(from: (&str, &str), to: (&str, &str)) -> io::Result<()> {
    crate::linked::drafts();
    blobstore::move_object(&id(from), &id(to)).map_err(failed)
}

fn id((container, object): (&str, &str)) -> ObjectId {
    ObjectId { container: container.to_owned(), object: object.to_owned() }
}

impl Container {
    /// Reads an object whole.
    ///
    /// # Errors
    /// When it is not there.
    pub fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.reader(name)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Reads an object as a stream, which goes on even when it is replaced or removed.
    ///
    /// # Errors
    /// When it is not there.
    pub fn reader(&self, name: &str) -> io::Result<InputStream> {
        let value = self.0.get_data(name, 0, u64::MAX).map_err(failed)?;
        IncomingValue::incoming_value_consume_async(value).map_err(failed)
    }

    /// Reads the bytes of an object from the first to the last, both included.
    ///
    /// # Errors
    /// When it is not there.
    pub fn read_part(&self, name: &str, first: u64, last: u64) -> io::Result<Vec<u8>> {
        let value = self.0.get_data(name, first, last).map_err(failed)?;
        IncomingValue::incoming_value_consume_sync(value).map_err(failed)
    }

    /// Writes an object whole.
    ///
    /// # Errors
    /// When the volume is full, or the name too long.
    pub fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut writer = self.writer(name)?;
        writer.write_all(bytes)?;
        writer.finish()
    }

    /// Begins to write an object, which appears when the writer is finished.
    ///
    /// # Errors
    /// When too many are being written, or the name is too long.
    pub fn writer(&self, name: &str) -> io::Result<Writer> {
        let value = OutgoingValue::new_outgoing_value();
        let body = value.outgoing_value_write_body();
        let body = body.map_err(|()| failed("there is no room for one more object".to_owned()))?;
        self.0.write_data(name, &value).map_err(failed)?;
        Ok(Writer { body: Some(body), value })
    }

    /// Gives the names of all objects.
    ///
    /// # Errors
    /// When the container is gone.
    pub fn names(&self) -> io::Result<Vec<String>> {
        let stream = self.0.list_objects().map_err(failed)?;
        let mut names = Vec::new();
        loop {
            let (some, is_end) = stream.read_stream_object_names(NAMES).map_err(failed)?;
            names.extend(some);
            if is_end {
                return Ok(names);
            }
        }
    }

    /// Says how many bytes an object has.
    ///
    /// # Errors
    /// When it is not there.
    pub fn size(&self, name: &str) -> io::Result<u64> {
        Ok(self.0.object_info(name).map_err(failed)?.size)
    }

    /// Says whether there is an object of a name.
    ///
    /// # Errors
    /// When the name is too long.
    pub fn has(&self, name: &str) -> io::Result<bool> {
        self.0.has_object(name).map_err(failed)
    }

    /// Removes an object, if it is there.
    ///
    /// # Errors
    /// When the name is too long.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        self.0.delete_object(name).map_err(failed)
    }

    /// Removes all objects.
    ///
    /// # Errors
    /// When the container is gone.
    pub fn clear(&self) -> io::Result<()> {
        self.0.clear().map_err(failed)
    }
}

/// Writes an object. Dropped before it is finished it leaves nothing.
#[derive(Debug)]
pub struct Writer {
    // Dropped before the value that it belongs to.
    body: Option<OutputStream>,
    value: OutgoingValue,
}

impl Writer {
    /// Puts the object in its place.
    ///
    /// # Errors
    /// When the disk did not take all of it.
    pub fn finish(mut self) -> io::Result<()> {
        self.flush()?;
        self.body = None;
        OutgoingValue::finish(self.value).map_err(failed)
    }
}

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.body.as_mut().map_or(Ok(0), |body| io::Write::write(body, bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.body.as_mut().map_or(Ok(()), io::Write::flush)
    }
}
