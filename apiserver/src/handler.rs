//! The way of every request: who asks, what for, may they, then the work; and what every answer carries.
//!
//! *Source:* the order of kube-apiserver's filters.

use std::sync::Arc;
use std::time::Duration;

use coracle_api::registry::{self, Kind};
use coracle_api::status::Status;
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body::Body as _;
use tokio::time::timeout;

use crate::audit::Notes;
use crate::authn::{ANONYMOUS, UserInfo, take_bearer};
use crate::body::{self, Body};
use crate::clock;
use crate::component_status;
use crate::context::Context;
use crate::crd;
use crate::deprecation;
use crate::flow::Place;
use crate::gate::{Caller, Identity};
use crate::metrics::RequestLabels;
use crate::negotiate::Negotiated;
use crate::query::Query;
use crate::request_info::{RequestInfo, ResourcePath, Verb};
use crate::respond::{self, Answer};
use crate::review;
use crate::server::{Core, Counted};
use crate::streams;
use crate::ui;
use crate::usage;
use crate::verbs::write::Part;

/// Time that a request may take, watches and streams excepted. *Source:* kube-apiserver's `--request-timeout`.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Objects of a list that cost as much as one other request.
const OBJECTS_PER_SEAT: usize = 1000;

/// Most seats of a list. *Source:* `maximumSeats` upstream.
const LIST_SEATS_MAX: usize = 10;

const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");

impl Core {
    /// Answers a request; never fails, because a failure is an answer.
    pub(crate) async fn handle(self: Arc<Self>, request: Request<Body>, caller: Caller) -> Answer {
        let began = clock::instant();
        let (mut parts, body) = request.into_parts();
        if let Some(file) = ui::answer(&parts.method, parts.uri.path(), &parts.headers) {
            return file;
        }
        take_bearer(&mut parts.headers);
        let query = Query::parse(parts.uri.query().unwrap_or(""));
        let info = RequestInfo::parse(&parts.method, parts.uri.path(), &query);
        let labels = labels(&info);
        let negotiated = Negotiated::for_plain(&parts.headers, &query);
        let audit_id = audit_id(&parts);
        let is_head = parts.method == Method::HEAD;
        let is_long = is_long_running(&info, &query);
        let is_write = is_write(&info);
        let news = self.hear_news(&info, &query).await;
        let who = self.identify(&parts.headers, caller).await;
        let id = audit_id.to_str().unwrap_or_default();
        let mut entry = self.audit_request(&parts, id, &info, &who).await;
        let body = match &mut entry {
            // Streams and images have no object, and may be of any length.
            Some(entry) if !is_long => self.audit_body(entry, &parts, &info, body).await,
            Some(_) | None => Ok(body),
        };
        if let Some(entry) = &entry {
            parts.extensions.insert(entry.notes().clone());
        }
        let mut place = None;
        let outcome = match news.and(body) {
            Err(status) => Err(status),
            Ok(body) => {
                place = who.as_ref().ok().and_then(|who| self.flows.place(&who.acting_as, &info));
                let width = self.width(&info, &query);
                // What another server begins to send is no work of this one.
                let is_watch = info.verb == Verb::Watch && !self.remotes.serve(&info.path);
                let work = self.clone().admitted(parts, body, info, query, who);
                match (is_long, is_write) {
                    (true, _) if is_watch => self.begun(place.as_ref(), width, work).await,
                    (true, _) => work.await,
                    (false, true) => self.bounded(place.as_ref(), width, to_the_end(work)).await,
                    (false, false) => self.bounded(place.as_ref(), width, work).await,
                }
            }
        };
        let (mut answer, failure) = match outcome {
            Ok(answer) => (answer, None),
            Err(status) => (respond::status(&status, negotiated), Some(status)),
        };
        if let Some(entry) = entry {
            answer = self.audit_answer(entry, answer, failure.as_ref(), is_long).await;
        }
        answer.headers_mut().insert(AUDIT_ID, audit_id);
        if let Some(place) = place {
            place.tell(answer.headers_mut());
        }
        if is_head {
            without_body(&mut answer);
        }
        let labels = RequestLabels { code: answer.status().as_u16(), ..labels };
        self.metrics.record(labels, began.elapsed());
        answer
    }

