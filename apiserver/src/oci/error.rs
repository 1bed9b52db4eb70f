//! Failures of the image registry, with the codes of the OCI Distribution Specification.

use http::StatusCode;
use serde_json::{Value, json};

/// Why a registry request failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OciError {
    /// No such blob in the repository.
    #[error("blob {0} unknown to the repository")]
    BlobUnknown(String),
    /// No such upload, or it ended.
    #[error("blob upload {0} unknown to the registry")]
    UploadUnknown(String),
    /// A chunk does not begin where the upload ends; the number is the bytes received so far.
    #[error("chunk out of order: {received} bytes were received so far")]
    ChunkOutOfOrder {
        /// Bytes received so far.
        received: u64,
    },
    /// Malformed or unsupported digest.
    #[error("digest {0:?} must be sha256: and 64 hexadecimal digits")]
    DigestInvalid(String),
    /// The content has another digest.
    #[error("provided digest {wanted} did not match uploaded content, which has {found}")]
    DigestMismatch {
        /// Digest that the client named.
        wanted: String,
        /// Digest of what it sent.
        found: String,
    },
    /// A manifest names a blob that was not pushed.
    #[error("manifest references blob {0}, which is unknown to the repository; push it first")]
    ManifestBlobUnknown(String),
    /// A manifest that cannot be read.
    #[error("manifest invalid: {0}")]
    ManifestInvalid(String),
    /// No such manifest.
    #[error("manifest {0} unknown to the repository")]
    ManifestUnknown(String),
    /// Malformed repository or tag name.
    #[error("invalid repository name or reference {0:?}")]
    NameInvalid(String),
    /// No such repository.
    #[error("repository {0} not known to the registry")]
    NameUnknown(String),
    /// The tag means another manifest, for good.
    #[error(
        "tag {0} is locked: tags of this repository always mean the same image; push another tag"
    )]
    TagImmutable(String),
    /// The repository is full.
    #[error("repository {repository} may hold {bytes_max} bytes; delete images first")]
    QuotaExceeded {
        /// The repository.
        repository: String,
        /// Most bytes that it may hold.
        bytes_max: u64,
    },
    /// The repositories of a namespace are full.
    #[error(
        "the repositories of namespace {namespace} may hold {bytes_max} bytes together; delete images first"
    )]
    NamespaceFull {
        /// The namespace.
        namespace: String,
        /// Most bytes that they may hold.
        bytes_max: u64,
    },
    /// A chunk is not as long as its range says.
    #[error("the chunk has {found} bytes, and its Content-Range says {wanted}")]
    ChunkLength {
        /// Bytes that the range says.
        wanted: u64,
        /// Bytes that came.
        found: u64,
    },
    /// Over a size limit.
    #[error("content is over the limit of {0} bytes")]
    SizeInvalid(u64),
    /// A method or path that the registry does not have.
    #[error("the operation is not supported here")]
    Unsupported,
    /// The client broke off.
    #[error("cannot read the request body")]
    Body(#[source] crate::body::BoxError),
    /// The disk failed.
    #[error("cannot {operation} in the image store")]
    Io {
        /// What was being done.
        operation: &'static str,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
}

impl OciError {
    /// The HTTP status code.
    pub fn status(&self) -> StatusCode {
        match self {
            OciError::BlobUnknown(_)
            | OciError::UploadUnknown(_)
            | OciError::ManifestUnknown(_)
            | OciError::NameUnknown(_) => StatusCode::NOT_FOUND,
            OciError::ChunkOutOfOrder { .. } => StatusCode::RANGE_NOT_SATISFIABLE,
            OciError::DigestInvalid(_)
            | OciError::DigestMismatch { .. }
            | OciError::ManifestBlobUnknown(_)
            | OciError::ManifestInvalid(_)
            | OciError::NameInvalid(_)
            | OciError::ChunkLength { .. }
            | OciError::Body(_) => StatusCode::BAD_REQUEST,
            OciError::SizeInvalid(_) => StatusCode::PAYLOAD_TOO_LARGE,
            OciError::TagImmutable(_) => StatusCode::CONFLICT,
            OciError::QuotaExceeded { .. } | OciError::NamespaceFull { .. } => {
                StatusCode::FORBIDDEN
            }
            OciError::Unsupported => StatusCode::METHOD_NOT_ALLOWED,
            OciError::Io { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            OciError::BlobUnknown(_) => "BLOB_UNKNOWN",
            OciError::UploadUnknown(_) => "BLOB_UPLOAD_UNKNOWN",
            OciError::ChunkOutOfOrder { .. } | OciError::ChunkLength { .. } | OciError::Body(_) => {
                "BLOB_UPLOAD_INVALID"
            }
            OciError::DigestInvalid(_) | OciError::DigestMismatch { .. } => "DIGEST_INVALID",
            OciError::ManifestBlobUnknown(_) => "MANIFEST_BLOB_UNKNOWN",
            OciError::ManifestInvalid(_) => "MANIFEST_INVALID",
            OciError::ManifestUnknown(_) => "MANIFEST_UNKNOWN",
            OciError::NameInvalid(_) => "NAME_INVALID",
            OciError::NameUnknown(_) => "NAME_UNKNOWN",
            OciError::SizeInvalid(_) => "SIZE_INVALID",
            OciError::TagImmutable(_)
            | OciError::QuotaExceeded { .. }
            | OciError::NamespaceFull { .. } => "DENIED",
            OciError::Unsupported => "UNSUPPORTED",
            OciError::Io { .. } => "UNKNOWN",
        }
    }

    /// The response body.
    pub fn to_value(&self) -> Value {
        json!({"errors": [{"code": self.code(), "message": self.to_string(), "detail": null}]})
    }
}

/// Names the operation that an IO error ended.
pub(super) fn io(operation: &'static str) -> impl FnOnce(std::io::Error) -> OciError {
    move |source| OciError::Io { operation, source }
}
