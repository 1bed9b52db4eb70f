//! ServiceAccount: what every namespace has: the account `default` and the cluster's certificate.
//!
//! In: a namespace and whether the two are there. Out: what to create or correct. Tokens are made
//! elsewhere.

pub(crate) mod run;

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::objects::{is_deleting, name};

/// The account that pods run as when they name none.
pub const DEFAULT_ACCOUNT: &str = "default";
/// The ConfigMap that holds the certificate of the cluster's authority.
pub const ROOT_CA: &str = "kube-root-ca.crt";
/// Its key.
const ROOT_CA_KEY: &str = "ca.crt";
/// Annotation that says what the ConfigMap is for. *Source:* kube-controller-manager in behaviour.
const DESCRIPTION: (&str, &str) = (
    "kubernetes.io/description",
    "Holds the certificate by which pods of this namespace can verify the API server.",
);

/// What a reconcile may look at.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The namespace.
    pub namespace: Arc<Namespace>,
    /// Whether its account `default` is there.
    pub has_account: bool,
    /// Its ConfigMap `kube-root-ca.crt`.
    pub root_ca: Option<Arc<ConfigMap>>,
    /// The certificate that should be in it, PEM; `None`: nothing is known of it.
    pub wanted_ca: Option<String>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Create the account `default`.
    CreateAccount(Box<ServiceAccount>),
    /// Create the ConfigMap.
    CreateRootCa(Box<ConfigMap>),
    /// Replace the ConfigMap, guarded by its resourceVersion.
    UpdateRootCa(Box<ConfigMap>),
}

/// Gives what a namespace lacks; nothing for one that is going away.
pub fn reconcile(observed: &Observed) -> Vec<Action> {
    let namespace = &observed.namespace;
    let phase = namespace.status.as_ref().and_then(|status| status.phase.as_deref());
    if is_deleting(&namespace.metadata) || phase == Some("Terminating") {
        return Vec::new();
    }
    let mut actions = Vec::new();
    if !observed.has_account {
        let account = ServiceAccount {
            metadata: meta(namespace, DEFAULT_ACCOUNT),
            ..ServiceAccount::default()
        };
        actions.push(Action::CreateAccount(Box::new(account)));
    }
    actions.extend(observed.wanted_ca.as_ref().and_then(|wanted| root_ca(observed, wanted)));
    actions
}

fn meta(namespace: &Namespace, name_of: &str) -> ObjectMeta {
    ObjectMeta {
        namespace: Some(name(&namespace.metadata).to_owned()),
        name: Some(name_of.to_owned()),
        ..ObjectMeta::default()
    }
}

fn root_ca(observed: &Observed, wanted: &str) -> Option<Action> {
    let data = BTreeMap::from([(ROOT_CA_KEY.to_owned(), wanted.to_owned())]);
    let Some(there) = &observed.root_ca else {
        let (key, text) = DESCRIPTION;
        let mut metadata = meta(&observed.namespace, ROOT_CA);
        metadata.annotations = Some(BTreeMap::from([(key.to_owned(), text.to_owned())]));
        let made = ConfigMap { metadata, data: Some(data), ..ConfigMap::default() };
        return Some(Action::CreateRootCa(Box::new(made)));
    };
    if there.data.as_ref() == Some(&data) {
        return None;
    }
    let new = ConfigMap { data: Some(data), ..ConfigMap::clone(there) };
    Some(Action::UpdateRootCa(Box::new(new)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::json;

    fn observed(deleting: bool, has_account: bool, ca: Option<&str>) -> Observed {
        let deleted = deleting.then_some("2026-01-01T00:00:00Z");
        let namespace = json!({"metadata": {"name": "a", "deletionTimestamp": deleted}});
        let root_ca = ca.map(|text| {
            let object = json!({"metadata": {"name": ROOT_CA}, "data": {"ca.crt": text}});
            Arc::new(serde_json::from_value(object).unwrap())
        });
        Observed {
            namespace: Arc::new(serde_json::from_value(namespace).unwrap()),
            has_account,
            root_ca,
            wanted_ca: Some("PEM".into()),
        }
    }

    fn check(observed: &Observed, expected: Expect) {
        let show = |action: &Action| match action {
            Action::CreateAccount(account) => format!("account {}", name(&account.metadata)),
            Action::CreateRootCa(map) => format!("create {:?}", map.data.clone().unwrap()),
            Action::UpdateRootCa(map) => format!("update {:?}", map.data.clone().unwrap()),
        };
        let lines: Vec<String> = reconcile(observed).iter().map(show).collect();
        expected.assert_eq(&lines.join("\n"));
    }

    #[test]
    fn a_namespace_gets_its_account_and_certificate() {
        check(
            &observed(false, false, None),
            expect![[r#"
            account default
            create {"ca.crt": "PEM"}"#]],
        );
        check(&observed(false, true, Some("PEM")), expect![""]);
    }

    #[test]
    fn a_changed_certificate_is_put_right() {
        check(&observed(false, true, Some("old")), expect![[r#"update {"ca.crt": "PEM"}"#]]);
    }

    #[test]
    fn a_namespace_that_goes_gets_nothing() {
        check(&observed(true, false, None), expect![""]);
    }
}
