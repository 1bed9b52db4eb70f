//! What a Redis says: its protocol, RESP 2.
//!
//! An edge: it waits for the other side, whatever that sends; a reply has a bound in bytes and depth.
//!
//! *Source:* the Redis serialization protocol specification.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _};

/// Bytes of a line: a number, or an error in words.
const LINE_BYTES_MAX: u64 = 4096;

/// Arrays in one another: `SCAN` has two.
const DEPTH_MAX: usize = 3;

/// What each item of a reply counts besides its bytes, so that many empty ones have a bound, too.
const ITEM_BYTES: usize = 64;

/// A reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    /// A word, such as `OK` or `QUEUED`.
    Word(String),
    /// A refusal.
    Refused(String),
    /// A number.
    Number(i64),
    /// Some bytes.
    Bytes(Vec<u8>),
    /// Replies in one.
    Many(Vec<Reply>),
    /// Nothing, such as what a key holds that is not there.
    Nothing,
}

/// Writes a command.
pub(super) fn command(words: &[&[u8]], out: &mut Vec<u8>) {
    out.extend(format!("*{}\r\n", words.len()).bytes());
    for word in words {
        out.extend(format!("${}\r\n", word.len()).bytes());
        out.extend_from_slice(word);
        out.extend(b"\r\n");
    }
}

/// Reads a reply of at most `bytes_max`.
///
/// # Errors
/// What the connection says, `UnexpectedEof` at its end, and `InvalidData` for what is no reply or is
/// more: the connection is of no use after that.
pub(super) async fn reply(
    from: &mut (impl AsyncBufRead + Unpin + Send),
    bytes_max: usize,
) -> io::Result<Reply> {
    let mut left = bytes_max;
    item(from, &mut left, DEPTH_MAX).await
}

async fn item(
    from: &mut (impl AsyncBufRead + Unpin + Send),
    left: &mut usize,
    depth: usize,
) -> io::Result<Reply> {
    let line = line(from).await?;
    *left = left.checked_sub(line.len() + ITEM_BYTES).ok_or_else(too_much)?;
    let (kind, rest) = line.split_at_checked(1).ok_or_else(|| strange("an empty line"))?;
    match kind {
        "+" => Ok(Reply::Word(rest.to_owned())),
        "-" => Ok(Reply::Refused(rest.to_owned())),
        ":" => Ok(Reply::Number(number(rest)?)),
        "$" => bytes(from, number(rest)?, left).await,
        "*" => {
            let count = number(rest)?;
            if count < 0 {
                return Ok(Reply::Nothing);
            }
            let depth = depth.checked_sub(1).ok_or_else(too_much)?;
            let mut all = Vec::new();
            for _ in 0..count {
                all.push(Box::pin(item(from, left, depth)).await?);
            }
            Ok(Reply::Many(all))
        }
        _other => Err(strange("no reply of RESP 2")),
    }
}

async fn line(from: &mut (impl AsyncBufRead + Unpin + Send)) -> io::Result<String> {
    let mut line = Vec::new();
    from.take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await?;
    if line.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let text = line.strip_suffix(b"\r\n").ok_or_else(|| strange("a line without an end"))?;
    String::from_utf8(text.to_vec()).map_err(|_| strange("a line that is no text"))
}

async fn bytes(
    from: &mut (impl AsyncBufRead + Unpin + Send),
    length: i64,
    left: &mut usize,
) -> io::Result<Reply> {
    let Ok(length) = usize::try_from(length) else { return Ok(Reply::Nothing) };
    *left = left.checked_sub(length).ok_or_else(too_much)?;
    let mut content = Vec::new();
    from.take(length as u64 + 2).read_to_end(&mut content).await?;
    if content.len() < length + 2 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if !content.ends_with(b"\r\n") {
        return Err(strange("bytes without an end"));
    }
    content.truncate(length);
    Ok(Reply::Bytes(content))
}

fn number(text: &str) -> io::Result<i64> {
    text.parse().map_err(|_| strange("a number that is none"))
}

fn strange(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("it sent {what}"))
}

fn too_much() -> io::Error {
    strange("more than was asked for")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Room for the replies of the tests.
    const ROOM: usize = 4096;

    async fn read(mut bytes: &[u8]) -> io::Result<Reply> {
        reply(&mut bytes, ROOM).await
    }

    #[tokio::test]
    async fn replies_are_what_they_say() {
        let bytes = |text: &str| Reply::Bytes(text.as_bytes().to_vec());
        for (sent, want) in [
            ("+OK\r\n", Reply::Word("OK".to_owned())),
            ("-ERR no\r\n", Reply::Refused("ERR no".to_owned())),
            (":-7\r\n", Reply::Number(-7)),
            ("$5\r\na\r\nbc\r\n", bytes("a\r\nbc")),
            ("$0\r\n\r\n", bytes("")),
            ("$-1\r\n", Reply::Nothing),
            ("*-1\r\n", Reply::Nothing),
            ("*0\r\n", Reply::Many(vec![])),
            (
                "*2\r\n$1\r\n0\r\n*1\r\n$1\r\nk\r\n",
                Reply::Many(vec![bytes("0"), Reply::Many(vec![bytes("k")])]),
            ),
        ] {
            assert_eq!(read(sent.as_bytes()).await.unwrap(), want, "{sent:?}");
        }
    }

    #[tokio::test]
    async fn what_is_no_reply_or_too_much_ends_it() {
        use io::ErrorKind::{InvalidData, UnexpectedEof};
        let long = format!("+{}\r\n", "x".repeat(ROOM));
        for (sent, want) in [
            ("", UnexpectedEof),
            ("$3\r\nab", UnexpectedEof),
            ("*2\r\n:1\r\n", UnexpectedEof),
            ("\r\n", InvalidData),
            ("hello\r\n", InvalidData),
            (":x\r\n", InvalidData),
            ("$1\r\nabc\r\n", InvalidData),
            ("+OK", InvalidData),
            ("$999999999999\r\n", InvalidData),
            ("*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n", InvalidData),
            (&long, InvalidData),
        ] {
            assert_eq!(read(sent.as_bytes()).await.unwrap_err().kind(), want, "{sent:?}");
        }
        let many = format!("*{}\r\n{}", ROOM, ":1\r\n".repeat(ROOM));
        assert_eq!(read(many.as_bytes()).await.unwrap_err().kind(), InvalidData);
    }

    #[tokio::test]
    async fn a_command_reads_as_an_array() {
        let mut sent = Vec::new();
        command(&[b"SET", b"k", b"\r\n"], &mut sent);
        let Reply::Many(words) = read(&sent).await.unwrap() else { panic!("an array") };
        assert_eq!(words[2], Reply::Bytes(b"\r\n".to_vec()));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_are_a_panic(sent in proptest::collection::vec(
            proptest::prop_oneof![
                proptest::sample::select(b"+-:$*0129\r\n".to_vec()),
                proptest::num::u8::ANY,
            ], 0..64)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let _ = runtime.block_on(read(&sent));
        }
    }
}
