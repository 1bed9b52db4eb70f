//! Which FlowSchema a request belongs to, and which level that leads to. Pure.
//!
//! *Source:* `flowcontrol.apiserver.k8s.io/v1`; `k8s.io/apiserver/pkg/util/flowcontrol` in behaviour.

use coracle_api::meta;
use http::HeaderValue;
use serde_json::Value;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use crate::authn::UserInfo;
use crate::request_info::RequestInfo;

use super::measures::{Measures, Series};

/// What a service account's name begins with.
const ACCOUNT_PREFIX: &str = "system:serviceaccount:";

/// The FlowSchemas in the order in which they are asked.
#[derive(Debug, Default)]
pub(super) struct Rules(Vec<Schema>);

#[derive(Debug)]
struct Schema {
    precedence: i64,
    name: String,
    uid: HeaderValue,
    level: String,
    level_uid: HeaderValue,
    by: Distinguisher,
    rules: Vec<Value>,
    series: Arc<Series>,
}

/// What makes two requests of a schema two flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Distinguisher {
    Nothing,
    User,
    Namespace,
}

/// Where a request belongs.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The name of its PriorityLevelConfiguration.
    pub(super) level: String,
    /// The flow: schema and distinguisher.
    pub(super) flow: u64,
    /// Uids for the answer's headers.
    pub(crate) schema_uid: HeaderValue,
    /// Uids for the answer's headers.
    pub(crate) level_uid: HeaderValue,
    /// What is counted of its schema.
    pub(super) series: Arc<Series>,
}

impl Rules {
    /// Reads FlowSchemas; those whose level is not among `levels` are left out.
    pub(super) fn read(schemas: &[Value], levels: &[Value], measures: &Measures) -> Rules {
        let uids: HashMap<&str, &str> =
            levels.iter().map(|level| (meta::name(level), meta::uid(level))).collect();
        let header = |text: &str| HeaderValue::from_str(text).ok();
        let mut all: Vec<Schema> = schemas
            .iter()
            .filter_map(|schema| {
                let spec = &schema["spec"];
                let level = spec["priorityLevelConfiguration"]["name"].as_str()?;
                Some(Schema {
                    precedence: spec["matchingPrecedence"].as_i64().unwrap_or(1000),
                    name: meta::name(schema).to_owned(),
                    uid: header(meta::uid(schema))?,
                    level: level.to_owned(),
                    level_uid: header(uids.get(level)?)?,
                    by: match spec["distinguisherMethod"]["type"].as_str() {
                        Some("ByUser") => Distinguisher::User,
                        Some("ByNamespace") => Distinguisher::Namespace,
                        Some(_) | None => Distinguisher::Nothing,
                    },
                    rules: spec["rules"].as_array().cloned().unwrap_or_default(),
                    series: Arc::new(measures.series(level, meta::name(schema))),
                })
            })
            .collect();
        all.sort_by(|a, b| (a.precedence, &a.name).cmp(&(b.precedence, &b.name)));
        Rules(all)
    }

    /// Finds the place of a request; `None` when no schema takes it, which the mandatory ones never let happen.
    pub(super) fn place(&self, user: &UserInfo, info: &RequestInfo) -> Option<Place> {
        let schema = self.0.iter().find(|schema| schema.takes(user, info))?;
        let mut hasher = DefaultHasher::new();
        schema.name.hash(&mut hasher);
        match schema.by {
            Distinguisher::Nothing => {}
            Distinguisher::User => user.name.hash(&mut hasher),
            Distinguisher::Namespace => {
                info.resource.as_ref().map(|path| &path.namespace).hash(&mut hasher);
            }
        }
        Some(Place {
            level: schema.level.clone(),
            flow: hasher.finish(),
            schema_uid: schema.uid.clone(),
            level_uid: schema.level_uid.clone(),
            series: Arc::clone(&schema.series),
        })
    }
}

fn list<'a>(rule: &'a Value, field: &str) -> impl Iterator<Item = &'a str> + use<'a> {
    rule[field].as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn has(rule: &Value, field: &str, wanted: &str) -> bool {
    list(rule, field).any(|item| item == "*" || item == wanted)
}

impl Schema {
    fn takes(&self, user: &UserInfo, info: &RequestInfo) -> bool {
        self.rules.iter().any(|rule| {
            let subjects = rule["subjects"].as_array().into_iter().flatten();
            subjects.into_iter().any(|subject| is_subject(subject, user)) && asks_for(rule, info)
        })
    }
}

fn is_subject(subject: &Value, user: &UserInfo) -> bool {
    let text = |kind: &str, field: &str| subject[kind][field].as_str().unwrap_or_default();
    match subject["kind"].as_str() {
        Some("User") => ["*", user.name.as_str()].contains(&text("user", "name")),
        Some("Group") => {
            let name = text("group", "name");
            name == "*" || user.is_in(name)
        }
        Some("ServiceAccount") => {
            let account =
                user.name.strip_prefix(ACCOUNT_PREFIX).and_then(|rest| rest.split_once(':'));
            let (own, name) = (text("serviceAccount", "namespace"), text("serviceAccount", "name"));
            account.is_some_and(|(space, account)| own == space && (name == "*" || name == account))
        }
        Some(_) | None => false,
    }
}

fn asks_for(rule: &Value, info: &RequestInfo) -> bool {
    let verb = info.verb.as_str();
    let rules = |field: &str| rule[field].as_array().map(Vec::as_slice).unwrap_or_default();
    let Some(path) = &info.resource else {
        return rules("nonResourceRules").iter().any(|rule| {
            has(rule, "verbs", verb)
                && list(rule, "nonResourceURLs").any(|url| covers(url, &info.path))
        });
    };
    let whole = match path.subresource.as_str() {
        "" => path.resource.clone(),
        part => format!("{}/{part}", path.resource),
    };
    rules("resourceRules").iter().any(|rule| {
        let in_scope = if path.namespace.is_empty() {
            rule["clusterScope"] == true
        } else {
            has(rule, "namespaces", &path.namespace)
        };
        in_scope
            && has(rule, "verbs", verb)
            && has(rule, "apiGroups", &path.group)
            && has(rule, "resources", &whole)
    })
}

/// A `*` at the end stands for all below.
fn covers(url: &str, path: &str) -> bool {
    match url.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix),
        None => url == path,
    }
}
