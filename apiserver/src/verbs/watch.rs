//! `GET` with `watch=true`: the events of a collection as a stream of JSON lines.
//!
//! *Source:* Kubernetes API concepts, "Efficient detection of changes", "Watch bookmarks", "Streaming lists";
//! KEP-3157.

use std::collections::HashMap;
use std::pin::Pin;
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
use serde_json::{Value, json};
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;

use crate::body;
use crate::cache::{EventType, Object, Selection, Watch, WatchEvent, WatchFrom, write_event};
use crate::clock;
use crate::context::{Context, to_served};
use crate::crd::{convert, is_converted};
use crate::flow::WatchPlace;
use crate::negotiate::{Encoding, Form, MetaVersion};
use crate::options::ListOptions;
use crate::respond::Answer;
use crate::server::{Core, Counted};
use crate::table::{self, IncludeColumns, IncludeObject, Tables};
use crate::verbs::narrow::Narrow;
use crate::webhook::Clients;

/// Shortest time after which a watch without `timeoutSeconds` ends; the longest is twice as much, so that clients do
/// not all come back at once. *Source:* kube-apiserver's `--min-request-timeout`.
const TIMEOUT_SECONDS_MIN: u64 = 1800;
/// Size of the frames in which the objects at the beginning of a watch are sent.
const FRAME_BYTES: usize = 64 * 1024;
/// Annotation of the bookmark that ends the objects at the beginning.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

impl Core {
    /// Opens a watch and answers with its stream.
    pub(crate) async fn watch(&self, context: &Context) -> Result<Answer, Status> {
        let options = context.list_options(true)?;
        let from = watch_from(&options);
        if options.send_initial_events == Some(true) {
            self.wait_for(options.resource_version).await;
            let (asked, now) = (options.resource_version.unwrap_or(0), self.caches.revision().0);
            if asked > now {
                return Err(Status::too_large_resource_version(asked, now));
            }
        }
        let form = Lines::new(context, Arc::clone(&self.webhooks));
        let encoding = form.encoding;
        let (labels, fields) = (options.labels, with_name(options.fields, context)?);
        let (fields, narrow) = Narrow::part(context, &self.webhooks, fields)?;
        let selection =
            Selection::new(context.kind, Some(&context.path.namespace), labels, fields)?;
        let place = self.flows.watch_place(&context.user)?;
        let watch = match self.objects(context.kind)?.watch(selection, from) {
            Ok(watch) => watch,
            // As upstream: the stream begins, and its only event says why it ends.
            Err(status) => return Ok(one_error(form.encoding, &status)),
        };
        let spread = u64::from(clock::random()) % TIMEOUT_SECONDS_MIN;
        let seconds =
            options.timeout_seconds.filter(|s| *s > 0).unwrap_or(TIMEOUT_SECONDS_MIN + spread);
        let initial_end = options.send_initial_events == Some(true) && options.bookmarks;
        let stream = WatchStream {
            watch,
            narrow,
            lines: form,
            phase: Phase::Initial,
            initial: Vec::new().into_iter(),
            initial_end,
            bookmarks: options.bookmarks,
            tick: self.bookmarks.subscribe(),
            deadline: Box::pin(tokio::time::sleep(Duration::from_secs(seconds))),
            shutdown: self.shutdown.clone(),
            _open: self.long_running(),
            _place: place,
        };
        let frames = stream::unfold(stream, |mut stream| async move {
            let frame = stream.next().await?;
            Some((Ok(frame), stream))
        });
        Ok(stream_answer(encoding, body::stream(frames)))
    }
}

fn stream_answer(encoding: Encoding, body: body::Body) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = StatusCode::OK;
    let headers = answer.headers_mut();
    let content_type = match encoding {
        Encoding::Protobuf => "application/vnd.kubernetes.protobuf;stream=watch",
        Encoding::Json | Encoding::PrettyJson | Encoding::Yaml => "application/json",
    };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    answer
}

fn one_error(encoding: Encoding, status: &Status) -> Answer {
    let mut line = Vec::new();
    write_value(encoding, "ERROR", &status.to_value(), &mut line);
    stream_answer(encoding, body::full(line))
}

/// Appends an event whose object is not from the cache.
fn write_value(encoding: Encoding, event_type: &str, object: &Value, out: &mut Vec<u8>) {
    let encoded = match encoding {
        Encoding::Protobuf => proto::encode_named(object),
        Encoding::Json | Encoding::PrettyJson | Encoding::Yaml => None,
    };
    match encoded {
        Some(object) => proto::write_watch_event(event_type, &object, out),
        None => {
            let line = json!({"type": event_type, "object": object});
            out.extend_from_slice(line.to_string().as_bytes());
            out.push(b'\n');
        }
    }
}

