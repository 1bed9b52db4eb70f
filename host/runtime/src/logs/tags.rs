//! The tags of lines that name a request, which are taken off before the lines go to disk.
//!
//! *Source:* the CRI log format allows tags after a colon, but the collectors that people have (OpenTelemetry's container
//! parser, Vector) read lines of `P` and `F` alone.

use std::borrow::Cow;
use std::ops::Range;

use coracle_telemetry::{RequestId, RequestLineSink};

use super::cri::REQUEST_TAG;

/// Gives whole lines without the tags that name requests; who keeps such lines is given each of them with its time and
/// stream, unless what it names is no request's id.
pub(super) fn take_off<'a>(lines: &'a [u8], keep: Option<&RequestLineSink>) -> Cow<'a, [u8]> {
    let (mut bare, mut begin, mut copied) = (Vec::new(), 0, 0);
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        if let Some((tag, id)) = tag(line) {
            bare.extend_from_slice(lines.get(copied..begin + tag.start).unwrap_or_default());
            copied = begin + tag.end;
            if let (Some(keep), Ok(id)) = (keep, RequestId::try_from(id.to_owned())) {
                keep.take(id, &told(line, &tag));
            }
        }
        begin += line.len();
    }
    if copied == 0 {
        return Cow::Borrowed(lines);
    }
    bare.extend_from_slice(lines.get(copied..).unwrap_or_default());
    Cow::Owned(bare)
}

/// Where in a line the tag is, after `P` or `F`, and the id in it.
fn tag(line: &[u8]) -> Option<(Range<usize>, &str)> {
    let mut spaces = line.iter().enumerate().filter(|(_, byte)| **byte == b' ').skip(1);
    let ((stream_end, _), (end, _)) = (spaces.next()?, spaces.next()?);
    let begin = stream_end + 2;
    let id = std::str::from_utf8(line.get(begin..end)?).ok()?.strip_prefix(REQUEST_TAG)?;
    Some((begin..end, id))
}

/// A line's time, stream and text.
fn told(line: &[u8], tag: &Range<usize>) -> String {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let head = line.get(..tag.start.saturating_sub(2)).unwrap_or_default();
    let text = line.get(tag.end..).unwrap_or_default();
    String::from_utf8_lossy(head).into_owned() + &String::from_utf8_lossy(text)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    fn check(lines: &[u8], bare: &[u8], kept: &[(&str, &str)]) {
        let found = Arc::new(Mutex::new(Vec::new()));
        let to = found.clone();
        let sink = RequestLineSink::new(move |id, line| {
            to.lock().push((id.as_str().to_owned(), line.to_owned()));
        });
        assert_eq!(take_off(lines, Some(&sink)), bare);
        assert_eq!(take_off(lines, None), bare);
        let kept: Vec<_> = kept.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        assert_eq!(*found.lock(), kept);
    }

    #[test]
    fn what_is_on_disk_has_the_tags_that_collectors_read() {
        check(
            b"T0 stdout F plain :req=a b\nT1 stdout P:req=order-7 so\nT2 stderr F:req=b \nT3 stdout F x\n",
            b"T0 stdout F plain :req=a b\nT1 stdout P so\nT2 stderr F \nT3 stdout F x\n",
            &[("order-7", "T1 stdout so"), ("b", "T2 stderr ")],
        );
        check(b"T stdout F:req=a \xff", b"T stdout F \xff", &[("a", "T stdout \u{fffd}")]);
        // Workers are not trusted.
        check(b"T stdout F:req=a:b x\n", b"T stdout F x\n", &[]);
        for odd in ["", "\n", "F:req=a\n", "T stdout F:req=a", "T stdout  x\n", "T stdout F:x y\n"]
        {
            check(odd.as_bytes(), odd.as_bytes(), &[]);
        }
    }
}
