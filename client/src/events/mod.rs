//! Events about objects, for the app's owner: joined, limited in rate, never in the way.
//!
//! Comes in: a sentence about an object from any part. Goes out: `v1.Event` objects, one per
//! object, reason and message, whose `count` rises.

mod correlate;
mod run;

use std::borrow::Cow;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource;

pub use run::Recorder;

/// Whether an event is of the ordinary kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// Something happened as intended.
    Normal,
    /// Something a person may want to look at.
    Warning,
}

impl EventKind {
    /// Gives the value of the field `type`.
    pub fn as_str(self) -> &'static str {
        match self {
            EventKind::Normal => "Normal",
            EventKind::Warning => "Warning",
        }
    }
}

/// One thing to say about one object.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Notice {
    pub(crate) object: NoticeObject,
    pub(crate) kind: EventKind,
    pub(crate) reason: Cow<'static, str>,
    pub(crate) message: String,
}

/// What a notice is about; `ObjectReference` without `Hash` lacks only that.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct NoticeObject {
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) resource_version: String,
    pub(crate) field_path: String,
}

impl From<ObjectReference> for NoticeObject {
    fn from(reference: ObjectReference) -> Self {
        NoticeObject {
            api_version: reference.api_version.unwrap_or_default(),
            kind: reference.kind.unwrap_or_default(),
            namespace: reference.namespace.unwrap_or_default(),
            name: reference.name.unwrap_or_default(),
            uid: reference.uid.unwrap_or_default(),
            resource_version: reference.resource_version.unwrap_or_default(),
            field_path: reference.field_path.unwrap_or_default(),
        }
    }
}

impl NoticeObject {
    fn to_reference(&self) -> ObjectReference {
        let some = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        ObjectReference {
            api_version: some(&self.api_version),
            kind: some(&self.kind),
            namespace: some(&self.namespace),
            name: some(&self.name),
            uid: some(&self.uid),
            resource_version: some(&self.resource_version),
            field_path: some(&self.field_path),
        }
    }
}

/// Gives the reference by which an event names a typed object.
pub fn reference<K: Resource<DynamicType = ()>>(object: &K) -> ObjectReference {
    let meta = object.meta();
    ObjectReference {
        api_version: Some(K::api_version(&()).into_owned()),
        kind: Some(K::kind(&()).into_owned()),
        namespace: meta.namespace.clone(),
        name: meta.name.clone(),
        uid: meta.uid.clone(),
        resource_version: meta.resource_version.clone(),
        field_path: None,
    }
}
