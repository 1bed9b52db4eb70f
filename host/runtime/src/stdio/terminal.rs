//! A terminal's line discipline: what is typed becomes lines, echo and signals.
//!
//! Pure. WASI has terminals in name only, so the host does what a kernel's terminal does in its
//! canonical mode: echo, erase, kill a word or the line, interrupt, end of input.
//!
//! *Source:* POSIX, General Terminal Interface, canonical mode input processing.

use bytes::{BufMut as _, Bytes, BytesMut};

/// Bytes of a line that are kept; what is typed beyond them is not taken, with a bell.
///
/// *Source:* `MAX_CANON` of Linux.
const LINE_BYTES_MAX: usize = 4095;

/// What follows from some typed bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// The guest gets a line, its line feed included.
    Line(Bytes),
    /// The terminal shows this.
    Echo(Bytes),
    /// The guest's input has ended.
    End,
    /// The guest is to be interrupted.
    Interrupt,
}

/// The line that is being typed.
#[derive(Debug, Default)]
pub(crate) struct Discipline {
    line: Vec<u8>,
}

const INTERRUPT: u8 = 0x03;
const END: u8 = 0x04;
const BACKSPACE: u8 = 0x08;
const KILL_LINE: u8 = 0x15;
const KILL_WORD: u8 = 0x17;
const DELETE: u8 = 0x7f;
const BELL: u8 = 0x07;

impl Discipline {
    /// Takes one typed byte.
    pub(crate) fn take(&mut self, byte: u8) -> Vec<Step> {
        match byte {
            b'\r' | b'\n' => self.enter(),
            INTERRUPT => {
                self.line.clear();
                vec![echo(b"^C\r\n"), Step::Interrupt]
            }
            END if self.line.is_empty() => vec![Step::End],
            END => vec![Step::Line(Bytes::from(std::mem::take(&mut self.line)))],
            BACKSPACE | DELETE => vec![self.erase(1)],
            KILL_LINE => {
                let characters = characters(&self.line);
                vec![self.erase(characters)]
            }
            KILL_WORD => {
                let characters = last_word(&self.line);
                vec![self.erase(characters)]
            }
            _ => vec![self.add(byte)],
        }
    }

    fn enter(&mut self) -> Vec<Step> {
        self.line.push(b'\n');
        vec![echo(b"\r\n"), Step::Line(Bytes::from(std::mem::take(&mut self.line)))]
    }

    fn add(&mut self, byte: u8) -> Step {
        if self.line.len() >= LINE_BYTES_MAX {
            return echo(&[BELL]);
        }
        self.line.push(byte);
        if byte < 0x20 && byte != b'\t' { echo(&[b'^', byte | 0x40]) } else { echo(&[byte]) }
    }

    /// Takes characters from the line's end, on the screen too.
    fn erase(&mut self, characters: usize) -> Step {
        let mut shown = BytesMut::new();
        for _ in 0..characters {
            let Some(byte) = self.line.pop() else { break };
            let mut byte = byte;
            while byte & 0xc0 == 0x80 {
                let Some(before) = self.line.pop() else { break };
                byte = before;
            }
            let wide = byte < 0x20 && byte != b'\t';
            shown.put_slice(if wide { b"\x08 \x08\x08 \x08" } else { b"\x08 \x08" });
        }
        Step::Echo(shown.freeze())
    }
}

fn echo(bytes: &[u8]) -> Step {
    Step::Echo(Bytes::copy_from_slice(bytes))
}

/// Characters of UTF-8 text, by their first bytes.
fn characters(line: &[u8]) -> usize {
    line.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
}

/// Characters of the last word and the blanks after it.
fn last_word(line: &[u8]) -> usize {
    let blanks = line.iter().rev().take_while(|byte| **byte == b' ').count();
    let rest = line.get(..line.len() - blanks).unwrap_or_default();
    let word = rest.iter().rev().take_while(|byte| **byte != b' ').count();
    blanks + characters(rest.get(rest.len() - word..).unwrap_or_default())
}

/// What a guest writes, as a terminal wants it: a carriage return before each line feed.
pub(crate) fn shown(bytes: &[u8]) -> Bytes {
    let mut shown = BytesMut::with_capacity(bytes.len() + 8);
    for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
        match piece.split_last() {
            Some((b'\n', before)) => {
                shown.put_slice(before);
                shown.put_slice(b"\r\n");
            }
            Some(_) | None => shown.put_slice(piece),
        }
    }
    shown.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(typed: &str, want: Expect) {
        let mut discipline = Discipline::default();
        let mut told = String::new();
        let mut echoed = Vec::new();
        for byte in typed.bytes() {
            for step in discipline.take(byte) {
                match step {
                    Step::Line(line) => {
                        told.push_str(&format!("line {:?}\n", String::from_utf8_lossy(&line)));
                    }
                    Step::Echo(bytes) => echoed.extend_from_slice(&bytes),
                    Step::End => told.push_str("end\n"),
                    Step::Interrupt => told.push_str("interrupt\n"),
                }
            }
        }
        want.assert_eq(&format!("{told}echo {:?}\n", String::from_utf8_lossy(&echoed)));
    }

    #[test]
    fn typing_makes_lines() {
        check(
            "ls\r",
            expect![[r#"
                line "ls\n"
                echo "ls\r\n"
            "#]],
        );
        check(
            "lx\u{7f}s -l\u{17}-a\r",
            expect![[r#"
                line "ls -a\n"
                echo "lx\u{8} \u{8}s -l\u{8} \u{8}\u{8} \u{8}-a\r\n"
            "#]],
        );
        check(
            "aé\u{7f}\u{15}b\r",
            expect![[r#"
                line "b\n"
                echo "aé\u{8} \u{8}\u{8} \u{8}b\r\n"
            "#]],
        );
    }

    #[test]
    fn control_keys_interrupt_and_end() {
        check(
            "abc\u{3}\u{4}",
            expect![[r#"
                interrupt
                end
                echo "abc^C\r\n"
            "#]],
        );
        check(
            "ab\u{4}\u{1}\r",
            expect![[r#"
                line "ab"
                line "\u{1}\n"
                echo "ab^A\r\n"
            "#]],
        );
    }

    #[test]
    fn a_line_is_bounded() {
        let mut discipline = Discipline::default();
        (0..LINE_BYTES_MAX).for_each(|_| drop(discipline.take(b'x')));
        assert_eq!(discipline.take(b'x'), [echo(&[BELL])]);
        let lines = discipline.take(b'\r');
        assert!(matches!(&lines[..], [_, Step::Line(line)] if line.len() == LINE_BYTES_MAX + 1));
    }

    #[test]
    fn line_feeds_return_the_carriage() {
        assert_eq!(&shown(b"a\nb\n\nc")[..], b"a\r\nb\r\n\r\nc");
        assert_eq!(&shown(b"")[..], b"");
    }
}
