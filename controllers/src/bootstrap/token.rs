//! A bootstrap token and the Secret that it is kept in.
//!
//! *Source:* Kubernetes, "Authenticating with Bootstrap Tokens".

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Namespace of the Secrets.
pub const NAMESPACE: &str = "kube-system";
/// Type of the Secrets.
pub const SECRET_TYPE: &str = "bootstrap.kubernetes.io/token";
/// The group of those who join with a token that Coracle made; the roles for joining are bound to
/// it.
pub const GROUP: &str = "system:bootstrappers:coracle:hosts";

/// Length of a token's public part.
const ID_BYTES: usize = 6;
/// Length of a token's secret part.
const SECRET_BYTES: usize = 16;

/// A token: `ID.SECRET`.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// The part that may be seen.
    pub id: String,
    /// The part that may not.
    pub secret: String,
    /// When it ends; `None`: never.
    pub expiration: Option<Timestamp>,
    /// Whether `cluster-info` is signed with it.
    pub signs: bool,
    /// Whether one can authenticate with it.
    pub authenticates: bool,
    /// What it is for, in words.
    pub description: String,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Token({})", self.id)
    }
}

/// Splits `ID.SECRET`; `None` if the text is no token.
#[must_use]
pub fn parse(text: &str) -> Option<(&str, &str)> {
    let known = |part: &str, bytes: usize| {
        part.len() == bytes && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    text.split_once('.').filter(|(id, secret)| known(id, ID_BYTES) && known(secret, SECRET_BYTES))
}

/// The name of the Secret of a token.
#[must_use]
pub fn secret_name(id: &str) -> String {
    format!("bootstrap-token-{id}")
}

impl Token {
    /// Reads a token from its Secret; `None` if that is no token's. An expiration that cannot be
    /// read counts as past.
    #[must_use]
    pub fn read(secret: &Secret) -> Option<Token> {
        if secret.type_.as_deref() != Some(SECRET_TYPE) {
            return None;
        }
        let data = secret.data.as_ref()?;
        let text = |key: &str| {
            let bytes = data.get(key).map(|value| value.0.clone()).unwrap_or_default();
            String::from_utf8(bytes).unwrap_or_default()
        };
        let expiration = Some(text("expiration")).filter(|text| !text.is_empty());
        let whole = format!("{}.{}", text("token-id"), text("token-secret"));
        let (id, token) = parse(&whole)?;
        Some(Token {
            id: id.to_owned(),
            secret: token.to_owned(),
            expiration: expiration.map(|text| text.parse().unwrap_or(Timestamp::UNIX_EPOCH)),
            signs: text("usage-bootstrap-signing") == "true",
            authenticates: text("usage-bootstrap-authentication") == "true",
            description: text("description"),
        })
    }

    /// The Secret that keeps it.
    #[must_use]
    pub fn to_secret(&self) -> Secret {
        let mut data = BTreeMap::new();
        let mut set = |key: &str, value: &str| {
            data.insert(key.to_owned(), ByteString(value.as_bytes().to_vec()));
        };
        set("token-id", &self.id);
        set("token-secret", &self.secret);
        set("usage-bootstrap-signing", if self.signs { "true" } else { "false" });
        set("usage-bootstrap-authentication", if self.authenticates { "true" } else { "false" });
        set("auth-extra-groups", GROUP);
        if !self.description.is_empty() {
            set("description", &self.description);
        }
        if let Some(end) = self.expiration {
            set("expiration", &end.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
        }
        Secret {
            metadata: ObjectMeta {
                namespace: Some(NAMESPACE.to_owned()),
                name: Some(secret_name(&self.id)),
                ..ObjectMeta::default()
            },
            type_: Some(SECRET_TYPE.to_owned()),
            data: Some(data),
            ..Secret::default()
        }
    }

    /// Whether it ended before or at `now`.
    #[must_use]
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.expiration.is_some_and(|end| end <= now)
    }
}
