//! `GET` of a collection: JSON out of the cache's bytes, or tables and bare metadata.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coracle_api::proto;
use coracle_api::registry::Kind;
use coracle_api::status::Status;
use coracle_store::Revision;
use futures::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::body;
use crate::cache::{ListRequest, ListRevision, Listing, Object, Selection};
use crate::context::{Context, to_served};
use crate::crd::{convert, is_converted};
use crate::negotiate::{Encoding, Form, MetaVersion, Negotiated};
use crate::options::{ListOptions, VersionMatch};
use crate::respond::{self, Answer};
use crate::server::Core;
use crate::table::{self, IncludeObject, Tables};
use crate::verbs::narrow::Narrow;

/// How long a read waits for a revision that has not happened yet. *Source:* kube-apiserver's `blockTimeout`.
const FUTURE_REVISION_WAIT: Duration = Duration::from_secs(3);

/// Size of the frames in which a long list is sent: long enough to make one TLS write worth its while, short enough
/// that a list of any length takes little memory of its own.
const FRAME_BYTES: usize = 64 * 1024;

/// Lists of this many objects that are decoded or compressed leave the threads that serve everybody: they take
/// milliseconds and more.
const BLOCKING_OBJECTS_MIN: usize = 256;

impl Core {
    /// Answers with a collection.
    pub(crate) async fn list(&self, context: &Context) -> Result<Answer, Status> {
        let options = context.list_options(false)?;
        self.wait_for(options.resource_version).await;
        let revision = list_revision(&options);
        let namespace = Some(context.path.namespace.as_str());
        let (fields, narrow) = Narrow::part(context, &self.webhooks, options.fields)?;
        let selection = Selection::new(context.kind, namespace, options.labels, fields)?;
        let ListOptions { limit, continue_token, .. } = options;
        let request = ListRequest { selection, revision, limit, continue_token };
        let mut listing = self.objects(context.kind)?.list(&request)?;
        if let Some(narrow) = narrow {
            // A page may have fewer than were asked for, and what remains is not known.
            listing.objects = narrow.objects(listing.objects).await?;
            listing.remaining = None;
        }
        let shown = Shown::new(context);
        if is_converted(context.served) && context.negotiated.form == Form::Object {
            let values = listing.objects.iter().map(|object| object.value()).collect();
            let converted = convert(&self.webhooks, context.served, values).await?;
            return Ok(shown.converted(&listing, converted));
        }
        if listing.objects.len() < BLOCKING_OBJECTS_MIN || shown.is_written_in_frames() {
            return Ok(shown.answer(listing));
        }
        let answer = tokio::task::spawn_blocking(move || shown.answer(listing));
        answer.await.map_err(Status::internal)
    }

    /// Waits a little for a revision that has not happened yet; whoever reads then says that it is too large.
    pub(crate) async fn wait_for(&self, revision: Option<u64>) {
        let Some(revision) = revision.map(Revision) else { return };
        if revision > self.caches.revision() {
            let _elapsed =
                tokio::time::timeout(FUTURE_REVISION_WAIT, self.caches.wait_until(revision)).await;
        }
    }
}

/// *Source:* Kubernetes API concepts, "Semantics for get and list": a limit makes a given revision exact.
fn list_revision(options: &ListOptions) -> ListRevision {
    match (options.resource_version, options.version_match) {
        (None | Some(0), _) => ListRevision::Latest,
        (Some(revision), Some(VersionMatch::Exact)) => ListRevision::Exact(Revision(revision)),
        (Some(revision), None) if options.limit > 0 => ListRevision::Exact(Revision(revision)),
        (Some(revision), None | Some(VersionMatch::NotOlderThan)) => {
            ListRevision::NotOlderThan(Revision(revision))
        }
    }
}

/// How a list is shown.
#[derive(Clone, Copy)]
struct Shown {
    kind: &'static Kind,
    served: &'static Kind,
    negotiated: Negotiated,
    include: IncludeObject,
    now: Timestamp,
}

impl Shown {
    fn new(context: &Context) -> Shown {
        let Context { kind, served, negotiated, now, .. } = *context;
        Shown { kind, served, negotiated, include: context.include_object(), now }
    }

    /// Whether the body is made as the connection takes it, out of what is kept.
    fn is_written_in_frames(self) -> bool {
        let Negotiated { form, encoding, gzip } = self.negotiated;
        (encoding, gzip) == (Encoding::Json, false)
            && (form != Form::Object || self.served.stored.is_none())
    }

