//! The registry over HTTP.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, LINK, LOCATION, RANGE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio_util::io::ReaderStream;

use super::access::{Grant, MayRead, Rules, mounts_from};
use super::digest::Digest;
use super::error::{OciError, io};
use super::imports::{Known, Names};
use super::manifest::Manifest;
use super::route::{Reference, Repository, Route, UploadId};
use super::storage::{ImageStore, tag_order};
use crate::body::{self, Body};
use crate::negotiate::header;
use crate::query::Query;
use crate::respond::Answer;

/// Largest blob. A component is a few MiB; a layer with model weights may be large, the disk is finite.
const BLOB_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
/// Largest manifest. *Source:* the 4 MiB that the Distribution Specification tells registries to accept at least.
const MANIFEST_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Entries in one answer of `tags/list` and `_catalog` when the client names no `n`.
const LIST_ITEMS_DEFAULT: usize = 1000;
/// Bytes read from disk for one frame of a pulled blob.
const READ_CHUNK_BYTES: usize = 64 * 1024;

/// How many read components for what they import at once: each has a whole one in memory.
const READERS_MAX: usize = 2;

const DOCKER_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");
const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// Serves an [`ImageStore`].
#[derive(Clone, Debug)]
pub struct ImageRegistry {
    store: Arc<ImageStore>,
    known: Arc<Known>,
    readers: Arc<Semaphore>,
}

impl ImageRegistry {
    /// Serves this store.
    pub fn new(store: ImageStore) -> ImageRegistry {
        let readers = Arc::new(Semaphore::new(READERS_MAX));
        ImageRegistry { store: Arc::new(store), known: Arc::default(), readers }
    }

    /// Reads what the components of images import and export; those that are not known here are left out.
    pub(crate) async fn names(&self, images: Vec<String>) -> HashMap<String, Arc<Names>> {
        let known = Arc::clone(&self.known);
        let turn = Arc::clone(&self.readers).acquire_owned().await;
        let read = move |store: &ImageStore| {
            let _turn = turn;
            let names = images.into_iter().filter_map(|image| {
                let names = store.names(&image, &known)?;
                Some((image, names))
            });
            Ok(names.collect())
        };
        self.blocking(read).await.unwrap_or_default()
    }

    /// Answers one request below `/v2/`.
    pub(crate) async fn handle(
        &self,
        parts: &http::request::Parts,
        request: Body,
        grant: Grant,
    ) -> Answer {
        let mut answer = match self.route(parts, request, grant).await {
            Ok(answer) => answer,
            Err(error) => {
                if let OciError::Io { operation, source } = &error {
                    tracing::error!(operation, %source, "image store failed");
                }
                failure(&error)
            }
        };
        answer.headers_mut().insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
        answer
    }

    async fn route(
        &self,
        parts: &http::request::Parts,
        request: Body,
        grant: Grant,
    ) -> Result<Answer, OciError> {
        let query = Query::parse(parts.uri.query().unwrap_or(""));
        let rules = grant.rules;
        match Route::parse(&parts.method, parts.uri.path())? {
            Route::Ping => Ok(json_answer(&json!({}))),
            Route::Catalog => self.catalog(&query, grant.may_read).await,
            Route::Tags(name) => self.tags(name, &query).await,
            Route::Referrers(name, digest) => self.referrers(name, digest, &query).await,
            Route::GetManifest(name, reference) => self.get_manifest(name, reference).await,
            Route::PutManifest(name, reference) => {
                self.put_manifest((name, reference), &parts.headers, request, rules).await
            }
            Route::DeleteManifest(name, reference) => {
                let delete =
                    move |store: &ImageStore| store.delete_manifest(&name, &reference, rules);
                self.blocking(delete).await?;
                Ok(empty(StatusCode::ACCEPTED))
            }
            Route::GetBlob(name, digest) => self.get_blob(name, digest, &parts.headers).await,
            Route::DeleteBlob(name, digest) => {
                self.blocking(move |store| store.delete_blob(&name, &digest)).await?;
                Ok(empty(StatusCode::ACCEPTED))
            }
            Route::StartUpload(name) => self.start_upload(name, &query, request, grant).await,
            Route::UploadStatus(name, id) => self.upload_status(name, id).await,
            Route::UploadChunk(name, id) => {
                self.upload_chunk(name, id, &parts.headers, request).await
            }
            Route::FinishUpload(name, id) => {
                let digest = Digest::parse(query.get("digest").unwrap_or(""))?;
                let received = self.check_order(&id, &parts.headers).await?;
                self.receive(&id, received, &parts.headers, request).await?;
                self.complete(name, id, digest, rules).await
            }
            Route::CancelUpload(_, id) => {
                self.blocking(move |store| store.cancel_upload(&id)).await?;
                Ok(empty(StatusCode::NO_CONTENT))
            }
        }
    }

