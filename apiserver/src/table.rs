//! Objects in the forms that clients may ask for instead of the objects: tables and bare metadata.
//!
//! *Source:* Kubernetes API concepts, "Receiving resources as Tables" and "Metadata-only fetches".

use coracle_api::registry::Kind;
use coracle_api::table;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::cache::Object;
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
    /// A table of one object.
    pub fn single(&self, object: &Value) -> Value {
        json!({
            "kind": "Table",
            "apiVersion": self.version.api_version(),
            "metadata": {"resourceVersion": object["metadata"]["resourceVersion"]},
            "columnDefinitions": self.columns(),
            "rows": [self.row(object)],
        })
    }

    /// The JSON of a table up to its first row; `metadata` is the list's `ListMeta`. The rows follow, separated by
    /// commas, and `]}`.
    pub fn opening(&self, metadata: &Value) -> String {
        let (version, columns) = (self.version.api_version(), self.columns());
        format!(
            r#"{{"kind":"Table","apiVersion":"{version}","metadata":{metadata},"columnDefinitions":{columns},"rows":["#
        )
    }

    /// Appends the row of an object as JSON. Its metadata are copied as they are kept, never built.
    pub fn write_row(&self, object: &Object, out: &mut Vec<u8>) {
        let mut sketch = object.sketch();
        if self.kind.custom.is_some() {
            // A user's column may show any field.
            sketch.object = object.value();
        }
        out.extend_from_slice(br#"{"cells":"#);
        write(&table::row(self.kind, &sketch.object, self.now), out);
        let conditions = table::row_conditions(self.kind, &sketch.object);
        if !conditions.is_empty() {
            out.extend_from_slice(br#","conditions":"#);
            write(&conditions, out);
        }
        match self.include {
            IncludeObject::None => out.extend_from_slice(br#","object":null"#),
            IncludeObject::Metadata => {
                out.extend_from_slice(br#","object":"#);
                write_partial_metadata(&sketch.metadata, self.version, out);
            }
            IncludeObject::Object => {
                out.extend_from_slice(br#","object":"#);
                out.extend_from_slice(&object.json);
            }
        }
        out.push(b'}');
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

/// A table of something that is not kept, with its metadata in the row.
pub(crate) fn of_one(
    version: MetaVersion,
    columns: Value,
    cells: Vec<Value>,
    object: &Value,
) -> Value {
    let resource_version = object["metadata"]["resourceVersion"].as_str().unwrap_or_default();
    of_rows(version, columns, json!({"resourceVersion": resource_version}), [(cells, object)])
}

/// A table of things that are not kept, with their metadata in the rows.
pub(crate) fn of_rows<'a>(
    version: MetaVersion,
    columns: Value,
    metadata: Value,
    rows: impl IntoIterator<Item = (Vec<Value>, &'a Value)>,
) -> Value {
    let row = |(cells, object): (Vec<Value>, &Value)| json!({"cells": cells, "object": partial_metadata(object, version)});
    json!({
        "kind": "Table", "apiVersion": version.api_version(), "metadata": metadata,
        "columnDefinitions": columns, "rows": rows.into_iter().map(row).collect::<Vec<_>>(),
    })
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

/// Appends an object's type and metadata as JSON; `metadata` is JSON already.
pub fn write_partial_metadata(metadata: &[u8], version: MetaVersion, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"kind":"PartialObjectMetadata","apiVersion":""#);
    out.extend_from_slice(version.api_version().as_bytes());
    out.extend_from_slice(br#"","metadata":"#);
    out.extend_from_slice(metadata);
    out.push(b'}');
}

/// Appends JSON; writing a `Value` to memory cannot fail.
fn write(values: &[Value], out: &mut Vec<u8>) {
    let _infallible = serde_json::to_writer(out, values);
}
