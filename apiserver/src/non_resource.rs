//! Paths that are no resources: discovery, OpenAPI, version, health, metrics.

use bytes::Bytes;
use coracle_api::status::Status;
use http::header::{
    CACHE_CONTROL, CONTENT_TYPE, ETAG, EXPIRES, HeaderValue, IF_NONE_MATCH, LOCATION, VARY,
};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use jiff::SignedDuration;
use serde_json::json;

use crate::authn::UserInfo;
use crate::clock;
use crate::discovery::sha512_hex;
use crate::negotiate::{Encoding, Form, Negotiated, takes_gzip};
use crate::query::Query;
use crate::request_info::{RequestInfo, Verb};
use crate::respond::{self, Answer};
use crate::server::Core;
use crate::version;

/// How long a client may keep an OpenAPI document that it asked for by hash. *Source:* kube-openapi.
const OPENAPI_KEPT_DAYS: i64 = 365;

impl Core {
    /// Answers a request on a path that is no resource.
    pub(crate) async fn non_resource(
        &self,
        parts: &Parts,
        info: &RequestInfo,
        query: &Query,
        _user: &UserInfo,
    ) -> Result<Answer, Status> {
        if !matches!(info.verb, Verb::Get | Verb::Head) {
            return Err(Status::unknown_path());
        }
        let headers = &parts.headers;
        let plain = Negotiated::for_plain(headers, query);
        let path = info.path.trim_end_matches('/');
        match path {
            "" => return Ok(respond::value(StatusCode::OK, &self.paths(), plain)),
            "/version" => return Ok(respond::value(StatusCode::OK, &version::info(), plain)),
            "/metrics" => return Ok(self.show_metrics()),
            "/openapi/v3" => return self.openapi_index(headers, plain).await,
            _ => {}
        }
        if let Some(document) = path.strip_prefix("/openapi/v3/") {
            return self.openapi_document(document, headers, query).await;
        }
        if let Some(answer) = self.health(path, query) {
            return Ok(answer);
        }
        self.discovery.answer(path, headers, query).ok_or_else(Status::unknown_path)
    }

    fn paths(&self) -> serde_json::Value {
        let mut paths: Vec<String> =
            ["/api", "/api/v1", "/apis", "/healthz", "/livez", "/metrics", "/openapi/v3"]
                .map(str::to_owned)
                .into();
        paths.extend(["/readyz", "/version", "/v2/"].map(str::to_owned));
        for (group, version) in coracle_api::registry::group_versions() {
            if !group.is_empty() {
                paths.extend([format!("/apis/{group}"), format!("/apis/{group}/{version}")]);
            }
        }
        paths.sort();
        paths.dedup();
        json!({"paths": paths})
    }

    fn show_metrics(&self) -> Answer {
        let mut answer = respond::text(StatusCode::OK, self.metrics.encode());
        let kind =
            HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
        answer.headers_mut().insert(CONTENT_TYPE, kind);
        answer
    }

    /// `/healthz`, `/livez`, `/readyz`, with their single checks and `?verbose`.
    fn health(&self, path: &str, query: &Query) -> Option<Answer> {
        let (endpoint, wanted) = path
            .trim_start_matches('/')
            .split_once('/')
            .unwrap_or((path.trim_start_matches('/'), ""));
        let is_ready_check = match endpoint {
            "readyz" => true,
            "healthz" | "livez" => false,
            _ => return None,
        };
        let mut checks =
            vec![("ping", true), ("store", !self.shutdown.is_cancelled()), ("caches", true)];
        if is_ready_check {
            checks.push(("bootstrap", self.is_ready()));
            checks.push(("shutdown", !self.shutdown.is_cancelled()));
        }
        if !wanted.is_empty() {
            checks.retain(|(name, _)| *name == wanted);
            if checks.is_empty() {
                return None;
            }
        }
        let excluded: Vec<&str> = query.all("exclude").collect();
        checks.retain(|(name, _)| !excluded.contains(name));
        Some(report(endpoint, &checks, query.flag("verbose").is_some()))
    }

    async fn openapi_index(
        &self,
        headers: &HeaderMap,
        plain: Negotiated,
    ) -> Result<Answer, Status> {
        let documents = self.openapi.clone();
        let index = tokio::task::spawn_blocking(move || documents.index())
            .await
            .map_err(Status::internal)?;
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

    async fn openapi_document(
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
            let hash = documents.hash(&name)?.to_owned();
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

/// The text of a health answer. *Source:* the form of kube-apiserver's health endpoints.
fn report(endpoint: &str, checks: &[(&str, bool)], verbose: bool) -> Answer {
    let healthy = checks.iter().all(|(_, passed)| *passed);
    let mut text = String::new();
    for (name, passed) in checks {
        let line = if *passed {
            format!("[+]{name} ok\n")
        } else {
            format!("[-]{name} failed: reason withheld\n")
        };
        text.push_str(&line);
    }
    if !healthy {
        text.push_str(&format!("{endpoint} check failed\n"));
        return respond::text(StatusCode::INTERNAL_SERVER_ERROR, text);
    }
    if !verbose {
        return respond::text(StatusCode::OK, "ok");
    }
    text.push_str(&format!("{endpoint} check passed\n"));
    respond::text(StatusCode::OK, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn health_reports() {
        let check = async |checks: &[(&str, bool)], verbose, expected: &str| {
            let body =
                report("readyz", checks, verbose).into_body().collect().await.unwrap().to_bytes();
            assert_eq!(std::str::from_utf8(&body).unwrap(), expected);
        };
        check(&[("ping", true)], false, "ok").await;
        check(&[("ping", true)], true, "[+]ping ok\nreadyz check passed\n").await;
        let failed = "[+]ping ok\n[-]store failed: reason withheld\nreadyz check failed\n";
        check(&[("ping", true), ("store", false)], false, failed).await;
    }
}
