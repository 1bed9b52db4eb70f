//! From claims to a user, by the rules of one issuer. Pure: the time is an input.
//!
//! *Source:* `k8s.io/apiserver/plugin/pkg/authenticator/token/oidc` in behaviour.

use coracle_api::cel::{Expression, Scope, Shape, to_json};
use jiff::Timestamp;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use std::collections::BTreeMap;

use crate::authn::UserInfo;

/// Seconds by which an issuer's clock may be ahead of this one's. *Source:* the leeway of `go-oidc` for `nbf`.
const AHEAD_SECONDS_MAX: i64 = 300;

/// Where a part of a user comes from.
#[derive(Debug)]
pub(super) enum Source {
    /// A claim, behind a prefix.
    Claim {
        /// The claim's name.
        name: String,
        /// What is put before each value.
        prefix: String,
    },
    /// An expression over `claims`.
    Expression(Expression),
}

/// A condition with the words for when it does not hold.
#[derive(Debug)]
pub(super) struct Condition {
    pub(super) expression: Expression,
    pub(super) message: String,
}

/// What is trusted of one issuer, and what its claims mean.
#[derive(Debug)]
pub struct JwtRules {
    /// The issuer, as its tokens name it.
    pub(super) url: String,
    /// Where it describes itself.
    pub(super) discovery_url: String,
    /// Who vouches for its server, PEM; empty for the system's own authorities.
    pub(super) authority: Vec<u8>,
    /// For whom a token must be.
    pub(super) audiences: Vec<String>,
    /// How a token may be signed; never by a shared secret.
    pub(super) algorithms: Vec<Algorithm>,
    /// Claims that must have a value.
    pub(super) required: Vec<(String, String)>,
    /// Conditions over `claims`.
    pub(super) claim_conditions: Vec<Condition>,
    /// The user's name.
    pub(super) username: Source,
    /// The user's groups.
    pub(super) groups: Option<Source>,
    /// The user's uid.
    pub(super) uid: Option<Source>,
    /// More about the user, by key.
    pub(super) extra: Vec<(String, Expression)>,
    /// Conditions over `user`.
    pub(super) user_conditions: Vec<Condition>,
}

impl JwtRules {
    /// The user that claims speak of.
    ///
    /// # Errors
    /// Why they are not accepted.
    pub(super) fn user(&self, claims: &Value, now: Timestamp) -> Result<UserInfo, String> {
        self.check(claims, now)?;
        let mut scope = Scope::new();
        scope.bind("claims", claims, Shape::Unknown);
        all_hold(&self.claim_conditions, &scope)?;
        if matches!(&self.username, Source::Claim { name, .. } if name == "email")
            && claims.get("email_verified").is_some_and(|verified| *verified != true)
        {
            return Err("the email address is not verified".to_owned());
        }
        let name = self.username.one(claims, &scope)?;
        if name.is_empty() {
            return Err("the claims name no user".to_owned());
        }
        let groups = match &self.groups {
            Some(source) => source.many(claims, &scope)?,
            None => Vec::new(),
        };
        let mut user = UserInfo::new(&name, groups.iter().map(String::as_str));
        if let Some(source) = &self.uid {
            user.uid = source.one(claims, &scope)?;
        }
        user.extra = self.extra(&scope)?;
        self.check_user(&user)?;
        Ok(user)
    }

    fn check(&self, claims: &Value, now: Timestamp) -> Result<(), String> {
        let seconds = |name: &str| claims[name].as_f64().map(|seconds| seconds as i64);
        let now = now.as_second();
        match seconds("exp") {
            Some(end) if now < end => {}
            Some(_) => return Err("it has expired".to_owned()),
            None => return Err("it does not say when it expires".to_owned()),
        }
        if seconds("nbf").is_some_and(|start| now + AHEAD_SECONDS_MAX < start) {
            return Err("it is not valid yet".to_owned());
        }
        let is_for = |audience: &Value| self.audiences.iter().any(|own| *audience == **own);
        let audience = &claims["aud"];
        let list = audience.as_array().map(Vec::as_slice);
        if !list.unwrap_or(std::slice::from_ref(audience)).iter().any(is_for) {
            return Err(format!("it is for {audience}, not for this cluster"));
        }
        for (name, value) in &self.required {
            if claims[name] != **value {
                return Err(format!("its claim {name:?} is not {value:?}"));
            }
        }
        Ok(())
    }

    fn extra(&self, scope: &Scope) -> Result<BTreeMap<String, Vec<String>>, String> {
        let mut out = BTreeMap::new();
        for (key, expression) in &self.extra {
            let values = texts(&evaluated(expression, scope)?)?;
            if !values.is_empty() {
                out.insert(key.clone(), values);
            }
        }
        Ok(out)
    }

    fn check_user(&self, user: &UserInfo) -> Result<(), String> {
        if self.user_conditions.is_empty() {
            return Ok(());
        }
        let shown = json!({
            "username": user.name, "uid": user.uid, "groups": user.groups, "extra": user.extra,
        });
        let mut scope = Scope::new();
        scope.bind("user", &shown, Shape::Unknown);
        all_hold(&self.user_conditions, &scope)
    }
}

