//! The whole system with real clients.
