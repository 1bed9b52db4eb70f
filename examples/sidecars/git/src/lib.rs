//! Reads a git repository over HTTP: which branches there are, and the files of a commit.
//!
//! It speaks git's smart protocol, version 0, which every git host serves, and asks for one commit
//! without its past. *Source:* git's documentation, `gitprotocol-http`, `gitprotocol-pack` and
//! `gitformat-pack`.

mod pack;
mod packet;
mod tree;

use std::collections::BTreeMap;

use wstd::http::body::HttpBody as _;
use wstd::http::{Body, Client, Request};

pub use tree::{File, Mode};

/// Most bytes of one answer.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A repository on a server.
#[derive(Debug, Clone)]
pub struct Remote {
    url: String,
    authorization: Option<String>,
}

impl Remote {
    /// Names a repository, as `https://host/owner/repository.git`.
    pub fn new(url: &str) -> Self {
        Self { url: url.trim_end_matches('/').to_owned(), authorization: None }
    }

    /// Sends this header `Authorization` with every request; an empty one is none.
    pub fn authorization(mut self, value: &str) -> Self {
        self.authorization = Some(value.to_owned()).filter(|value| !value.is_empty());
        self
    }

    /// Gives the commits that names stand for, such as `HEAD` and `refs/heads/main`.
    ///
    /// # Errors
    /// Says what was asked, and why there is no answer.
    pub async fn refs(&self) -> Result<BTreeMap<String, String>, String> {
        let url = format!("{}/info/refs?service=git-upload-pack", self.url);
        let answer = self.ask(Request::get(&url), Vec::new()).await;
        let refs = answer.and_then(|answer| packet::refs(&answer));
        refs.map_err(|error| format!("GET {url}: {error}"))
    }

    /// Gives the branches and their commits.
    ///
    /// # Errors
    /// As [`Remote::refs`].
    pub async fn branches(&self) -> Result<BTreeMap<String, String>, String> {
        let refs = self.refs().await?.into_iter();
        Ok(refs.filter_map(|(name, id)| Some((name.strip_prefix("refs/heads/")?.to_owned(), id))).collect())
    }

    /// Gives the commit of a branch, a tag, or whatever the name of a ref is; `HEAD` is the default branch.
    ///
    /// # Errors
    /// As [`Remote::refs`], and when there is no such ref.
    pub async fn commit(&self, name: &str) -> Result<String, String> {
        let refs = self.refs().await?;
        let names = [name.to_owned(), format!("refs/heads/{name}"), format!("refs/tags/{name}")];
        let found = names.iter().find_map(|name| {
            let peeled = refs.get(&format!("{name}^{{}}"));
            peeled.or_else(|| refs.get(name)).cloned()
        });
        found.ok_or_else(|| format!("{}: no ref '{name}'", self.url))
    }

    /// Gives the files of a commit.
    ///
    /// # Errors
    /// Says what was asked, and why there is no answer, or what is wrong with it.
    pub async fn files(&self, commit: &str) -> Result<Vec<File>, String> {
        let url = format!("{}/git-upload-pack", self.url);
        let request = Request::post(&url).header("content-type", "application/x-git-upload-pack-request");
        let answer = self.ask(request, packet::want(commit)).await;
        let files = answer.and_then(|answer| {
            let objects = pack::objects(packet::pack(&answer)?)?;
            tree::files(&objects, commit)
        });
        files.map_err(|error| format!("POST {url}: {error}"))
    }

    async fn ask(&self, mut request: wstd::http::request::Builder, body: Vec<u8>) -> Result<Vec<u8>, String> {
        if let Some(value) = &self.authorization {
            request = request.header("authorization", value);
        }
        let request = request.body(Body::from(body)).map_err(|error| error.to_string())?;
        let answer = Client::new().send(request).await.map_err(|error| format!("{error:?}"))?;
        let status = answer.status();
        if !status.is_success() {
            return Err(format!("the server answered {status}"));
        }
        let mut body = answer.into_body().into_boxed_body();
        let mut bytes = Vec::new();
        while let Some(frame) = std::future::poll_fn(|cx| std::pin::Pin::new(&mut body).poll_frame(cx)).await {
            if let Ok(data) = frame.map_err(|error| format!("{error:?}"))?.into_data() {
                bytes.extend_from_slice(&data);
            }
            if bytes.len() > ANSWER_BYTES_MAX {
                return Err(format!("an answer of more than {ANSWER_BYTES_MAX} bytes"));
            }
        }
        Ok(bytes)
    }
}
