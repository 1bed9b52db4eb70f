//! Nobody hands out more than they have, unless they may `escalate` or `bind`.
//!
//! In: who writes a role or binding, and the object. Out: a refusal that names what is missing.
//! *Source:* Kubernetes, "Privilege escalation prevention and bootstrapping".

use super::rbac::{GROUP, RoleKey};
use super::rule::{self, Rule, quoted};
use super::{Attributes, Authorizer, Decision};
use crate::admission::{Operation, Request};
use crate::authn::MASTERS;
use coracle_api::key::GroupResource;
use coracle_api::status::Status;
use serde_json::Value;

/// Metadata that says nothing of rights: who else waits for the object, and the server's own fields.
const WITHOUT_RIGHTS: [&str; 5] =
    ["ownerReferences", "finalizers", "managedFields", "resourceVersion", "generation"];

impl Authorizer {
    /// Checks that a write to a role or binding gives nobody more than the writer has.
    ///
    /// # Errors
    /// 403 with the missing rules; 404 when a binding names a role that does not exist and that the writer may not bind
    /// unseen.
    pub fn check_escalation(
        &self,
        request: &Request<'_>,
        object: &Value,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        let is_write = matches!(request.operation, Operation::Create | Operation::Update);
        if request.kind.group != GROUP || !is_write || request.user.is_in(MASTERS) {
            return Ok(());
        }
        if old.is_some_and(|old| same_rights(old, object)) {
            return Ok(());
        }
        match request.kind.kind {
            "Role" | "ClusterRole" => self.check_role(request, object, old),
            "RoleBinding" | "ClusterRoleBinding" => self.check_binding(request, object),
            _ => Ok(()),
        }
    }

    fn check_role(
        &self,
        request: &Request<'_>,
        role: &Value,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        if self.may(request, "escalate", request.kind.plural, request.name) {
            return Ok(());
        }
        self.check_rules(request, &Rule::read_all(role))?;
        let aggregation = role.get("aggregationRule").filter(|rule| !rule.is_null());
        if aggregation.is_none() || old.and_then(|old| old.get("aggregationRule")) == aggregation {
            return Ok(());
        }
        let everything = [
            Rule { groups: all(), resources: all(), verbs: all(), ..Rule::default() },
            Rule { paths: all(), verbs: all(), ..Rule::default() },
        ];
        let held = self.rbac.held(request.user, "");
        if rule::missing(&held.rules, &everything).is_empty() {
            return Ok(());
        }
        Err(request.forbidden("must have cluster-admin privileges to use an aggregationRule"))
    }

    fn check_binding(&self, request: &Request<'_>, binding: &Value) -> Result<(), Status> {
        let role = RoleKey::of_binding(binding, request.namespace);
        let resource = if role.namespace.is_empty() { "clusterroles" } else { "roles" };
        if self.may(request, "bind", resource, &role.name) {
            return Ok(());
        }
        match self.rbac.rules_of(&role) {
            Some(rules) => self.check_rules(request, &rules),
            None => Err(Status::not_found(&GroupResource::new(GROUP, resource), &role.name)),
        }
    }

    fn may(&self, request: &Request<'_>, verb: &str, resource: &str, name: &str) -> bool {
        let namespace = request.namespace;
        let attributes =
            Attributes { verb, group: GROUP, resource, namespace, name, ..Attributes::default() };
        matches!(self.authorize(request.user, &attributes), Decision::Allow(_))
    }

    fn check_rules(&self, request: &Request<'_>, wanted: &[Rule]) -> Result<(), Status> {
        let held = self.rbac.held(request.user, request.namespace);
        let missing = rule::missing(&held.rules, wanted);
        if missing.is_empty() {
            return Ok(());
        }
        let missing: Vec<String> = missing.iter().map(Rule::to_string).collect();
        let user = request.user;
        let mut why = format!(
            "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
            user.name,
            quoted(&user.groups),
            missing.join("\n"),
        );
        if !held.errors.is_empty() {
            why.push_str(&format!("; resolution errors: [{}]", held.errors.join(", ")));
        }
        Err(request.forbidden(why))
    }
}

fn all() -> Vec<String> {
    vec!["*".to_owned()]
}

/// Whether two versions of an object differ at most in what says nothing of rights.
fn same_rights(old: &Value, new: &Value) -> bool {
    let bare = |object: &Value| {
        let mut object = object.clone();
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.retain(|field, _| !WITHOUT_RIGHTS.contains(&field.as_str()));
        }
        object
    };
    bare(old) == bare(new)
}
