//! Frames of SPDY/3.1, as far as Kubernetes streams use them: there is no flow control and no push.
//!
//! *Source:* SPDY Protocol, draft 3.1, section 2; which part of it clients use, from
//! `moby/spdystream`.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

use super::block::{BlockReader, BlockWriter, Headers};

/// Most bytes of a frame that is taken: clients send pieces of at most 32 KiB, the protocol would
/// allow 16 MiB.
pub const FRAME_BYTES_MAX: usize = 1 << 20;

const HEAD_BYTES: usize = 8;
const VERSION: u16 = 3;
const FIN: u8 = 1;
const ID_MASK: u32 = 0x7fff_ffff;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;

/// Why a stream is refused or ended.
///
/// *Source:* SPDY Protocol, draft 3, section 2.6.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResetCode(pub u32);

impl ResetCode {
    /// The peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1);
    /// No such stream.
    pub const INVALID_STREAM: Self = Self(2);
    /// Refused before it was worked on.
    pub const REFUSED_STREAM: Self = Self(3);
    /// Nobody wants it any more.
    pub const CANCEL: Self = Self(5);
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Opens a stream; `fin` says that its opener sends nothing on it.
    SynStream {
        /// The stream; odd when a client opened it.
        stream: u32,
        /// What it is for.
        headers: Headers,
        /// The sender's half is closed.
        fin: bool,
    },
    /// Accepts a stream.
    SynReply {
        /// The stream.
        stream: u32,
        /// The answer's headers.
        headers: Headers,
        /// The sender's half is closed.
        fin: bool,
    },
    /// Ends a stream at once.
    Reset {
        /// The stream.
        stream: u32,
        /// Why.
        code: ResetCode,
    },
    /// Asks for, or is, a sign of life.
    Ping {
        /// Comes back unchanged.
        id: u32,
    },
    /// Says that no more streams are taken.
    GoAway {
        /// The last stream that was worked on.
        last: u32,
    },
    /// More headers of a stream.
    Headers {
        /// The stream.
        stream: u32,
        /// The headers.
        headers: Headers,
        /// The sender's half is closed.
        fin: bool,
    },
    /// Bytes of a stream.
    Data {
        /// The stream.
        stream: u32,
        /// The bytes.
        bytes: Bytes,
        /// The sender's half is closed.
        fin: bool,
    },
    /// A frame that Kubernetes streams give no meaning: SETTINGS, WINDOW_UPDATE and unknown ones.
    Other,
}

/// What is wrong with what a peer sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// More than [`FRAME_BYTES_MAX`].
    #[error("SPDY frame of {bytes} bytes; at most {FRAME_BYTES_MAX} are taken")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Not version 3.
    #[error("SPDY version {0}; only 3 is spoken")]
    Version(u16),
    /// A control frame that is shorter than its kind must be, or on stream 0.
    #[error("malformed SPDY control frame of type {0}")]
    Malformed(u16),
    /// A header block that does not decompress, or is too long.
    #[error("malformed SPDY header block")]
    Block,
    /// The connection failed.
    #[error("SPDY connection")]
    Io(#[from] std::io::Error),
}

/// Reads and writes frames; holds the compression of both directions.
#[derive(Debug, Default)]
pub struct Codec {
    reader: BlockReader,
    writer: BlockWriter,
}

impl Decoder for Codec {
    type Item = Frame;
    type Error = FrameError;

    fn decode(&mut self, source: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        let Some(head) = source.first_chunk::<HEAD_BYTES>().copied() else { return Ok(None) };
        let [first @ .., flags, l1, l2, l3] = head;
        let first = u32::from_be_bytes(first);
        let length = usize::try_from(u32::from_be_bytes([0, l1, l2, l3])).unwrap_or(usize::MAX);
        if length > FRAME_BYTES_MAX {
            return Err(FrameError::TooLong { bytes: length });
        }
        if source.len() < HEAD_BYTES + length {
            source.reserve(HEAD_BYTES + length - source.len());
            return Ok(None);
        }
        source.advance(HEAD_BYTES);
        let payload = source.split_to(length).freeze();
        let fin = flags & FIN != 0;
        if first & !ID_MASK == 0 {
            return Ok(Some(Frame::Data { stream: first, bytes: payload, fin }));
        }
        let [v1, v2, t1, t2] = first.to_be_bytes();
        let (version, kind) = (u16::from_be_bytes([v1 & 0x7f, v2]), u16::from_be_bytes([t1, t2]));
        if version != VERSION {
            return Err(FrameError::Version(version));
        }
        self.control(kind, fin, payload).map(Some)
    }
}