    fn answer(self, listing: Listing) -> Answer {
        let Shown { kind, negotiated, .. } = self;
        match (negotiated.form, negotiated.encoding) {
            (Form::Object, _) if self.served.stored.is_some() => {
                let values = listing.objects.iter().map(|object| object.value()).collect();
                self.converted(&listing, values)
            }
            (Form::Object, Encoding::Protobuf) => {
                let values = listing.objects.iter().map(|object| object.value());
                let (version, list_kind) = (kind.api_version(), kind.list_kind());
                let metadata = metadata(&listing);
                let list = proto::encode_list(&version, &list_kind, &metadata, kind.ty(), values);
                respond::bytes(StatusCode::OK, list.into(), negotiated)
            }
            (Form::Object, _) => self.written(Item::Whole, opening(kind, &listing), listing),
            (Form::Table(version), _) => {
                let tables = Tables { kind, version, include: self.include, now: self.now };
                let opening = tables.opening(&metadata(&listing));
                self.written(Item::Row(tables), opening, listing)
            }
            (Form::PartialMetadata(version) | Form::PartialMetadataList(version), _) => {
                let (version_text, metadata) = (version.api_version(), metadata(&listing));
                let opening = format!(
                    r#"{{"kind":"PartialObjectMetadataList","apiVersion":"{version_text}","metadata":{metadata},"items":["#
                );
                self.written(Item::Metadata(version), opening, listing)
            }
        }
    }

    /// The objects in the version of the path.
    fn converted(self, listing: &Listing, values: Vec<Value>) -> Answer {
        let values = values.into_iter();
        let items: Vec<Value> = values.map(|object| to_served(self.served, object)).collect();
        let list = json!({
            "kind": self.served.list_kind(), "apiVersion": self.served.api_version(),
            "metadata": metadata(listing), "items": items,
        });
        respond::value(StatusCode::OK, &list, self.negotiated)
    }

    /// Sends what is written of each object: at once when it is little or needs another encoding, else frame by frame.
    fn written(self, item: Item, opening: String, listing: Listing) -> Answer {
        let bytes: usize = listing.objects.iter().map(|object| object.json.len()).sum();
        let mut frames = Frames { opening: Some(opening), objects: listing.objects, item, next: 0 };
        if !self.is_written_in_frames() || bytes < FRAME_BYTES {
            let json = frames.by_ref().fold(Vec::with_capacity(bytes), |mut json, frame| {
                json.extend_from_slice(&frame);
                json
            });
            return respond::json(StatusCode::OK, json.into(), self.negotiated);
        }
        let mut answer = Response::new(body::stream(stream::iter(frames.map(Ok))));
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(Encoding::Json.content_type()));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
        answer
    }
}

/// What a list's body has of each object.
#[derive(Clone, Copy)]
enum Item {
    /// Its bytes.
    Whole,
    /// Its row.
    Row(Tables),
    /// Its type and metadata.
    Metadata(MetaVersion),
}

impl Item {
    fn write(self, object: &Object, out: &mut Vec<u8>) {
        match self {
            Item::Whole => out.extend_from_slice(&object.json),
            Item::Row(tables) => tables.write_row(object, out),
            Item::Metadata(version) => {
                table::write_partial_metadata(&object.metadata(), version, out);
            }
        }
    }
}

fn metadata(listing: &Listing) -> Value {
    let mut metadata = json!({"resourceVersion": listing.revision.to_string()});
    if let Some(token) = &listing.continue_token {
        metadata["continue"] = json!(token);
    }
    if let Some(remaining) = listing.remaining {
        metadata["remainingItemCount"] = json!(remaining);
    }
    metadata
}

fn opening(kind: &Kind, listing: &Listing) -> String {
    let mut text = format!(
        r#"{{"kind":"{}","apiVersion":"{}","metadata":"#,
        kind.list_kind(),
        kind.api_version()
    );
    // Writing to a string cannot fail.
    let _infallible = write!(text, "{}", metadata(listing));
    text.push_str(r#","items":["#);
    text
}

/// A list's body in frames, made as the connection takes them.
struct Frames {
    opening: Option<String>,
    objects: Vec<Arc<Object>>,
    item: Item,
    next: usize,
}

impl Iterator for Frames {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.next > self.objects.len() {
            return None;
        }
        let mut frame = Vec::with_capacity(FRAME_BYTES + FRAME_BYTES / 8);
        if let Some(opening) = self.opening.take() {
            frame.extend_from_slice(opening.as_bytes());
        }
        while let Some(object) = self.objects.get(self.next) {
            if self.next > 0 {
                frame.push(b',');
            }
            self.item.write(object, &mut frame);
            self.next += 1;
            if frame.len() >= FRAME_BYTES {
                return Some(frame.into());
            }
        }
        self.next += 1;
        frame.extend_from_slice(b"]}");
        Some(frame.into())
    }
}