/// Adds the name in the path to the field selector, for a watch of one object.
fn with_name(
    fields: coracle_api::selector::FieldSelector,
    context: &Context,
) -> Result<coracle_api::selector::FieldSelector, Status> {
    if !context.path.named_in_path {
        return Ok(fields);
    }
    let text = format!("metadata.name={}", context.path.name);
    coracle_api::selector::FieldSelector::parse(&text)
        .map_err(|error| Status::bad_request(error.to_string()))
}

fn watch_from(options: &ListOptions) -> WatchFrom {
    match (options.send_initial_events, options.resource_version) {
        (Some(true), _) | (None, None | Some(0)) => WatchFrom::Current,
        (Some(false), None | Some(0)) => WatchFrom::Now,
        (Some(false) | None, Some(revision)) => WatchFrom::After(Revision(revision)),
    }
}

/// What a watch sends next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The objects that were there.
    Initial,
    /// What happens.
    Live,
    /// Nothing: the last bookmark was sent.
    Over,
}

struct WatchStream {
    watch: Watch,
    narrow: Option<Narrow>,
    lines: Lines,
    phase: Phase,
    initial: std::vec::IntoIter<Arc<Object>>,
    initial_end: bool,
    bookmarks: bool,
    tick: tokio::sync::watch::Receiver<u64>,
    deadline: Pin<Box<Sleep>>,
    shutdown: CancellationToken,
    _open: Counted,
    _place: WatchPlace,
}

/// What ended a wait.
enum Woken {
    Events(Vec<u8>),
    Bookmark,
    End,
}

impl WatchStream {
    /// The next frame, `None` when the watch is over.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            match self.phase {
                Phase::Initial => {
                    let frame = self.initial_frame().await;
                    if !frame.is_empty() {
                        return Some(frame.into());
                    }
                }
                Phase::Live => match self.wait().await {
                    Woken::Events(frame) if frame.is_empty() => {}
                    Woken::Events(frame) => return Some(frame.into()),
                    Woken::Bookmark => {
                        if let Some(frame) = self.bookmark() {
                            return Some(frame);
                        }
                    }
                    Woken::End => {
                        self.phase = Phase::Over;
                        return self.bookmark();
                    }
                },
                Phase::Over => return None,
            }
        }
    }

    /// Some of the objects that were there; at their end the annotated bookmark, and the live phase begins.
    async fn initial_frame(&mut self) -> Vec<u8> {
        let mut frame = Vec::new();
        if self.initial.len() == 0 {
            match self.take_initial().await {
                Ok(objects) => self.initial = objects.into_iter(),
                Err(status) => {
                    self.phase = Phase::Over;
                    write_value(self.lines.encoding, "ERROR", &status.to_value(), &mut frame);
                    return frame;
                }
            }
        }
        for object in self.initial.by_ref() {
            self.lines.write(EventType::Added, &object, &mut frame);
            if frame.len() >= FRAME_BYTES {
                return frame;
            }
        }
        if self.initial_end {
            self.lines.write_bookmark(self.watch.start(), Some(INITIAL_EVENTS_END), &mut frame);
        }
        self.phase = Phase::Live;
        frame
    }

    /// The objects that were there, ready to be written.
    async fn take_initial(&mut self) -> Result<Vec<Arc<Object>>, Status> {
        let mut objects = self.watch.take_initial();
        if let Some(narrow) = &self.narrow {
            // In boxes, here and below: asking a webhook takes many KiB, which every watch would hold for as long as it
            // is open.
            objects = Box::pin(narrow.objects(objects)).await?;
        }
        if self.lines.are_converted() {
            Box::pin(self.lines.convert(objects.iter())).await?;
        }
        Ok(objects)
    }

    async fn wait(&mut self) -> Woken {
        let Self { watch, narrow, tick, deadline, shutdown, bookmarks, lines, phase, .. } = self;
        tokio::select! {
            biased;
            events = watch.next() => {
                let Some(events) = events else { return Woken::End };
                let mut frame = Vec::new();
                match lines.prepare(narrow.as_ref(), events).await {
                    Ok(events) => events.iter().for_each(|event| lines.write_event(event, &mut frame)),
                    Err(status) => {
                        write_value(lines.encoding, "ERROR", &status.to_value(), &mut frame);
                        *phase = Phase::Over;
                    }
                }
                Woken::Events(frame)
            }
            () = deadline.as_mut() => Woken::End,
            () = shutdown.cancelled() => Woken::End,
            // The clock lives as long as the server, so a closed channel means that the server is gone.
            ticked = tick.changed(), if *bookmarks => if ticked.is_ok() { Woken::Bookmark } else { Woken::End },
        }
    }

    /// A bookmark at the revision up to which everything was sent, when the client takes bookmarks.
    fn bookmark(&mut self) -> Option<Bytes> {
        let revision = self.watch.bookmark().filter(|_| self.bookmarks)?;
        let mut frame = Vec::new();
        self.lines.write_bookmark(revision, None, &mut frame);
        Some(frame.into())
    }
}

