//! Roles and bindings, indexed by whom they are for.
//!
//! The index is made from the caches when it is first asked after one of the four kinds changed; what did not change is
//! not parsed again. A question costs a look-up for the user and each of its groups.
//! *Source:* Kubernetes, "Using RBAC Authorization"; the reasons are kube-apiserver's.

use super::rule::Rule;
use super::{Attributes, Decision};
use crate::authn::UserInfo;
use crate::cache::{Caches, Selection};
use bytes::Bytes;
use coracle_api::meta;
use coracle_store::Revision;
use parking_lot::RwLock;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;

/// The API group of roles and bindings.
pub(crate) const GROUP: &str = "rbac.authorization.k8s.io";

/// The four resources, in the order of the index.
const RESOURCES: [&str; 4] = ["clusterroles", "roles", "clusterrolebindings", "rolebindings"];

/// What all service accounts' user names begin with.
pub(crate) const SERVICE_ACCOUNT_PREFIX: &str = "system:serviceaccount:";

/// The authorizer over roles and bindings.
pub(crate) struct Rbac {
    caches: Arc<Caches>,
    index: RwLock<Arc<Index>>,
}

/// A role by namespace (empty for a ClusterRole) and name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct RoleKey {
    /// Empty for a ClusterRole.
    pub(crate) namespace: String,
    /// The role's name.
    pub(crate) name: String,
}

/// What one subject gets by one binding.
#[derive(Debug, Clone)]
struct Grant {
    binding: Arc<str>,
    role: Arc<RoleKey>,
    subject: Arc<str>,
}

/// The grants of one scope, by user name and by group.
#[derive(Debug, Default)]
struct Grants {
    users: HashMap<String, Vec<Grant>>,
    groups: HashMap<String, Vec<Grant>>,
}

/// A binding as far as it matters here.
#[derive(Debug)]
struct Binding {
    namespace: String,
    name: Arc<str>,
    role: Arc<RoleKey>,
    users: Vec<(String, Arc<str>)>,
    groups: Vec<(String, Arc<str>)>,
}

/// Parsed objects by their keys, with the revision at which they were parsed.
type Parsed<T> = HashMap<Bytes, (Revision, Arc<T>)>;

/// A role's key with its rules.
type Role = (RoleKey, Vec<Rule>);

#[derive(Debug, Default)]
struct Index {
    versions: [Revision; 4],
    parsed_roles: [Parsed<Role>; 2],
    parsed_bindings: [Parsed<Binding>; 2],
    roles: HashMap<RoleKey, Arc<Role>>,
    cluster: Grants,
    namespaces: HashMap<String, Grants>,
}

/// Sees a grant: the namespace of its binding, the grant, and its role's rules; says whether to go on.
type Sight<'a> = dyn FnMut(&str, &Grant, Option<&[Rule]>) -> bool + 'a;

/// The rules that a user has, and what could not be resolved.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// The rules.
    pub(crate) rules: Vec<Rule>,
    /// Bindings that name roles which do not exist.
    pub(crate) errors: Vec<String>,
}

impl Rbac {
    /// An authorizer over the caches.
    pub(crate) fn new(caches: Arc<Caches>) -> Rbac {
        Rbac { caches, index: RwLock::default() }
    }

    /// Decides.
    pub(crate) fn authorize(&self, user: &UserInfo, request: &Attributes<'_>) -> Decision {
        let index = self.index();
        let mut allowed = None;
        let mut errors = Vec::new();
        index.visit(user, request.namespace, &mut |namespace, grant, role| {
            let Some(role) = role else {
                errors.push(not_found(&grant.role));
                return true;
            };
            if role.iter().any(|rule| rule.allows(request)) {
                allowed = Some(grant.reason(namespace));
            }
            allowed.is_none()
        });
        match (allowed, errors.as_slice()) {
            (Some(reason), _) => Decision::Allow(reason),
            (None, []) => Decision::Deny(String::new()),
            (None, [one]) => Decision::Deny(format!("RBAC: {one}")),
            (None, all) => Decision::Deny(format!("RBAC: [{}]", all.join(", "))),
        }
    }

    /// All rules that a user has in a namespace, or with an empty one at cluster scope.
    pub(crate) fn held(&self, user: &UserInfo, namespace: &str) -> Held {
        let mut held = Held::default();
        self.index().visit(user, namespace, &mut |_, grant, role| {
            match role {
                Some(rules) => held.rules.extend_from_slice(rules),
                None => held.errors.push(not_found(&grant.role)),
            }
            true
        });
        held
    }

    /// The rules of a role; `None` when there is no such role.
    pub(crate) fn rules_of(&self, role: &RoleKey) -> Option<Vec<Rule>> {
        self.index().roles.get(role).map(|role| role.1.clone())
    }

    /// When each of the four kinds last changed.
    pub(crate) fn versions(&self) -> [Revision; 4] {
        RESOURCES.map(|resource| {
            let cache = self.caches.by_resource(GROUP, resource);
            cache.map(|cache| cache.changed()).unwrap_or_default()
        })
    }

    fn index(&self) -> Arc<Index> {
        let versions = self.versions();
        let index = Arc::clone(&self.index.read());
        if index.versions == versions {
            return index;
        }
        let fresh = Arc::new(Index::of(&self.caches, &index, versions));
        *self.index.write() = Arc::clone(&fresh);
        fresh
    }
}

