//! What hosts say of each other, and are asked, in annotations: names that a host and the node controller share.

/// On a host's own Lease: the hosts that answer it, joined by commas.
pub const ANSWER: &str = "coracle.dev/peers-answer";

/// On a host's own Lease: the hosts that it watches and that do not answer, joined by commas.
pub const SILENT: &str = "coracle.dev/peers-silent";

/// On a Node: when its host was asked to renew its Lease at once, as RFC 3339.
pub const RENEW: &str = "coracle.dev/renew-asked";
