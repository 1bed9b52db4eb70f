//! The API's descriptions over HTTP: the index and the documents of OpenAPI v3, and the older v2.
//!
//! Clients keep documents by their hash, so one that is asked for is rendered anew, on a blocking thread.

use bytes::Bytes;
use coracle_api::status::Status;
use http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_TYPE, ETAG, EXPIRES, HeaderValue, IF_NONE_MATCH, LOCATION, VARY,
};
use http::{HeaderMap, StatusCode};
use jiff::SignedDuration;
use serde_json::Value;

use crate::clock;
use crate::discovery::sha512_hex;
use crate::negotiate::{Encoding, Form, Negotiated, header, media_ranges, takes_gzip};
use crate::openapi_v2;
use crate::query::Query;
use crate::respond::{self, Answer};
use crate::server::Core;

/// How long a client may keep an OpenAPI document that it asked for by hash. *Source:* kube-openapi.
const OPENAPI_KEPT_DAYS: i64 = 365;

impl Core {
    /// The index of all documents.
    pub(crate) async fn openapi_index(
        &self,
        headers: &HeaderMap,
        plain: Negotiated,
    ) -> Result<Answer, Status> {
        let documents = self.openapi.clone();
        let index = tokio::task::spawn_blocking(move || documents.index()).await;
        let mut index = index.map_err(Status::internal)?;
        self.remotes.add_to_index(&mut index);
        let json = Bytes::from(index.to_string());
        let etag = format!("\"{}\"", sha512_hex(&json));
        let unchanged =
            headers.get(IF_NONE_MATCH).is_some_and(|value| value.as_bytes() == etag.as_bytes());
        let mut answer = if unchanged {
            respond::bytes(StatusCode::NOT_MODIFIED, Bytes::new(), plain)
        } else {
            respond::json(StatusCode::OK, json, plain)
        };
        set(&mut answer, ETAG, &etag);
        set(&mut answer, VARY, "Accept");
        Ok(answer)
    }

    /// The whole API in the older form, as JSON or in protobuf.
    pub(crate) async fn openapi_v2(&self, headers: &HeaderMap) -> Result<Answer, Status> {
        let accept = header(headers, ACCEPT);
        let first = media_ranges(accept).into_iter().find(|range| {
            openapi_v2::is_protobuf(range.media_type)
                || matches!(range.media_type, "application/json" | "application/*" | "*/*")
        });
        let is_protobuf = match first {
            Some(range) => openapi_v2::is_protobuf(range.media_type),
            None if accept.is_empty() => false,
            None => {
                return Err(Status::not_acceptable(
                    "only application/json and protobuf are possible here",
                ));
            }
        };
        let documents = self.openapi.clone();
        // Made of the documents of the newer form, so their hashes tell whether it has changed.
        let index = tokio::task::spawn_blocking(move || documents.index().to_string());
        let sources = index.await.map_err(Status::internal)? + &self.remotes.fingerprint();
        let etag = |is_whole: bool| {
            let text = format!("{is_protobuf} {is_whole} {sources}");
            format!("\"{}\"", sha512_hex(text.as_bytes()))
        };
        let whole = etag(true);
        let known = headers.get(IF_NONE_MATCH);
        let (etag, bytes) = if known.is_some_and(|known| known.as_bytes() == whole.as_bytes()) {
            (whole, None)
        } else {
            let (others, is_whole) = self.remote_documents().await;
            (etag(is_whole), Some(self.made_v2(is_protobuf, others).await?))
        };
        let negotiated =
            Negotiated { encoding: Encoding::Json, form: Form::Object, gzip: takes_gzip(headers) };
        let mut answer = match bytes {
            None => respond::bytes(StatusCode::NOT_MODIFIED, Bytes::new(), negotiated),
            Some(bytes) => respond::bytes(StatusCode::OK, bytes, negotiated),
        };
        if is_protobuf {
            set(&mut answer, CONTENT_TYPE, openapi_v2::PROTOBUF_TYPE);
        }
        set(&mut answer, ETAG, &etag);
        set(&mut answer, VARY, "Accept");
        Ok(answer)
    }

    async fn made_v2(&self, is_protobuf: bool, others: Vec<Value>) -> Result<Bytes, Status> {
        let documents = self.openapi.clone();
        let made = tokio::task::spawn_blocking(move || {
            let document = openapi_v2::document(&documents, others);
            if is_protobuf {
                openapi_v2::protobuf(&document)
            } else {
                document.to_string().into_bytes()
            }
        });
        Ok(Bytes::from(made.await.map_err(Status::internal)?))
    }

    /// One group's document.
    pub(crate) async fn openapi_document(
        &self,
        path: &str,
        headers: &HeaderMap,
        query: &Query,
    ) -> Result<Answer, Status> {
        let documents = self.openapi.clone();
        let name = path.to_owned();
        // Rendering takes milliseconds and is rare: clients keep documents by their hash.
        let asked = query.get("hash").map(str::to_owned);
        let found = tokio::task::spawn_blocking(move || {
            let hash = documents.hash(&name)?;
            let stale = asked.as_ref().is_some_and(|asked| *asked != hash);
            let json = if stale { Vec::new() } else { documents.render(&name)? };
            Some((hash, stale, json))
        });
        let (hash, stale, json) =
            found.await.map_err(Status::internal)?.ok_or_else(Status::unknown_path)?;
        if stale {
            let mut answer = respond::text(StatusCode::MOVED_PERMANENTLY, "");
            set(&mut answer, LOCATION, &format!("/openapi/v3/{path}?hash={hash}"));
            return Ok(answer);
        }
        let negotiated =
            Negotiated { encoding: Encoding::Json, form: Form::Object, gzip: takes_gzip(headers) };
        let etag = format!("\"{hash}\"");
        let unchanged =
            headers.get(IF_NONE_MATCH).is_some_and(|value| value.as_bytes() == etag.as_bytes());
        let code = if unchanged { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
        let json = if unchanged { Bytes::new() } else { Bytes::from(json) };
        let mut answer = respond::bytes(code, json, negotiated);
        set(&mut answer, ETAG, &etag);
        set(&mut answer, VARY, "Accept");
        if query.get("hash").is_some() {
            set(&mut answer, CACHE_CONTROL, "public, immutable");
            let until = clock::now() + SignedDuration::from_hours(24 * OPENAPI_KEPT_DAYS);
            set(&mut answer, EXPIRES, &until.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string());
        }
        Ok(answer)
    }
}

fn set(answer: &mut Answer, name: http::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
}