impl Index {
    fn of(caches: &Caches, old: &Index, versions: [Revision; 4]) -> Index {
        let [cluster_roles, roles, cluster_bindings, bindings] = RESOURCES;
        let parsed_roles = [
            parse(caches, cluster_roles, &old.parsed_roles[0], role_of),
            parse(caches, roles, &old.parsed_roles[1], role_of),
        ];
        let parsed_bindings = [
            parse(caches, cluster_bindings, &old.parsed_bindings[0], binding_of),
            parse(caches, bindings, &old.parsed_bindings[1], binding_of),
        ];
        let roles = parsed_roles.iter().flat_map(HashMap::values);
        let roles = roles.map(|(_, role)| (role.0.clone(), Arc::clone(role))).collect();
        let (mut cluster, mut namespaces) = (Grants::default(), HashMap::new());
        let mut all: Vec<&Arc<Binding>> =
            parsed_bindings.iter().flat_map(HashMap::values).map(|(_, binding)| binding).collect();
        all.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        for binding in all {
            if binding.namespace.is_empty() {
                cluster.add(binding);
            } else {
                namespaces
                    .entry(binding.namespace.clone())
                    .or_insert_with(Grants::default)
                    .add(binding);
            }
        }
        Index { versions, parsed_roles, parsed_bindings, roles, cluster, namespaces }
    }

    /// Shows every grant of a user to `see`, with the namespace of its binding and its role's rules, until that says
    /// `false`: first those of the whole cluster, then those of the namespace.
    fn visit(&self, user: &UserInfo, namespace: &str, see: &mut Sight<'_>) {
        let own = Some(namespace).filter(|namespace| !namespace.is_empty());
        let own = own.and_then(|namespace| self.namespaces.get(namespace));
        for (namespace, grants) in [("", Some(&self.cluster)), (namespace, own)] {
            let Some(grants) = grants else { continue };
            let of_groups = user.groups.iter().filter_map(|group| grants.groups.get(group));
            for grant in grants.users.get(&user.name).into_iter().chain(of_groups).flatten() {
                let role = self.roles.get(&*grant.role).map(|role| role.1.as_slice());
                if !see(namespace, grant, role) {
                    return;
                }
            }
        }
    }
}

impl Grants {
    fn add(&mut self, binding: &Binding) {
        let grant = |subject: &Arc<str>| Grant {
            binding: Arc::clone(&binding.name),
            role: Arc::clone(&binding.role),
            subject: Arc::clone(subject),
        };
        for (name, subject) in &binding.users {
            self.users.entry(name.clone()).or_default().push(grant(subject));
        }
        for (name, subject) in &binding.groups {
            self.groups.entry(name.clone()).or_default().push(grant(subject));
        }
    }
}

impl Grant {
    fn reason(&self, namespace: &str) -> String {
        let kind = self.role.kind();
        let (binding, role, subject) = (&self.binding, &self.role.name, &self.subject);
        if namespace.is_empty() {
            return format!(
                "RBAC: allowed by ClusterRoleBinding {binding:?} of {kind} {role:?} to {subject}"
            );
        }
        let place = format!("{binding}/{namespace}");
        format!("RBAC: allowed by RoleBinding {place:?} of {kind} {role:?} to {subject}")
    }
}

impl RoleKey {
    fn kind(&self) -> &'static str {
        if self.namespace.is_empty() { "ClusterRole" } else { "Role" }
    }

    /// The role that a binding of a namespace (empty for a ClusterRoleBinding) refers to.
    pub(crate) fn of_binding(binding: &Value, namespace: &str) -> RoleKey {
        let role = binding.get("roleRef").unwrap_or(&Value::Null);
        let text = |field: &str| role.get(field).and_then(Value::as_str).unwrap_or_default();
        let namespace = if text("kind") == "ClusterRole" { "" } else { namespace };
        RoleKey { namespace: namespace.to_owned(), name: text("name").to_owned() }
    }
}

fn not_found(role: &RoleKey) -> String {
    let resource = if role.namespace.is_empty() { "clusterrole" } else { "role" };
    format!("{resource}.{GROUP} {:?} not found", role.name)
}

/// Parses the objects of a resource, those that did not change excepted.
fn parse<T>(caches: &Caches, resource: &str, old: &Parsed<T>, read: fn(&Value) -> T) -> Parsed<T> {
    let Some(cache) = caches.by_resource(GROUP, resource) else { return HashMap::new() };
    let objects = cache.select(&Selection::all(cache.kind()));
    let parsed = objects.iter().map(|object| {
        let known = old.get(&object.key).filter(|(revision, _)| *revision == object.revision);
        let value = match known {
            Some((_, value)) => Arc::clone(value),
            None => Arc::new(read(&object.value())),
        };
        (object.key.clone(), (object.revision, value))
    });
    parsed.collect()
}

fn role_of(role: &Value) -> Role {
    let key = RoleKey { namespace: meta::namespace(role).into(), name: meta::name(role).into() };
    (key, Rule::read_all(role))
}

fn binding_of(binding: &Value) -> Binding {
    let namespace = meta::namespace(binding).to_owned();
    let (mut users, mut groups) = (Vec::new(), Vec::new());
    for subject in binding.get("subjects").and_then(Value::as_array).into_iter().flatten() {
        let text = |field: &str| subject.get(field).and_then(Value::as_str).unwrap_or_default();
        let name = text("name");
        match text("kind") {
            "User" => users.push((name.to_owned(), format!("User {name:?}").into())),
            "Group" => groups.push((name.to_owned(), format!("Group {name:?}").into())),
            "ServiceAccount" => {
                let place = Some(text("namespace")).filter(|place| !place.is_empty());
                let place = place.unwrap_or(&namespace);
                let shown = format!("ServiceAccount {:?}", format!("{name}/{place}"));
                users.push((format!("{SERVICE_ACCOUNT_PREFIX}{place}:{name}"), shown.into()));
            }
            _ => {}
        }
    }
    let role = Arc::new(RoleKey::of_binding(binding, &namespace));
    Binding { name: meta::name(binding).into(), namespace, role, users, groups }
}
