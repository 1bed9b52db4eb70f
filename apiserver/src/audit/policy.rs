//! How much is told of which request: the first rule that fits decides.
//!
//! Pure. *Source:* `audit.k8s.io/v1 Policy`.

use crate::authn::UserInfo;
use crate::request_info::RequestInfo;
use serde_json::Value;

/// How much is told of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Nothing.
    None,
    /// Who, what and when.
    Metadata,
    /// Also what was sent.
    Request,
    /// Also what was answered.
    RequestResponse,
}

/// A moment of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It has come.
    RequestReceived,
    /// The head of a long answer was sent.
    ResponseStarted,
    /// It is answered.
    ResponseComplete,
}

impl Level {
    /// The level's name.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Level::None => "None",
            Level::Metadata => "Metadata",
            Level::Request => "Request",
            Level::RequestResponse => "RequestResponse",
        }
    }
}

impl Stage {
    /// The stage's name.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Stage::RequestReceived => "RequestReceived",
            Stage::ResponseStarted => "ResponseStarted",
            Stage::ResponseComplete => "ResponseComplete",
        }
    }
}

/// Why a policy was refused.
#[derive(Debug, thiserror::Error)]
#[error("read the audit policy: {what}")]
pub struct AuditPolicyError {
    what: String,
}

/// A policy.
#[derive(Debug, Clone, Default)]
pub struct AuditPolicy {
    omit_stages: Vec<String>,
    rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
struct Rule {
    level: Level,
    users: Vec<String>,
    groups: Vec<String>,
    verbs: Vec<String>,
    resources: Vec<Resources>,
    namespaces: Vec<String>,
    paths: Vec<String>,
    omit_stages: Vec<String>,
}

#[derive(Debug, Clone)]
struct Resources {
    group: String,
    resources: Vec<String>,
    names: Vec<String>,
}

/// What the policy wants told of one request.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    /// How much.
    pub(crate) level: Level,
    omit: Vec<String>,
}

impl Told {
    /// Whether a moment is told.
    pub(crate) fn tells(&self, stage: Stage) -> bool {
        self.level > Level::None && !self.omit.iter().any(|omitted| omitted == stage.as_str())
    }
}

impl AuditPolicy {
    /// Reads a policy, YAML or JSON.
    ///
    /// # Errors
    /// When it is malformed or a level is not known.
    pub fn parse(text: &str) -> Result<AuditPolicy, AuditPolicyError> {
        let wrong = |what: String| AuditPolicyError { what };
        let policy: Value =
            serde_saphyr::from_str(text).map_err(|error| wrong(error.to_string()))?;
        if policy["kind"] != "Policy" || policy["apiVersion"] != "audit.k8s.io/v1" {
            return Err(wrong("it must be a 'Policy' of 'audit.k8s.io/v1'".to_owned()));
        }
        let rules = policy["rules"].as_array().filter(|rules| !rules.is_empty());
        let rules = rules.ok_or_else(|| wrong("`rules` must not be empty".to_owned()))?;
        let rule = |(index, rule)| {
            Rule::read(rule).map_err(|what| wrong(format!("`rules[{index}]`: {what}")))
        };
        let rules = rules.iter().enumerate().map(rule).collect::<Result<_, _>>()?;
        Ok(AuditPolicy { omit_stages: texts(&policy["omitStages"]), rules })
    }

    /// What is to be told of a request.
    pub(crate) fn told(&self, user: &UserInfo, info: &RequestInfo) -> Told {
        let rule = self.rules.iter().find(|rule| rule.fits(user, info));
        let level = rule.map_or(Level::None, |rule| rule.level);
        let own = rule.map(|rule| rule.omit_stages.clone()).unwrap_or_default();
        Told { level, omit: [self.omit_stages.clone(), own].concat() }
    }
}