    /// How many seats a request takes: a list of many objects more than one, and so does a watch that begins with one.
    ///
    /// *Source:* the work estimator of `k8s.io/apiserver` in behaviour; its lists cost ten times ours.
    fn width(&self, info: &RequestInfo, query: &Query) -> usize {
        let lists = info.verb == Verb::List
            || (info.verb == Verb::Watch && query.is_true("sendInitialEvents"));
        let Some(path) = info.resource.as_ref().filter(|_| lists) else {
            return 1;
        };
        let cache = self.definitions.by_resource(path).and_then(|kind| self.objects(kind).ok());
        let objects = cache.map_or(0, |cache| cache.len());
        objects.div_ceil(OBJECTS_PER_SEAT).clamp(1, LIST_SEATS_MAX)
    }

    /// Runs a request that is to end soon: when it is its flow's turn, counted, and with a deadline.
    async fn bounded(
        &self,
        place: Option<&Place>,
        width: usize,
        work: impl Future<Output = Result<Answer, Status>>,
    ) -> Result<Answer, Status> {
        let seated = async {
            let _seat = match place {
                Some(place) => Some(self.flows.enter(place, width).await?),
                None => None,
            };
            let _counted = Counted::new(&self.metrics.in_flight);
            work.await
        };
        timeout(REQUEST_TIMEOUT, seated).await.unwrap_or_else(|_| {
            Err(Status::timeout("request did not complete within the allotted timeout"))
        })
    }

    /// Runs a watch, which has its seats until its events begin: what goes out later is paid for by who writes.
    ///
    /// *Source:* the initialisation of watches in `k8s.io/apiserver`'s priority and fairness filter.
    async fn begun(
        &self,
        place: Option<&Place>,
        width: usize,
        work: impl Future<Output = Result<Answer, Status>>,
    ) -> Result<Answer, Status> {
        let _seat = match place {
            Some(place) => Some(self.flows.enter(place, width).await?),
            None => None,
        };
        work.await
    }

    /// Finds out whether the user may, then does the work.
    async fn admitted(
        self: Arc<Self>,
        mut parts: Parts,
        body: Body,
        info: RequestInfo,
        query: Query,
        who: Result<Identity, Status>,
    ) -> Result<Answer, Status> {
        let is_image = is_image_path(&info.path);
        let user = match who {
            // Image clients send their password only when they are asked for one.
            Ok(who) if is_image && who.user.name == ANONYMOUS => {
                return Ok(unauthorized_for_images());
            }
            Ok(who) => who.acting_as,
            Err(status) if is_image && status.code() == StatusCode::UNAUTHORIZED => {
                return Ok(unauthorized_for_images());
            }
            Err(status) => return Err(status),
        };
        if is_image {
            return Ok(self.image_request(&parts, body, &info, &user).await);
        }
        let notes: Notes = parts.extensions.get().cloned().unwrap_or_default();
        self.authorize(&user, &info, &query, &notes)?;
        let body = match self.aggregated(&mut parts, body, &user).await? {
            Ok(answer) => return Ok(answer),
            Err(body) => body,
        };
        match info.resource {
            Some(path) => self.resource(parts, body, path, info.verb, query, user).await,
            None => self.non_resource(&parts, &info, &query).await,
        }
    }

    async fn resource(
        &self,
        mut parts: Parts,
        body: Body,
        path: ResourcePath,
        verb: Verb,
        query: Query,
        user: Arc<UserInfo>,
    ) -> Result<Answer, Status> {
        if path.group == usage::GROUP {
            return self.usage(&path, verb, &query, &parts.headers).await;
        }
        let Some(served) = self.definitions.by_resource(&path) else {
            return self.no_such_resource(&path, &parts.headers, &query);
        };
        self.definitions.check_alive(served, verb)?;
        check_scope(served, &path, verb)?;
        let kind = served.stored_kind();
        let negotiated = match served.custom {
            // What answers is a program, in whatever form it has.
            None if matches!(path.subresource.as_str(), "proxy" | "log") => {
                Negotiated::for_plain(&parts.headers, &query)
            }
            Some(_) => Negotiated::for_custom_objects(&parts.headers, &query)?,
            None if review::is_review(served) => Negotiated::for_answers(&parts.headers, &query)?,
            None => Negotiated::for_objects(&parts.headers, &query)?,
        };
        let context = Context {
            kind,
            served,
            path,
            verb,
            query,
            headers: parts.headers,
            uri: parts.uri,
            upgrade: parts.extensions.remove(),
            user,
            negotiated,
            now: clock::now(),
            notes: parts.extensions.remove().unwrap_or_default(),
        };
        match context.path.subresource.as_str() {
            "" => Ok(deprecation::warned(self.verb(&context, body).await?, served)),
            name => {
                let known = kind.subresource(name).ok_or_else(Status::unknown_path)?;
                // Discovery names no `options`, but what is proxied may well be asked for them.
                let is_proxied = (name, verb) == ("proxy", Verb::Options);
                if !known.verbs.contains(&verb.as_str()) && !is_proxied {
                    return Err(Status::method_not_allowed());
                }
                self.subresource(&context, known, body, parts.method).await
            }
        }
    }

