//! gRPC on the wire: length-prefixed messages, and the status at the end. Pure.
//!
//! *Source:* "gRPC over HTTP2".

use super::error::CallError;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::HeaderMap;
use prost::Message;

/// Bytes before each message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// The longest message that is taken: a page of [`super::load`] with objects of etcd's largest size.
pub(super) const MESSAGE_BYTES_MAX: usize = 512 << 20;

/// Puts a message into its frame.
pub(super) fn framed(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut frame = BytesMut::with_capacity(PREFIX_BYTES + length);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    frame.put(message.encode_to_vec().as_slice());
    frame.freeze()
}

/// Takes the next message out of what has come; `None` when more must come first.
///
/// # Errors
/// When it is compressed, too long, or no such message.
pub(super) fn next<M: Message + Default>(come: &mut BytesMut) -> Result<Option<M>, CallError> {
    let Some((mut prefix, _)) = come.split_at_checked(PREFIX_BYTES) else { return Ok(None) };
    let compressed = prefix.get_u8();
    let length = prefix.get_u32() as usize;
    if compressed != 0 {
        return Err(CallError::Nonsense("a compressed message".to_owned()));
    }
    if length > MESSAGE_BYTES_MAX {
        return Err(CallError::Nonsense(format!("a message of {length} bytes")));
    }
    if come.len() < PREFIX_BYTES + length {
        return Ok(None);
    }
    come.advance(PREFIX_BYTES);
    let message = come.split_to(length).freeze();
    M::decode(message).map(Some).map_err(|error| CallError::Nonsense(error.to_string()))
}

/// Reads the status of a call out of its trailers, or of its headers when there is no more.
///
/// # Errors
/// When it is not "OK".
pub(super) fn status(headers: &HeaderMap) -> Result<(), CallError> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(code) = text("grpc-status") else {
        return Err(CallError::Nonsense("an answer without a status".to_owned()));
    };
    let code: u32 = code.parse().unwrap_or(2);
    if code == 0 {
        return Ok(());
    }
    let message = percent_decoded(text("grpc-message").unwrap_or_default());
    Err(CallError::Refused { code, message })
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let decoded = digits.filter(|_| *first == b'%');
        match decoded.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::super::messages::{CompactionRequest, KeyValue};
    use super::*;

    #[test]
    fn messages_come_in_any_pieces() {
        let sent = KeyValue { key: Bytes::from("k"), mod_revision: 7, ..KeyValue::default() };
        let bytes =
            [framed(&sent), framed(&CompactionRequest { revision: 300, physical: true })].concat();
        let (mut come, mut found) = (BytesMut::new(), 0);
        for byte in bytes {
            come.put_u8(byte);
            if found == 0 {
                if let Some(kv) = next::<KeyValue>(&mut come).unwrap() {
                    assert_eq!(kv, sent);
                    found = 1;
                }
            } else if let Some(compaction) = next::<CompactionRequest>(&mut come).unwrap() {
                assert_eq!(compaction.revision, 300);
                found = 2;
            }
        }
        assert_eq!((found, come.len()), (2, 0));
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        for bytes in [&b"\x01\0\0\0\0"[..], b"\0\xff\xff\xff\xff", b"\0\0\0\0\x02\xff\xff"] {
            assert!(next::<KeyValue>(&mut BytesMut::from(bytes)).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn a_status_is_told_in_words() {
        let check = |code: &'static str, message: &'static str, expected: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-status", code.parse().unwrap());
            headers.insert("grpc-message", message.parse().unwrap());
            let told = status(&headers).err().map_or("fine".to_owned(), |error| error.to_string());
            assert_eq!(told, expected);
        };
        check("0", "", "fine");
        check("14", "etcdserver: no leader", "etcd answers: etcdserver: no leader");
        check("5", "50%25 of %C3%A4 %zz%2", "etcd answers: 50% of ä %zz%2");
        assert!(status(&HeaderMap::new()).is_err());
    }
}