impl Rule {
    fn read(rule: &Value) -> Result<Rule, String> {
        let level = match rule["level"].as_str().unwrap_or_default() {
            "None" => Level::None,
            "Metadata" => Level::Metadata,
            "Request" => Level::Request,
            "RequestResponse" => Level::RequestResponse,
            other => {
                return Err(format!(
                    "`level` must be None, Metadata, Request or RequestResponse, not '{other}'"
                ));
            }
        };
        let resources =
            rule["resources"].as_array().into_iter().flatten().map(|resources| Resources {
                group: resources["group"].as_str().unwrap_or_default().to_owned(),
                resources: texts(&resources["resources"]),
                names: texts(&resources["resourceNames"]),
            });
        let rule = Rule {
            level,
            users: texts(&rule["users"]),
            groups: texts(&rule["userGroups"]),
            verbs: texts(&rule["verbs"]),
            resources: resources.collect(),
            namespaces: texts(&rule["namespaces"]),
            paths: texts(&rule["nonResourceURLs"]),
            omit_stages: texts(&rule["omitStages"]),
        };
        if !rule.paths.is_empty() && !(rule.resources.is_empty() && rule.namespaces.is_empty()) {
            return Err("a rule is about resources or about nonResourceURLs, not both".to_owned());
        }
        Ok(rule)
    }

    fn fits(&self, user: &UserInfo, info: &RequestInfo) -> bool {
        let any = |list: &[String], wanted: &str| {
            list.is_empty() || list.iter().any(|item| item == wanted)
        };
        let in_group = self.groups.is_empty() || self.groups.iter().any(|group| user.is_in(group));
        if !any(&self.users, &user.name) || !in_group || !any(&self.verbs, info.verb.as_str()) {
            return false;
        }
        let Some(path) = &info.resource else {
            let covers = |own: &String| {
                own == &info.path
                    || own.strip_suffix('*').is_some_and(|prefix| info.path.starts_with(prefix))
            };
            let about_all = self.resources.is_empty() && self.namespaces.is_empty();
            return self.paths.iter().any(covers) || self.paths.is_empty() && about_all;
        };
        if !self.paths.is_empty() || !any(&self.namespaces, &path.namespace) {
            return false;
        }
        let whole = match path.subresource.as_str() {
            "" => path.resource.clone(),
            subresource => format!("{}/{subresource}", path.resource),
        };
        let covers = |own: &String| {
            own == &whole
                || own == "*"
                || own
                    .strip_prefix("*/")
                    .is_some_and(|part| part == path.subresource && !part.is_empty())
                || own.strip_suffix("/*").is_some_and(|resource| resource == path.resource)
        };
        self.resources.is_empty()
            || self.resources.iter().any(|rule| {
                rule.group == path.group
                    && (rule.resources.is_empty() || rule.resources.iter().any(covers))
                    && any(&rule.names, &path.name)
            })
    }
}

fn texts(list: &Value) -> Vec<String> {
    let items = list.as_array().into_iter().flatten();
    items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::Query;

    const POLICY: &str = "
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  users: [noise]
- level: None
  nonResourceURLs: ['/healthz*']
- level: Metadata
  resources: [{group: '', resources: [secrets, pods/log]}]
- level: RequestResponse
  verbs: [create]
  namespaces: [qa]
  omitStages: [ResponseStarted]
- level: Request
  userGroups: [dev]
";

    fn check(user: &str, request: &str, expected: Level) {
        let (method, path) = request.split_once(' ').unwrap();
        let info = RequestInfo::parse(&method.parse().unwrap(), path, &Query::default());
        let policy = AuditPolicy::parse(POLICY).unwrap();
        let told =
            policy.told(&UserInfo::new(user, ["dev"].into_iter().filter(|_| user == "ann")), &info);
        assert_eq!(told.level, expected, "{user} {request}");
        assert!(!told.tells(Stage::RequestReceived));
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        check("noise", "GET /api/v1/secrets", Level::None);
        check("ann", "GET /healthz/ping", Level::None);
        check("ann", "GET /version", Level::Request);
        check("bea", "GET /version", Level::None);
        check("bea", "GET /api/v1/secrets", Level::Metadata);
        check("bea", "GET /api/v1/namespaces/a/pods/b/log", Level::Metadata);
        check("bea", "GET /api/v1/namespaces/a/pods/b", Level::None);
        check("bea", "POST /api/v1/namespaces/qa/pods", Level::RequestResponse);
        check("bea", "POST /api/v1/namespaces/a/pods", Level::None);
    }

    #[test]
    fn a_wrong_policy_is_refused() {
        let check = |text: &str, expected: &str| {
            let error = AuditPolicy::parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check("kind: Policy", "it must be a 'Policy' of 'audit.k8s.io/v1'");
        check("kind: Policy\napiVersion: audit.k8s.io/v1", "`rules` must not be empty");
        check(
            "kind: Policy\napiVersion: audit.k8s.io/v1\nrules: [{level: All}]",
            "`rules[0]`: `level` must be",
        );
    }
}