    /// A group that nobody serves is no path at all; in one that is served, there is no such resource.
    fn no_such_resource(
        &self,
        path: &ResourcePath,
        headers: &HeaderMap,
        query: &Query,
    ) -> Result<Answer, Status> {
        let group = format!("/apis/{}", path.group);
        if path.group.is_empty() || self.discovery.answer(&group, headers, query).is_some() {
            return Err(Status::unknown_path());
        }
        Ok(no_page())
    }

    async fn verb(&self, context: &Context, body: Body) -> Result<Answer, Status> {
        let Context { kind, verb, .. } = context;
        if !kind.has_verb(verb.as_str()) {
            return Err(Status::method_not_allowed());
        }
        if crd::is_definition(kind) {
            let answer = self.common_verb(context, body).await;
            self.definitions_changed(context.verb).await;
            return answer;
        }
        self.common_verb(context, body).await
    }

    async fn common_verb(&self, context: &Context, body: Body) -> Result<Answer, Status> {
        let Context { kind, verb, .. } = context;
        match verb {
            Verb::Get | Verb::List if component_status::is_kind(context.kind) => {
                self.show_components(context)
            }
            Verb::Get => self.get(context).await,
            Verb::List => self.list(context).await,
            Verb::Watch => {
                let answer = self.watch(context).await?;
                let upgrade = context.upgrade.as_ref();
                streams::over_websocket(&context.headers, upgrade, &self.streams, answer)
            }
            Verb::Create if (kind.group, kind.kind) == ("", "Binding") => {
                self.bind(context, body).await
            }
            Verb::Create if review::is_review(kind) => self.review(context, body).await,
            Verb::Create => self.create(context, body).await,
            Verb::Update => self.update(context, Part::Main, body).await,
            Verb::Patch => self.patch(context, Part::Main, body).await,
            Verb::Delete => self.delete(context, body).await,
            Verb::DeleteCollection => self.delete_collection(context, body).await,
            Verb::Post | Verb::Put | Verb::Head | Verb::Options | Verb::Other => {
                Err(Status::method_not_allowed())
            }
        }
    }
}

/// 404 for a path on which nothing is.
pub(crate) fn no_page() -> Answer {
    respond::text(StatusCode::NOT_FOUND, "404 page not found\n")
}

