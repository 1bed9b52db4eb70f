//! What a registry request needs to be allowed: pure.
//!
//! A repository `NAMESPACE/NAME` belongs to that namespace: a Role there may allow `get`, `list`,
//! `create` and `delete` of `repositories` in the group `registry.coracle.dev`. A repository without a
//! namespace, such as `hello`, is the cluster's, and takes a rule for the path `/v2/*`.

use std::sync::Arc;

use http::Method;

use super::route::{Repository, Route};
use crate::query::Query;

/// The group of the rights, and the resource.
pub(crate) const GROUP: &str = "registry.coracle.dev";
pub(crate) const RESOURCE: &str = "repositories";

/// One right in a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Right {
    pub(crate) verb: &'static str,
    pub(crate) namespace: String,
    /// What follows the namespace; may have slashes.
    pub(crate) name: String,
}

/// What a request needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// To be somebody: the check of the version, which clients log in by; the list of repositories, which
    /// shows what the asker may read.
    User,
    /// A rule for its path: the repository is the cluster's.
    Path,
    /// A right in a namespace.
    Right(Right),
    /// Nothing: the request is malformed, and the answer says so.
    Nothing,
}

/// Says what a request needs.
pub(crate) fn needs(method: &Method, path: &str) -> Needs {
    match Route::parse(method, path) {
        Err(_) => Needs::Nothing,
        Ok(Route::Ping | Route::Catalog) => Needs::User,
        Ok(Route::Tags(name) | Route::Referrers(name, _)) => of("list", &name),
        Ok(Route::GetManifest(name, _) | Route::GetBlob(name, _)) => of("get", &name),
        Ok(
            Route::PutManifest(name, _)
            | Route::StartUpload(name)
            | Route::UploadStatus(name, _)
            | Route::UploadChunk(name, _)
            | Route::FinishUpload(name, _)
            | Route::CancelUpload(name, _),
        ) => of("create", &name),
        Ok(Route::DeleteManifest(name, _) | Route::DeleteBlob(name, _)) => of("delete", &name),
    }
}

/// The repository that a request wants to take a blob over from, if it does.
pub(crate) fn mounts_from(query: &Query) -> Option<Repository> {
    query.get("mount")?;
    Repository::parse(query.get("from")?).ok()
}

/// What reading a repository needs.
pub(crate) fn reading(repository: &Repository) -> Needs {
    of("get", repository)
}

/// The namespace that a repository belongs to, if one.
pub(crate) fn namespace(repository: &str) -> Option<&str> {
    repository.split_once('/').map(|(namespace, _)| namespace)
}

fn of(verb: &'static str, repository: &Repository) -> Needs {
    match repository.as_str().split_once('/') {
        Some((namespace, name)) => {
            Needs::Right(Right { verb, namespace: namespace.to_owned(), name: name.to_owned() })
        }
        None => Needs::Path,
    }
}

/// Says whether the asker may read a repository.
pub(crate) type MayRead = Arc<dyn Fn(&Repository) -> bool + Send + Sync>;

/// The rules that hold where a request goes, besides those of the whole registry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// A tag, once pushed, always means the same manifest.
    pub immutable_tags: bool,
    /// Most bytes of all blobs of the namespace's repositories, each counted once.
    pub namespace_bytes_max: Option<u64>,
}

/// A request's asker, as far as the registry needs to know.
#[derive(Clone)]
pub(crate) struct Grant {
    pub(crate) may_read: MayRead,
    pub(crate) rules: Rules,
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(requests: &[&str], expected: Expect) {
        let mut shown = String::new();
        for request in requests {
            let (method, path) = request.split_once(' ').unwrap();
            let needs = match needs(&method.parse().unwrap(), path) {
                Needs::Right(Right { verb, namespace, name }) => {
                    format!("{verb} {name} in {namespace}")
                }
                other @ (Needs::User | Needs::Path | Needs::Nothing) => format!("{other:?}"),
            };
            shown += &format!("{request}: {needs}\n");
        }
        expected.assert_eq(&shown);
    }

    #[test]
    fn the_first_part_of_a_name_is_its_namespace() {
        let digest = format!("sha256:{}", "0".repeat(64));
        check(
            &[
                "GET /v2/",
                "GET /v2/_catalog",
                "GET /v2/hello/manifests/1",
                "HEAD /v2/shop/cart/manifests/1",
                "GET /v2/shop/a/b/tags/list",
                "POST /v2/shop/cart/blobs/uploads/",
                "PUT /v2/shop/cart/manifests/1",
                "DELETE /v2/shop/cart/manifests/1",
                "GET /v2/shop/cart/nothing/here",
            ],
            expect![[r#"
                GET /v2/: User
                GET /v2/_catalog: User
                GET /v2/hello/manifests/1: Path
                HEAD /v2/shop/cart/manifests/1: get cart in shop
                GET /v2/shop/a/b/tags/list: list a/b in shop
                POST /v2/shop/cart/blobs/uploads/: create cart in shop
                PUT /v2/shop/cart/manifests/1: create cart in shop
                DELETE /v2/shop/cart/manifests/1: delete cart in shop
                GET /v2/shop/cart/nothing/here: Nothing
            "#]],
        );
        let query = Query::parse(&format!("mount={digest}&from=shop/cart"));
        assert_eq!(mounts_from(&query).unwrap().as_str(), "shop/cart");
        assert!(mounts_from(&Query::parse("from=shop/cart")).is_none());
    }
}
