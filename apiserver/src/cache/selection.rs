//! Which objects of a resource a list or a watch is about.

use super::header::Header;
use coracle_api::registry::Kind;
use coracle_api::selector::{FieldSelector, LabelSelector, Operator};
use coracle_api::status::Status;
use std::borrow::Cow;

/// The objects that a request is about: a namespace or all, a name or any, labels and fields.
#[derive(Debug, Clone)]
pub struct Selection {
    kind: &'static Kind,
    namespace: Option<String>,
    name: Option<String>,
    labels: LabelSelector,
    fields: FieldSelector,
}

impl Selection {
    /// All objects of a kind.
    pub fn all(kind: &'static Kind) -> Selection {
        let (labels, fields) = (LabelSelector::everything(), FieldSelector::everything());
        Selection { kind, namespace: None, name: None, labels, fields }
    }

    /// The objects of a namespace (`None` or empty: of all) that the selectors match.
    ///
    /// # Errors
    /// 400 when the field selector names a label that the kind does not have.
    pub fn new(
        kind: &'static Kind,
        namespace: Option<&str>,
        labels: LabelSelector,
        fields: FieldSelector,
    ) -> Result<Selection, Status> {
        for requirement in fields.requirements() {
            let label = requirement.label.as_str();
            let of_all = matches!(label, "metadata.name" | "metadata.namespace");
            if !of_all && !kind.rules.selectable.contains(&label) {
                return Err(unknown_label(kind, label));
            }
        }
        let asked = namespace.filter(|namespace| !namespace.is_empty() && kind.namespaced);
        let namespace = asked.or(fields.equals("metadata.namespace")).map(str::to_owned);
        let name = fields.equals("metadata.name").map(str::to_owned);
        Ok(Selection { kind, namespace, name, labels, fields })
    }

    /// The kind.
    pub fn kind(&self) -> &'static Kind {
        self.kind
    }

    /// The one namespace, if there is one.
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// The one name, if there is one.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Whether it selects by labels or fields, so that a count of what remains is not known.
    pub fn has_selectors(&self) -> bool {
        !self.labels.is_everything() || !self.fields.is_everything()
    }

    /// The place and the value of a selectable label that must be equal to something other than empty.
    pub(super) fn field_equal(&self) -> Option<(usize, &str)> {
        let labels = self.kind.rules.selectable.iter().enumerate();
        labels
            .filter_map(|(index, label)| Some((index, self.fields.equals(label)?)))
            .find(|(_, value)| !value.is_empty())
    }

    /// The labels that must have one certain value, with it.
    pub(super) fn labels_equal(&self) -> impl Iterator<Item = (&str, &str)> {
        self.labels.requirements().iter().filter_map(|requirement| {
            let [value] = requirement.values() else { return None };
            (requirement.operator() == Operator::In).then_some((requirement.key(), value.as_str()))
        })
    }

    /// Whether an object is one of them.
    pub fn matches(&self, header: &Header) -> bool {
        self.namespace.as_deref().is_none_or(|namespace| namespace == header.namespace())
            && self.labels.matches(header)
            && self.fields.matches(|label| self.field(header, label))
    }

    fn field<'a>(&self, header: &'a Header, label: &str) -> Option<Cow<'a, str>> {
        match label {
            "metadata.name" => Some(Cow::Borrowed(header.name())),
            "metadata.namespace" => Some(Cow::Borrowed(header.namespace())),
            label => {
                let index = self.kind.rules.selectable.iter().position(|known| *known == label)?;
                header.field(index).map(Cow::Borrowed)
            }
        }
    }
}

/// A kind with labels of its own is asked for others in other words. *Source:* the field label conversions upstream.
fn unknown_label(kind: &Kind, label: &str) -> Status {
    if kind.custom.is_none() && kind.rules.selectable.is_empty() {
        let known = r#""metadata.name", "metadata.namespace""#;
        return Status::bad_request(format!(
            "{label:?} is not a known field selector: only {known}"
        ));
    }
    Status::bad_request(format!("field label not supported: {label}"))
}
