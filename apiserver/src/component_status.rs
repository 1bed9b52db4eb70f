//! `componentstatuses`: how the parts of the control plane are, seen at the moment of the question. Nothing is stored.
//!
//! Upstream asks each part over HTTP; here their Leases say whether they are at work, and that the store answers shows
//! in that the server does. *Source:* `pkg/registry/core/componentstatus` of kube-apiserver, for names and form.

use coracle_api::meta;
use coracle_api::registry::{self, Kind};
use coracle_api::status::Status;
use coracle_api::table as printed;
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::context::Context;
use crate::negotiate::Form;
use crate::respond::{self, Answer};
use crate::server::Core;
use crate::table;

/// The parts, in order of their names, and the Lease by which each of them leads.
const PARTS: [(&str, Option<&str>); 3] = [
    ("controller-manager", Some("kube-controller-manager")),
    ("etcd-0", None),
    ("scheduler", Some("kube-scheduler")),
];

/// Whether objects of a kind are those of this place.
pub(crate) fn is_kind(kind: &Kind) -> bool {
    (kind.group, kind.kind) == ("", "ComponentStatus")
}

impl Core {
    /// Answers with one part, or with all.
    ///
    /// # Errors
    /// 404 for a part that there is not.
    pub(crate) fn show_components(&self, context: &Context) -> Result<Answer, Status> {
        let leases = registry::by_kind("coordination.k8s.io", "v1", "Lease");
        let leases = leases.and_then(|kind| self.objects(kind).ok());
        let parts = PARTS.iter().map(|(name, lease)| {
            let healthy = lease.map_or(Ok(()), |lease| {
                let found = leases.as_ref().and_then(|cache| cache.get("kube-system", lease));
                is_held(lease, found.map(|object| object.value()).as_ref(), context.now)
            });
            status(name, healthy)
        });
        let parts: Vec<Value> = parts.collect();
        if !context.path.named_in_path {
            return Ok(list(context, &parts));
        }
        let name = context.path.name.as_str();
        let part = parts.iter().find(|part| meta::name(part) == name);
        let missing = || Status::not_found(&context.kind.group_resource(), name);
        let json = part.ok_or_else(missing)?.to_string();
        Ok(context.answer_object(StatusCode::OK, json.into()))
    }
}

fn list(context: &Context, parts: &[Value]) -> Answer {
    let list = |items: Vec<Value>, kind: &str, version: &str| {
        let list = json!({"kind": kind, "apiVersion": version, "metadata": {}, "items": items});
        respond::value(StatusCode::OK, &list, context.negotiated)
    };
    match context.negotiated.form {
        Form::Object => list(parts.to_vec(), "ComponentStatusList", "v1"),
        Form::Table(version) => {
            let rows =
                parts.iter().map(|part| (printed::row(context.kind, part, context.now), part));
            let columns = printed::definitions(context.kind);
            let table = table::of_rows(version, columns, json!({}), rows);
            respond::value(StatusCode::OK, &table, context.negotiated)
        }
        Form::PartialMetadata(version) | Form::PartialMetadataList(version) => {
            let items = parts.iter().map(|part| table::partial_metadata(part, version)).collect();
            list(items, "PartialObjectMetadataList", version.api_version())
        }
    }
}

/// Whether somebody leads by a Lease; else says why not.
fn is_held(name: &str, lease: Option<&Value>, now: Timestamp) -> Result<(), String> {
    let Some(lease) = lease else { return Err(format!("there is no Lease kube-system/{name}")) };
    let spec = &lease["spec"];
    let renewed = spec["renewTime"].as_str().and_then(|time| time.parse::<Timestamp>().ok());
    let seconds = spec["leaseDurationSeconds"].as_i64().unwrap_or_default();
    let holds = spec["holderIdentity"].as_str().is_some_and(|holder| !holder.is_empty());
    // A sum of the two may be beyond the last time that there is.
    let lasts = SignedDuration::from_secs(seconds);
    if holds && renewed.is_some_and(|renewed| now.duration_since(renewed) <= lasts) {
        return Ok(());
    }
    Err(format!("the Lease kube-system/{name} is held by nobody, or was not renewed in time"))
}

fn status(name: &str, healthy: Result<(), String>) -> Value {
    let condition = match healthy {
        Ok(()) => json!({"type": "Healthy", "status": "True", "message": "ok"}),
        Err(why) => json!({"type": "Healthy", "status": "False", "error": why}),
    };
    json!({"kind": "ComponentStatus", "apiVersion": "v1", "metadata": {"name": name}, "conditions": [condition]})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_well_as_long_as_its_lease_is_renewed() {
        let lasting = |holder: &str, renewed: &str, seconds: i64| {
            json!({"spec": {"holderIdentity": holder, "leaseDurationSeconds": seconds,
                "renewTime": renewed}})
        };
        let lease = |holder: &str| lasting(holder, "2026-01-01T00:00:00.000000Z", 15);
        let late = "9990-01-01T00:00:00.000000Z";
        for (lease, at, held) in [
            (Some(lease("a")), "2026-01-01T00:00:15Z", true),
            (Some(lease("a")), "2026-01-01T00:00:16Z", false),
            (Some(lease("")), "2026-01-01T00:00:01Z", false),
            (None, "2026-01-01T00:00:01Z", false),
            (Some(lasting("a", late, i64::from(i32::MAX))), "2026-01-01T00:00:00Z", true),
            (Some(lasting("a", late, 1)), "9999-01-01T00:00:00Z", false),
            (Some(lasting("a", "0001-01-01T00:00:00Z", i64::MAX)), "9999-01-01T00:00:00Z", true),
        ] {
            let found = is_held("kube-scheduler", lease.as_ref(), at.parse().unwrap());
            assert_eq!(found.is_ok(), held, "{lease:?} at {at}: {found:?}");
        }
    }
}
