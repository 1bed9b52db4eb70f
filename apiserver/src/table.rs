//! Objects in the forms that clients may ask for instead of the objects: tables and bare metadata.
//!
//! *Source:* Kubernetes API concepts, "Receiving resources as Tables" and "Metadata-only fetches".

use coracle_api::registry::Kind;
use coracle_api::table;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::negotiate::MetaVersion;

/// What a table's rows carry besides their cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IncludeObject {
    /// Nothing.
    None,
    /// The object's metadata, as `PartialObjectMetadata`.
    Metadata,
    /// The whole object.
    Object,
}

impl IncludeObject {
    /// Reads `?includeObject=`; anything unknown is the default, metadata.
    pub fn parse(text: Option<&str>) -> IncludeObject {
        match text {
            Some("None") => IncludeObject::None,
            Some("Object") => IncludeObject::Object,
            Some(_) | None => IncludeObject::Metadata,
        }
    }
}

/// How tables of one request are made.
#[derive(Clone, Copy, Debug)]
pub struct Tables {
    /// The kind of the rows' objects.
    pub kind: &'static Kind,
    /// Version of `meta.k8s.io` that was asked for.
    pub version: MetaVersion,
    /// What rows carry.
    pub include: IncludeObject,
    /// The time against which ages are printed.
    pub now: Timestamp,
}

impl Tables {
    /// A table of these objects; `metadata` is the list's (or the single object's) `ListMeta`.
    ///
    /// Takes the objects one by one, so that a long list of large objects is never decoded as a whole.
    pub fn table(&self, objects: impl Iterator<Item = Value>, metadata: Value) -> Value {
        let rows: Vec<Value> = objects.map(|object| self.row(&object)).collect();
        json!({
            "kind": "Table",
            "apiVersion": self.version.api_version(),
            "metadata": metadata,
            "columnDefinitions": self.columns(),
            "rows": rows,
        })
    }

    /// A table of one row and no column definitions, as watch events carry it after the first.
    pub fn event(&self, object: &Value, with_columns: IncludeColumns) -> Value {
        let columns = match with_columns {
            IncludeColumns::Yes => self.columns(),
            IncludeColumns::No => Value::Null,
        };
        let version = coracle_api::meta::resource_version(object);
        json!({
            "kind": "Table",
            "apiVersion": self.version.api_version(),
            "metadata": {"resourceVersion": version},
            "columnDefinitions": columns,
            "rows": [self.row(object)],
        })
    }

    fn columns(&self) -> Value {
        table::definitions(self.kind)
    }

    fn row(&self, object: &Value) -> Value {
        let mut row = json!({"cells": table::row(self.kind, object, self.now)});
        let conditions = table::row_conditions(self.kind, object);
        if !conditions.is_empty() {
            row["conditions"] = conditions.into();
        }
        match self.include {
            IncludeObject::None => {}
            IncludeObject::Metadata => row["object"] = partial_metadata(object, self.version),
            IncludeObject::Object => row["object"] = object.clone(),
        }
        row
    }
}

/// Whether a table in a watch event says what its columns are; only the first one does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IncludeColumns {
    /// The first event.
    Yes,
    /// Later events.
    No,
}

/// An object's type and metadata alone.
pub fn partial_metadata(object: &Value, version: MetaVersion) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": version.api_version(),
        "metadata": object["metadata"],
    })
}

/// A list of types and metadata alone.
pub fn partial_metadata_list(
    objects: impl Iterator<Item = Value>,
    metadata: Value,
    version: MetaVersion,
) -> Value {
    let items: Vec<Value> = objects.map(|object| partial_metadata(&object, version)).collect();
    json!({
        "kind": "PartialObjectMetadataList",
        "apiVersion": version.api_version(),
        "metadata": metadata,
        "items": items,
    })
}
