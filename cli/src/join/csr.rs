//! Asks the cluster for a certificate, and waits for it.

use std::time::Duration;

use anyhow::{Context as _, bail};
use coracle_client::Failure as _;
use coracle_controllers::certificate::{CLIENT_SIGNER, SERVING_SIGNER};
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::PostParams;

use super::certificate::{Pair, request};

/// Time between two looks at the request; the cluster decides within some ten milliseconds.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long to wait for somebody to decide.
const PATIENCE: Duration = Duration::from_secs(60);

/// Which of a host's two certificates.
#[derive(Debug, Clone)]
pub(super) enum Use {
    /// To speak to the API server and to other hosts.
    Client,
    /// To be spoken to, under names and addresses.
    Serving(Vec<String>),
}

/// Asks for a certificate of a node and waits for it.
pub(super) async fn obtain(client: kube::Client, node: &str, what: &Use) -> anyhow::Result<Pair> {
    let (signer, usage, names) = match what {
        Use::Client => (CLIENT_SIGNER, "client auth", &[][..]),
        Use::Serving(names) => (SERVING_SIGNER, "server auth", names.as_slice()),
    };
    let (key, pem) = request(node, names)?;
    let wanted = CertificateSigningRequest {
        metadata: ObjectMeta {
            generate_name: Some("node-csr-".to_owned()),
            ..ObjectMeta::default()
        },
        spec: CertificateSigningRequestSpec {
            request: ByteString(pem.into_bytes()),
            signer_name: signer.to_owned(),
            usages: Some(vec!["digital signature".to_owned(), usage.to_owned()]),
            ..CertificateSigningRequestSpec::default()
        },
        status: None,
    };
    let api: Api<CertificateSigningRequest> = Api::all(client);
    let made = match api.create(&PostParams::default(), &wanted).await {
        Err(error) if error.is_refusal() => {
            bail!("the cluster does not let this host ask for a certificate: {}", error.message())
        }
        other => other.context("ask for a certificate")?,
    };
    let name = made.metadata.name.context("the request for a certificate got no name")?;
    let certificate = tokio::time::timeout(PATIENCE, wait(&api, &name)).await;
    let certificate = certificate.with_context(|| {
        format!("nobody approved the request: kubectl certificate approve {name}, then start again")
    })??;
    Ok(Pair { certificate, key: key.serialize_pem() })
}

async fn wait(api: &Api<CertificateSigningRequest>, name: &str) -> anyhow::Result<String> {
    loop {
        let status = api.get(name).await.context("read the request")?.status.unwrap_or_default();
        if let Some(certificate) = status.certificate {
            return String::from_utf8(certificate.0).context("read the certificate");
        }
        let no =
            status.conditions.iter().flatten().find(|c| c.type_ == "Denied" || c.type_ == "Failed");
        if let Some(no) = no {
            bail!(
                "{}",
                no.message.as_deref().unwrap_or("the request for a certificate was denied")
            );
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