    /// Removes what pushes have left that nobody finished for `age`.
    pub(crate) async fn collect(&self, age: std::time::Duration) {
        match self.blocking(move |store| Ok(store.collect(age))).await {
            Ok(0) => {}
            Ok(files) => tracing::info!(files, "removed what unfinished pushes have left"),
            Err(error) => tracing::error!(%error, "cannot look for unfinished pushes"),
        }
    }

    /// Runs disk work on a blocking thread.
    async fn blocking<T, F>(&self, work: F) -> Result<T, OciError>
    where
        T: Send + 'static,
        F: FnOnce(&ImageStore) -> Result<T, OciError> + Send + 'static,
    {
        let store = self.store.clone();
        let joined = tokio::task::spawn_blocking(move || work(&store)).await;
        joined.map_err(|error| io("finish disk work")(std::io::Error::other(error)))?
    }

    async fn catalog(&self, query: &Query, may_read: MayRead) -> Result<Answer, OciError> {
        let names = self.blocking(|store| Ok(store.repositories())).await?;
        let names = names
            .iter()
            .filter(|name| may_read(name))
            .map(|name| name.as_str().to_owned())
            .collect();
        let (page, next) = page(names, query);
        let mut answer = json_answer(&json!({"repositories": page}));
        link_next(&mut answer, "/v2/_catalog", next, query);
        Ok(answer)
    }

    async fn tags(&self, name: Repository, query: &Query) -> Result<Answer, OciError> {
        let asked = name.clone();
        let tags = self.blocking(move |store| store.tag_names(&asked)).await?;
        let (page, next) = page(tags, query);
        let mut answer = json_answer(&json!({"name": name.as_str(), "tags": page}));
        link_next(&mut answer, &format!("/v2/{name}/tags/list"), next, query);
        Ok(answer)
    }