impl Codec {
    fn control(&mut self, kind: u16, fin: bool, payload: Bytes) -> Result<Frame, FrameError> {
        let mut rest = payload;
        let mut number = || rest.try_get_u32().map_err(|_| FrameError::Malformed(kind));
        match kind {
            SYN_STREAM => {
                let stream = stream_id(kind, number()?)?;
                let _associated = number()?;
                let _priority_and_slot =
                    rest.try_get_u16().map_err(|_| FrameError::Malformed(kind))?;
                Ok(Frame::SynStream { stream, headers: self.reader.read(&rest)?, fin })
            }
            SYN_REPLY => {
                let stream = stream_id(kind, number()?)?;
                Ok(Frame::SynReply { stream, headers: self.reader.read(&rest)?, fin })
            }
            HEADERS => {
                let stream = stream_id(kind, number()?)?;
                Ok(Frame::Headers { stream, headers: self.reader.read(&rest)?, fin })
            }
            RST_STREAM => {
                let stream = stream_id(kind, number()?)?;
                Ok(Frame::Reset { stream, code: ResetCode(number()?) })
            }
            PING => Ok(Frame::Ping { id: number()? }),
            GOAWAY => Ok(Frame::GoAway { last: number()? & ID_MASK }),
            _ => Ok(Frame::Other),
        }
    }
}

fn stream_id(kind: u16, raw: u32) -> Result<u32, FrameError> {
    match raw & ID_MASK {
        0 => Err(FrameError::Malformed(kind)),
        id => Ok(id),
    }
}

impl Encoder<Frame> for Codec {
    type Error = FrameError;

    fn encode(&mut self, frame: Frame, out: &mut BytesMut) -> Result<(), FrameError> {
        let flags = |fin: bool| if fin { FIN } else { 0 };
        match frame {
            Frame::Data { stream, bytes, fin } => {
                let length = bytes.len();
                if length > FRAME_BYTES_MAX {
                    return Err(FrameError::TooLong { bytes: length });
                }
                out.reserve(HEAD_BYTES + length);
                out.put_u32(stream & ID_MASK);
                put_length(out, flags(fin), length);
                out.extend_from_slice(&bytes);
            }
            Frame::SynStream { stream, headers, fin } => {
                let block = self.writer.write(&headers)?;
                control(out, SYN_STREAM, flags(fin), 10 + block.len());
                out.put_u32(stream);
                out.put_bytes(0, 6);
                out.extend_from_slice(&block);
            }
            Frame::SynReply { stream, headers, fin } => {
                self.with_block(out, SYN_REPLY, (stream, fin), &headers)?;
            }
            Frame::Headers { stream, headers, fin } => {
                self.with_block(out, HEADERS, (stream, fin), &headers)?;
            }
            Frame::Reset { stream, code } => {
                control(out, RST_STREAM, 0, 8);
                out.put_u32(stream);
                out.put_u32(code.0);
            }
            Frame::Ping { id } => {
                control(out, PING, 0, 4);
                out.put_u32(id);
            }
            Frame::GoAway { last } => {
                control(out, GOAWAY, 0, 8);
                out.put_u32(last);
                out.put_u32(0);
            }
            Frame::Other => {}
        }
        Ok(())
    }
}

impl Codec {
    fn with_block(
        &mut self,
        out: &mut BytesMut,
        kind: u16,
        (stream, fin): (u32, bool),
        headers: &Headers,
    ) -> Result<(), FrameError> {
        let block = self.writer.write(headers)?;
        control(out, kind, if fin { FIN } else { 0 }, 4 + block.len());
        out.put_u32(stream);
        out.extend_from_slice(&block);
        Ok(())
    }
}

fn control(out: &mut BytesMut, kind: u16, flags: u8, length: usize) {
    out.reserve(HEAD_BYTES + length);
    out.put_u16(0x8000 | VERSION);
    out.put_u16(kind);
    put_length(out, flags, length);
}

