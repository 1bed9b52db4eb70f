//! Which allocator a process uses, by what it is for.
//!
//! Server and host are one binary and want different ones: mimalloc takes a quarter of its CPU off a server that
//! changes objects, and adds a third to the memory of an idle pod in a host (figures in `specs/decisions.md`, "An
//! allocator for each role"). What a process is for stands in its command line, which is looked at once, at its
//! first allocation.

#![expect(
    unsafe_code,
    reason = "GlobalAlloc is an unsafe trait; every call is handed on as it came"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs::File;
use std::io::Read as _;
use std::sync::atomic::{AtomicU8, Ordering};

use mimalloc::MiMalloc;

/// Bytes of the command line that are looked at. The word that counts is among the first ones.
const LOOKED_AT: usize = 4096;

const UNDECIDED: u8 = 0;
const SYSTEM: u8 = 1;
const MIMALLOC: u8 = 2;

/// A global allocator: mimalloc in a process that has one of some words among its arguments, else the system's.
#[derive(Debug)]
pub struct ByRole {
    words: &'static [&'static str],
    chosen: AtomicU8,
}

impl ByRole {
    /// mimalloc for processes of which an argument is one of these words.
    #[must_use]
    pub const fn new(words: &'static [&'static str]) -> Self {
        Self { words, chosen: AtomicU8::new(UNDECIDED) }
    }

    /// The same answer for the life of the process, so each block goes back to where it came from.
    #[inline]
    fn is_mimalloc(&self) -> bool {
        match self.chosen.load(Ordering::Relaxed) {
            UNDECIDED => self.decide(),
            chosen => chosen == MIMALLOC,
        }
    }

    /// Allocates nothing: it is asked in the midst of an allocation. Threads that decide at once read the same
    /// command line.
    #[cold]
    fn decide(&self) -> bool {
        let mut line = [0; LOOKED_AT];
        let read = File::open("/proc/self/cmdline").and_then(|mut file| file.read(&mut line));
        // Without a command line to read, the system's allocator is right for every role.
        let line = line.get(..read.unwrap_or(0)).unwrap_or_default();
        let mimalloc = names(line, self.words);
        self.chosen.store(if mimalloc { MIMALLOC } else { SYSTEM }, Ordering::Relaxed);
        mimalloc
    }
}

/// Whether an argument of a command line (each ended by a zero byte, `proc_pid_cmdline(5)`) is one of the words. The
/// first one, the program, is none.
fn names(line: &[u8], words: &[&str]) -> bool {
    let mut arguments = line.split(|byte| *byte == 0).skip(1);
    arguments.any(|argument| words.iter().any(|word| word.as_bytes() == argument))
}

// SAFETY: both allocators keep the contract of the trait, and a block is given back to the one that it came from,
// because `is_mimalloc` never changes its answer.
unsafe impl GlobalAlloc for ByRole {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those that the called one asks for; so below.
        unsafe { if self.is_mimalloc() { MiMalloc.alloc(layout) } else { System.alloc(layout) } }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as in `alloc`.
        unsafe {
            if self.is_mimalloc() {
                MiMalloc.alloc_zeroed(layout)
            } else {
                System.alloc_zeroed(layout)
            }
        }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as in `alloc`.
        unsafe {
            if self.is_mimalloc() {
                MiMalloc.dealloc(block, layout);
            } else {
                System.dealloc(block, layout);
            }
        }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as in `alloc`.
        unsafe {
            if self.is_mimalloc() {
                MiMalloc.realloc(block, layout, size)
            } else {
                System.realloc(block, layout, size)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_says_what_a_process_is_for() {
        for (line, expected) in [
            ("/usr/bin/coracle\0--data-dir\0/d\0server\0", true),
            ("/usr/bin/coracle\0host\0", false),
            ("server\0host\0", false),
            ("coracle\0--name=server\0", false),
            ("coracle\0servers\0", false),
            ("", false),
        ] {
            assert_eq!(names(line.as_bytes(), &["server", "up"]), expected, "{line}");
        }
    }

    #[test]
    fn blocks_of_both_kinds_keep_what_is_in_them() {
        // Without a word for it, no command line asks for mimalloc.
        for (allocator, chosen) in [
            (ByRole::new(&[]), SYSTEM),
            (ByRole { words: &[], chosen: AtomicU8::new(MIMALLOC) }, MIMALLOC),
        ] {
            for (size, align) in [(1, 1), (24, 8), (4096, 64), (3 << 20, 4096)] {
                let layout = Layout::from_size_align(size, align).unwrap();
                // SAFETY: the block is as large as its layout says, and given back once, with the layout it has.
                unsafe {
                    let block = allocator.alloc_zeroed(layout);
                    assert!(!block.is_null() && block.addr().is_multiple_of(align));
                    assert_eq!(*block.add(size - 1), 0);
                    *block = 7;
                    let larger = allocator.realloc(block, layout, size * 2);
                    assert_eq!(*larger, 7);
                    allocator.dealloc(larger, Layout::from_size_align(size * 2, align).unwrap());
                    let block = allocator.alloc(layout);
                    assert!(!block.is_null());
                    allocator.dealloc(block, layout);
                }
            }
            assert_eq!(allocator.chosen.load(Ordering::Relaxed), chosen);
        }
    }
}
