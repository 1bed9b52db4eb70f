//! `EncryptionConfiguration`: which resources are sealed, and by which keys.
//!
//! *Source:* `apiserver.config.k8s.io/v1`. The providers `aesgcm` and `identity` are known; `aesgcm` keys seal data keys
//! here and no values, so they need not be changed after some number of writes.

use super::key::Key;
use super::{Provider, Sealer};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// Bytes of a key that is made: AES-256.
const KEY_BYTES: usize = 32;

/// Why an encryption configuration was refused.
#[derive(Debug, thiserror::Error)]
#[error("read the encryption configuration: {what}")]
pub struct SealConfigError {
    what: String,
}

fn wrong(what: impl Into<String>) -> SealConfigError {
    SealConfigError { what: what.into() }
}

/// The text of a configuration that seals Secrets by a fresh key, and reads what was stored before it.
///
/// # Errors
/// When no random bytes are to be had.
pub fn generate() -> Result<String, SealConfigError> {
    let mut key = [0; KEY_BYTES];
    aws_lc_rs::rand::fill(&mut key).map_err(|_| wrong("no random bytes for a key"))?;
    let secret = STANDARD.encode(key);
    Ok(format!(
        "# Keys that seal Secrets in the store. Whoever loses this file loses the Secrets.\n\
         # To rotate, put a new key in front and restart; when the server is up, the old one can go.\n\
         apiVersion: apiserver.config.k8s.io/v1\n\
         kind: EncryptionConfiguration\n\
         resources:\n\
         - resources: [secrets]\n  \
           providers:\n  \
           - aesgcm: {{keys: [{{name: key1, secret: {secret}}}]}}\n  \
           - identity: {{}}\n"
    ))
}

/// See [`Sealer::parse`].
pub(super) fn parse(text: &str) -> Result<Sealer, SealConfigError> {
    let config: Value = serde_saphyr::from_str(text).map_err(|error| wrong(error.to_string()))?;
    if config["kind"] != "EncryptionConfiguration" {
        return Err(wrong("`kind` must be 'EncryptionConfiguration'"));
    }
    let rules = config["resources"].as_array().filter(|rules| !rules.is_empty());
    let rules = rules.ok_or_else(|| wrong("`resources` must not be empty"))?;
    let mut out = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        let at = format!("resources[{index}]");
        let names = rule["resources"].as_array().filter(|names| !names.is_empty());
        let names = names.ok_or_else(|| wrong(format!("`{at}.resources` must not be empty")))?;
        for name in names {
            let name =
                name.as_str().ok_or_else(|| wrong(format!("`{at}.resources` must be texts")))?;
            out.push((prefix_of(name), providers(&rule["providers"], &at)?));
        }
    }
    Ok(Sealer::new(out))
}

/// The prefix in the store of `PLURAL[.GROUP]`, where `*` stands for all.
fn prefix_of(name: &str) -> String {
    let (plural, group) = name.split_once('.').unwrap_or((name, ""));
    match (plural, group) {
        ("*", "*") => "/registry/".to_owned(),
        ("*", "") => "/registry/core/".to_owned(),
        ("*", group) => format!("/registry/{group}/"),
        (plural, group) => crate::cache::resource_prefix(group, plural),
    }
}

fn providers(list: &Value, at: &str) -> Result<Vec<Provider>, SealConfigError> {
    let list = list.as_array().filter(|list| !list.is_empty());
    let list = list.ok_or_else(|| wrong(format!("`{at}.providers` must not be empty")))?;
    let mut out = Vec::new();
    for (index, provider) in list.iter().enumerate() {
        let at = format!("{at}.providers[{index}]");
        let fields = provider.as_object().filter(|fields| fields.len() == 1);
        let field = fields.and_then(|fields| fields.iter().next());
        match field.map(|(name, value)| (name.as_str(), value)) {
            Some(("identity", _)) => out.push(Provider::Identity),
            Some(("aesgcm", value)) => out.extend(keys(value, &at)?),
            Some((other, _)) => {
                return Err(wrong(format!(
                    "`{at}`: the provider '{other}' is not known; use 'aesgcm' or 'identity'"
                )));
            }
            None => return Err(wrong(format!("`{at}` must name one provider"))),
        }
    }
    Ok(out)
}

fn keys(provider: &Value, at: &str) -> Result<Vec<Provider>, SealConfigError> {
    let keys = provider["keys"].as_array().filter(|keys| !keys.is_empty());
    let keys = keys.ok_or_else(|| wrong(format!("`{at}.aesgcm.keys` must not be empty")))?;
    let read = |key: &Value| {
        let name = key["name"].as_str().filter(|name| !name.is_empty() && !name.contains(':'));
        let name = name.ok_or_else(|| {
            wrong(format!("`{at}.aesgcm.keys`: a key must have a name without ':'"))
        })?;
        let secret = key["secret"].as_str().and_then(|text| STANDARD.decode(text).ok());
        let key = secret.and_then(|secret| Key::new(name, &secret));
        let what = || {
            wrong(format!(
                "`{at}.aesgcm.keys`: the secret of '{name}' must be 16, 24 or 32 bytes in base64"
            ))
        };
        key.map(Provider::Key).ok_or_else(what)
    };
    keys.iter().map(read).collect()
}