fn put_length(out: &mut BytesMut, flags: u8, length: usize) {
    out.put_u8(flags);
    // Callers keep the length below 2^24.
    out.put_uint(u64::try_from(length).unwrap_or(0), 3);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(codec: &mut Codec, bytes: &[u8]) -> Result<Option<Frame>, FrameError> {
        codec.decode(&mut BytesMut::from(bytes))
    }

    #[test]
    fn bytes_on_the_wire_are_those_of_the_specification() {
        let check = |frame: Frame, expected: &[u8]| {
            let mut out = BytesMut::new();
            Codec::default().encode(frame.clone(), &mut out).unwrap();
            assert_eq!(&out[..], expected, "{frame:?}");
            assert_eq!(decode(&mut Codec::default(), expected).unwrap(), Some(frame));
        };
        check(Frame::Ping { id: 1 }, &[0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 1]);
        let reset = Frame::Reset { stream: 5, code: ResetCode::CANCEL };
        check(reset, &[0x80, 3, 0, 3, 0, 0, 0, 8, 0, 0, 0, 5, 0, 0, 0, 5]);
        let data = Frame::Data { stream: 3, bytes: Bytes::from_static(b"hi"), fin: true };
        check(data, &[0, 0, 0, 3, 1, 0, 0, 2, b'h', b'i']);
        check(Frame::GoAway { last: 9 }, &[0x80, 3, 0, 7, 0, 0, 0, 8, 0, 0, 0, 9, 0, 0, 0, 0]);
    }

    #[test]
    fn what_breaks_the_protocol_is_refused() {
        let check = |bytes: &[u8], expected: &str| {
            let error = decode(&mut Codec::default(), bytes).unwrap_err();
            assert_eq!(error.to_string(), expected);
        };
        check(&[0x80, 2, 0, 6, 0, 0, 0, 0], "SPDY version 2; only 3 is spoken");
        check(&[0x80, 3, 0, 6, 0, 0, 0, 0], "malformed SPDY control frame of type 6");
        check(&[0x80, 3, 0, 3, 0, 0, 0, 4, 0, 0, 0, 0], "malformed SPDY control frame of type 3");
        let long = "SPDY frame of 1048577 bytes; at most 1048576 are taken";
        check(&[0, 0, 0, 1, 0, 0x10, 0, 1], long);
        let most = decode(&mut Codec::default(), &[0, 0, 0, 1, 0, 0x10, 0, 0]);
        assert_eq!(most.unwrap(), None, "the rest may still come");
    }

    fn frames() -> impl Strategy<Value = Frame> {
        let stream = 1u32..1000;
        let pairs = || proptest::collection::vec(("[a-z]{1,8}", "[ -~]{0,30}"), 0..4);
        let bytes = proptest::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from);
        prop_oneof![
            (stream.clone(), pairs(), any::<bool>()).prop_map(|(stream, pairs, fin)| {
                Frame::SynStream { stream, headers: Headers(pairs), fin }
            }),
            (stream.clone(), pairs(), any::<bool>()).prop_map(|(stream, pairs, fin)| {
                Frame::SynReply { stream, headers: Headers(pairs), fin }
            }),
            (stream.clone(), pairs(), any::<bool>()).prop_map(|(stream, pairs, fin)| {
                Frame::Headers { stream, headers: Headers(pairs), fin }
            }),
            (stream.clone(), any::<u32>())
                .prop_map(|(stream, code)| Frame::Reset { stream, code: ResetCode(code) }),
            any::<u32>().prop_map(|id| Frame::Ping { id }),
            stream.clone().prop_map(|last| Frame::GoAway { last }),
            (stream, bytes, any::<bool>()).prop_map(|(stream, bytes, fin)| Frame::Data {
                stream,
                bytes,
                fin
            }),
        ]
    }

    proptest! {
        #[test]
        fn frames_come_back_whatever_the_pieces(
            sent in proptest::collection::vec(frames(), 1..20), piece in 1usize..50
        ) {
            let (mut writer, mut reader) = (Codec::default(), Codec::default());
            let mut wire = BytesMut::new();
            for frame in &sent {
                writer.encode(frame.clone(), &mut wire).unwrap();
            }
            let (mut buffer, mut received) = (BytesMut::new(), Vec::new());
            for bytes in wire.chunks(piece) {
                buffer.extend_from_slice(bytes);
                while let Some(frame) = reader.decode(&mut buffer).unwrap() {
                    received.push(frame);
                }
            }
            prop_assert_eq!(received, sent);
            prop_assert!(buffer.is_empty());
        }

        #[test]
        fn no_bytes_bring_the_reader_down(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut codec = Codec::default();
            let mut buffer = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = codec.decode(&mut buffer) {}
        }

        #[test]
        fn no_control_frame_brings_the_reader_down(
            kind in 0u8..12, flags in any::<u8>(),
            payload in proptest::collection::vec(any::<u8>(), 0..100)
        ) {
            let length = u8::try_from(payload.len()).unwrap();
            let mut bytes = BytesMut::from(&[0x80, 3, 0, kind, flags, 0, 0, length][..]);
            bytes.extend_from_slice(&payload);
            let _ = Codec::default().decode(&mut bytes);
        }
    }
}