    async fn referrers(
        &self,
        name: Repository,
        subject: Digest,
        query: &Query,
    ) -> Result<Answer, OciError> {
        let stored = self.blocking(move |store| Ok(store.manifests(&name))).await?;
        let wanted = query.get("artifactType").map(str::to_owned);
        let mut manifests = Vec::new();
        for stored in stored {
            let Ok(manifest) = Manifest::parse(&stored.bytes, &stored.media_type) else { continue };
            let other_type =
                wanted.as_ref().is_some_and(|wanted| *wanted != manifest.artifact_type);
            if manifest.subject.as_ref() != Some(&subject) || other_type {
                continue;
            }
            let mut descriptor = json!({
                "mediaType": stored.media_type, "digest": stored.digest.to_string(), "size": stored.bytes.len(),
            });
            if let Some(map) = descriptor.as_object_mut()
                && !manifest.artifact_type.is_empty()
            {
                map.insert("artifactType".to_owned(), manifest.artifact_type.into());
            }
            if let (Some(map), Value::Object(annotations)) =
                (descriptor.as_object_mut(), manifest.annotations)
            {
                map.insert("annotations".to_owned(), annotations.into());
            }
            manifests.push(descriptor);
        }
        let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests});
        let mut answer = json_answer(&index);
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(OCI_INDEX));
        if wanted.is_some() {
            let filters = HeaderName::from_static("oci-filters-applied");
            answer.headers_mut().insert(filters, HeaderValue::from_static("artifactType"));
        }
        Ok(answer)
    }

    async fn get_manifest(
        &self,
        name: Repository,
        reference: Reference,
    ) -> Result<Answer, OciError> {
        let stored = self.blocking(move |store| store.manifest(&name, &reference)).await?;
        let length = stored.bytes.len();
        let mut answer = Response::new(body::full(stored.bytes));
        set(&mut answer, CONTENT_TYPE, &stored.media_type);
        set(&mut answer, CONTENT_LENGTH, &length.to_string());
        set(&mut answer, DOCKER_DIGEST, &stored.digest.to_string());
        Ok(answer)
    }

    async fn put_manifest(
        &self,
        (name, reference): (Repository, Reference),
        headers: &HeaderMap,
        request: Body,
        rules: Rules,
    ) -> Result<Answer, OciError> {
        let content_type = header(headers, CONTENT_TYPE).to_owned();
        let bytes = body::read_up_to(request, MANIFEST_BYTES_MAX).await;
        let bytes = bytes.map_err(|_| OciError::SizeInvalid(MANIFEST_BYTES_MAX as u64))?;
        let repository = name.clone();
        let put = move |store: &ImageStore| {
            store.put_manifest(&repository, &reference, &content_type, &bytes, rules)
        };
        let put = self.blocking(put).await?;
        let mut answer = empty(StatusCode::CREATED);
        set(&mut answer, LOCATION, &format!("/v2/{name}/manifests/{}", put.digest));
        set(&mut answer, DOCKER_DIGEST, &put.digest.to_string());
        if let Some(subject) = put.subject {
            set(&mut answer, SUBJECT, &subject.to_string());
        }
        Ok(answer)
    }

    async fn get_blob(
        &self,
        name: Repository,
        digest: Digest,
        headers: &HeaderMap,
    ) -> Result<Answer, OciError> {
        let wanted = digest.clone();
        let (file, length) = self.blocking(move |store| store.open_blob(&name, &wanted)).await?;
        let mut file = tokio::fs::File::from_std(file);
        let part = match range(header(headers, RANGE), length) {
            Asked::Whole => None,
            Asked::Part(first, last) => Some((first, last)),
            Asked::Nothing => {
                let mut answer = empty(StatusCode::RANGE_NOT_SATISFIABLE);
                set(&mut answer, CONTENT_RANGE, &format!("bytes */{length}"));
                return Ok(answer);
            }
        };
        let (first, last) = part.unwrap_or((0, length.saturating_sub(1)));
        file.seek(std::io::SeekFrom::Start(first)).await.map_err(io("read a blob"))?;
        let sent = if length == 0 { 0 } else { last - first + 1 };
        let reader = ReaderStream::with_capacity(file.take(sent), READ_CHUNK_BYTES);
        let mut answer = Response::new(body::stream(reader.map_err(Into::into)));
        if part.is_some() {
            *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
            set(&mut answer, CONTENT_RANGE, &format!("bytes {first}-{last}/{length}"));
        }
        set(&mut answer, ACCEPT_RANGES, "bytes");
        set(&mut answer, CONTENT_TYPE, "application/octet-stream");
        set(&mut answer, CONTENT_LENGTH, &sent.to_string());
        set(&mut answer, DOCKER_DIGEST, &digest.to_string());
        Ok(answer)
    }

    async fn start_upload(
        &self,
        name: Repository,
        query: &Query,
        request: Body,
        grant: Grant,
    ) -> Result<Answer, OciError> {
        let rules = grant.rules;
        // What the asker may not read is not there for it, and it uploads the blob itself.
        if let Some(from) = mounts_from(query).filter(|from| (grant.may_read)(from)) {
            let digest = Digest::parse(query.get("mount").unwrap_or(""))?;
            let (into, wanted) = (name.clone(), digest.clone());
            if self.blocking(move |store| store.mount(&into, &from, &wanted, rules)).await? {
                return Ok(blob_created(&name, &digest));
            }
        }
        let id = UploadId::parse(&uuid::Uuid::new_v4().to_string())?;
        let fresh = id.clone();
        self.blocking(move |store| store.start_upload(&fresh)).await?;
        let Some(digest) = query.get("digest") else {
            return Ok(upload_answer(StatusCode::ACCEPTED, &name, &id, 0));
        };
        let digest = Digest::parse(digest)?;
        self.receive(&id, 0, &HeaderMap::new(), request).await?;
        self.complete(name, id, digest, rules).await
    }

    async fn upload_status(&self, name: Repository, id: UploadId) -> Result<Answer, OciError> {
        let asked = id.clone();
        let length = self.blocking(move |store| store.upload_length(&asked)).await?;
        Ok(upload_answer(StatusCode::NO_CONTENT, &name, &id, length))
    }

    async fn upload_chunk(
        &self,
        name: Repository,
        id: UploadId,
        headers: &HeaderMap,
        request: Body,
    ) -> Result<Answer, OciError> {
        let received = self.check_order(&id, headers).await?;
        let received = self.receive(&id, received, headers, request).await?;
        Ok(upload_answer(StatusCode::ACCEPTED, &name, &id, received))
    }

    /// Checks that a chunk begins where the upload ends, and gives the bytes received so far.
    async fn check_order(&self, id: &UploadId, headers: &HeaderMap) -> Result<u64, OciError> {
        let asked = id.clone();
        let received = self.blocking(move |store| store.upload_length(&asked)).await?;
        match chunk(headers) {
            Some((start, _)) if start != received => Err(OciError::ChunkOutOfOrder { received }),
            Some(_) | None => Ok(received),
        }
    }

    /// Appends a request body to an upload; gives the bytes received in all. A chunk that is not as
    /// long as it says is taken back.
    async fn receive(
        &self,
        id: &UploadId,
        received: u64,
        headers: &HeaderMap,
        mut request: Body,
    ) -> Result<u64, OciError> {
        let asked = id.clone();
        let file = self.blocking(move |store| store.append_to(&asked)).await?;
        let mut file = tokio::fs::File::from_std(file);
        let mut total = received;
        while let Some(frame) = request.frame().await {
            let Ok(data) = frame.map_err(OciError::Body)?.into_data() else { continue };
            total += data.len() as u64;
            if total > BLOB_BYTES_MAX {
                return Err(OciError::SizeInvalid(BLOB_BYTES_MAX));
            }
            file.write_all(&data).await.map_err(io("write an upload"))?;
        }
        file.flush().await.map_err(io("write an upload"))?;
        if let Some((_, wanted)) = chunk(headers)
            && wanted != total - received
        {
            file.set_len(received).await.map_err(io("take a chunk back"))?;
            return Err(OciError::ChunkLength { wanted, found: total - received });
        }
        Ok(total)
    }

    async fn complete(
        &self,
        name: Repository,
        id: UploadId,
        digest: Digest,
        rules: Rules,
    ) -> Result<Answer, OciError> {
        let (repository, wanted) = (name.clone(), digest.clone());
        self.blocking(move |store| store.finish_upload(&repository, &id, &wanted, rules)).await?;
        Ok(blob_created(&name, &digest))
    }
}

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// The first byte of a chunk and its length, as `Content-Range` says them.
fn chunk(headers: &HeaderMap) -> Option<(u64, u64)> {
    let range = header(headers, CONTENT_RANGE).trim_start_matches("bytes ");
    let (first, last) = range.split('/').next()?.split_once('-')?;
    let (first, last) = (first.trim().parse::<u64>().ok()?, last.trim().parse::<u64>().ok()?);
    Some((first, last.checked_sub(first)?.saturating_add(1)))
}

