//! Observed in, actions out: a folder per kind.
