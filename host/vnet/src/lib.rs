//! Virtual network namespaces: pipes, listeners, datagrams.