/// What a `Range` header asks of a blob.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    /// All of it: no header, or one that we may ignore.
    Whole,
    /// From the first byte to the last, both included.
    Part(u64, u64),
    /// Bytes that are not there.
    Nothing,
}

/// *Source:* RFC 9110, section 14: one range of bytes; whatever else is asked gets the whole.
fn range(text: &str, length: u64) -> Asked {
    let Some((first, last)) = text.strip_prefix("bytes=").and_then(|text| text.split_once('-'))
    else {
        return Asked::Whole;
    };
    match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), _) if first >= length => Asked::Nothing,
        (Ok(first), Ok(last)) if last >= first => Asked::Part(first, last.min(length - 1)),
        (Ok(first), Err(_)) if last.is_empty() => Asked::Part(first, length - 1),
        (Err(_), Ok(0)) if first.is_empty() => Asked::Nothing,
        (Err(_), Ok(tail)) if first.is_empty() && length > 0 => {
            Asked::Part(length.saturating_sub(tail), length - 1)
        }
        (Ok(_), _) | (Err(_), _) => Asked::Whole,
    }
}

/// The part of a sorted list that `last` and `n` ask for, and the last name of it when more follow.
fn page(names: Vec<String>, query: &Query) -> (Vec<String>, Option<String>) {
    let limit = query
        .integer("n")
        .ok()
        .flatten()
        .and_then(|n| usize::try_from(n).ok())
        .unwrap_or(LIST_ITEMS_DEFAULT);
    let last = query.get("last").map(tag_order);
    let after = |name: &String| last.as_ref().is_none_or(|last| tag_order(name) > *last);
    let mut rest = names.into_iter().filter(after);
    let page: Vec<String> = rest.by_ref().take(limit).collect();
    let next = rest.next().and_then(|_| page.last().cloned());
    (page, next)
}