impl Source {
    fn value(&self, claims: &Value, scope: &Scope) -> Result<(Value, &str), String> {
        match self {
            Source::Claim { name, prefix } => Ok((claims[name].clone(), prefix)),
            Source::Expression(expression) => Ok((evaluated(expression, scope)?, "")),
        }
    }

    fn one(&self, claims: &Value, scope: &Scope) -> Result<String, String> {
        let (value, prefix) = self.value(claims, scope)?;
        match value.as_str().filter(|text| !text.is_empty()) {
            Some(text) => Ok(format!("{prefix}{text}")),
            None => Err(format!("{self} is not text: {value}")),
        }
    }

    fn many(&self, claims: &Value, scope: &Scope) -> Result<Vec<String>, String> {
        let (value, prefix) = self.value(claims, scope)?;
        let found = texts(&value).map_err(|why| format!("{self}: {why}"))?;
        Ok(found.into_iter().map(|text| format!("{prefix}{text}")).collect())
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::Claim { name, .. } => write!(f, "the claim {name:?}"),
            Source::Expression(expression) => write!(f, "the expression {:?}", expression.text()),
        }
    }
}

/// A text, a list of texts, or nothing; empty texts are left out.
fn texts(value: &Value) -> Result<Vec<String>, String> {
    let wrong = || format!("it must be text or a list of texts, not {value}");
    let all = match value {
        Value::Null => Vec::new(),
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => {
            let items = items.iter().map(|item| item.as_str().map(str::to_owned));
            items.collect::<Option<Vec<String>>>().ok_or_else(wrong)?
        }
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => return Err(wrong()),
    };
    Ok(all.into_iter().filter(|text| !text.is_empty()).collect())
}

fn evaluated(expression: &Expression, scope: &Scope) -> Result<Value, String> {
    let failed = |why: &dyn std::fmt::Display| {
        format!("the expression {:?} failed: {why}", expression.text())
    };
    let value = expression.evaluate(scope).map_err(|error| failed(&error))?;
    to_json(&value).ok_or_else(|| failed(&"its value is not one of JSON"))
}

fn all_hold(conditions: &[Condition], scope: &Scope) -> Result<(), String> {
    for Condition { expression, message } in conditions {
        let holds = expression.is_true(scope);
        match holds {
            Ok(true) => {}
            Ok(false) if message.is_empty() => {
                return Err(format!("the rule {:?} does not hold", expression.text()));
            }
            Ok(false) => return Err(message.clone()),
            Err(error) => return Err(format!("the rule {:?} failed: {error}", expression.text())),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::config::parse_configuration;
    use super::*;

    const RULES: &str = r#"
apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt:
- issuer: {url: "https://issuer", audiences: [cluster, other], audienceMatchPolicy: MatchAny}
  claimValidationRules:
  - {claim: hd, requiredValue: example.com}
  - {expression: "claims.level > 1", message: the level is too low}
  claimMappings:
    username: {expression: "'oidc:' + claims.sub"}
    groups: {claim: roles, prefix: "g:"}
    uid: {claim: sub}
    extra: [{key: example.com/team, valueExpression: "claims.?team.orValue('')"}]
  userValidationRules:
  - {expression: "!user.username.startsWith('oidc:system')", message: reserved}
"#;

    fn check(change: Value, expected: Result<&str, &str>) {
        let rules = parse_configuration(RULES).unwrap().remove(0);
        let mut claims = json!({"sub": "ann", "aud": ["cluster"], "exp": 200, "hd": "example.com",
            "level": 2, "roles": ["dev", "ops"]});
        for (name, value) in change.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let user = rules.user(&claims, Timestamp::from_second(100).unwrap());
        let shown = user.map(|user| {
            format!("{} {} {} {:?}", user.name, user.uid, user.groups.join(","), user.extra)
        });
        assert_eq!(shown.as_deref().map_err(String::as_str), expected);
    }

    #[test]
    fn claims_become_a_user_or_are_refused() {
        check(json!({}), Ok("oidc:ann ann g:dev,g:ops,system:authenticated {}"));
        check(
            json!({"team": "red", "roles": "one", "aud": "other"}),
            Ok("oidc:ann ann g:one,system:authenticated {\"example.com/team\": [\"red\"]}"),
        );
        check(json!({"roles": null}), Ok("oidc:ann ann system:authenticated {}"));
        check(
            json!({"roles": 3}),
            Err("the claim \"roles\": it must be text or a list of texts, not 3"),
        );
        check(json!({"exp": 100}), Err("it has expired"));
        check(json!({"exp": null}), Err("it does not say when it expires"));
        check(json!({"nbf": 401}), Err("it is not valid yet"));
        check(json!({"nbf": 400}), Ok("oidc:ann ann g:dev,g:ops,system:authenticated {}"));
        check(json!({"aud": ["x"]}), Err("it is for [\"x\"], not for this cluster"));
        check(json!({"aud": null}), Err("it is for null, not for this cluster"));
        check(json!({"hd": "x"}), Err("its claim \"hd\" is not \"example.com\""));
        check(json!({"level": 1}), Err("the level is too low"));
        check(json!({"sub": "system:root"}), Err("reserved"));
    }
}
