//! Paths that are no resources: discovery, OpenAPI, version, health, metrics.

use coracle_api::status::Status;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use serde_json::json;

use crate::authn::ISSUER;
use crate::body;
use crate::handler::no_page;
use crate::kube_state;
use crate::negotiate::Negotiated;
use crate::query::Query;
use crate::request_info::{RequestInfo, Verb};
use crate::respond::{self, Answer};
use crate::server::Core;
use crate::version;

/// Where a snapshot of the store is read; who may, sees everything that is stored.
const BACKUP_PATH: &str = "/coracle/v1/backup";

impl Core {
    /// Answers a request on a path that is no resource.
    pub(crate) async fn non_resource(
        &self,
        parts: &Parts,
        info: &RequestInfo,
        query: &Query,
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
            "/metrics/slis" => return Ok(self.show_indicators()),
            kube_state::PATH => return Ok(self.show_kube_state()),
            "/openapi/v3" => return self.openapi_index(headers, plain).await,
            "/openid/v1/jwks" => return Ok(self.jwks()),
            "/.well-known/openid-configuration" => return Ok(self.openid_configuration()),
            "/openapi/v2" => return self.openapi_v2(headers).await,
            BACKUP_PATH => return self.backup().await,
            _ => {}
        }
        if let Some(document) = path.strip_prefix("/openapi/v3/") {
            return self.openapi_document(document, headers, query).await;
        }
        if let Some(answer) = self.health(path, query) {
            return Ok(answer);
        }
        match self.discovery.answer(path, headers, query) {
            Some(answer) => Ok(answer),
            // An unknown version of a group is told as unknown resources are.
            None if self.is_version(path, headers, query) => Err(Status::unknown_path()),
            None => Ok(no_page()),
        }
    }

    /// Whether a path is that of a version, of a group that is served.
    fn is_version(&self, path: &str, headers: &HeaderMap, query: &Query) -> bool {
        let group = path.strip_prefix("/apis/").and_then(|rest| rest.split_once('/'));
        path.starts_with("/api/")
            || group.is_some_and(|(group, _)| {
                self.discovery.answer(&format!("/apis/{group}"), headers, query).is_some()
            })
    }

    /// All that is stored, at one revision and as it is stored, for `coracle backup`.
    async fn backup(&self) -> Result<Answer, Status> {
        let snapshot = self.store.snapshot().await.map_err(Status::internal)?;
        let chunks = snapshot.chunks().map(Ok::<_, body::BoxError>);
        let mut answer = Answer::new(body::stream(futures::stream::iter(chunks)));
        let kind = HeaderValue::from_static("application/octet-stream");
        answer.headers_mut().insert(CONTENT_TYPE, kind);
        Ok(answer)
    }

    /// The keys by which others verify service accounts' tokens.
    fn jwks(&self) -> Answer {
        let keys = self.authenticator.accounts().keys().jwks();
        let mut answer = respond::text(StatusCode::OK, keys.to_string());
        let kind = HeaderValue::from_static("application/jwk-set+json");
        answer.headers_mut().insert(CONTENT_TYPE, kind);
        answer
    }

    /// Where others find these keys. *Source:* OpenID Connect Discovery 1.0, in kube-apiserver's minimal form.
    fn openid_configuration(&self) -> Answer {
        // At a loopback address no pod finds them; by the issuer's name every pod does.
        let at = match self.address.ip().is_loopback() {
            true => ISSUER.to_owned(),
            false => format!("https://{}", self.address),
        };
        let document = json!({
            "issuer": ISSUER,
            "jwks_uri": format!("{at}/openid/v1/jwks"),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        });
        let mut answer = respond::text(StatusCode::OK, document.to_string());
        let kind = HeaderValue::from_static("application/json");
        answer.headers_mut().insert(CONTENT_TYPE, kind);
        answer
    }

    fn paths(&self) -> serde_json::Value {
        let mut paths: Vec<String> = [
            "/api",
            "/api/v1",
            "/apis",
            "/healthz",
            "/livez",
            "/metrics",
            "/metrics/kube-state",
            "/metrics/slis",
            "/openapi/v2",
            "/openapi/v3",
            "/openid/v1/jwks",
        ]
        .map(str::to_owned)
        .into();
        paths.extend(
            ["/.well-known/openid-configuration", "/readyz", "/version", "/v2/"].map(str::to_owned),
        );
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

    /// How health checks came out, as kube-apiserver's service level indicators.
    fn show_indicators(&self) -> Answer {
        let mut answer = respond::text(StatusCode::OK, self.checks.lock().text());
        let kind = HeaderValue::from_static(kube_state::CONTENT_TYPE);
        answer.headers_mut().insert(CONTENT_TYPE, kind);
        answer
    }

    /// What the objects say, as kube-state-metrics tells it; written while it is read.
    fn show_kube_state(&self) -> Answer {
        let chunks = kube_state::chunks(&self.caches).map(Ok::<_, body::BoxError>);
        let mut answer = Answer::new(body::stream(futures::stream::iter(chunks)));
        let kind = HeaderValue::from_static(kube_state::CONTENT_TYPE);
        answer.headers_mut().insert(CONTENT_TYPE, kind);
        answer
    }

    /// `/healthz`, `/livez`, `/readyz`, with their single checks and `?verbose`.
    fn health(&self, path: &str, query: &Query) -> Option<Answer> {
        let (endpoint, wanted) = path
            .trim_start_matches('/')
            .split_once('/')
            .unwrap_or((path.trim_start_matches('/'), ""));
        let (endpoint, is_ready_check) = match endpoint {
            "readyz" => ("readyz", true),
            "healthz" => ("healthz", false),
            "livez" => ("livez", false),
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
        let mut noted = self.checks.lock();
        checks.iter().for_each(|(name, passed)| noted.note(endpoint, name, *passed));
        drop(noted);
        Some(report(endpoint, &checks, query.flag("verbose").is_some()))
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
