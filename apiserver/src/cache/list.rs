//! Lists: which objects, at which revision, from where on.

use super::key;
use super::marks::Marks;
use super::object::Object;
use super::resource::{ResourceCache, Snapshot};
use super::selection::Selection;
use super::token::{Token, TokenRevision};
use super::tree::Tree;
use coracle_api::status::Status;
use coracle_store::Revision;
use std::collections::VecDeque;
use std::sync::Arc;

/// How many past states are kept for lists that go on page by page; more are made again from the history.
const SNAPSHOTS_KEPT_MAX: usize = 16;

/// At which revision a list is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListRevision {
    /// The latest.
    Latest,
    /// This one or a later one.
    NotOlderThan(Revision),
    /// This very one.
    Exact(Revision),
}

/// What a list asks for.
#[derive(Debug, Clone)]
pub struct ListRequest {
    /// Which objects.
    pub selection: Selection,
    /// At which revision; a continue token has its own.
    pub revision: ListRevision,
    /// Most objects in the answer, 0 for no limit.
    pub limit: usize,
    /// `metadata.continue` of the page before.
    pub continue_token: Option<String>,
}

/// The answer to a list.
#[derive(Debug, Clone)]
pub struct Listing {
    /// The objects, in byte order of namespace and name.
    pub objects: Vec<Arc<Object>>,
    /// The list's `metadata.resourceVersion`.
    pub revision: Revision,
    /// `metadata.continue`; `None` on the last page.
    pub continue_token: Option<String>,
    /// `metadata.remainingItemCount`; `None` where it is not known or nothing remains.
    pub remaining: Option<usize>,
}

/// The objects of a selection in the order of their keys, after the one at `start_after` (`NAMESPACE/NAME` or `NAME`).
pub(super) fn select<'a>(
    tree: &'a Tree,
    prefix: &str,
    selection: &'a Selection,
    start_after: Option<&str>,
) -> impl Iterator<Item = &'a Arc<Object>> + use<'a> {
    let scope = scope(prefix, selection);
    let start = start_after.map(|after| format!("{scope}{after}"));
    let objects = match selection.name() {
        Some(name) if selection.namespace().is_some() || !selection.kind().namespaced => {
            let key = format!("{scope}{name}");
            let after = start.is_none_or(|start| key > start);
            let found = tree.get(key.as_bytes()).filter(|_| after);
            Either::One(found.into_iter())
        }
        Some(_) | None => {
            let start = start.as_deref().map(str::as_bytes);
            Either::Many(tree.scan(scope.as_bytes(), start, Marks::of_selection(selection)))
        }
    };
    let everything = !selection.has_selectors();
    objects.filter(move |object| everything || selection.matches(&object.header))
}

/// The prefix of the keys of a selection.
fn scope(prefix: &str, selection: &Selection) -> String {
    selection
        .namespace()
        .map_or_else(|| prefix.to_owned(), |namespace| format!("{prefix}{namespace}/"))
}

/// One of two iterators over the same.
enum Either<A, B> {
    One(A),
    Many(B),
}

impl<T, A: Iterator<Item = T>, B: Iterator<Item = T>> Iterator for Either<A, B> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        match self {
            Either::One(one) => one.next(),
            Either::Many(many) => many.next(),
        }
    }
}

/// Answers a list.
pub(super) fn list(cache: &ResourceCache, request: &ListRequest) -> Result<Listing, Status> {
    let token = request.continue_token.as_deref().map(Token::parse).transpose()?;
    let revision = match &token {
        None => request.revision,
        Some(token) => match token.revision {
            TokenRevision::Exact(revision) => ListRevision::Exact(revision),
            TokenRevision::Latest => ListRevision::Latest,
        },
    };
    let snapshot = match snapshot(cache, revision) {
        Ok(snapshot) => snapshot,
        Err(Unreadable::Future(current)) => {
            let asked = match revision {
                ListRevision::Exact(asked) | ListRevision::NotOlderThan(asked) => asked,
                ListRevision::Latest => current,
            };
            return Err(Status::too_large_resource_version(asked.0, current.0));
        }
        Err(Unreadable::Gone) => return Err(expired(token)),
    };
    let start = token.as_ref().map(|token| token.start_after.as_str());
    let listing = page(cache, &snapshot, request, start);
    if listing.continue_token.is_some() {
        cache.past().lock().keep(snapshot);
    }
    Ok(listing)
}

