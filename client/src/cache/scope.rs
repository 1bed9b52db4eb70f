//! Which objects of a kind a cache follows.

use kube::api::{ListParams, WatchParams};

/// Objects per page of a list: keeps one answer below a few MiB.
const LIST_PAGE_OBJECTS: u32 = 500;

/// How long a watch is asked to last, in seconds: below the 295 that `kube` allows, and an idle
/// cluster reconnects rarely.
const WATCH_SECONDS: u32 = 290;

/// A part of a kind's objects: everything, or a namespace, or what selectors let through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// One namespace, `None` for all (and for cluster-scoped kinds).
    pub namespace: Option<String>,
    /// Field selector as in the query, `spec.nodeName=a`.
    pub fields: Option<String>,
    /// Label selector as in the query, `app=web`.
    pub labels: Option<String>,
}

impl Scope {
    /// Takes everything.
    pub fn all() -> Scope {
        Scope::default()
    }

    /// Takes one namespace only.
    #[must_use]
    pub fn in_namespace(mut self, namespace: impl Into<String>) -> Scope {
        self.namespace = Some(namespace.into());
        self
    }

    /// Takes what a field selector lets through.
    #[must_use]
    pub fn fields(mut self, selector: impl Into<String>) -> Scope {
        self.fields = Some(selector.into());
        self
    }

    /// Takes what a label selector lets through.
    #[must_use]
    pub fn labels(mut self, selector: impl Into<String>) -> Scope {
        self.labels = Some(selector.into());
        self
    }

    pub(super) fn list_params(&self, continue_token: Option<String>) -> ListParams {
        ListParams {
            field_selector: self.fields.clone(),
            label_selector: self.labels.clone(),
            limit: Some(LIST_PAGE_OBJECTS),
            continue_token,
            ..ListParams::default()
        }
    }

    pub(super) fn watch_params(&self) -> WatchParams {
        WatchParams {
            field_selector: self.fields.clone(),
            label_selector: self.labels.clone(),
            timeout: Some(WATCH_SECONDS),
            bookmarks: true,
            ..WatchParams::default()
        }
    }
}