fn link_next(answer: &mut Answer, path: &str, next: Option<String>, query: &Query) {
    let Some(last) = next else { return };
    let n = query.get("n").map(str::to_owned).unwrap_or(LIST_ITEMS_DEFAULT.to_string());
    set(answer, LINK, &format!("<{path}?n={n}&last={last}>; rel=\"next\""));
}

fn upload_answer(code: StatusCode, name: &Repository, id: &UploadId, received: u64) -> Answer {
    let mut answer = empty(code);
    set(&mut answer, LOCATION, &format!("/v2/{name}/blobs/uploads/{}", id.as_str()));
    // An inclusive range; "0-0" is also what an empty upload says.
    set(&mut answer, RANGE, &format!("0-{}", received.saturating_sub(1)));
    set(&mut answer, UPLOAD_UUID, id.as_str());
    answer
}

fn blob_created(name: &Repository, digest: &Digest) -> Answer {
    let mut answer = empty(StatusCode::CREATED);
    set(&mut answer, LOCATION, &format!("/v2/{name}/blobs/{digest}"));
    set(&mut answer, DOCKER_DIGEST, &digest.to_string());
    answer
}

fn failure(error: &OciError) -> Answer {
    let mut answer = json_answer(&error.to_value());
    *answer.status_mut() = error.status();
    if let OciError::ChunkOutOfOrder { received } = error {
        set(&mut answer, RANGE, &format!("0-{}", received.saturating_sub(1)));
    }
    answer
}

fn json_answer(value: &Value) -> Answer {
    let mut answer = Response::new(body::full(Bytes::from(value.to_string())));
    set(&mut answer, CONTENT_TYPE, "application/json");
    answer
}

fn empty(code: StatusCode) -> Answer {
    let mut answer = Response::new(body::empty());
    *answer.status_mut() = code;
    set(&mut answer, CONTENT_LENGTH, "0");
    answer
}

fn set(answer: &mut Answer, name: HeaderName, value: &str) {
    // All values are made of checked names, digests and numbers, which headers allow.
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_http_says() {
        let rows = [
            ("", Asked::Whole),
            ("bytes=0-3", Asked::Part(0, 3)),
            ("bytes=4-", Asked::Part(4, 9)),
            ("bytes=-2", Asked::Part(8, 9)),
            ("bytes=-99", Asked::Part(0, 9)),
            ("bytes=5-99", Asked::Part(5, 9)),
            ("bytes=10-", Asked::Nothing),
            ("bytes=-0", Asked::Nothing),
            ("bytes=3-1", Asked::Whole),
            ("bytes=0-1,4-5", Asked::Whole),
            ("lines=0-1", Asked::Whole),
        ];
        for (text, expected) in rows {
            assert_eq!(range(text, 10), expected, "{text}");
        }
        assert_eq!(range("bytes=-1", 0), Asked::Whole);
    }
}
