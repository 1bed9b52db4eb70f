//! Scale to zero in the API: names that the hosts, the server and the controller of Services on demand share.

/// On a Service, an annotation: how long it must be unused before its Deployments have no pods, such as `60s` or `5m`.
pub const IDLE: &str = "coracle.dev/scale-to-zero-after";

/// [`IDLE`] as a JSON pointer into a Service. *Source:* RFC 6901, where `~1` is a slash.
pub const IDLE_POINTER: &str = "/metadata/annotations/coracle.dev~1scale-to-zero-after";

/// In a Service's status, a condition: `True`, with the time at which a host last saw it used or wanted.
pub const IN_USE: &str = "coracle.dev/InUse";

/// On a Deployment, an annotation: how many pods it had before it was scaled to zero, and gets back.
pub const REMEMBERED: &str = "coracle.dev/replicas-before-zero";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pointer_is_that_of_the_annotation() {
        assert_eq!(IDLE_POINTER, format!("/metadata/annotations/{}", IDLE.replace('/', "~1")));
    }
}
