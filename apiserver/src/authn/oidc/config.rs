//! Which issuers are trusted: by flags, or by an `AuthenticationConfiguration`. Pure.
//!
//! *Source:* Kubernetes, "Using Authentication Configuration"; the flags are kube-apiserver's.

use coracle_api::cel::Expression;
use jsonwebtoken::Algorithm;
use serde::Deserialize;

use super::rules::{Condition, JwtRules, Source};

/// Most issuers. *Source:* `k8s.io/apiserver/pkg/apis/apiserver/validation`.
const ISSUERS_MAX: usize = 64;

/// What signs by a key that has a public half.
const ALGORITHMS: [(&str, Algorithm); 8] = [
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
];

/// Why issuers cannot be trusted as it is said.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OidcError {
    /// The file is no `AuthenticationConfiguration`.
    #[error("read the AuthenticationConfiguration: {0}")]
    Parse(String),
    /// A field makes no sense.
    #[error("{field}: {what}")]
    Field {
        /// The field or flag.
        field: String,
        /// What it must be.
        what: String,
    },
}

fn wrong(field: impl Into<String>, what: impl Into<String>) -> OidcError {
    OidcError::Field { field: field.into(), what: what.into() }
}

/// The `--oidc-…` flags of kube-apiserver, as they were given.
#[derive(Debug, Clone, Default)]
pub struct OidcFlags {
    /// `--oidc-issuer-url`.
    pub issuer_url: String,
    /// `--oidc-client-id`.
    pub client_id: String,
    /// `--oidc-username-claim`; empty for `sub`.
    pub username_claim: String,
    /// `--oidc-username-prefix`; `-` for none.
    pub username_prefix: Option<String>,
    /// `--oidc-groups-claim`; empty for no groups.
    pub groups_claim: String,
    /// `--oidc-groups-prefix`.
    pub groups_prefix: String,
    /// `--oidc-required-claim`, as `CLAIM=VALUE`.
    pub required_claims: Vec<String>,
    /// `--oidc-signing-algs`; empty for RS256.
    pub signing_algorithms: Vec<String>,
    /// What `--oidc-ca-file` holds, PEM.
    pub authority: Vec<u8>,
}

impl OidcFlags {
    /// The rules that the flags stand for.
    ///
    /// # Errors
    /// Names the flag that makes no sense, and what it must be.
    pub fn rules(self) -> Result<JwtRules, OidcError> {
        check_url("--oidc-issuer-url", &self.issuer_url)?;
        if self.client_id.is_empty() {
            return Err(wrong("--oidc-client-id", "must be set with --oidc-issuer-url"));
        }
        let claim = Some(self.username_claim).filter(|claim| !claim.is_empty());
        let claim = claim.unwrap_or_else(|| "sub".to_owned());
        let prefix = match self.username_prefix {
            Some(none) if none == "-" => String::new(),
            Some(prefix) => prefix,
            None if claim == "email" => String::new(),
            None => format!("{}#", self.issuer_url),
        };
        let required = self.required_claims.iter().map(|pair| {
            let pair = pair.split_once('=').filter(|(name, _)| !name.is_empty());
            let pair = pair.map(|(name, value)| (name.to_owned(), value.to_owned()));
            pair.ok_or_else(|| wrong("--oidc-required-claim", "must be CLAIM=VALUE"))
        });
        let algorithm = |name: &String| {
            let known = ALGORITHMS.iter().find(|(known, _)| known == name);
            let names = ALGORITHMS.map(|(name, _)| name).join(", ");
            known
                .map(|(_, algorithm)| *algorithm)
                .ok_or_else(|| wrong("--oidc-signing-algs", format!("must be of {names}")))
        };
        let mut algorithms =
            self.signing_algorithms.iter().map(algorithm).collect::<Result<Vec<_>, _>>()?;
        if algorithms.is_empty() {
            algorithms.push(Algorithm::RS256);
        }
        let groups = Some(self.groups_claim).filter(|claim| !claim.is_empty());
        Ok(JwtRules {
            discovery_url: discovery_of(&self.issuer_url),
            url: self.issuer_url,
            authority: self.authority,
            audiences: vec![self.client_id],
            algorithms,
            required: required.collect::<Result<_, _>>()?,
            claim_conditions: Vec::new(),
            username: Source::Claim { name: claim, prefix },
            groups: groups.map(|name| Source::Claim { name, prefix: self.groups_prefix }),
            uid: None,
            extra: Vec::new(),
            user_conditions: Vec::new(),
        })
    }
}

