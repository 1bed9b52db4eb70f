//! Static pods: pods of this host alone, from files in a folder of it.
//!
//! `parse` turns a file into a pod, `mirror` decides what the API shows of it; both are pure.
//! `watch` reads the folder. The loop runs a static pod as it runs any other, with or without a
//! server; the *mirror* is an object in the API that shows it, and that changes nothing when it is
//! written or deleted.
//!
//! *Source:* kubelet's file source and its mirror client.

pub(crate) mod mirror;
pub(crate) mod parse;
pub(crate) mod watch;

use k8s_openapi::api::core::v1::Pod;

/// Annotation: the uid that the host gives a static pod, a hash of what it is made from.
pub(crate) const CONFIG_HASH: &str = "kubernetes.io/config.hash";
/// Annotation: where a pod comes from; `file` for static ones.
pub(crate) const CONFIG_SOURCE: &str = "kubernetes.io/config.source";
/// Annotation: when the file was read.
pub(crate) const CONFIG_SEEN: &str = "kubernetes.io/config.seen";
/// Annotation: marks a mirror; its value is the uid of the static pod that it shows.
pub(crate) const CONFIG_MIRROR: &str = "kubernetes.io/config.mirror";

/// Namespace and name of a pod: what a static pod and its mirror have in common.
pub(crate) type FullName = (String, String);

/// Gives the full name of a pod.
pub(crate) fn full_name(pod: &Pod) -> FullName {
    let meta = &pod.metadata;
    (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

/// Tells whether a pod is a static one of this host.
pub(crate) fn is_static(pod: &Pod) -> bool {
    annotation(pod, CONFIG_SOURCE) == Some("file") && annotation(pod, CONFIG_MIRROR).is_none()
}

/// Tells whether an object only shows a static pod.
pub(crate) fn is_mirror(pod: &Pod) -> bool {
    annotation(pod, CONFIG_MIRROR).is_some()
}

/// Gives an annotation of a pod.
pub(crate) fn annotation<'a>(pod: &'a Pod, name: &str) -> Option<&'a str> {
    pod.metadata.annotations.as_ref()?.get(name).map(String::as_str)
}
