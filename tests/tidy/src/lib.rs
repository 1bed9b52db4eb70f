//! House rules as a test: see `tests/`. Nothing is built from here.
