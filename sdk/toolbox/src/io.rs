//! Streams between tools, and taking turns.
//!
//! A [`Source`] is read and a [`Sink`] written; between two stages of a pipeline both are ends of a
//! bounded [`pipe`]. Reading an empty pipe or writing a full one lets the other stages run. What is
//! outside of this program (files, its own stdin) is read and written at once, which stops all.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::File;
use std::future::Future;
use std::io::{self, ErrorKind, IsTerminal, Read, Write};
use std::path::Path;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::interrupt;

/// Bytes that a pipe holds; a stage that writes more waits for the next one to read.
const PIPE_BYTES_MAX: usize = 64 << 10;

/// Bytes of one read from outside.
const READ_BYTES: usize = 16 << 10;

/// What one stage of a pipeline is while it runs.
pub(crate) type Task = Pin<Box<dyn Future<Output = i32>>>;

/// Runs a future to its end. Whoever waits is waited for by nobody else, so it is only polled again.
pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut cx) {
            return done;
        }
    }
}

/// Runs the stages of a pipeline side by side, and gives their codes. The last stages go first, so
/// that what is in the pipes is used before a first stage waits for the outside.
pub(crate) async fn all(mut stages: Vec<Task>) -> Vec<i32> {
    let mut codes: Vec<Option<i32>> = vec![None; stages.len()];
    std::future::poll_fn(|cx| {
        for (stage, code) in stages.iter_mut().zip(&mut codes).rev() {
            if code.is_none()
                && let Poll::Ready(done) = stage.as_mut().poll(cx)
            {
                *code = Some(done);
                // Its ends of the pipes go now, so that its neighbours meet the end.
                *stage = Box::pin(std::future::ready(done));
            }
        }
        if codes.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    codes.into_iter().flatten().collect()
}

#[derive(Default)]
struct Pipe {
    bytes: VecDeque<u8>,
    writers: usize,
    readers: usize,
}

enum From {
    Nothing,
    /// `/dev/zero`.
    Zeros,
    /// `/dev/urandom`.
    Random,
    Process,
    File(File),
    Pipe(Rc<RefCell<Pipe>>),
}

struct SourceState {
    from: From,
    /// Read from `from` and not yet taken.
    rest: VecDeque<u8>,
}

/// What is read. Clones share their place in it.
#[derive(Clone)]
pub(crate) struct Source(Rc<RefCell<SourceState>>);

enum To {
    Nothing,
    Stdout,
    Stderr,
    File(File),
    Memory(Rc<RefCell<Vec<u8>>>),
    Pipe(Rc<RefCell<Pipe>>),
}

/// What is written. Clones write to the same place.
#[derive(Clone)]
pub(crate) struct Sink(Rc<RefCell<To>>);

/// A new pipe.
pub(crate) fn pipe() -> (Sink, Source) {
    let pipe = Rc::new(RefCell::new(Pipe { writers: 1, readers: 1, ..Pipe::default() }));
    (Sink::new(To::Pipe(pipe.clone())), Source::new(From::Pipe(pipe)))
}

#[cfg(target_env = "p2")]
fn fill_randomly(buffer: &mut [u8]) {
    buffer.copy_from_slice(&wasip2::random::random::get_random_bytes(buffer.len() as u64));
}

/// Elsewhere this program is only tested.
#[cfg(not(target_env = "p2"))]
fn fill_randomly(buffer: &mut [u8]) {
    use std::hash::{BuildHasher as _, Hasher as _, RandomState};
    let number = || RandomState::new().build_hasher().finish().to_ne_bytes();
    buffer.chunks_mut(8).for_each(|chunk| chunk.copy_from_slice(&number()[..chunk.len()]));
}

/// Writes out what this program has buffered.
pub(crate) fn flush() {
    let _ = io::stdout().flush();
}

impl Source {
    fn new(from: From) -> Self {
        Self(Rc::new(RefCell::new(SourceState { from, rest: VecDeque::new() })))
    }

    pub(crate) fn nothing() -> Self {
        Self::new(From::Nothing)
    }

    /// This program's own stdin.
    pub(crate) fn process() -> Self {
        Self::new(From::Process)
    }

    pub(crate) fn file(file: File) -> Self {
        Self::new(From::File(file))
    }

    /// What is read from a device that is only a name here.
    pub(crate) fn device(path: &Path) -> Option<Self> {
        match path.to_str()? {
            "/dev/null" => Some(Self::nothing()),
            "/dev/zero" => Some(Self::new(From::Zeros)),
            "/dev/urandom" | "/dev/random" => Some(Self::new(From::Random)),
            _ => None,
        }
    }

    pub(crate) fn bytes(bytes: Vec<u8>) -> Self {
        let source = Self::nothing();
        source.0.borrow_mut().rest = bytes.into();
        source
    }

    /// Says whether this is what a person types.
    pub(crate) fn is_terminal(&self) -> bool {
        matches!(self.0.borrow().from, From::Process) && io::stdin().is_terminal()
    }

    /// Throws away what was typed and not yet taken.
    pub(crate) fn forget(&self) {
        self.0.borrow_mut().rest.clear();
    }

    /// Gets more bytes when none are left; gives whether there are any.
    async fn fill(&self) -> io::Result<bool> {
        std::future::poll_fn(|_| {
            let mut state = self.0.borrow_mut();
            let SourceState { from, rest } = &mut *state;
            if !rest.is_empty() {
                return Poll::Ready(Ok(true));
            }
            let mut buffer = [0; READ_BYTES];
            let read = match from {
                From::Nothing => Ok(0),
                From::Zeros => Ok(READ_BYTES),
                From::Random => {
                    fill_randomly(&mut buffer);
                    Ok(READ_BYTES)
                }
                From::Process => {
                    flush();
                    let read = io::stdin().read(&mut buffer);
                    // What a read that waits meets when it is interrupted looks like the end.
                    if matches!(read, Ok(0)) && interrupt::is_pending() {
                        return Poll::Pending;
                    }
                    read
                }
                From::File(_) if interrupt::is_pending() => return Poll::Pending,
                From::File(file) => file.read(&mut buffer),
                From::Pipe(pipe) => {
                    let mut pipe = pipe.borrow_mut();
                    if pipe.bytes.is_empty() && pipe.writers > 0 {
                        return Poll::Pending;
                    }
                    std::mem::swap(rest, &mut pipe.bytes);
                    return Poll::Ready(Ok(!rest.is_empty()));
                }
            };
            Poll::Ready(read.map(|length| {
                rest.extend(&buffer[..length]);
                length > 0
            }))
        })
        .await
    }

    /// Some bytes; none at the end.
    pub(crate) async fn some(&self) -> io::Result<Vec<u8>> {
        self.fill().await?;
        Ok(std::mem::take(&mut self.0.borrow_mut().rest).into())
    }

    /// At most `most` bytes; none at the end.
    pub(crate) async fn at_most(&self, most: usize) -> io::Result<Vec<u8>> {
        self.fill().await?;
        let rest = &mut self.0.borrow_mut().rest;
        let length = most.min(rest.len());
        Ok(rest.drain(..length).collect())
    }

    /// Exactly `length` bytes, fewer at the end.
    pub(crate) async fn exactly(&self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            let more = self.at_most(length - bytes.len()).await?;
            if more.is_empty() {
                break;
            }
            bytes.extend(more);
        }
        Ok(bytes)
    }

    /// The next line with its line feed, if it has one; `None` at the end.
    pub(crate) async fn line(&self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        while self.fill().await? {
            let rest = &mut self.0.borrow_mut().rest;
            if let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                line.extend(rest.drain(..=end));
                return Ok(Some(line));
            }
            line.extend(rest.drain(..));
        }
        Ok((!line.is_empty()).then_some(line))
    }

    /// The next line as text without its line feed.
    pub(crate) async fn text_line(&self) -> io::Result<Option<String>> {
        Ok(self.line().await?.map(|line| {
            let line = line.strip_suffix(b"\n").unwrap_or(&line);
            String::from_utf8_lossy(line).into_owned()
        }))
    }

    /// All that is left.
    pub(crate) async fn all(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while self.fill().await? {
            bytes.extend(self.0.borrow_mut().rest.drain(..));
        }
        Ok(bytes)
    }
}

