//! Two ends of a link in one process.

use super::*;
use std::sync::atomic::AtomicUsize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Remembers what came.
#[derive(Default)]
struct Heard {
    messages: Mutex<Vec<(String, usize)>>,
    datagrams: Mutex<Vec<(SocketAddr, Bytes)>>,
    count: AtomicUsize,
    told: tokio::sync::Notify,
}

impl Handler for Heard {
    type Message = String;

    fn message(&self, message: String, files: Vec<OwnedFd>) -> io::Result<()> {
        self.messages.lock().push((message, files.len()));
        self.count.fetch_add(1, Ordering::AcqRel);
        self.told.notify_one();
        Ok(())
    }

    fn datagram(&self, head: DatagramHead, data: Bytes) {
        self.datagrams.lock().push((head.remote, data));
        self.count.fetch_add(1, Ordering::AcqRel);
        self.told.notify_one();
    }
}

struct End {
    link: Arc<Link>,
    heard: Arc<Heard>,
    reason: tokio::task::JoinHandle<io::Error>,
}

fn end(side: Side, socket: OwnedFd) -> End {
    let (link, packets) = Link::new(side, socket).unwrap();
    let heard = Arc::new(Heard::default());
    let (reader, handler) = (link.clone(), heard.clone());
    let reason = tokio::spawn(async move { reader.run(&packets, &*handler).await });
    End { link, heard, reason }
}

fn ends() -> (End, End) {
    let (ours, theirs) = pair().unwrap();
    (end(Side::Host, ours), end(Side::Worker, theirs))
}

async fn heard(end: &End, count: usize) {
    while end.heard.count.load(Ordering::Acquire) < count {
        end.heard.told.notified().await;
    }
}

#[tokio::test]
async fn messages_come_whole_and_in_order_with_their_files() {
    let (host, worker) = ends();
    let large = "x".repeat(3 * PACKET_BYTES_MAX);
    let file = || vec![file_with(b"content").unwrap().into()];
    host.link.send(&"one".to_owned(), Vec::new()).unwrap();
    host.link.send(&large, file()).unwrap();
    host.link.send(&"three".to_owned(), file()).unwrap();
    heard(&worker, 3).await;
    let messages = worker.heard.messages.lock().clone();
    assert_eq!(messages, [("one".to_owned(), 0), (large, 1), ("three".to_owned(), 1)]);
}

#[tokio::test]
async fn datagrams_keep_their_addresses() {
    let (host, worker) = ends();
    let head = DatagramHead {
        local: "10.0.0.1:53".parse().unwrap(),
        remote: "[fd00::1]:9".parse().unwrap(),
    };
    let data = vec![7; coracle_vnet::DATAGRAM_BYTES_MAX];
    assert!(worker.link.send_datagram(&head, &data));
    heard(&host, 1).await;
    assert_eq!(*host.heard.datagrams.lock(), [(head.remote, Bytes::from(data))]);
}

#[tokio::test]
async fn streams_carry_more_than_their_window_both_ways_at_once() {
    let (host, worker) = ends();
    let mut near = host.link.open();
    let mut far = worker.link.join(near.id()).unwrap();
    let bytes: Vec<u8> = (0..1_000_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    let echo = tokio::spawn(async move {
        let mut all = Vec::new();
        far.read_to_end(&mut all).await.unwrap();
        far.write_all(&all).await.unwrap();
        far.shutdown().await.unwrap();
        all.len()
    });
    near.write_all(&bytes).await.unwrap();
    near.shutdown().await.unwrap();
    let mut back = Vec::new();
    near.read_to_end(&mut back).await.unwrap();
    assert_eq!((back == bytes, echo.await.unwrap()), (true, bytes.len()));
}

#[tokio::test]
async fn a_slow_reader_holds_up_its_own_stream_alone() {
    let (host, worker) = ends();
    let (mut slow, mut quick) = (worker.link.open(), worker.link.open());
    let mut unread = host.link.join(slow.id()).unwrap();
    let mut read = host.link.join(quick.id()).unwrap();
    slow.write_all(&[1; stream::WINDOW_BYTES]).await.unwrap();
    let mut more = Box::pin(slow.write_all(&[2]));
    assert!(futures::poll!(&mut more).is_pending());
    quick.write_all(b"through").await.unwrap();
    let mut got = [0; 7];
    read.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"through");
    unread.read_exact(&mut vec![0; stream::WINDOW_BYTES]).await.unwrap();
    more.await.unwrap();
}

#[tokio::test]
async fn a_cut_comes_after_what_was_written_and_an_end_is_no_cut() {
    let (host, worker) = ends();
    for (dropped, wanted) in [(Dropped::Cut, None), (Dropped::Ended, Some(5))] {
        let mut near = host.link.open().when_dropped(dropped);
        let mut far = worker.link.join(near.id()).unwrap();
        near.write_all(b"hello").await.unwrap();
        drop(near);
        let mut all = Vec::new();
        let end = far.read_to_end(&mut all).await.ok();
        assert_eq!((all.as_slice(), end), (&b"hello"[..], wanted), "{dropped:?}");
    }
}

#[tokio::test]
async fn what_is_not_in_the_protocol_ends_the_link() {
    let frame = |kind: u8, id: u32, content: &[u8]| {
        [&[kind], id.to_le_bytes().as_slice(), content].concat()
    };
    let flood = vec![frame(Frame::Data as u8, 2, &[0; 60_000]); 2];
    for (what, packets) in [
        ("no head", vec![vec![0]]),
        ("no such kind", vec![frame(9, 0, b"")]),
        ("no message", vec![frame(Frame::Message as u8, 0, b"{")]),
        ("a file from a worker", vec![frame(Frame::LargeMessage as u8, 0, b"")]),
        ("half a datagram", vec![frame(Frame::Datagram as u8, 0, &[200, 0, 1])]),
        ("more than a window", flood),
        ("credit for nothing", vec![frame(Frame::Credit as u8, 2, &1_u32.to_le_bytes())]),
    ] {
        let (ours, theirs) = pair().unwrap();
        let host = end(Side::Host, ours);
        let mut stream = host.link.open();
        assert_eq!(stream.id(), 2);
        for bytes in packets {
            send(&theirs, &Packet { bytes, files: Vec::new() }).unwrap();
        }
        let reason = host.reason.await.unwrap();
        assert_eq!(reason.kind(), io::ErrorKind::InvalidData, "{what}: {reason}");
        let mut rest = Vec::new();
        assert!(stream.read_to_end(&mut rest).await.is_err(), "{what}");
    }
}

#[tokio::test]
async fn numbers_of_streams_are_not_taken_twice() {
    let (host, worker) = ends();
    let own = host.link.open();
    assert!(host.link.join(own.id()).is_err());
    let theirs = worker.link.open();
    let joined = host.link.join(theirs.id()).unwrap();
    assert!(host.link.join(theirs.id()).is_err());
    drop(joined);
    assert!(host.link.join(theirs.id()).is_ok());
}

#[tokio::test]
async fn the_end_of_one_side_cuts_the_streams_of_the_other() {
    let (host, worker) = ends();
    let mut stream = host.link.open();
    worker.link.end();
    drop(worker);
    host.reason.await.unwrap();
    assert!(stream.read_u8().await.is_err());
    assert!(stream.write_all(b"x").await.is_err());
    assert!(!host.link.send_datagram(
        &DatagramHead { local: "1.2.3.4:5".parse().unwrap(), remote: "1.2.3.4:6".parse().unwrap() },
        b""
    ));
}
