//! The token by which a list goes on.
//!
//! *Source:* the form of `k8s.io/apiserver/pkg/storage/continue.go`: base64url without padding of
//! `{"v":"meta.k8s.io/v1","rv":REVISION,"start":"NAMESPACE/NAME\u0000"}`; revision -1 means the latest.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use coracle_api::status::Status;
use coracle_store::Revision;
use serde::{Deserialize, Serialize};
use std::fmt;

const VERSION: &str = "meta.k8s.io/v1";

/// At which revision a list goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenRevision {
    /// That of the first page.
    Exact(Revision),
    /// Whatever is the latest.
    Latest,
}

/// Where a list goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    /// At which revision.
    pub(super) revision: TokenRevision,
    /// The last object of the page before, relative to what is listed.
    pub(super) start_after: String,
}

#[derive(Serialize, Deserialize)]
struct Wire {
    #[serde(rename = "v")]
    version: String,
    #[serde(rename = "rv")]
    revision: i64,
    start: String,
}

impl Token {
    /// Reads a token.
    ///
    /// # Errors
    /// 400 when it is none of ours.
    pub(super) fn parse(text: &str) -> Result<Token, Status> {
        let invalid = || Status::bad_request("continue key is not valid");
        let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| invalid())?;
        let wire: Wire = serde_json::from_slice(&bytes).map_err(|_| invalid())?;
        let start_after = wire.start.strip_suffix('\0').unwrap_or(&wire.start);
        if wire.version != VERSION || start_after.is_empty() || wire.revision == 0 {
            return Err(invalid());
        }
        let revision = match u64::try_from(wire.revision) {
            Ok(revision) => TokenRevision::Exact(Revision(revision)),
            Err(_) => TokenRevision::Latest,
        };
        Ok(Token { revision, start_after: start_after.to_owned() })
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let revision = match self.revision {
            TokenRevision::Exact(revision) => i64::try_from(revision.0).unwrap_or(i64::MAX),
            TokenRevision::Latest => -1,
        };
        let start = format!("{}\0", self.start_after);
        let wire = Wire { version: VERSION.to_owned(), revision, start };
        let json = serde_json::to_vec(&wire).map_err(|_| fmt::Error)?;
        f.write_str(&URL_SAFE_NO_PAD.encode(json))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_wrote() {
        for revision in [TokenRevision::Exact(Revision(77)), TokenRevision::Latest] {
            let token = Token { revision, start_after: "ns/name".to_owned() };
            assert_eq!(Token::parse(&token.to_string()).unwrap(), token);
        }
    }

    #[test]
    fn reads_what_kubernetes_writes() {
        let json = "{\"v\":\"meta.k8s.io/v1\",\"rv\":5,\"start\":\"default/a\\u0000\"}";
        let token = Token::parse(&URL_SAFE_NO_PAD.encode(json)).unwrap();
        let revision = TokenRevision::Exact(Revision(5));
        assert_eq!(token, Token { revision, start_after: "default/a".to_owned() });
    }

    #[test]
    fn refuses_others() {
        for json in [
            "",
            "{",
            r#"{"v":"meta.k8s.io/v2","rv":5,"start":"a"}"#,
            r#"{"v":"meta.k8s.io/v1","rv":0,"start":"a"}"#,
            r#"{"v":"meta.k8s.io/v1","rv":5,"start":""}"#,
        ] {
            assert_eq!(Token::parse(&URL_SAFE_NO_PAD.encode(json)).unwrap_err().code(), 400);
        }
        assert_eq!(Token::parse("%%").unwrap_err().code(), 400);
    }
}
