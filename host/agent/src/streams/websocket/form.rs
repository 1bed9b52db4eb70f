//! How a channel's bytes stand in a message.
//!
//! *Source:* `channel.k8s.io` and its `base64` and versioned variants, KEP-4006: the first byte of a
//! binary message, or the first digit of a text message, is the channel.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use tokio_tungstenite::tungstenite::Message;

/// The channel on which version 5 says that another channel ends: the message is its number.
pub(crate) const CLOSE_CHANNEL: u8 = 255;

/// The writing of a channel's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A binary message: the channel's number, then the bytes.
    Binary,
    /// A text message: the channel's digit, then base64.
    Base64,
}

impl Form {
    /// Writes a message.
    pub fn message(self, channel: u8, bytes: &[u8]) -> Message {
        match self {
            Form::Binary => {
                let mut message = Vec::with_capacity(1 + bytes.len());
                message.push(channel);
                message.extend_from_slice(bytes);
                Message::Binary(message.into())
            }
            Form::Base64 => {
                let mut message = String::with_capacity(1 + bytes.len() * 4 / 3 + 4);
                message.push(char::from(b'0'.saturating_add(channel)));
                STANDARD.encode_string(bytes, &mut message);
                Message::Text(message.into())
            }
        }
    }

    /// Reads a message: the channel and its bytes; nothing when it has no channel, or is no base64.
    pub fn parse(self, message: Bytes) -> Option<(u8, Bytes)> {
        let mut rest = message;
        if rest.is_empty() {
            return None;
        }
        let [first] = *rest.split_to(1).first_chunk::<1>()?;
        match self {
            Form::Binary => Some((first, rest)),
            Form::Base64 => {
                let channel = first.checked_sub(b'0').filter(|channel| *channel < 10)?;
                Some((channel, STANDARD.decode(&rest).ok()?.into()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn messages_are_written_as_clients_read_them() {
        let hi = Form::Binary.message(1, b"hi");
        assert_eq!(hi, Message::Binary(Bytes::from_static(b"\x01hi")));
        assert_eq!(Form::Base64.message(1, b"hi"), Message::Text("1aGk=".into()));
        assert_eq!(Form::Binary.message(1, b""), Message::Binary(Bytes::from_static(b"\x01")));
    }

    #[test]
    fn what_is_no_message_of_a_channel_is_nothing() {
        let check = |form: Form, message: &'static [u8]| form.parse(Bytes::from_static(message));
        assert_eq!(check(Form::Binary, b""), None);
        assert_eq!(check(Form::Base64, b""), None);
        assert_eq!(check(Form::Base64, b"x"), None);
        assert_eq!(check(Form::Base64, b"0%"), None);
        assert_eq!(check(Form::Base64, b"0"), Some((0, Bytes::new())));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            channel in 0u8..10, bytes in proptest::collection::vec(any::<u8>(), 0..200)
        ) {
            for form in [Form::Binary, Form::Base64] {
                let read = form.parse(form.message(channel, &bytes).into_data());
                prop_assert_eq!(read, Some((channel, Bytes::from(bytes.clone()))));
            }
        }

        #[test]
        fn no_message_brings_the_reader_down(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = Form::Binary.parse(Bytes::from(bytes.clone()));
            let _ = Form::Base64.parse(Bytes::from(bytes));
        }
    }
}
