//! `GET` of a collection: JSON out of the cache's bytes, or tables and bare metadata.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use coracle_api::proto;
use coracle_api::registry::Kind;
use coracle_api::status::Status;
use coracle_store::Revision;
use futures::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::body;
use crate::cache::{ListRequest, ListRevision, Listing, Object, Selection};
use crate::context::Context;
use crate::negotiate::{Encoding, Form};
use crate::options::{ListOptions, VersionMatch};
use crate::respond::{self, Answer};
use crate::server::Core;
use crate::table::{self, Tables};

/// How long a read waits for a revision that has not happened yet. *Source:* kube-apiserver's `blockTimeout`.
const FUTURE_REVISION_WAIT: Duration = Duration::from_secs(3);

/// Size of the frames in which a long list is sent: long enough to make one TLS write worth its while, short enough
/// that a list of any length takes little memory of its own.
const FRAME_BYTES: usize = 64 * 1024;

impl Core {
    /// Answers with a collection.
    pub(crate) async fn list(&self, context: &Context) -> Result<Answer, Status> {
        let options = context.list_options(false)?;
        self.wait_for(options.resource_version).await;
        let revision = list_revision(&options);
        let namespace = Some(context.path.namespace.as_str());
        let selection = Selection::new(context.kind, namespace, options.labels, options.fields)?;
        let ListOptions { limit, continue_token, .. } = options;
        let request = ListRequest { selection, revision, limit, continue_token };
        let listing = self.objects(context.kind)?.list(&request)?;
        Ok(answer(context, listing))
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

fn answer(context: &Context, listing: Listing) -> Answer {
    let negotiated = context.negotiated;
    let values = listing.objects.iter().map(|object| object.value());
    match (negotiated.form, negotiated.encoding) {
        (Form::Object, _) if context.served.stored.is_some() => {
            let items: Vec<Value> = values.map(|object| context.to_served(object)).collect();
            let list = json!({
                "kind": context.served.list_kind(), "apiVersion": context.served.api_version(),
                "metadata": metadata(&listing), "items": items,
            });
            respond::value(StatusCode::OK, &list, negotiated)
        }
        (Form::Object, Encoding::Json) => whole(context, listing),
        (Form::Object, Encoding::PrettyJson | Encoding::Yaml) => {
            respond::json(StatusCode::OK, listing.json(context.kind), negotiated)
        }
        (Form::Object, Encoding::Protobuf) => {
            let kind = context.kind;
            let (version, list_kind) = (kind.api_version(), kind.list_kind());
            let metadata = metadata(&listing);
            let list = proto::encode_list(&version, &list_kind, &metadata, kind.ty(), values);
            respond::bytes(StatusCode::OK, list.into(), negotiated)
        }
        (Form::Table(version), _) => {
            let table = Tables {
                kind: context.kind,
                version,
                include: context.include_object(),
                now: context.now,
            };
            let table = table.table(values, metadata(&listing));
            respond::value(StatusCode::OK, &table, negotiated)
        }
        (Form::PartialMetadata(version) | Form::PartialMetadataList(version), _) => {
            let list = table::partial_metadata_list(values, metadata(&listing), version);
            respond::value(StatusCode::OK, &list, negotiated)
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

/// Sends the objects' own bytes: at once when they are few or are to be compressed, else frame by frame.
fn whole(context: &Context, listing: Listing) -> Answer {
    let bytes: usize = listing.objects.iter().map(|object| object.json.len()).sum();
    let compress = context.negotiated.gzip && bytes > respond::GZIP_BYTES_MIN;
    if compress || bytes < FRAME_BYTES {
        return respond::json(StatusCode::OK, listing.json(context.kind), context.negotiated);
    }
    let opening = opening(context.kind, &listing);
    let frames = Frames { opening: Some(opening), objects: listing.objects, next: 0 };
    let frames = stream::iter(frames.map(Ok));
    let mut answer = Response::new(body::stream(frames));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(Encoding::Json.content_type()));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    answer
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
    next: usize,
}

impl Iterator for Frames {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.next > self.objects.len() {
            return None;
        }
        let mut frame = BytesMut::with_capacity(FRAME_BYTES + FRAME_BYTES / 8);
        if let Some(opening) = self.opening.take() {
            frame.extend_from_slice(opening.as_bytes());
        }
        while let Some(object) = self.objects.get(self.next) {
            if self.next > 0 {
                frame.extend_from_slice(b",");
            }
            frame.extend_from_slice(&object.json);
            self.next += 1;
            if frame.len() >= FRAME_BYTES {
                return Some(frame.freeze());
            }
        }
        self.next += 1;
        frame.extend_from_slice(b"]}");
        Some(frame.freeze())
    }
}
