//! Revisions, optimistic writes and watch over bytes.
