//! Reads all frames of a zstd stream as one. Pure but for its source.
//!
//! *Source:* RFC 8878 §3: frames may follow one another, and some are there to be skipped.

use std::cell::RefCell;
use std::io::{self, BufRead, Read};
use std::rc::Rc;

use ruzstd::decoding::FrameDecoder;
use ruzstd::decoding::StreamingDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};

/// A source that one decoder after the other reads from.
struct Shared<R>(Rc<RefCell<R>>);

impl<R: Read> Read for Shared<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.borrow_mut().read(buffer)
    }
}

/// The content of all frames.
pub(super) struct Frames<R: BufRead> {
    source: Rc<RefCell<R>>,
    frame: Option<StreamingDecoder<Shared<R>, FrameDecoder>>,
}

impl<R: BufRead> Frames<R> {
    /// Reads `source` from its beginning.
    pub(super) fn new(source: R) -> Self {
        Self { source: Rc::new(RefCell::new(source)), frame: None }
    }

    /// Begins the next frame; `false` at the end of the source.
    fn next_frame(&mut self) -> io::Result<bool> {
        loop {
            if self.source.borrow_mut().fill_buf()?.is_empty() {
                self.frame = None;
                return Ok(false);
            }
            match StreamingDecoder::new(Shared(self.source.clone())) {
                Ok(frame) => {
                    self.frame = Some(frame);
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let mut skipped = Shared(self.source.clone()).take(u64::from(length));
                    io::copy(&mut skipped, &mut io::sink())?;
                }
                Err(error) => return Err(io::Error::other(format!("begin a zstd frame: {error}"))),
            }
        }
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if let Some(frame) = &mut self.frame {
                let length = frame.read(buffer)?;
                if length > 0 {
                    return Ok(length);
                }
            }
            if !self.next_frame()? {
                return Ok(0);
            }
        }
    }
}
