//! A pack: objects, compressed, some as the difference to another one.

use std::collections::BTreeMap;
use std::io::Read as _;

use flate2::bufread::ZlibDecoder;
use sha1::{Digest as _, Sha1};

/// Most bytes of all objects of a pack, unpacked.
const UNPACKED_BYTES_MAX: usize = 128 << 20;

/// The name of an object: the SHA-1 of what it is.
pub(crate) type Id = [u8; 20];

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Commit,
    Tree,
    Blob,
    Tag,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Commit => "commit",
            Kind::Tree => "tree",
            Kind::Blob => "blob",
            Kind::Tag => "tag",
        }
    }
}

pub(crate) type Objects = BTreeMap<Id, (Kind, Vec<u8>)>;

/// Reads all objects of a pack.
pub(crate) fn objects(pack: &[u8]) -> Result<Objects, String> {
    let count = pack.get(8..12).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
    let count = count.ok_or("the pack ends within its head")?;
    let (mut rest, mut room) = (&pack[12..], UNPACKED_BYTES_MAX);
    let (mut objects, mut deltas) = (Objects::new(), Vec::new());
    for _ in 0..count {
        let (kind, size) = head(&mut rest)?;
        room = room.checked_sub(size).ok_or_else(|| format!("more than {UNPACKED_BYTES_MAX} bytes of objects"))?;
        let kind = match kind {
            1 => Kind::Commit,
            2 => Kind::Tree,
            3 => Kind::Blob,
            4 => Kind::Tag,
            7 => {
                let base: Id = rest.get(..20).and_then(|id| id.try_into().ok()).ok_or("the pack ends within an object")?;
                rest = &rest[20..];
                deltas.push((base, inflate(&mut rest, size)?));
                continue;
            }
            // Differences by offset are sent to those alone who say that they know them.
            other => return Err(format!("an object of the unknown type {other}")),
        };
        insert(&mut objects, kind, inflate(&mut rest, size)?);
    }
    // A difference may be to an object that is one itself, or that comes later.
    while !deltas.is_empty() {
        let before = deltas.len();
        let mut left = Vec::new();
        for (base, delta) in deltas {
            let Some((kind, bytes)) = objects.get(&base) else {
                left.push((base, delta));
                continue;
            };
            let (kind, bytes) = (*kind, apply(bytes, &delta, &mut room)?);
            insert(&mut objects, kind, bytes);
        }
        if left.len() == before {
            return Err("an object differs from one that is not there".to_owned());
        }
        deltas = left;
    }
    Ok(objects)
}

fn insert(objects: &mut Objects, kind: Kind, bytes: Vec<u8>) {
    let mut hash = Sha1::new();
    hash.update(format!("{} {}\0", kind.name(), bytes.len()));
    hash.update(&bytes);
    objects.insert(hash.finalize().into(), (kind, bytes));
}

/// Type and size of the next object.
fn head(rest: &mut &[u8]) -> Result<(u8, usize), String> {
    let first = byte(rest)?;
    let (mut size, mut shift, mut last) = (usize::from(first & 15), 4_u32, first);
    while last & 0x80 != 0 {
        last = byte(rest)?;
        size |= usize::from(last & 0x7f).checked_shl(shift).ok_or("an object of a size beyond numbers")?;
        shift += 7;
    }
    Ok((first >> 4 & 7, size))
}

fn byte(rest: &mut &[u8]) -> Result<u8, String> {
    let (first, after) = rest.split_first().ok_or("the pack ends within an object")?;
    *rest = after;
    Ok(*first)
}

fn inflate(rest: &mut &[u8], size: usize) -> Result<Vec<u8>, String> {
    let mut decoder = ZlibDecoder::new(*rest);
    let mut bytes = Vec::new();
    let read = decoder.by_ref().take(size as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| format!("an object is broken: {error}"))?;
    if bytes.len() != size {
        return Err("an object is not of its size".to_owned());
    }
    let taken = usize::try_from(decoder.total_in()).unwrap_or(usize::MAX);
    *rest = rest.get(taken..).ok_or("the pack ends within an object")?;
    Ok(bytes)
}

/// Makes an object of its base and the difference.
fn apply(base: &[u8], delta: &[u8], room: &mut usize) -> Result<Vec<u8>, String> {
    let mut rest = delta;
    let (from, size) = (varint(&mut rest)?, varint(&mut rest)?);
    if from != base.len() {
        return Err("a difference is to an object of another size".to_owned());
    }
    *room = room.checked_sub(size).ok_or_else(|| format!("more than {UNPACKED_BYTES_MAX} bytes of objects"))?;
    let mut out = Vec::new();
    while let Some((&op, after)) = rest.split_first() {
        rest = after;
        let part = if op & 0x80 != 0 {
            let (offset, length) = (number(&mut rest, op, 4)?, number(&mut rest, op >> 4, 3)?);
            let length = if length == 0 { 0x10000 } else { length };
            base.get(offset..).and_then(|base| base.get(..length))
        } else {
            let part = rest.get(..usize::from(op)).filter(|_| op != 0);
            rest = rest.get(usize::from(op)..).unwrap_or_default();
            part
        };
        out.extend_from_slice(part.ok_or("a difference is broken")?);
        if out.len() > size {
            return Err("a difference gives more than it says".to_owned());
        }
    }
    if out.len() == size { Ok(out) } else { Err("a difference gives less than it says".to_owned()) }
}

/// The bytes of a number of which `present` says, bit by bit, whether they are there.
fn number(rest: &mut &[u8], present: u8, bytes: u32) -> Result<usize, String> {
    let mut value = 0;
    for index in 0..bytes {
        if present >> index & 1 == 1 {
            value |= usize::from(byte(rest)?) << (8 * index);
        }
    }
    Ok(value)
}

fn varint(rest: &mut &[u8]) -> Result<usize, String> {
    let (mut value, mut shift) = (0_usize, 0_u32);
    loop {
        let next = byte(rest)?;
        value |= usize::from(next & 0x7f).checked_shl(shift).ok_or("a size beyond numbers")?;
        if next & 0x80 == 0 {
            return Ok(value);
        }
        shift += 7;
    }
}
