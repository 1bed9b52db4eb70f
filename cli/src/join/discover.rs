//! Who vouches for a server: asked of the server itself, and believed if the token vouches for it.
//!
//! *Source:* kubeadm's token based discovery.

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use coracle_controllers::bootstrap::{
    CLUSTER_INFO, KUBECONFIG, PUBLIC_NAMESPACE, SIGNATURE_PREFIX, jws,
};
use http::{Request, header};
use http_body_util::{BodyExt as _, Limited};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::client::Body;
use kube::config::Kubeconfig;

use super::certificate::check_hash;

/// How far the clocks of host and server may be apart: certificates and leases live by them.
const SKEW_MAX: SignedDuration = SignedDuration::from_mins(5);

/// Bytes that the answer may have: whoever answers is not trusted yet.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// A token in its two parts.
#[derive(Clone, Copy)]
pub(super) struct Token<'a> {
    pub(super) id: &'a str,
    pub(super) secret: &'a str,
}

/// Gives the certificate of the authority that vouches for the server at `url`, PEM.
pub(super) async fn discover(
    url: &http::Uri,
    token: Token<'_>,
    hash: Option<&str>,
    now: Timestamp,
) -> anyhow::Result<String> {
    let mut config = kube::Config::new(url.clone());
    // What is read is checked by the token below; nothing is sent.
    config.accept_invalid_certs = true;
    let client = kube::Client::try_from(config).context("make a client without a CA")?;
    let path = format!("/api/v1/namespaces/{PUBLIC_NAMESPACE}/configmaps/{CLUSTER_INFO}");
    let request = Request::get(path).body(Body::empty()).context("ask for cluster-info")?;
    let answer = client.send(request).await.with_context(|| {
        let port = url.port_u16().unwrap_or(443);
        format!(
            "reach {url}: check the address, that the server has --listen on it, and that nothing between closes TCP \
             port {port}; hosts need that one to servers, and 15008 (--tunnel-port) to each other"
        )
    })?;
    let (parts, body) = answer.into_parts();
    let date = parts.headers.get(header::DATE).and_then(|date| date.to_str().ok());
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
    let body = body.map_err(|error| anyhow::anyhow!("read cluster-info of {url}: {error}"))?;
    let map: ConfigMap = serde_json::from_slice(&body.to_bytes())
        .with_context(|| format!("{url} answers, but not as a Coracle server does"))?;
    if !parts.status.is_success() {
        bail!("{url} tells no cluster-info ({}): is it a server of a cluster?", parts.status);
    }
    let authority = believe(&map, url, token)?;
    if let Some(wanted) = hash {
        check_hash(&authority, wanted)?;
    }
    check_clock(date, now)?;
    Ok(authority)
}

/// The authority that `cluster-info` names, if it is signed with the token.
fn believe(map: &ConfigMap, url: &http::Uri, token: Token<'_>) -> anyhow::Result<String> {
    let data = map.data.as_ref().context("cluster-info is empty")?;
    let text = data.get(KUBECONFIG).context("cluster-info has no kubeconfig")?;
    let Some(signature) = data.get(&format!("{SIGNATURE_PREFIX}{}", token.id)) else {
        bail!(
            "the cluster does not know the token '{}': it has expired or was revoked; make another one with `coracle \
             token create` beside the server",
            token.id
        );
    };
    if !jws::verify(signature, text, token.id, token.secret) {
        bail!(
            "what {url} says is not signed with this token: the part of the token after the dot is wrong, or it is not \
             the cluster that the token is for; take both from one line of `coracle token create`"
        );
    }
    let kubeconfig = Kubeconfig::from_yaml(text).context("read the kubeconfig in cluster-info")?;
    let cluster = kubeconfig.clusters.into_iter().next().and_then(|named| named.cluster);
    let encoded = cluster.and_then(|cluster| cluster.certificate_authority_data);
    let encoded = encoded.context("cluster-info names no authority")?;
    let authority = STANDARD.decode(encoded).context("decode the authority in cluster-info")?;
    String::from_utf8(authority).context("read the authority in cluster-info")
}

/// Compares the own clock with the server's, which is in the head of its answer.
fn check_clock(date: Option<&str>, now: Timestamp) -> anyhow::Result<()> {
    let parser = jiff::fmt::rfc2822::DateTimeParser::new();
    let Some(theirs) = date.and_then(|date| parser.parse_timestamp(date).ok()) else {
        return Ok(());
    };
    let ahead = now.duration_since(theirs);
    if ahead.abs() <= SKEW_MAX {
        return Ok(());
    }
    let way = if ahead.is_negative() { "behind" } else { "ahead of" };
    bail!(
        "this machine's clock ({now:.0}) is {:#} {way} the server's ({theirs:.0}): set both by NTP, then join again",
        ahead.abs()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_controllers::bootstrap::public_kubeconfig;

    const TOKEN: Token<'_> = Token { id: "abcdef", secret: "0123456789abcdef" };

    fn check(change: impl FnOnce(&mut ConfigMap), token: Token<'_>, expected: Result<&str, &str>) {
        let text = public_kubeconfig("https://192.0.2.1:6443", "PEM");
        let signature = jws::sign(&text, TOKEN.id, TOKEN.secret);
        let data = [(KUBECONFIG.to_owned(), text), ("jws-kubeconfig-abcdef".to_owned(), signature)];
        let mut map = ConfigMap { data: Some(data.into()), ..ConfigMap::default() };
        change(&mut map);
        let url = "https://192.0.2.1:6443".parse().unwrap();
        match (believe(&map, &url, token), expected) {
            (Ok(authority), Ok(expected)) => assert_eq!(authority, expected),
            (Err(error), Err(words)) => assert!(error.to_string().contains(words), "{error}"),
            (found, expected) => panic!("{found:?} in place of {expected:?}"),
        }
    }

    #[test]
    fn only_what_the_token_signs_is_believed() {
        check(|_| {}, TOKEN, Ok("PEM"));
        check(|_| {}, Token { id: "fedcba", ..TOKEN }, Err("expired or was revoked"));
        let other = Token { secret: "0123456789abcdee", ..TOKEN };
        check(|_| {}, other, Err("not signed with this token"));
        let forged = public_kubeconfig("https://192.0.2.1:6443", "EVIL");
        let forge = |map: &mut ConfigMap| {
            map.data.as_mut().unwrap().insert(KUBECONFIG.to_owned(), forged);
        };
        check(forge, TOKEN, Err("not the cluster that the token is for"));
    }

    #[test]
    fn clocks_that_are_apart_are_told() {
        let check = |date: &str, words: Option<&str>| {
            let now = "2026-01-02T00:00:00Z".parse().unwrap();
            let said = check_clock(Some(date), now).err().map(|error| error.to_string());
            match words {
                None => assert_eq!(said, None),
                Some(words) => assert!(said.as_ref().unwrap().contains(words), "{said:?}"),
            }
        };
        check("Fri, 02 Jan 2026 00:04:59 GMT", None);
        check("Fri, 02 Jan 2026 01:00:00 GMT", Some("1h behind the server's"));
        check("Thu, 01 Jan 2026 00:00:00 GMT", Some("24h ahead of the server's"));
        check("junk", None);
    }
}
