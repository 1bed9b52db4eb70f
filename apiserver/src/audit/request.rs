//! How the server tells of a request: before it is worked on, and when it is answered.

use std::borrow::Cow;
use std::io::Read;

use coracle_api::decode::{self, FieldValidation, MediaType};
use coracle_api::status::Status;
use coracle_api::{proto, registry, schema};
use flate2::read::GzDecoder;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, USER_AGENT};
use http::request::Parts;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::{Answered, Entry, Level, Peer, Stage, source};
use crate::body::{self, Body};
use crate::clock;
use crate::gate::Identity;
use crate::negotiate::header;
use crate::request_info::RequestInfo;
use crate::respond::Answer;
use crate::server::Core;

impl Core {
    /// Begins to tell of a request; `None` when the policy wants nothing of it, or there is none.
    pub(crate) async fn audit_request(
        &self,
        parts: &Parts,
        id: &str,
        info: &RequestInfo,
        who: &Result<Identity, Status>,
    ) -> Option<Entry> {
        let log = self.audit.as_ref()?;
        let nobody = Identity::default();
        let who = who.as_ref().unwrap_or(&nobody);
        let told = log.policy.told(&who.user, info);
        if told.level == Level::None {
            return None;
        }
        let uri = parts.uri.path_and_query().map_or("", |uri| uri.as_str());
        let acting = Some(&*who.acting_as).filter(|acting| **acting != *who.user);
        let mut entry = Entry::new(told, id, uri, info, &who.user, acting, clock::now());
        let from = source::addresses(&parts.headers, parts.extensions.get::<Peer>().copied());
        if !from.is_empty() {
            entry.set("sourceIPs", json!(from));
        }
        let agent = header(&parts.headers, USER_AGENT);
        if !agent.is_empty() {
            entry.set("userAgent", json!(agent));
        }
        self.audit_stage(&entry, Stage::RequestReceived, None).await;
        Some(entry)
    }

    /// Notes what was sent, where the policy wants it told; gives the body back.
    ///
    /// # Errors
    /// As reading the body.
    pub(crate) async fn audit_body(
        &self,
        entry: &mut Entry,
        parts: &Parts,
        info: &RequestInfo,
        sent: Body,
    ) -> Result<Body, Status> {
        if entry.told().level < Level::Request {
            return Ok(sent);
        }
        let bytes = body::read(sent).await?;
        if let Some(object) = object_of(parts, info, &bytes) {
            entry.set("requestObject", object);
        }
        Ok(body::full(bytes))
    }

    /// Tells how a request was answered, with the failure that the answer is, if it is one; gives the answer back.
    pub(crate) async fn audit_answer(
        &self,
        mut entry: Entry,
        answer: Answer,
        failure: Option<&Status>,
        is_long: bool,
    ) -> Answer {
        let answered = Some(Answered { code: answer.status().as_u16(), failure });
        if is_long {
            self.audit_stage(&entry, Stage::ResponseStarted, answered).await;
            return answer;
        }
        let answer = if entry.told().level == Level::RequestResponse {
            let (parts, body) = answer.into_parts();
            let bytes = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            let object = match failure {
                Some(failure) => Some(failure.to_value()),
                None => answered_object(&parts.headers, &bytes),
            };
            if let Some(object) = object {
                entry.set("responseObject", object);
            }
            Answer::from_parts(parts, body::full(bytes))
        } else {
            answer
        };
        self.audit_stage(&entry, Stage::ResponseComplete, answered).await;
        answer
    }

    async fn audit_stage(&self, entry: &Entry, stage: Stage, answered: Option<Answered<'_>>) {
        if let (Some(log), Some(line)) = (&self.audit, entry.line(stage, answered, clock::now())) {
            log.write(line).await;
        }
    }
}

/// The object of an answer, in whatever form it goes out.
fn answered_object(headers: &HeaderMap, bytes: &[u8]) -> Option<Value> {
    let unpacked = match header(headers, CONTENT_ENCODING) {
        "" => Cow::Borrowed(bytes),
        "gzip" => {
            let mut unpacked = Vec::new();
            // What is unpacked was packed here, so it is no bomb.
            GzDecoder::new(bytes).read_to_end(&mut unpacked).ok()?;
            Cow::Owned(unpacked)
        }
        _ => return None,
    };
    if !header(headers, CONTENT_TYPE).starts_with("application/vnd.kubernetes.protobuf") {
        return serde_json::from_slice(&unpacked).ok();
    }
    let (version, kind) = proto::type_meta(&unpacked).ok()?;
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    proto::decode(&unpacked, schema::lookup(group, version, kind)?).ok()
}

/// The object of a body: JSON as it is, other forms by the kind of the path.
fn object_of(parts: &Parts, info: &RequestInfo, bytes: &[u8]) -> Option<Value> {
    let content_type = header(&parts.headers, CONTENT_TYPE).split(';').next().unwrap_or("").trim();
    let media_type = match content_type {
        "application/vnd.kubernetes.protobuf" => MediaType::Protobuf,
        "application/yaml" | "application/apply-patch+yaml" => MediaType::Yaml,
        _ => return serde_json::from_slice(bytes).ok(),
    };
    let path = info.resource.as_ref()?;
    let kind = registry::by_resource(&path.group, &path.version, &path.resource)?;
    let ty = match kind.subresource(&path.subresource) {
        Some(subresource) => subresource.ty()?,
        None => kind.ty(),
    };
    decode::decode(bytes, media_type, ty, FieldValidation::Ignore).ok().map(|decoded| decoded.value)
}
