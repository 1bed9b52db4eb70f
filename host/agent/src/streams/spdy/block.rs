//! Header blocks: names and values, compressed with one zlib stream per direction of a session.
//!
//! *Source:* SPDY Protocol, draft 3, section 2.6.10.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use super::dictionary::DICTIONARY;
use super::frame::FrameError;

/// Most bytes of a block, decompressed: Kubernetes sends three short headers, and a bomb must not
/// grow.
pub const BLOCK_BYTES_MAX: usize = 16 << 10;

/// Bytes that are decompressed or compressed at a time.
const STEP_BYTES: usize = 1024;

/// Headers in the order in which they came; names in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(pub Vec<(String, String)>);

impl Headers {
    /// The value of a header; empty when it is missing. The case of `name` does not matter.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value.as_str())
    }
}

/// Reads the blocks of one direction, in order.
#[derive(Debug)]
pub struct BlockReader {
    zlib: Decompress,
}

impl Default for BlockReader {
    fn default() -> Self {
        Self { zlib: Decompress::new(true) }
    }
}

impl BlockReader {
    /// Decompresses and reads one block.
    ///
    /// # Errors
    /// [`FrameError::Block`] for what is damaged, or longer than [`BLOCK_BYTES_MAX`]. The session
    /// cannot go on after it, because the zlib stream is out of step.
    pub fn read(&mut self, block: &[u8]) -> Result<Headers, FrameError> {
        parse(&self.inflate(block)?)
    }

    fn inflate(&mut self, mut block: &[u8]) -> Result<Vec<u8>, FrameError> {
        let mut out = Vec::with_capacity(STEP_BYTES);
        loop {
            out.reserve(STEP_BYTES);
            let (before, room) = (self.zlib.total_in(), out.capacity() - out.len());
            let had = out.len();
            let outcome = self.zlib.decompress_vec(block, &mut out, FlushDecompress::Sync);
            let used = usize::try_from(self.zlib.total_in() - before).unwrap_or(usize::MAX);
            block = block.get(used..).unwrap_or_default();
            match outcome {
                Ok(_) => {}
                Err(error) if error.needs_dictionary().is_some() => {
                    self.zlib.set_dictionary(&DICTIONARY).map_err(|_| FrameError::Block)?;
                    continue;
                }
                Err(_) => return Err(FrameError::Block),
            }
            if out.len() > BLOCK_BYTES_MAX {
                return Err(FrameError::Block);
            }
            // All was read and the output was not cut short by its room.
            if block.is_empty() && out.len() - had < room {
                return Ok(out);
            }
            if used == 0 && out.len() == had {
                return Err(FrameError::Block);
            }
        }
    }
}

/// Writes the blocks of one direction, in order.
#[derive(Debug)]
pub struct BlockWriter {
    zlib: Compress,
}

impl Default for BlockWriter {
    fn default() -> Self {
        let mut zlib = Compress::new(Compression::fast(), true);
        // Only a stream that has begun refuses; without the dictionary the output is valid as well.
        let _checksum = zlib.set_dictionary(&DICTIONARY);
        Self { zlib }
    }
}

impl BlockWriter {
    /// Writes and compresses one block.
    ///
    /// # Errors
    /// [`FrameError::Block`] when the headers are longer than [`BLOCK_BYTES_MAX`].
    pub fn write(&mut self, headers: &Headers) -> Result<Vec<u8>, FrameError> {
        let plain = unparse(headers)?;
        let mut rest = plain.as_slice();
        let mut out = Vec::with_capacity(STEP_BYTES);
        loop {
            out.reserve(STEP_BYTES);
            let (before, had) = (self.zlib.total_in(), out.len());
            let room = out.capacity() - had;
            let outcome = self.zlib.compress_vec(rest, &mut out, FlushCompress::Sync);
            outcome.map_err(|_| FrameError::Block)?;
            let used = usize::try_from(self.zlib.total_in() - before).unwrap_or(usize::MAX);
            rest = rest.get(used..).unwrap_or_default();
            if rest.is_empty() && out.len() - had < room {
                return Ok(out);
            }
        }
    }
}