/// Writes events in the form that the client asked for.
struct Lines {
    kind: &'static Kind,
    served: &'static Kind,
    form: Form,
    encoding: Encoding,
    include: IncludeObject,
    columns: IncludeColumns,
    /// Who converts objects, and those that were converted and are to be written next, by their keys and revisions.
    webhooks: Arc<Clients>,
    converted: HashMap<(Bytes, Revision), Value>,
}

impl Lines {
    fn new(context: &Context, webhooks: Arc<Clients>) -> Lines {
        let Context { kind, served, negotiated, .. } = context;
        Lines {
            kind,
            served,
            form: negotiated.form,
            encoding: negotiated.encoding,
            include: context.include_object(),
            columns: IncludeColumns::Yes,
            webhooks,
            converted: HashMap::new(),
        }
    }

    /// Whether the definition's webhook converts what is written; most kinds have none.
    fn are_converted(&self) -> bool {
        is_converted(self.served) && self.form == Form::Object
    }

    /// Has the definition's webhook convert the objects that are to be written next.
    async fn convert(&mut self, objects: impl Iterator<Item = &Arc<Object>>) -> Result<(), Status> {
        let (keys, values): (Vec<_>, Vec<Value>) =
            objects.map(|object| ((object.key.clone(), object.revision), object.value())).unzip();
        let converted = convert(&self.webhooks, self.served, values).await?;
        self.converted = keys.into_iter().zip(converted).collect();
        Ok(())
    }

    /// What is to be written of the events, with their objects converted.
    async fn prepare(
        &mut self,
        narrow: Option<&Narrow>,
        mut events: Vec<WatchEvent>,
    ) -> Result<Vec<WatchEvent>, Status> {
        if let Some(narrow) = narrow {
            events = Box::pin(narrow.events(events)).await?;
        }
        if self.are_converted() {
            Box::pin(self.convert(events.iter().filter_map(|event| event.object()))).await?;
        }
        Ok(events)
    }

    /// Writes what happened; whole objects as they were encoded once for all watches.
    fn write_event(&mut self, event: &WatchEvent, out: &mut Vec<u8>) {
        let whole = self.form == Form::Object && self.served.stored.is_none();
        if whole && self.encoding == Encoding::Protobuf {
            if let Some(object) = event.protobuf(self.kind) {
                proto::write_watch_event(event.event_type.as_str(), object, out);
            }
        } else if let Some(object) = event.object() {
            self.write(event.event_type, object, out);
        }
    }

    fn write(&mut self, event_type: EventType, object: &Object, out: &mut Vec<u8>) {
        let converted = match self.form {
            Form::Object if self.served.stored.is_some() => {
                let known = self.converted.remove(&(object.key.clone(), object.revision));
                to_served(self.served, known.unwrap_or_else(|| object.value()))
            }
            Form::Object if self.encoding == Encoding::Protobuf => object.value(),
            Form::Object => return write_event(event_type, &object.json, out),
            Form::Table(version) => {
                let columns = std::mem::replace(&mut self.columns, IncludeColumns::No);
                let tables =
                    Tables { kind: self.kind, version, include: self.include, now: clock::now() };
                tables.event(&object.value(), columns)
            }
            Form::PartialMetadata(version) | Form::PartialMetadataList(version) => {
                let mut json = Vec::with_capacity(1024);
                table::write_partial_metadata(&object.metadata(), version, &mut json);
                if self.encoding == Encoding::Json {
                    return write_event(event_type, &json, out);
                }
                // Made of JSON that was written here.
                serde_json::from_slice(&json).unwrap_or_default()
            }
        };
        write_value(self.encoding, event_type.as_str(), &converted, out);
    }

    fn write_bookmark(&self, revision: Revision, annotation: Option<&str>, out: &mut Vec<u8>) {
        let mut metadata = json!({"resourceVersion": revision.to_string()});
        if let Some(annotation) = annotation {
            metadata["annotations"] = json!({annotation: "true"});
        }
        write_value(self.encoding, "BOOKMARK", &self.bookmark_object(metadata), out);
    }

    fn bookmark_object(&self, mut metadata: Value) -> Value {
        let typed = |kind: &str, version: &str, metadata: &Value| json!({"kind": kind, "apiVersion": version, "metadata": metadata});
        let of_version = |version: MetaVersion| version.api_version();
        match self.form {
            Form::Object => {
                metadata["creationTimestamp"] = Value::Null;
                typed(self.served.kind, &self.served.api_version(), &metadata)
            }
            Form::Table(version) => {
                let object = typed("PartialObjectMetadata", of_version(version), &metadata);
                let list_metadata = json!({"resourceVersion": metadata["resourceVersion"]});
                let mut table = typed("Table", of_version(version), &list_metadata);
                table["columnDefinitions"] = Value::Null;
                table["rows"] = json!([{"cells": [], "object": object}]);
                table
            }
            Form::PartialMetadata(version) | Form::PartialMetadataList(version) => {
                typed("PartialObjectMetadata", of_version(version), &metadata)
            }
        }
    }
}