fn check_url(field: &str, url: &str) -> Result<(), OidcError> {
    let parsed = url.parse::<http::Uri>().ok();
    let good = parsed.is_some_and(|url| {
        url.scheme_str() == Some("https") && url.host().is_some() && url.query().is_none()
    });
    let what = "must be an https URL without a query, such as https://accounts.example.com";
    if good && !url.contains('#') { Ok(()) } else { Err(wrong(field, what)) }
}

/// *Source:* OpenID Connect Discovery 1.0, section 4.
fn discovery_of(issuer: &str) -> String {
    format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    api_version: String,
    kind: String,
    #[serde(default)]
    jwt: Vec<Jwt>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Jwt {
    issuer: IssuerFile,
    #[serde(default)]
    claim_validation_rules: Vec<RuleFile>,
    claim_mappings: Mappings,
    #[serde(default)]
    user_validation_rules: Vec<RuleFile>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct IssuerFile {
    url: String,
    #[serde(default, rename = "discoveryURL")]
    discovery_url: String,
    #[serde(default)]
    certificate_authority: String,
    audiences: Vec<String>,
    #[serde(default)]
    audience_match_policy: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct RuleFile {
    claim: String,
    required_value: String,
    expression: String,
    message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Mappings {
    username: Mapping,
    #[serde(default)]
    groups: Mapping,
    #[serde(default)]
    uid: Mapping,
    #[serde(default)]
    extra: Vec<Extra>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Mapping {
    claim: String,
    prefix: Option<String>,
    expression: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Extra {
    key: String,
    value_expression: String,
}

/// Reads an `AuthenticationConfiguration`: the rules of each of its `jwt` authenticators.
///
/// `anonymous` is not among what may be configured.
///
/// # Errors
/// Says what is no part of such a file, and names fields that make no sense.
pub fn parse_configuration(text: &str) -> Result<Vec<JwtRules>, OidcError> {
    let file: File =
        serde_saphyr::from_str(text).map_err(|error| OidcError::Parse(error.to_string()))?;
    let versions = ["v1", "v1beta1", "v1alpha1"].map(|v| format!("apiserver.config.k8s.io/{v}"));
    if file.kind != "AuthenticationConfiguration" || !versions.contains(&file.api_version) {
        let what = "it must be an AuthenticationConfiguration of apiserver.config.k8s.io/v1";
        return Err(OidcError::Parse(what.to_owned()));
    }
    if file.jwt.len() > ISSUERS_MAX {
        return Err(wrong("jwt", format!("must have at most {ISSUERS_MAX} items")));
    }
    let mut all: Vec<JwtRules> = Vec::new();
    for (index, jwt) in file.jwt.into_iter().enumerate() {
        let rules = jwt.rules(&format!("jwt[{index}]"))?;
        if all.iter().any(|other| other.url == rules.url) {
            return Err(wrong(format!("jwt[{index}].issuer.url"), "must not be that of another"));
        }
        all.push(rules);
    }
    Ok(all)
}

impl Jwt {
    fn rules(self, at: &str) -> Result<JwtRules, OidcError> {
        let IssuerFile { url, discovery_url, certificate_authority, audiences, .. } = self.issuer;
        check_url(&format!("{at}.issuer.url"), &url)?;
        if !discovery_url.is_empty() {
            check_url(&format!("{at}.issuer.discoveryURL"), &discovery_url)?;
        }
        if audiences.iter().all(String::is_empty) {
            return Err(wrong(format!("{at}.issuer.audiences"), "must name at least one"));
        }
        let policy = self.issuer.audience_match_policy;
        if !["", "MatchAny"].contains(&policy.as_str()) {
            return Err(wrong(format!("{at}.issuer.audienceMatchPolicy"), "must be 'MatchAny'"));
        }
        let (mut required, mut claim_conditions) = (Vec::new(), Vec::new());
        for (index, rule) in self.claim_validation_rules.into_iter().enumerate() {
            let at = format!("{at}.claimValidationRules[{index}]");
            match (rule.claim.is_empty(), rule.expression.is_empty()) {
                (false, true) => required.push((rule.claim, rule.required_value)),
                (true, false) => claim_conditions.push(condition(&at, rule, "claims")?),
                _ => return Err(wrong(at, "must have one of `claim` and `expression`")),
            }
        }
        let mut user_conditions = Vec::new();
        for (index, rule) in self.user_validation_rules.into_iter().enumerate() {
            let at = format!("{at}.userValidationRules[{index}]");
            user_conditions.push(condition(&at, rule, "user")?);
        }
        let at = format!("{at}.claimMappings");
        let username = self.claim_mappings.username.source(&format!("{at}.username"))?;
        let username = username.ok_or_else(|| {
            wrong(format!("{at}.username"), "must have `claim` and `prefix`, or `expression`")
        })?;
        let mut extra = Vec::new();
        for (index, item) in self.claim_mappings.extra.into_iter().enumerate() {
            let at = format!("{at}.extra[{index}]");
            if !item.key.contains('/') || item.key.to_lowercase() != item.key {
                return Err(wrong(
                    format!("{at}.key"),
                    "must be a lower-case path such as example.com/team",
                ));
            }
            let made =
                compiled(&format!("{at}.valueExpression"), &item.value_expression, "claims")?;
            extra.push((item.key, made));
        }
        let discovery = Some(discovery_url).filter(|own| !own.is_empty());
        Ok(JwtRules {
            discovery_url: discovery.unwrap_or_else(|| discovery_of(&url)),
            url,
            authority: certificate_authority.into_bytes(),
            audiences,
            algorithms: ALGORITHMS.map(|(_, algorithm)| algorithm).to_vec(),
            required,
            claim_conditions,
            username,
            groups: self.claim_mappings.groups.source(&format!("{at}.groups"))?,
            uid: self.claim_mappings.uid.source(&format!("{at}.uid"))?,
            extra,
            user_conditions,
        })
    }
}

impl Mapping {
    fn source(self, at: &str) -> Result<Option<Source>, OidcError> {
        match (self.claim.is_empty(), self.expression.is_empty()) {
            (true, true) => Ok(None),
            (true, false) => {
                Ok(Some(Source::Expression(compiled(at, &self.expression, "claims")?)))
            }
            (false, true) => {
                let prefix = self.prefix.unwrap_or_default();
                Ok(Some(Source::Claim { name: self.claim, prefix }))
            }
            (false, false) => Err(wrong(at, "must not have both `claim` and `expression`")),
        }
    }
}

fn condition(at: &str, rule: RuleFile, variable: &str) -> Result<Condition, OidcError> {
    let expression = compiled(&format!("{at}.expression"), &rule.expression, variable)?;
    Ok(Condition { expression, message: rule.message })
}

fn compiled(at: &str, text: &str, variable: &str) -> Result<Expression, OidcError> {
    if text.trim().is_empty() {
        return Err(wrong(at, "must be an expression"));
    }
    Expression::compile(text, &[variable]).map_err(|error| wrong(at, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_make_no_sense_are_refused() {
        let check = |jwt: &str, expected: &str| {
            let text = format!(
                "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt:\n- {jwt}\n"
            );
            let error = parse_configuration(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        let issuer = "issuer: {url: https://a, audiences: [x]}";
        check(
            "{issuer: {url: http://a, audiences: [x]}, claimMappings: {username: {claim: sub}}}",
            "jwt[0].issuer.url: must be an https URL",
        );
        check(
            "{issuer: {url: https://a, audiences: []}, claimMappings: {username: {claim: sub}}}",
            "jwt[0].issuer.audiences: must name",
        );
        check(
            &format!("{{{issuer}, claimMappings: {{username: {{}}}}}}"),
            "jwt[0].claimMappings.username: must have",
        );
        check(
            &format!("{{{issuer}, claimMappings: {{username: {{expression: 'user.x'}}}}}}"),
            "undeclared reference to 'user'",
        );
        check(&format!("{{{issuer}, odd: 1, claimMappings: {{username: {{claim: sub}}}}}}"), "odd");
        assert!(parse_configuration("kind: Other\napiVersion: v1\n").is_err());
    }

    #[test]
    fn flags_have_upstreams_defaults() {
        let flags = |change: &dyn Fn(&mut OidcFlags)| {
            let mut flags = OidcFlags {
                issuer_url: "https://a/".into(),
                client_id: "c".into(),
                ..OidcFlags::default()
            };
            change(&mut flags);
            flags.rules()
        };
        let rules = flags(&|_| {}).unwrap();
        assert_eq!(rules.discovery_url, "https://a/.well-known/openid-configuration");
        assert_eq!(rules.algorithms, [Algorithm::RS256]);
        let prefix = |rules: JwtRules| match rules.username {
            Source::Claim { name, prefix } => format!("{name} {prefix}"),
            Source::Expression(_) => String::new(),
        };
        assert_eq!(prefix(rules), "sub https://a/#");
        assert_eq!(prefix(flags(&|f| f.username_claim = "email".into()).unwrap()), "email ");
        assert_eq!(prefix(flags(&|f| f.username_prefix = Some("-".into())).unwrap()), "sub ");
        let error = |change: &dyn Fn(&mut OidcFlags)| flags(change).unwrap_err().to_string();
        assert!(error(&|f| f.client_id.clear()).starts_with("--oidc-client-id"));
        assert!(error(&|f| f.required_claims = vec!["x".into()]).starts_with("--oidc-required"));
        assert!(error(&|f| f.signing_algorithms = vec!["HS256".into()]).contains("RS256"));
    }
}
