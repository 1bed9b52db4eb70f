//! What annotations of an Ingress or a route ask for beyond its fields. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::routes::Rule;
use crate::cidr::Cidr;

/// Clients that may ask, as ranges of addresses with commas between: all others get 403. What cannot
/// be read lets nobody in, as it was meant to keep somebody out.
pub const CLIENTS: &str = "coracle.dev/source-ranges";

/// Bytes that the body of a request may have; more is answered with 413.
pub const BODY: &str = "coracle.dev/body-bytes-max";

/// What was asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    clients: Option<Vec<Cidr>>,
    body_bytes_max: Option<u64>,
}

impl Asked {
    /// Reads the annotations.
    #[must_use]
    pub fn of(metadata: &ObjectMeta) -> Self {
        let get = |name: &str| metadata.annotations.as_ref()?.get(name);
        let ranges =
            |text: &String| text.split(',').map(|range| Cidr::parse(range.trim())).collect();
        Self {
            clients: get(CLIENTS).map(|text| Option::<Vec<Cidr>>::unwrap_or_default(ranges(text))),
            body_bytes_max: get(BODY).and_then(|text| text.trim().parse().ok()),
        }
    }

    /// Puts it into a rule.
    pub fn apply(&self, rule: &mut Rule) {
        rule.clients.clone_from(&self.clients);
        if let Some(most) = self.body_bytes_max {
            rule.body_bytes_max = most;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::front::routes::{BODY_BYTES_MAX, Origin};
    use serde_json::json;

    #[test]
    fn annotations_limit_clients_and_bodies() {
        let check = |annotations: serde_json::Value, client: &str, admitted, bytes| {
            let metadata = serde_json::from_value(json!({"annotations": annotations})).unwrap();
            let origin = Origin { kind: "Ingress", namespace: String::new(), name: String::new() };
            let mut rule = Rule::to(origin, Vec::new());
            Asked::of(&metadata).apply(&mut rule);
            assert_eq!(rule.admits(client.parse().unwrap()), admitted, "{metadata:?} {client}");
            assert_eq!(rule.body_bytes_max, bytes);
        };
        check(json!({}), "192.0.2.1", true, BODY_BYTES_MAX);
        check(json!({CLIENTS: "192.0.2.0/24, ::1"}), "192.0.2.1", true, BODY_BYTES_MAX);
        check(json!({CLIENTS: "192.0.2.0/24, ::1"}), "198.51.100.1", false, BODY_BYTES_MAX);
        check(json!({CLIENTS: "oops"}), "192.0.2.1", false, BODY_BYTES_MAX);
        check(json!({BODY: "10"}), "192.0.2.1", true, 10);
        check(json!({BODY: "many"}), "192.0.2.1", true, BODY_BYTES_MAX);
    }
}
