//! `coracle token`: the tokens by which hosts join.

use std::time::Duration;

use anyhow::{Context as _, bail};
use coracle_client::Failure as _;
use coracle_controllers::bootstrap::token::{NAMESPACE, SECRET_TYPE, parse, secret_name};
use coracle_controllers::bootstrap::{
    CLUSTER_INFO, KUBECONFIG, PUBLIC_NAMESPACE, SIGNATURE_PREFIX, Token,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::config::Kubeconfig;
use kube::{Api, Client};
use rand::Rng as _;

use crate::config::{DataDir, TokenCommand, TokenCreateFlags, TokenFlags};
use crate::{client, join, out};

/// How long a new cluster may take to write its `cluster-info`.
const CLUSTER_INFO_MAX: Duration = Duration::from_secs(30);

/// Between two looks at it.
const CLUSTER_INFO_PAUSE: Duration = Duration::from_millis(100);

/// What a token is made of.
const LETTERS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// Runs one of the commands.
pub(crate) async fn run(data: &DataDir, command: TokenCommand) -> anyhow::Result<()> {
    match command {
        TokenCommand::Create(flags) => create(data, &flags).await,
        TokenCommand::List(flags) => list(data, &flags).await,
        TokenCommand::Revoke(flags) => revoke(data, &flags.token, &flags.common).await,
    }
}

async fn open(data: &DataDir, flags: &TokenFlags) -> anyhow::Result<Client> {
    let kubeconfig = flags.kubeconfig.clone().unwrap_or_else(|| data.kubeconfig());
    client::of_kubeconfig(&kubeconfig).await
}

#[expect(clippy::disallowed_methods, reason = "the end of a token is counted from now")]
async fn create(data: &DataDir, flags: &TokenCreateFlags) -> anyhow::Result<()> {
    let client = open(data, &flags.common).await?;
    let ttl = flags.ttl.as_str();
    let ttl: SignedDuration = match ttl {
        "0" => SignedDuration::ZERO,
        text => text.parse().with_context(|| {
            format!("--ttl '{text}' must be a duration such as 30m or 24h, or 0 for ever")
        })?,
    };
    if ttl.is_negative() {
        bail!("--ttl must not be negative");
    }
    let token = Token {
        id: draw(6),
        secret: draw(16),
        expiration: (!ttl.is_zero()).then(|| Timestamp::now() + ttl),
        signs: true,
        authenticates: true,
        description: flags.description.clone(),
    };
    let (server, hash) = whereabouts(&client).await?;
    let secrets: Api<Secret> = Api::namespaced(client.clone(), NAMESPACE);
    let made = secrets.create(&PostParams::default(), &token.to_secret()).await;
    made.context("keep the token in the cluster")?;
    // Before that a host would be told that nobody knows its token.
    let signature = format!("{SIGNATURE_PREFIX}{}", token.id);
    let is_signed =
        |map: &ConfigMap| map.data.as_ref().is_some_and(|data| data.contains_key(&signature));
    cluster_info(&client, is_signed).await?;
    out::line(format_args!(
        "coracle host --server {server} --token {}.{} --ca-hash {hash}",
        token.id, token.secret
    ));
    Ok(())
}

fn draw(length: usize) -> String {
    let mut random = rand::rng();
    let letter = |_| char::from(LETTERS[random.random_range(0..LETTERS.len())]);
    (0..length).map(letter).collect()
}

/// Where hosts reach the server, and the digest of its CA.
async fn whereabouts(client: &Client) -> anyhow::Result<(String, String)> {
    let map = cluster_info(client, |_| true).await?;
    let text = map.data.unwrap_or_default().remove(KUBECONFIG).unwrap_or_default();
    let kubeconfig = Kubeconfig::from_yaml(&text).context("read the kubeconfig in cluster-info")?;
    let cluster = kubeconfig.clusters.into_iter().next().and_then(|named| named.cluster);
    let cluster = cluster.context("cluster-info names no cluster")?;
    let server = cluster.server.unwrap_or_default();
    let host = server.parse::<http::Uri>().ok().and_then(|url| Some(url.host()?.to_owned()));
    if host.is_some_and(|host| host == "127.0.0.1" || host == "[::1]") {
        tracing::warn!(
            server,
            "no other machine reaches the server there: start it with --listen 0.0.0.0:6443"
        );
    }
    let encoded = cluster.certificate_authority_data.unwrap_or_default();
    use base64::Engine as _;
    let authority = base64::engine::general_purpose::STANDARD.decode(encoded);
    let authority = String::from_utf8(authority.context("decode the CA in cluster-info")?);
    let hash = join::ca_hash(&authority.context("read the CA in cluster-info")?)?;
    Ok((server, hash))
}

/// What a host reads first, once it is as wanted: the controllers of a new cluster write it a moment after its server
/// answers, and sign it with each new token.
async fn cluster_info(
    client: &Client,
    is_so: impl Fn(&ConfigMap) -> bool,
) -> anyhow::Result<ConfigMap> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), PUBLIC_NAMESPACE);
    let written = async {
        loop {
            match maps.get(CLUSTER_INFO).await {
                Ok(map) if is_so(&map) => return Ok(map),
                Ok(_) => {}
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error).context("read cluster-info"),
            }
            tokio::time::sleep(CLUSTER_INFO_PAUSE).await;
        }
    };
    let waited = tokio::time::timeout(CLUSTER_INFO_MAX, written).await;
    waited.with_context(|| {
        format!(
            "the ConfigMap {PUBLIC_NAMESPACE}/{CLUSTER_INFO} is not written after {} s: look whether the server's \
             controllers run (`kubectl get leases -n kube-system`)",
            CLUSTER_INFO_MAX.as_secs()
        )
    })?
}

async fn list(data: &DataDir, flags: &TokenFlags) -> anyhow::Result<()> {
    let secrets: Api<Secret> = Api::namespaced(open(data, flags).await?, NAMESPACE);
    let only = ListParams::default().fields(&format!("type={SECRET_TYPE}"));
    let all = secrets.list(&only).await.context("list the tokens")?;
    out::line(row("TOKEN", "EXPIRES", "USAGES", "DESCRIPTION"));
    for token in all.iter().filter_map(Token::read) {
        let expires = token.expiration.map_or("never".to_owned(), |end| format!("{end:.0}"));
        let usages = [(token.authenticates, "authentication"), (token.signs, "signing")];
        let usages: Vec<&str> =
            usages.into_iter().filter_map(|(used, name)| used.then_some(name)).collect();
        let id = format!("{}.****", token.id);
        out::line(row(&id, &expires, &usages.join(","), &token.description));
    }
    Ok(())
}

fn row(token: &str, expires: &str, usages: &str, description: &str) -> String {
    format!("{token:<13}{expires:<23}{usages:<25}{description}").trim_end().to_owned()
}

async fn revoke(data: &DataDir, text: &str, flags: &TokenFlags) -> anyhow::Result<()> {
    let id = parse(text).map_or(text, |(id, _)| id);
    let secrets: Api<Secret> = Api::namespaced(open(data, flags).await?, NAMESPACE);
    match secrets.delete(&secret_name(id), &DeleteParams::default()).await {
        Ok(_) => out::line(format_args!("token {id} revoked")),
        Err(error) if error.is_not_found() => {
            bail!("there is no token '{id}': `coracle token list` shows those that there are")
        }
        Err(error) => return Err(error).context("delete the token"),
    }
    Ok(())
}