fn parse(plain: &[u8]) -> Result<Headers, FrameError> {
    let mut rest = plain;
    let count = number(&mut rest)?;
    let mut headers = Vec::new();
    for _ in 0..count {
        let name = text(&mut rest)?.to_ascii_lowercase();
        headers.push((name, text(&mut rest)?));
    }
    Ok(Headers(headers))
}

fn number(rest: &mut &[u8]) -> Result<u32, FrameError> {
    let (number, after) = rest.split_first_chunk::<4>().ok_or(FrameError::Block)?;
    *rest = after;
    Ok(u32::from_be_bytes(*number))
}

fn text(rest: &mut &[u8]) -> Result<String, FrameError> {
    let length = usize::try_from(number(rest)?).map_err(|_| FrameError::Block)?;
    let (text, after) = rest.split_at_checked(length).ok_or(FrameError::Block)?;
    *rest = after;
    Ok(String::from_utf8_lossy(text).into_owned())
}

fn unparse(headers: &Headers) -> Result<Vec<u8>, FrameError> {
    let mut plain = Vec::new();
    let mut put = |bytes: &[u8]| plain.extend_from_slice(bytes);
    let length = |length: usize| u32::try_from(length).map_err(|_| FrameError::Block);
    put(&length(headers.0.len())?.to_be_bytes());
    for part in headers.0.iter().flat_map(|(name, value)| [name, value]) {
        put(&length(part.len())?.to_be_bytes());
        put(part.as_bytes());
    }
    if plain.len() > BLOCK_BYTES_MAX { Err(FrameError::Block) } else { Ok(plain) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn headers(pairs: &[(&str, &str)]) -> Headers {
        Headers(pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect())
    }

    /// What spdystream 0.5 writes for its first stream: the zlib header names the dictionary.
    #[test]
    fn a_block_of_another_implementation_is_read() {
        // Made with zlib and the dictionary, as Go's `zlib.NewWriterLevelDict` does.
        let mut zlib = Compress::new(Compression::best(), true);
        zlib.set_dictionary(&DICTIONARY).unwrap();
        let plain = unparse(&headers(&[("streamtype", "data"), ("port", "8080")])).unwrap();
        let mut block = Vec::with_capacity(4096);
        zlib.compress_vec(&plain, &mut block, FlushCompress::Sync).unwrap();
        assert_eq!(block[1] & 0x20, 0x20, "the header says that there is a dictionary");
        let read = BlockReader::default().read(&block).unwrap();
        assert_eq!((read.get("StreamType"), read.get("port"), read.get("x")), ("data", "8080", ""));
    }

    #[test]
    fn a_block_over_the_limit_is_refused() {
        let bomb = |length: usize| {
            let mut zlib = Compress::new(Compression::best(), true);
            let mut plain = vec![0, 0, 0, 1, 0, 0, 0, 1, b'a'];
            plain.extend_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
            plain.extend(std::iter::repeat_n(b'x', length));
            let mut block = Vec::with_capacity(1 << 20);
            zlib.compress_vec(&plain, &mut block, FlushCompress::Sync).unwrap();
            BlockReader::default().read(&block)
        };
        assert!(bomb(BLOCK_BYTES_MAX - 13).is_ok());
        assert!(bomb(BLOCK_BYTES_MAX - 12).is_err());
        assert!(bomb(64 << 20).is_err());
        let long = "x".repeat(BLOCK_BYTES_MAX);
        assert!(BlockWriter::default().write(&headers(&[("a", &long)])).is_err());
    }

    proptest! {
        #[test]
        fn blocks_come_back_in_order(
            blocks in proptest::collection::vec(
                proptest::collection::vec(("[a-z-]{0,20}", ".{0,200}"), 0..8), 1..6)
        ) {
            let (mut writer, mut reader) = (BlockWriter::default(), BlockReader::default());
            for pairs in blocks {
                let sent = Headers(pairs);
                let block = writer.write(&sent).unwrap();
                prop_assert_eq!(reader.read(&block).unwrap(), sent);
            }
        }

        #[test]
        fn no_block_brings_the_reader_down(block in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = BlockReader::default().read(&block);
        }

        #[test]
        fn no_headers_bring_the_parser_down(plain in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&plain);
        }
    }
}
