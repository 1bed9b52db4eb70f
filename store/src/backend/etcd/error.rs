//! How a call to etcd fails, and what that says about it. Pure.

use std::io;

/// Why a call gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum CallError {
    /// Nothing was sent.
    #[error("connect to etcd at {endpoint}: {what}")]
    Unconnected {
        /// Host and port.
        endpoint: String,
        /// What the network or TLS said.
        what: String,
    },
    /// It was sent, perhaps in part.
    #[error("the connection to etcd at {endpoint} broke: {what}")]
    Broken {
        /// Host and port.
        endpoint: String,
        /// What the network said.
        what: String,
    },
    /// It was sent, and no answer came in time.
    #[error("etcd at {endpoint} does not answer")]
    Silent {
        /// Host and port.
        endpoint: String,
    },
    /// etcd said no.
    #[error("etcd answers: {message}")]
    Refused {
        /// The code of gRPC.
        code: u32,
        /// In etcd's words.
        message: String,
    },
    /// What came is not of etcd's API.
    #[error("etcd answers with {0}")]
    Nonsense(String),
}

/// gRPC's codes that etcd uses and that are told apart here.
const INVALID_ARGUMENT: u32 = 3;
const PERMISSION_DENIED: u32 = 7;
const RESOURCE_EXHAUSTED: u32 = 8;
const FAILED_PRECONDITION: u32 = 9;
const OUT_OF_RANGE: u32 = 11;
const UNIMPLEMENTED: u32 = 12;
const UNAUTHENTICATED: u32 = 16;

impl CallError {
    /// Whether the same call may succeed, here or at another member.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            CallError::Unconnected { .. } | CallError::Broken { .. } | CallError::Silent { .. } => {
                true
            }
            CallError::Refused { code, .. } => {
                let lasting = [
                    INVALID_ARGUMENT,
                    PERMISSION_DENIED,
                    FAILED_PRECONDITION,
                    OUT_OF_RANGE,
                    UNIMPLEMENTED,
                ];
                !self.is_full()
                    && !self.is_too_large()
                    && (self.is_login_over() || !lasting.contains(code))
            }
            CallError::Nonsense(_) => false,
        }
    }

    /// Whether the call may have had its effect all the same.
    pub(super) fn is_doubtful(&self) -> bool {
        match self {
            CallError::Unconnected { .. } => false,
            CallError::Broken { .. } | CallError::Silent { .. } | CallError::Nonsense(_) => true,
            CallError::Refused { .. } => self.is_passing() && !self.is_login_over(),
        }
    }

    /// Whether another member should be asked next time.
    pub(super) fn is_of_the_member(&self) -> bool {
        self.is_passing() && !self.is_login_over()
    }

    /// Whether the token is no longer good.
    pub(super) fn is_login_over(&self) -> bool {
        match self {
            CallError::Refused { code: UNAUTHENTICATED, .. } => true,
            CallError::Refused { message, .. } => message.contains("revision of auth store is old"),
            CallError::Unconnected { .. }
            | CallError::Broken { .. }
            | CallError::Silent { .. }
            | CallError::Nonsense(_) => false,
        }
    }

    /// Whether the revision that was asked for is no longer kept.
    pub(super) fn is_compacted(&self) -> bool {
        matches!(self, CallError::Refused { code: OUT_OF_RANGE, message } if message.contains("compacted"))
    }

    /// Whether the call was longer than etcd takes.
    fn is_too_large(&self) -> bool {
        matches!(self, CallError::Refused { code: RESOURCE_EXHAUSTED, message } if message.contains("larger than max"))
    }

    /// The same in the words of etcd itself.
    fn is_request_too_large(&self) -> bool {
        matches!(self, CallError::Refused { code: INVALID_ARGUMENT, message } if message.contains("request is too large"))
    }

    /// Whether etcd's database is as large as it may be.
    fn is_full(&self) -> bool {
        matches!(self, CallError::Refused { code: RESOURCE_EXHAUSTED, message } if message.contains("space exceeded"))
    }
}

impl From<CallError> for io::Error {
    fn from(error: CallError) -> io::Error {
        if error.is_full() {
            let what = "etcd's database is full: free space by `etcdctl compact` and `etcdctl defrag`, or give it a \
                        larger --quota-backend-bytes, then `etcdctl alarm disarm`";
            return io::Error::new(io::ErrorKind::QuotaExceeded, what);
        }
        if error.is_too_large() || error.is_request_too_large() {
            let what =
                "the object is larger than etcd takes: give etcd a larger --max-request-bytes";
            return io::Error::new(io::ErrorKind::InvalidInput, what);
        }
        let kind = match &error {
            CallError::Silent { .. } => io::ErrorKind::TimedOut,
            CallError::Refused { code: PERMISSION_DENIED | UNAUTHENTICATED, .. } => {
                io::ErrorKind::PermissionDenied
            }
            CallError::Unconnected { .. } | CallError::Broken { .. } => io::ErrorKind::NotConnected,
            CallError::Refused { .. } | CallError::Nonsense(_) => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_says_what_may_be_done() {
        let refused =
            |code, message: &str| CallError::Refused { code, message: message.to_owned() };
        let check = |error: CallError, expected: [bool; 3]| {
            assert_eq!(
                [error.is_passing(), error.is_doubtful(), error.is_of_the_member()],
                expected,
                "{error}"
            );
        };
        let endpoint = || "a:1".to_owned();
        check(
            CallError::Unconnected { endpoint: endpoint(), what: String::new() },
            [true, false, true],
        );
        check(CallError::Silent { endpoint: endpoint() }, [true, true, true]);
        check(refused(14, "etcdserver: request timed out"), [true, true, true]);
        check(refused(2, "raft proposal dropped"), [true, true, true]);
        check(refused(16, "etcdserver: invalid auth token"), [true, false, false]);
        check(refused(3, "etcdserver: revision of auth store is old"), [true, false, false]);
        check(refused(3, "etcdserver: request is too large"), [false, false, false]);
        check(refused(7, "etcdserver: permission denied"), [false, false, false]);
        let full = refused(8, "etcdserver: mvcc: database space exceeded");
        check(full.clone(), [false, false, false]);
        assert_eq!(io::Error::from(full).kind(), io::ErrorKind::QuotaExceeded);
        check(refused(8, "etcdserver: too many requests"), [true, true, true]);
        check(refused(8, "grpc: received message larger than max"), [false, false, false]);
        let gone = "etcdserver: mvcc: required revision has been compacted";
        assert!(refused(11, gone).is_compacted());
    }
}
