//! Datagrams in a stream: the capsules of HTTP. Pure.
//!
//! *Source:* RFC 9297 §3 (capsules), RFC 9298 §5 (context 0 is a UDP payload), RFC 9000 §16 (numbers).

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use coracle_vnet::DATAGRAM_BYTES_MAX;

/// The type of a capsule that holds a datagram.
const DATAGRAM: u64 = 0;
/// The context of a datagram that is a UDP payload.
const UDP_PAYLOAD: u64 = 0;
/// Bytes of the largest capsule that is read: a datagram and the number of its context.
const CAPSULE_BYTES_MAX: u64 = DATAGRAM_BYTES_MAX as u64 + 8;

/// A capsule is larger than any datagram can be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a capsule of {0} bytes is no datagram")]
pub(super) struct TooLarge(u64);

/// Puts a datagram behind what is there.
pub(super) fn put(data: &[u8], out: &mut BytesMut) {
    let number = |value: u64, out: &mut BytesMut| match value {
        0..0x40 => out.put_u8(value as u8),
        0x40..0x4000 => out.put_u16(value as u16 | 0x4000),
        0x4000..0x4000_0000 => out.put_u32(value as u32 | 0x8000_0000),
        0x4000_0000.. => out.put_u64(value | 0xC000_0000_0000_0000),
    };
    number(DATAGRAM, out);
    number(data.len() as u64 + 1, out);
    number(UDP_PAYLOAD, out);
    out.put_slice(data);
}

/// Takes the next datagram off the front; `None` when it is not there whole. What is no UDP payload
/// is passed over.
///
/// # Errors
/// [`TooLarge`]: the stream cannot be understood any more.
pub(super) fn take(buffer: &mut BytesMut) -> Result<Option<Bytes>, TooLarge> {
    loop {
        let mut rest = &buffer[..];
        let Some(kind) = number(&mut rest) else { return Ok(None) };
        let Some(length) = number(&mut rest) else { return Ok(None) };
        if length > CAPSULE_BYTES_MAX {
            return Err(TooLarge(length));
        }
        let head = buffer.len() - rest.len();
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if rest.len() < length {
            return Ok(None);
        }
        buffer.advance(head);
        let content = buffer.split_to(length).freeze();
        let mut payload = &content[..];
        if kind == DATAGRAM && number(&mut payload) == Some(UDP_PAYLOAD) {
            return Ok(Some(content.slice_ref(payload)));
        }
    }
}

/// A number of one to eight bytes, as its first two bits say.
fn number(bytes: &mut &[u8]) -> Option<u64> {
    let length = 1_usize << (bytes.first()? >> 6);
    let (own, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    let value = own.iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    Some(value & (u64::MAX >> (66 - 8 * length as u32).min(63)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_those_of_quic() {
        let check = |bytes: &[u8], expected: Option<u64>| {
            assert_eq!(number(&mut &bytes[..]), expected, "{bytes:x?}");
        };
        // The examples of RFC 9000, appendix A.1.
        check(&[0x25], Some(37));
        check(&[0x40, 0x25], Some(37));
        check(&[0x7b, 0xbd], Some(15293));
        check(&[0x9d, 0x7f, 0x3e, 0x7d], Some(494_878_333));
        let long = [0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c];
        check(&long, Some(151_288_809_941_952_652));
        check(&long[..7], None);
        check(&[], None);
    }

    #[test]
    fn what_is_no_datagram_is_passed_over_and_too_much_is_an_error() {
        let mut buffer = BytesMut::new();
        // Another type, and another context.
        buffer.extend_from_slice(&[0x17, 2, 9, 9, 0, 2, 4, 9]);
        put(b"text", &mut buffer);
        assert_eq!(take(&mut buffer), Ok(Some(Bytes::from_static(b"text"))));
        assert_eq!(take(&mut buffer), Ok(None));
        let largest = vec![7; DATAGRAM_BYTES_MAX];
        put(&largest, &mut buffer);
        assert_eq!(take(&mut buffer).unwrap().unwrap().len(), DATAGRAM_BYTES_MAX);
        let mut buffer = BytesMut::from(&[0, 0x80, 2, 0, 0][..]);
        assert_eq!(take(&mut buffer), Err(TooLarge(0x2_0000)));
    }

    proptest! {
        #[test]
        fn datagrams_arrive_whole_however_they_are_cut(
            sent in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..8),
            piece in 1..50_usize,
        ) {
            let mut wire = BytesMut::new();
            sent.iter().for_each(|data| put(data, &mut wire));
            let (mut buffer, mut got) = (BytesMut::new(), Vec::new());
            for bytes in wire.chunks(piece) {
                buffer.extend_from_slice(bytes);
                while let Some(data) = take(&mut buffer).unwrap() {
                    got.push(data.to_vec());
                }
            }
            prop_assert_eq!(got, sent);
        }

        #[test]
        fn no_bytes_are_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut buffer = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = take(&mut buffer) {}
        }
    }
}
