//! `test-service-account-issuer-discovery`: whether a token is good, by what its issuer publishes, and only then.
//!
//! *Source:* OpenID Connect Discovery 1.0; RFC 7515, RFC 7517 and RFC 7518 for tokens and keys.

use std::io::{Error, Result};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SignatureScheme};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::flags::Flags;
use crate::logs::{log, seconds};

/// Where a pod finds the cluster's authority and its own token.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Bytes of a number of the curve P-256.
const NUMBER_BYTES: usize = 32;

/// Ends well when the token of `--token-path` is for `--audience` and signed by a key of its issuer.
pub async fn run(flags: Flags) -> Result<()> {
    let path = flags.text("token-path").ok_or_else(|| wrong("--token-path is missing"))?;
    let audience = flags.text("audience").ok_or_else(|| wrong("--audience is missing"))?;
    let token = std::fs::read_to_string(path)?;
    log("OK: Got token");
    let token = Token::read(token.trim())?;
    let issuer = token.claims["iss"].as_str().ok_or_else(|| wrong("the token has no issuer"))?;
    log(&format!("OK: got issuer {issuer}"));
    let description = get(&format!("{issuer}/.well-known/openid-configuration")).await?;
    if description["issuer"] != issuer {
        return Err(wrong("the issuer calls itself otherwise"));
    }
    log(&format!("OK: Constructed OIDC provider for issuer {issuer}"));
    let keys = description["jwks_uri"].as_str().ok_or_else(|| wrong("there is no jwks_uri"))?;
    token.check(&get(keys).await?, audience)?;
    log("OK: Validated signature on JWT");
    log(&format!("OK: Got valid claims from token! {}", token.claims));
    Ok(())
}

struct Token {
    /// What is signed.
    signed: String,
    header: Value,
    claims: Value,
    signature: Vec<u8>,
}

impl Token {
    fn read(text: &str) -> Result<Self> {
        let (signed, signature) = text.rsplit_once('.').ok_or_else(|| wrong("no token"))?;
        let (header, claims) = signed.split_once('.').ok_or_else(|| wrong("no token"))?;
        let part = |text: &str| Ok::<_, Error>(serde_json::from_slice(&decoded(text)?)?);
        let (header, claims) = (part(header)?, part(claims)?);
        Ok(Self { signed: signed.to_owned(), header, claims, signature: decoded(signature)? })
    }

    /// Whether one of the keys signed it, it is for the audience, and its time has not passed.
    fn check(&self, keys: &Value, audience: &str) -> Result<()> {
        let mut keys = keys["keys"].as_array().into_iter().flatten();
        let key = keys.find(|key| key["kid"] == self.header["kid"]);
        let key = key.ok_or_else(|| wrong("the issuer has no such key"))?;
        let number = |name: &str| decoded(key[name].as_str().unwrap_or_default());
        let (scheme, public, signature) = match self.header["alg"].as_str() {
            Some("ES256") => {
                let point = [vec![4], number("x")?, number("y")?].concat();
                let (r, s) = self.signature.split_at_checked(NUMBER_BYTES).unwrap_or_default();
                (SignatureScheme::ECDSA_NISTP256_SHA256, point, sequence(&[r, s]))
            }
            Some("RS256") => {
                let public = sequence(&[&number("n")?, &number("e")?]);
                (SignatureScheme::RSA_PKCS1_SHA256, public, self.signature.clone())
            }
            other => return Err(wrong(&format!("signed by {other:?}"))),
        };
        let known = rustls_rustcrypto::provider().signature_verification_algorithms;
        let ways =
            known.mapping.iter().find(|(mapped, _)| *mapped == scheme).map(|(_, ways)| *ways);
        let way = ways.and_then(|ways| ways.first()).ok_or_else(|| wrong("no way to check it"))?;
        let verified = way.verify_signature(&public, self.signed.as_bytes(), &signature);
        verified.map_err(|_| wrong("the signature is not the key's"))?;
        let audiences = self.claims["aud"].as_array().into_iter().flatten();
        if !audiences.chain([&self.claims["aud"]]).any(|one| one == audience) {
            return Err(wrong("it is for others"));
        }
        match self.claims["exp"].as_u64() {
            Some(end) if end > seconds() => Ok(()),
            Some(_) | None => Err(wrong("its time has passed")),
        }
    }
}

/// Positive numbers as a sequence of ASN.1, as signatures and keys are written in X.509.
fn sequence(numbers: &[&[u8]]) -> Vec<u8> {
    let one = |number: &&[u8]| {
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        let digits = &number[zeros..];
        let sign = digits.first().is_none_or(|first| *first >= 0x80);
        tagged(2, &[if sign { &[0][..] } else { &[] }, digits].concat())
    };
    tagged(0x30, &numbers.iter().map(one).collect::<Vec<_>>().concat())
}

fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let digits = &length[length.iter().take_while(|byte| **byte == 0).count()..];
    let head = match content.len() {
        short @ 0..0x80 => vec![tag, short as u8],
        _ => [&[tag, 0x80 | digits.len() as u8], digits].concat(),
    };
    [head, content.to_vec()].concat()
}

fn decoded(text: &str) -> Result<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).map_err(Error::other)
}

fn wrong(why: &str) -> Error {
    Error::other(why.to_owned())
}

/// A document behind an https address whose server the cluster's authority vouches for.
async fn get(url: &str) -> Result<Value> {
    let rest = url.strip_prefix("https://").ok_or_else(|| wrong("only https is asked"))?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (host, port) = authority.rsplit_once(':').unwrap_or((authority, "443"));
    let address = crate::client::resolve(host, port.parse().map_err(Error::other)?)?;
    let mut roots = RootCertStore::empty();
    for certificate in
        CertificateDer::pem_file_iter(format!("{ACCOUNT}/ca.crt")).map_err(Error::other)?
    {
        roots.add(certificate.map_err(Error::other)?).map_err(Error::other)?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls_rustcrypto::provider()));
    let config = config.with_safe_default_protocol_versions().map_err(Error::other)?;
    let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
    let name = ServerName::try_from(host.to_owned()).map_err(Error::other)?;
    let stream = TcpStream::connect(address).await?;
    let mut stream = TlsConnector::from(config).connect(name, stream).await?;
    let token = std::fs::read_to_string(format!("{ACCOUNT}/token"))?;
    let request = format!(
        "GET /{path} HTTP/1.0\r\nHost: {authority}\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
        token.trim()
    );
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| wrong("no answer"))?;
    if head.split(' ').nth(1) != Some("200") {
        return Err(wrong(&format!("{url}: {}", head.lines().next().unwrap_or_default())));
    }
    serde_json::from_str(body).map_err(Error::other)
}