fn page(
    cache: &ResourceCache,
    snapshot: &Snapshot,
    request: &ListRequest,
    start_after: Option<&str>,
) -> Listing {
    let selection = &request.selection;
    let limit = if request.limit == 0 { usize::MAX } else { request.limit };
    let mut selected = select(&snapshot.tree, cache.prefix(), selection, start_after);
    let objects: Vec<Arc<Object>> = selected.by_ref().take(limit).cloned().collect();
    let more = selected.next().is_some();
    let last = objects.last().filter(|_| more);
    let continue_token = last.map(|last| {
        let header = &last.header;
        let namespace = if selection.namespace().is_some() { "" } else { header.namespace() };
        let start_after = key::place(namespace, header.name());
        Token { revision: TokenRevision::Exact(snapshot.revision), start_after }.to_string()
    });
    let remaining = (more && !selection.has_selectors()).then(|| 1 + selected.count());
    Listing { objects, revision: snapshot.revision, continue_token, remaining }
}

fn expired(token: Option<Token>) -> Status {
    match token {
        None => Status::resource_expired("The resourceVersion for the provided list is too old."),
        Some(token) => {
            let go_on = Token { revision: TokenRevision::Latest, ..token };
            Status::resource_expired(
                "The provided continue parameter is too old to display a consistent list result. Start a new list, \
                 or go on with the token in this answer and accept that the pages show different moments.",
            )
            .with_continue(go_on.to_string())
        }
    }
}

/// Why there is no snapshot of a revision.
enum Unreadable {
    /// It has not happened; this is the latest.
    Future(Revision),
    /// It is compacted.
    Gone,
}

fn snapshot(cache: &ResourceCache, revision: ListRevision) -> Result<Snapshot, Unreadable> {
    let latest = cache.latest();
    match revision {
        ListRevision::Latest => Ok(latest),
        ListRevision::NotOlderThan(asked) | ListRevision::Exact(asked)
            if asked > latest.revision =>
        {
            Err(Unreadable::Future(latest.revision))
        }
        ListRevision::NotOlderThan(_) => Ok(latest),
        ListRevision::Exact(asked) if asked == latest.revision => Ok(latest),
        ListRevision::Exact(asked) => {
            if let Some(kept) = cache.past().lock().get(asked) {
                return Ok(kept);
            }
            undo(cache, asked).ok_or(Unreadable::Gone)
        }
    }
}

/// Makes a past state from the present one; costs as much as happened since.
fn undo(cache: &ResourceCache, asked: Revision) -> Option<Snapshot> {
    let state = cache.state().read();
    if asked < state.compacted {
        return None;
    }
    let mut tree = state.tree.clone();
    for change in state.history.iter().rev().take_while(|change| change.revision > asked) {
        match (&change.previous, &change.current) {
            (Some(previous), _) => tree.insert(Arc::clone(previous)),
            (None, Some(current)) => tree.remove(&current.key),
            (None, None) => {}
        }
    }
    Some(Snapshot { tree, revision: asked })
}

/// Past states that lists may ask for again.
#[derive(Default)]
pub(super) struct Past {
    /// Oldest use first.
    kept: VecDeque<Snapshot>,
}

impl Past {
    fn get(&mut self, revision: Revision) -> Option<Snapshot> {
        let index = self.kept.iter().position(|kept| kept.revision == revision)?;
        let found = self.kept.remove(index)?;
        self.kept.push_back(found.clone());
        Some(found)
    }

    fn keep(&mut self, snapshot: Snapshot) {
        self.kept.retain(|kept| kept.revision != snapshot.revision);
        if self.kept.len() >= SNAPSHOTS_KEPT_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back(snapshot);
    }

    /// Forgets the states before the compacted revision, so that a token lives as long as the history and no longer.
    pub(super) fn compact(&mut self, to: Revision) {
        self.kept.retain(|kept| kept.revision >= to);
    }
}