/// Takes the body off the answer to a `HEAD`; its length stays in the header.
fn without_body(answer: &mut Answer) {
    let length = answer.body().size_hint().exact();
    *answer.body_mut() = body::empty();
    if let Some(length) = length.filter(|_| !answer.headers().contains_key(CONTENT_LENGTH)) {
        answer.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
}

/// Runs a write in a task of its own, so that a client that goes away does not stop it halfway: what was committed is
/// also noted in memory.
async fn to_the_end(
    work: impl Future<Output = Result<Answer, Status>> + Send + 'static,
) -> Result<Answer, Status> {
    match tokio::spawn(work).await {
        Ok(outcome) => outcome,
        Err(error) => {
            tracing::error!(%error, "a request ended without an answer");
            Err(Status::internal("the server failed at this request; its log says more"))
        }
    }
}

/// Whether a request changes the store.
fn is_write(info: &RequestInfo) -> bool {
    let changes = [Verb::Create, Verb::Update, Verb::Patch, Verb::Delete, Verb::DeleteCollection];
    info.resource.is_some() && changes.contains(&info.verb)
}

/// Checks that the path fits the kind: a namespace where there must be one, none where there must not.
fn check_scope(kind: &Kind, path: &ResourcePath, verb: Verb) -> Result<(), Status> {
    let is_namespace = kind.kind == "Namespace" && kind.group.is_empty();
    if !kind.namespaced && !path.namespace.is_empty() && !is_namespace {
        return Err(Status::unknown_path());
    }
    let needs_namespace = kind.namespaced && path.namespace.is_empty();
    let lists = matches!(verb, Verb::List | Verb::Watch);
    if needs_namespace && (path.named_in_path || !lists) {
        // Nobody empties all namespaces at once.
        let is_collection = !path.named_in_path && kind.custom.is_none();
        return Err(if is_collection {
            Status::method_not_allowed()
        } else {
            Status::unknown_path()
        });
    }
    let wrong_place = match verb {
        Verb::Create => path.named_in_path && path.subresource.is_empty(),
        Verb::Update | Verb::Patch => !path.named_in_path,
        Verb::Get
        | Verb::List
        | Verb::Watch
        | Verb::Delete
        | Verb::DeleteCollection
        | Verb::Post
        | Verb::Put
        | Verb::Head
        | Verb::Options
        | Verb::Other => false,
    };
    if wrong_place { Err(Status::method_not_allowed()) } else { Ok(()) }
}

/// Whether a request may take any time: it is a stream, or moves an image.
fn is_long_running(info: &RequestInfo, query: &Query) -> bool {
    let stream = info.resource.as_ref().is_some_and(|path| {
        matches!(path.subresource.as_str(), "proxy" | "exec" | "attach" | "portforward")
            || (path.subresource == "log" && query.is_true("follow"))
    });
    stream || info.verb == Verb::Watch || is_image_path(&info.path)
}

fn is_image_path(path: &str) -> bool {
    path == "/v2" || path.starts_with("/v2/")
}

/// 401 in the form that image clients answer with a password.
fn unauthorized_for_images() -> Answer {
    let body =
        r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required","detail":null}]}"#;
    let mut answer = respond::text(StatusCode::UNAUTHORIZED, body);
    let headers = answer.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(
        http::header::WWW_AUTHENTICATE,
        HeaderValue::from_static("Basic realm=\"coracle\""),
    );
    answer
}

/// The request's id for the audit log: the client's own, or a fresh one.
fn audit_id(parts: &Parts) -> HeaderValue {
    let own = parts.headers.get(AUDIT_ID).filter(|id| id.len() <= AUDIT_ID_BYTES_MAX).cloned();
    own.or_else(|| HeaderValue::from_str(&clock::uuid()).ok())
        .unwrap_or(HeaderValue::from_static(""))
}

/// Longest id that a client may choose. *Source:* kube-apiserver's `maxAuditIDLength`.
const AUDIT_ID_BYTES_MAX: usize = 64;

/// The metric labels of a request. Only names from the registry are used, so that no client can make new ones.
fn labels(info: &RequestInfo) -> RequestLabels {
    let verb = reported(info.verb);
    let Some(path) = &info.resource else {
        return RequestLabels { verb, ..RequestLabels::default() };
    };
    let Some(kind) = registry::by_resource(&path.group, &path.version, &path.resource) else {
        return RequestLabels { verb, ..RequestLabels::default() };
    };
    let subresource = kind.subresource(&path.subresource).map_or("", |sub| sub.name);
    let scope = match (path.named_in_path || info.verb == Verb::Create, path.namespace.as_str()) {
        (true, _) => "resource",
        (false, "") => "cluster",
        (false, _) => "namespace",
    };
    RequestLabels {
        verb,
        group: kind.group,
        version: kind.version,
        resource: kind.plural,
        subresource,
        scope,
        code: 0,
    }
}

/// A verb as the metrics spell it: the HTTP method, and `LIST` and `WATCH` for those reads.
///
/// *Source:* `k8s.io/apiserver/pkg/endpoints/metrics`; the dashboards of kubernetes-mixin ask for these.
fn reported(verb: Verb) -> &'static str {
    match verb {
        Verb::Get => "GET",
        Verb::List => "LIST",
        Verb::Watch => "WATCH",
        Verb::Create | Verb::Post => "POST",
        Verb::Update | Verb::Put => "PUT",
        Verb::Patch => "PATCH",
        Verb::Delete | Verb::DeleteCollection => "DELETE",
        Verb::Head => "HEAD",
        Verb::Options | Verb::Other => "other",
    }
}
