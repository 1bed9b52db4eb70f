//! What goes in comes out: a connection against a model, for any order of calls.

use bytes::Bytes;
use coracle_vnet::{PIPE_BYTES_MAX, VStream};
use proptest::prelude::*;
use std::collections::VecDeque;
use std::net::{Shutdown, SocketAddr};

#[derive(Clone, Debug)]
enum Step {
    Write(usize),
    Read(usize),
    Finish,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => prop_oneof![0..100usize, 0..40_000usize].prop_map(Step::Write),
        10 => prop_oneof![0..100usize, 0..40_000usize].prop_map(Step::Read),
        1 => Just(Step::Finish),
    ]
}

fn pair() -> (VStream, VStream) {
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    VStream::pair(address, address)
}

proptest! {
    #[test]
    fn bytes_come_out_in_order_and_bounded(steps in prop::collection::vec(step(), 1..200)) {
        let (writer, reader) = pair();
        let (mut model, mut next, mut finished) = (VecDeque::new(), 0u8, false);
        for step in steps {
            match step {
                Step::Write(bytes) if finished => {
                    prop_assert!(writer.room().is_err());
                    prop_assert!(writer.write(Bytes::from(vec![0; bytes])).is_err());
                }
                Step::Write(bytes) => {
                    let room = writer.room().expect("open");
                    prop_assert_eq!(room, PIPE_BYTES_MAX - model.len());
                    let data: Vec<u8> = (0..bytes.min(room)).map(|_| { next = next.wrapping_add(1); next }).collect();
                    model.extend(data.iter().copied());
                    writer.write(Bytes::from(data)).expect("open");
                }
                Step::Read(0) => {}
                Step::Read(bytes) => {
                    let data = reader.try_read(bytes).expect("not cut");
                    prop_assert_eq!(data.is_none(), model.is_empty() && !finished);
                    let data = data.unwrap_or_default();
                    prop_assert!(data.len() <= bytes);
                    prop_assert_eq!(data.is_empty(), model.is_empty());
                    for byte in data {
                        prop_assert_eq!(Some(byte), model.pop_front());
                    }
                }
                Step::Finish => {
                    writer.shutdown(Shutdown::Write);
                    finished = true;
                }
            }
        }
    }
}

#[tokio::test]
async fn the_host_copies_more_than_a_pipe_holds() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (mut near, far) = pair();
    let data: Vec<u8> = (0..3_000_000u32).flat_map(u32::to_le_bytes).collect();
    let sent = data.clone();
    let echo = tokio::spawn(async move {
        let (mut reader, mut writer) = tokio::io::split(far);
        tokio::io::copy(&mut reader, &mut writer).await.expect("copy");
        writer.shutdown().await.expect("shutdown");
    });
    let (mut reader, mut writer) = tokio::io::split(&mut near);
    let send = async {
        writer.write_all(&sent).await.expect("write");
        writer.shutdown().await.expect("shutdown");
    };
    let mut received = Vec::new();
    let (_, length) = tokio::join!(send, reader.read_to_end(&mut received));
    assert_eq!(length.expect("read"), data.len());
    assert!(received == data);
    echo.await.expect("join");
}
