//! Field selectors of users' kinds in a version in which objects are not kept: objects are brought into that version
//! before they are matched, those of a change both as they were and as they are.
//!
//! *Source:* `selectableFields` of `apiextensions.k8s.io/v1`: each version has its own.

use std::sync::Arc;

use coracle_api::registry::Kind;
use coracle_api::selector::FieldSelector;
use coracle_api::status::Status;
use serde_json::Value;

use crate::cache::{Object, WatchEvent};
use crate::context::{Context, to_served};
use crate::crd::convert;
use crate::webhook::Clients;

/// A field selector that the cache cannot match.
pub(crate) struct Narrow {
    fields: FieldSelector,
    served: &'static Kind,
    webhooks: Arc<Clients>,
}

impl Narrow {
    /// Parts a field selector into what the cache matches and, when it has fields of a version that is not kept, what is
    /// matched here.
    ///
    /// # Errors
    /// 400 when it names a field that the version of the path does not offer.
    pub(crate) fn part(
        context: &Context,
        webhooks: &Arc<Clients>,
        fields: FieldSelector,
    ) -> Result<(FieldSelector, Option<Narrow>), Status> {
        let served = context.served;
        let is_kept = served.stored.is_none() || served.custom.is_none();
        let of_all = |label: &str| matches!(label, "metadata.name" | "metadata.namespace");
        if is_kept || fields.requirements().iter().all(|one| of_all(&one.label)) {
            return Ok((fields, None));
        }
        for label in fields.requirements().iter().map(|one| one.label.as_str()) {
            if !of_all(label) && !served.rules.selectable.contains(&label) {
                return Err(Status::bad_request(format!("field label not supported: {label}")));
            }
        }
        let narrow = Narrow { fields, served, webhooks: Arc::clone(webhooks) };
        Ok((FieldSelector::everything(), Some(narrow)))
    }

    /// Those of the objects that are selected.
    ///
    /// # Errors
    /// 500 when they cannot be converted.
    pub(crate) async fn objects(
        &self,
        objects: Vec<Arc<Object>>,
    ) -> Result<Vec<Arc<Object>>, Status> {
        let selected = self.selects(objects.iter().map(|object| object.value()).collect()).await?;
        let both = objects.into_iter().zip(selected);
        Ok(both.filter_map(|(object, is_selected)| is_selected.then_some(object)).collect())
    }

    /// The events as they look to who sees the selected objects alone.
    ///
    /// # Errors
    /// 500 when their objects cannot be converted.
    pub(crate) async fn events(&self, events: Vec<WatchEvent>) -> Result<Vec<WatchEvent>, Status> {
        let sides = events.iter().flat_map(|event| <[_; 2]>::from(event.sides())).flatten();
        let mut selected =
            self.selects(sides.map(|object| object.value()).collect()).await?.into_iter();
        let mut next = |is_there: bool| is_there && selected.next().unwrap_or(false);
        let mut narrowed = Vec::with_capacity(events.len());
        for event in events {
            let (before, after) = event.sides();
            let (before, after) = (before.is_some(), after.is_some());
            let (before, after) = (next(before), next(after));
            narrowed.extend(event.narrowed(before, after));
        }
        Ok(narrowed)
    }

    async fn selects(&self, objects: Vec<Value>) -> Result<Vec<bool>, Status> {
        let converted = convert(&self.webhooks, self.served, objects).await?;
        let served = converted.into_iter().map(|object| to_served(self.served, object));
        let select = self.served.rules.select;
        Ok(served.map(|object| self.fields.matches(|label| select(&object, label))).collect())
    }
}