impl Drop for SourceState {
    fn drop(&mut self) {
        if let From::Pipe(pipe) = &self.from {
            pipe.borrow_mut().readers -= 1;
        }
    }
}

impl Sink {
    fn new(to: To) -> Self {
        Self(Rc::new(RefCell::new(to)))
    }

    pub(crate) fn nothing() -> Self {
        Self::new(To::Nothing)
    }

    pub(crate) fn stdout() -> Self {
        Self::new(To::Stdout)
    }

    pub(crate) fn stderr() -> Self {
        Self::new(To::Stderr)
    }

    pub(crate) fn file(file: File) -> Self {
        Self::new(To::File(file))
    }

    /// Writes all bytes; fails with `BrokenPipe` when nobody reads any more.
    pub(crate) async fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
        std::future::poll_fn(|_| match &mut *self.0.borrow_mut() {
            _ if interrupt::is_pending() => Poll::Pending,
            To::Nothing => Poll::Ready(Ok(())),
            To::Stdout => Poll::Ready(io::stdout().write_all(bytes)),
            To::Stderr => {
                flush();
                Poll::Ready(io::stderr().write_all(bytes))
            }
            To::File(file) => Poll::Ready(file.write_all(bytes)),
            To::Memory(memory) => {
                memory.borrow_mut().extend(bytes);
                Poll::Ready(Ok(()))
            }
            To::Pipe(pipe) => {
                let mut pipe = pipe.borrow_mut();
                if pipe.readers == 0 {
                    return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
                }
                let room = PIPE_BYTES_MAX.saturating_sub(pipe.bytes.len()).min(bytes.len());
                pipe.bytes.extend(&bytes[..room]);
                bytes = &bytes[room..];
                if bytes.is_empty() { Poll::Ready(Ok(())) } else { Poll::Pending }
            }
        })
        .await
    }
}

impl Drop for To {
    fn drop(&mut self) {
        if let To::Pipe(pipe) = self {
            pipe.borrow_mut().writers -= 1;
        }
    }
}

/// Lets the other stages run once.
pub(crate) async fn turn() {
    let mut had = false;
    std::future::poll_fn(|_| {
        if std::mem::replace(&mut had, true) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// A place in memory: all that is written can be read afterwards.
pub(crate) fn memory() -> (Sink, Rc<RefCell<Vec<u8>>>) {
    let bytes = Rc::new(RefCell::new(Vec::new()));
    (Sink::new(To::Memory(bytes.clone())), bytes)
}
