//! Components that stay mapped and linked while nobody runs them, so that the next start of one need
//! not map it anew.
//!
//! Mapping and linking takes the larger part of a start: jobs, probes by `exec` and containers that
//! crash would pay for it each time. What is kept costs the kernel's page cache, address space and a
//! description of its types, so both bounds are small. Pure: the caller locks.

use std::collections::VecDeque;

use crate::image::Parts;

/// Components that are kept: those of a busy host's jobs and tools. The description of each takes a
/// few hundred KiB of memory.
const COMPONENTS_MAX: usize = 64;

/// Bytes of compiled code of all that are kept. They are pages of files, which the kernel may drop,
/// but count as resident while they are mapped and were touched.
const CODE_BYTES_MAX: usize = 256 << 20;

/// What is kept, the one used last at the end.
#[derive(Default)]
pub(crate) struct Mapped {
    components: VecDeque<(String, Parts)>,
}

impl Mapped {
    /// Gives what is kept under a digest, and makes it the last to go.
    pub(crate) fn take_up(&mut self, digest: &str) -> Option<Parts> {
        let index = self.components.iter().position(|(kept, _)| kept == digest)?;
        let found = self.components.remove(index)?;
        let parts = found.1.clone();
        self.components.push_back(found);
        Some(parts)
    }

    /// Keeps a component as the last to go; gives what has to go for it, for the caller to drop
    /// when nothing is locked. One that alone is over the bound is not kept, and drives out no other.
    #[must_use]
    pub(crate) fn keep(&mut self, digest: &str, parts: Parts) -> Vec<Parts> {
        let mut gone: Vec<Parts> = self.forget(digest).into_iter().collect();
        if parts.code_bytes > CODE_BYTES_MAX {
            return gone;
        }
        self.components.push_back((digest.to_owned(), parts));
        while self.components.len() > COMPONENTS_MAX || self.code_bytes() > CODE_BYTES_MAX {
            gone.extend(self.components.pop_front().map(|(_, parts)| parts));
        }
        gone
    }

    /// Gives up what is kept under a digest, for the caller to drop.
    pub(crate) fn forget(&mut self, digest: &str) -> Option<Parts> {
        let index = self.components.iter().position(|(kept, _)| kept == digest)?;
        self.components.remove(index).map(|(_, parts)| parts)
    }

    /// The digests of what is kept.
    pub(crate) fn digests(&self) -> impl Iterator<Item = &str> {
        self.components.iter().map(|(digest, _)| digest.as_str())
    }

    fn code_bytes(&self) -> usize {
        self.components.iter().map(|(_, parts)| parts.code_bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{ComponentKind, Pre};

    /// A component without anything in it.
    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    fn parts(engine: &wasmtime::Engine, code_bytes: usize) -> Parts {
        let component = wasmtime::component::Component::new(engine, EMPTY).unwrap();
        let linker = wasmtime::component::Linker::new(engine);
        Parts {
            kind: ComponentKind::Library,
            imports: Vec::new(),
            exports: Vec::new(),
            memory_bytes_min: 0,
            code_bytes,
            pre: Pre::Library(linker.instantiate_pre(&component).unwrap()),
        }
    }

    fn digests(mapped: &Mapped) -> String {
        mapped.digests().collect()
    }

    #[test]
    fn the_one_that_was_used_the_longest_ago_goes_first() {
        let engine = wasmtime::Engine::default();
        let mut mapped = Mapped::default();
        let all: String = ('!'..='`').collect();
        assert_eq!(all.len(), COMPONENTS_MAX);
        for digest in all.chars() {
            assert!(mapped.keep(&digest.to_string(), parts(&engine, 1)).is_empty());
        }
        assert!(mapped.take_up("!").is_some() && mapped.take_up("?!").is_none());
        assert_eq!(mapped.keep("one more", parts(&engine, 1)).len(), 1);
        assert_eq!(digests(&mapped), format!("{}!one more", &all[2..]));
        assert_eq!(mapped.keep("!", parts(&engine, 1)).len(), 1, "the same again takes its place");
        assert_eq!(digests(&mapped), format!("{}one more!", &all[2..]));
        assert!(mapped.forget("!").is_some() && mapped.take_up("!").is_none());
    }

    #[test]
    fn code_is_kept_up_to_its_bound() {
        let engine = wasmtime::Engine::default();
        let mut mapped = Mapped::default();
        assert!(mapped.keep("a", parts(&engine, CODE_BYTES_MAX / 2)).is_empty());
        assert!(mapped.keep("b", parts(&engine, CODE_BYTES_MAX / 2)).is_empty());
        assert_eq!(mapped.keep("c", parts(&engine, 1)).len(), 1);
        assert_eq!(digests(&mapped), "bc");
        assert!(mapped.keep("d", parts(&engine, CODE_BYTES_MAX + 1)).is_empty());
        assert_eq!(digests(&mapped), "bc");
    }
}
