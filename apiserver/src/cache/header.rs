//! The parts of an object that are looked at without decoding it, as one text: every object of the cluster has one in
//! memory, and a text of its own for each part would take three times as much.

use super::head;
use coracle_api::meta;
use coracle_api::registry::Kind;
use coracle_api::selector::Labels;
use serde_json::Value;

/// The places of the parts that every object has.
const NAMESPACE: usize = 0;
const NAME: usize = 1;
const UID: usize = 2;
/// How many those are; the labels come behind them.
const FIXED: usize = 3;

/// Room for the text of most objects while it is written.
const TEXT_BYTES: usize = 384;

/// The parts of an object that are looked at without decoding it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Namespace, name and uid, the labels' names and values, the values of the selectable labels.
    text: Box<str>,
    /// Where each of them ends in the text.
    ends: Box<[u32]>,
    labels: u32,
    deleting: bool,
}

impl Header {
    /// Takes them out of an object.
    pub(super) fn of(kind: &Kind, object: &Value) -> Header {
        let mut parts = Parts { text: String::with_capacity(TEXT_BYTES), ends: Vec::new() };
        let labels = meta::labels(object).into_iter().flatten();
        let labels: Vec<(&str, &str)> =
            labels.filter_map(|(name, value)| Some((name.as_str(), value.as_str()?))).collect();
        parts.ends.reserve_exact(FIXED + 2 * labels.len() + kind.rules.selectable.len());
        parts.push(meta::namespace(object));
        parts.push(meta::name(object));
        parts.push(meta::uid(object));
        for (name, value) in &labels {
            parts.push(name);
            parts.push(value);
        }
        for label in kind.rules.selectable {
            parts.push(&(kind.rules.select)(object, label).unwrap_or_default());
        }
        Header {
            text: parts.text.into(),
            ends: parts.ends.into(),
            labels: u32::try_from(labels.len()).unwrap_or(u32::MAX),
            deleting: meta::deletion_timestamp(object).is_some(),
        }
    }

    /// Takes them out of an object's JSON; `None` when they are not where they should be, or it is no JSON.
    pub(super) fn read(kind: &Kind, json: &[u8]) -> Option<Header> {
        head::read(kind, json).map(|object| Header::of(kind, &object))
    }

    /// `metadata.namespace`, empty for objects without one.
    pub fn namespace(&self) -> &str {
        self.part(NAMESPACE)
    }

    /// `metadata.name`.
    pub fn name(&self) -> &str {
        self.part(NAME)
    }

    /// `metadata.uid`.
    pub fn uid(&self) -> &str {
        self.part(UID)
    }

    /// Whether `metadata.deletionTimestamp` is set.
    pub fn deleting(&self) -> bool {
        self.deleting
    }

    /// `metadata.labels`, in the order of the object.
    pub(super) fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        let places = (FIXED..self.first_field()).step_by(2);
        places.map(|place| (self.part(place), self.part(place + 1)))
    }

    /// The values of the kind's selectable labels, in the order of `Rules::selectable`.
    pub(super) fn fields(&self) -> impl Iterator<Item = &str> {
        (self.first_field()..self.ends.len()).map(|place| self.part(place))
    }

    /// The value of the selectable label at a place; `None` where the kind has none.
    pub fn field(&self, place: usize) -> Option<&str> {
        let place = self.first_field().checked_add(place)?;
        (place < self.ends.len()).then(|| self.part(place))
    }

    fn first_field(&self) -> usize {
        FIXED + 2 * self.labels as usize
    }

    fn part(&self, place: usize) -> &str {
        let end = |place: usize| self.ends.get(place).map_or(0, |end| *end as usize);
        let start = place.checked_sub(1).map_or(0, end);
        self.text.get(start..end(place)).unwrap_or_default()
    }
}

impl Labels for Header {
    fn label(&self, key: &str) -> Option<&str> {
        self.labels().find(|(name, _)| *name == key).map(|(_, value)| value)
    }
}

/// A header's text while it is written.
struct Parts {
    text: String,
    ends: Vec<u32>,
}

impl Parts {
    fn push(&mut self, part: &str) {
        self.text.push_str(part);
        // An object is 3 MiB at most.
        self.ends.push(u32::try_from(self.text.len()).unwrap_or(u32::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_api::registry::{by_kind, kinds};
    use serde_json::json;

    fn show(header: &Header) -> String {
        format!(
            "{}/{} {} {:?} {:?} {}",
            header.namespace(),
            header.name(),
            header.uid(),
            header.labels().collect::<Vec<_>>(),
            header.fields().collect::<Vec<_>>(),
            header.deleting()
        )
    }

    #[test]
    fn gives_back_what_it_took() {
        let pod = json!({"metadata": {"name": "a", "namespace": "n", "uid": "u", "deletionTimestamp": "t",
                "labels": {"x": "1", "é": "", "not": 3}},
            "spec": {"nodeName": "h", "hostNetwork": true}, "status": {"phase": "Running"}});
        let header = Header::of(by_kind("", "v1", "Pod").unwrap(), &pod);
        assert_eq!(
            show(&header),
            r#"n/a u [("x", "1"), ("é", "")] ["true", "h", "", "", "", "", "Running", "", ""] true"#
        );
        assert_eq!((header.label("é"), header.label("not")), (Some(""), None));
        assert_eq!((header.field(1), header.field(9)), (Some("h"), None));
        let empty = Header::default();
        assert_eq!(show(&empty), r#"/  [] [] false"#);
        assert_eq!(empty.field(0), None);
    }

    /// An object with a value at every selectable label, and much that nobody selects by.
    fn sample(kind: &Kind) -> Value {
        let mut object = json!({
            "apiVersion": "v1", "kind": kind.kind, "reportingComponent": "r", "type": "T", "reason": "R",
            "metadata": {"name": "a\"b", "namespace": "n", "uid": "u", "labels": {"a": "b\\"},
                "managedFields": [{"manager": "m"}], "annotations": {"x": "y"}},
            "involvedObject": {"kind": "Pod", "name": "p", "uid": "i"}, "source": {"component": "c", "host": "h"},
            "spec": {"nodeName": "h", "unschedulable": true, "clusterIP": "1.2.3.4", "type": "ClusterIP",
                "signerName": "s", "driver": "d", "hostNetwork": true, "other": [{"a": {"b": []}}]},
            "status": {"phase": "P", "podIP": "1.1.1.1", "replicas": 3, "succeeded": 2, "other": {"x": [1, null]}},
        });
        if kind.kind == "Pod" {
            object["spec"]["schedulerName"] = json!("s");
        }
        object
    }

    #[test]
    fn what_is_read_alone_is_what_the_whole_object_says() {
        for kind in kinds() {
            let object = sample(kind);
            let read = Header::read(kind, object.to_string().as_bytes());
            assert_eq!(read, Some(Header::of(kind, &object)), "{kind:?}");
        }
    }

    #[test]
    fn what_is_no_object_is_not_read() {
        let kind = by_kind("", "v1", "Pod").unwrap();
        for text in ["", "[]", "{", r#"{"metadata": {}} x"#, r#"{"metadata": 3}"#, "null"] {
            assert_eq!(Header::read(kind, text.as_bytes()), None, "{text}");
        }
        assert!(Header::read(kind, b"{}").is_some());
    }
}
