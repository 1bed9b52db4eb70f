//! Flags about OpenID Connect issuers, named as kube-apiserver's.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use coracle_apiserver::authn::{Oidc, OidcFlags, parse_configuration};

/// Whose tokens are trusted beside the cluster's own.
#[derive(Debug, Clone, Args)]
pub(crate) struct OidcArguments {
    /// Issuers whose tokens are trusted, with rules for their claims: an AuthenticationConfiguration
    #[arg(long, value_name = "FILE", conflicts_with = "oidc_issuer_url")]
    authentication_config: Option<PathBuf>,

    /// OpenID Connect issuer whose tokens are trusted, an https URL
    #[arg(long, value_name = "URL", requires = "oidc_client_id")]
    oidc_issuer_url: Option<String>,

    /// For whom the issuer's tokens must be
    #[arg(long, value_name = "ID", requires = "oidc_issuer_url")]
    oidc_client_id: Option<String>,

    /// Claim that names the user
    #[arg(long, value_name = "CLAIM", default_value = "sub", requires = "oidc_issuer_url")]
    oidc_username_claim: String,

    /// What is put before the user's name; `-` for nothing [default: the issuer's URL and `#`, but
    /// nothing before an email]
    #[arg(long, value_name = "PREFIX", requires = "oidc_issuer_url", allow_hyphen_values = true)]
    oidc_username_prefix: Option<String>,

    /// Claim that lists the user's groups
    #[arg(long, value_name = "CLAIM", requires = "oidc_issuer_url")]
    oidc_groups_claim: Option<String>,

    /// What is put before each group
    #[arg(long, value_name = "PREFIX", requires = "oidc_issuer_url")]
    oidc_groups_prefix: Option<String>,

    /// Claims that must have a value
    #[arg(long, value_name = "CLAIM=VALUE", value_delimiter = ',', requires = "oidc_issuer_url")]
    oidc_required_claim: Vec<String>,

    /// Ways in which tokens may be signed [default: RS256]
    #[arg(long, value_name = "NAME", value_delimiter = ',', requires = "oidc_issuer_url")]
    oidc_signing_algs: Vec<String>,

    /// Who vouches for the issuer's server, PEM [default: the system's authorities]
    #[arg(long, value_name = "FILE", requires = "oidc_issuer_url")]
    oidc_ca_file: Option<PathBuf>,
}

impl OidcArguments {
    /// The issuers that are trusted.
    pub(crate) fn issuers(&self) -> anyhow::Result<Oidc> {
        if let Some(path) = &self.authentication_config {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("read --authentication-config {}", path.display()))?;
            let rules = parse_configuration(&text).with_context(|| path.display().to_string())?;
            return Ok(Oidc::new(rules));
        }
        let Some(url) = &self.oidc_issuer_url else { return Ok(Oidc::default()) };
        let authority = match &self.oidc_ca_file {
            Some(path) => std::fs::read(path)
                .with_context(|| format!("read --oidc-ca-file {}", path.display()))?,
            None => Vec::new(),
        };
        let flags = OidcFlags {
            issuer_url: url.clone(),
            client_id: self.oidc_client_id.clone().unwrap_or_default(),
            username_claim: self.oidc_username_claim.clone(),
            username_prefix: self.oidc_username_prefix.clone(),
            groups_claim: self.oidc_groups_claim.clone().unwrap_or_default(),
            groups_prefix: self.oidc_groups_prefix.clone().unwrap_or_default(),
            required_claims: self.oidc_required_claim.clone(),
            signing_algorithms: self.oidc_signing_algs.clone(),
            authority,
        };
        Ok(Oidc::new(vec![flags.rules()?]))
    }
}
