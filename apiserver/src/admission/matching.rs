//! Which writes a policy or webhook is about.
//!
//! Pure but for the look at the namespace's labels. *Source:* `admissionregistration.k8s.io/v1`: rules and selectors.

use super::{Operation, Request};
use crate::cache::Caches;
use coracle_api::meta;
use coracle_api::selector::LabelSelector;
use serde_json::{Map, Value, json};

/// The group whose own objects no policy or webhook is about, so that a broken one can be taken away.
const OWN_GROUP: &str = "admissionregistration.k8s.io";

/// A write with the objects that it is about.
#[derive(Clone, Copy)]
pub(crate) struct Written<'a> {
    /// Who and what.
    pub(crate) request: &'a Request<'a>,
    /// The new object; `None` for a deletion.
    pub(crate) object: Option<&'a Value>,
    /// The stored object; `None` for a creation.
    pub(crate) old: Option<&'a Value>,
}

impl<'a> Written<'a> {
    /// A write as admission gets it: for a deletion, `object` is the stored one.
    pub(crate) fn new(
        request: &'a Request<'a>,
        object: &'a Value,
        old: Option<&'a Value>,
    ) -> Written<'a> {
        match request.operation {
            Operation::Delete => Written { request, object: None, old: Some(object) },
            Operation::Create | Operation::Update | Operation::Connect => {
                Written { request, object: Some(object), old }
            }
        }
    }

    /// Whether policies and webhooks are asked at all.
    pub(crate) fn is_open(&self) -> bool {
        self.request.kind.group != OWN_GROUP
    }

    /// The namespace of the object; `Null` for objects without one.
    pub(crate) fn namespace(&self, caches: &Caches) -> Value {
        let found = Some(self.request.namespace).filter(|name| !name.is_empty());
        let found = found.and_then(|name| caches.get("", "namespaces", "", name));
        found.map(|namespace| namespace.value()).unwrap_or_default()
    }

    /// Whether one of `rules` takes the write.
    pub(crate) fn is_taken_by(&self, rules: &Value) -> bool {
        rules.as_array().into_iter().flatten().any(|rule| self.is_taken_by_rule(rule))
    }

    fn is_taken_by_rule(&self, rule: &Value) -> bool {
        let Request { kind, subresource, name, .. } = self.request;
        let any = |field: &str, wanted: &str| {
            let all = rule[field].as_array().into_iter().flatten().filter_map(Value::as_str);
            all.into_iter().any(|item| item == "*" || item == wanted)
        };
        let scope = rule["scope"].as_str().unwrap_or("*");
        let fits_scope = scope == "*" || (scope == "Namespaced") == kind.namespaced;
        let mut names = rule["resourceNames"].as_array().into_iter().flatten().peekable();
        let named = names.peek().is_none() || names.any(|own| own == name);
        let mut resources =
            rule["resources"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let takes = |own: &str| {
            let (resource, part) = own.split_once('/').unwrap_or((own, ""));
            (resource == "*" || resource == kind.plural)
                && (part == *subresource || part == "*" && own.contains('/'))
        };
        any("apiGroups", kind.group)
            && any("apiVersions", kind.version)
            && any("operations", self.request.operation.as_str())
            && fits_scope
            && named
            && resources.any(takes)
    }

    /// Whether the namespace's labels are selected; objects without a namespace always are.
    pub(crate) fn is_in_selected_namespace(&self, selector: &Value, caches: &Caches) -> bool {
        if selects_all(selector) {
            return true;
        }
        if self.request.is_core("Namespace") {
            return self
                .object
                .or(self.old)
                .is_some_and(|namespace| is_selected(namespace, selector));
        }
        !self.request.kind.namespaced || is_selected(&self.namespace(caches), selector)
    }

    /// Whether the labels of the new or the old object are selected; options of a stream have none to be selected by.
    pub(crate) fn is_selected(&self, selector: &Value) -> bool {
        if self.request.operation == Operation::Connect {
            return selects_all(selector);
        }
        selects_all(selector)
            || [self.object, self.old]
                .into_iter()
                .flatten()
                .any(|object| is_selected(object, selector))
    }

    /// The write as an `AdmissionRequest`, without the objects.
    pub(crate) fn review_request(&self, uid: &str, dry_run: bool) -> Value {
        let Request { user, operation, kind, subresource, namespace, name, .. } = *self.request;
        let mut what = json!({"group": kind.group, "version": kind.version, "kind": kind.kind});
        if let Some(options) = self.object.filter(|_| operation == Operation::Connect) {
            what["kind"] = options["kind"].clone();
        }
        let resource =
            json!({"group": kind.group, "version": kind.version, "resource": kind.plural});
        let options = match operation {
            Operation::Create => Some("CreateOptions"),
            Operation::Update => Some("UpdateOptions"),
            Operation::Delete => Some("DeleteOptions"),
            Operation::Connect => None,
        };
        let options = options.map(|kind| json!({"kind": kind, "apiVersion": "meta.k8s.io/v1"}));
        let mut out = json!({
            "uid": uid, "kind": what, "resource": resource, "requestKind": what, "requestResource": resource,
            "name": name, "operation": operation.as_str(), "userInfo": crate::review::user_value(user),
            "dryRun": dry_run, "options": options,
        });
        for (field, value) in [
            ("namespace", namespace),
            ("subResource", subresource),
            ("requestSubResource", subresource),
        ] {
            if !value.is_empty() {
                out[field] = json!(value);
            }
        }
        out
    }
}

impl Operation {
    /// The operation's name in rules.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Operation::Create => "CREATE",
            Operation::Update => "UPDATE",
            Operation::Delete => "DELETE",
            Operation::Connect => "CONNECT",
        }
    }
}

fn selects_all(selector: &Value) -> bool {
    selector.as_object().is_none_or(Map::is_empty)
}

/// A selector that cannot be read selects nothing.
pub(super) fn is_selected(object: &Value, selector: &Value) -> bool {
    let none = Map::new();
    let labels = meta::labels(object).unwrap_or(&none);
    LabelSelector::from_value(selector).is_ok_and(|selector| selector.matches(labels))
}
