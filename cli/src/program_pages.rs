//! Gives back the pages of the program that only the start needed.
//!
//! The kernel maps sixteen pages for each one that is touched, and a start touches code all over a program of this size:
//! most of what an idle server held were pages of code that it does not run again. What it does run again comes back
//! from the page cache, at half a microsecond for each sixteen pages.

use std::time::Duration;

use rustix::mm::{Advice, madvise};

/// How long after its start the server runs no code of the start any more.
const STARTED_AFTER: Duration = Duration::from_secs(10);

/// Where the kernel tells of the own memory.
const MAPS: &str = "/proc/self/smaps";

/// Waits until the start is over, then gives the program's pages back. Cancel safe; a failure is only told.
pub(crate) async fn give_back() {
    tokio::time::sleep(STARTED_AFTER).await;
    let program = std::env::current_exe();
    let given = program.and_then(|program| Ok(clean(&std::fs::read_to_string(MAPS)?, &program)));
    match given {
        Ok(mappings) => mappings.into_iter().for_each(drop_pages),
        Err(error) => tracing::debug!(%error, "the program's pages stay"),
    }
}

/// A mapping: its first address, and its bytes.
type Mapping = (usize, usize);

/// Finds the mappings of a program that are as its file is: not writable, and without a page of their own, which
/// relocations leave behind.
fn clean(maps: &str, program: &std::path::Path) -> Vec<Mapping> {
    let mut found = Vec::new();
    let mut current: Option<Mapping> = None;
    for line in maps.lines() {
        if let Some(own) = line.strip_prefix("Anonymous:") {
            found.extend(current.take().filter(|_| own.trim() == "0 kB"));
        } else if let Some((mapping, name)) = header(line) {
            current = mapping.filter(|_| std::path::Path::new(name) == program);
        }
    }
    found
}

/// Reads the first line of a mapping; it is `None` inside when it can be written.
fn header(line: &str) -> Option<(Option<Mapping>, &str)> {
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    let (rights, rest) = rest.split_once(' ')?;
    let name = rest.splitn(4, ' ').nth(3).unwrap_or_default().trim_start();
    let mapping = (!rights.contains('w')).then_some((start, end.checked_sub(start)?));
    Some((mapping, name))
}

#[expect(unsafe_code, reason = "the kernel takes addresses; what lies there is the same after it")]
fn drop_pages((start, bytes): Mapping) {
    let start = std::ptr::with_exposed_provenance_mut(start);
    // SAFETY: the mapping cannot be written and has no page that differs from its file, so what is read there later, code
    // and constants, is what was read before.
    let dropped = unsafe { madvise(start, bytes, Advice::LinuxDontNeed) };
    if let Err(error) = dropped {
        tracing::debug!(%error, "pages of the program stay");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn takes_what_is_as_in_the_file() {
        let maps = "\
55d0-55e0 r--p 00000000 fe:00 12                         /opt/a b/coracle
Rss:                   8 kB
Anonymous:             0 kB
55e0-55f0 r-xp 00001000 fe:00 12                         /opt/a b/coracle
Anonymous:             0 kB
55f0-5600 r--p 00002000 fe:00 12                         /opt/a b/coracle
Anonymous:             4 kB
5600-5610 rw-p 00003000 fe:00 12                         /opt/a b/coracle
Anonymous:             0 kB
5610-5620 rw-p 00000000 00:00 0
Anonymous:             0 kB
7f00-7f10 r-xp 00000000 fe:00 9                          /lib/libc.so.6
Anonymous:             0 kB
7f10-7f20 r-xp 00000000 00:00 0                          [vdso]
Anonymous:             0 kB
";
        let found = clean(maps, Path::new("/opt/a b/coracle"));
        assert_eq!(found, [(0x55d0, 0x10), (0x55e0, 0x10)]);
    }

    #[test]
    fn a_program_goes_on_without_its_pages() {
        let program = std::env::current_exe().unwrap();
        let mappings = clean(&std::fs::read_to_string(MAPS).unwrap(), &program);
        assert!(!mappings.is_empty());
        mappings.into_iter().for_each(drop_pages);
        assert_eq!(format!("{:?}", Path::new("a")), "\"a\"");
    }
}
