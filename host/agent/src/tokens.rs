//! Gets the tokens that pods mount, keeps them, and says when one is due to be renewed.
//!
//! In memory, and sealed in the checkpoint: a host that comes back without its server serves with
//! the tokens that it had. A token that cannot be renewed stays until it can; one whose time is over
//! is of no use without the server that would take it, so it holds up nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use coracle_client::{Client, Failure as _};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};

use crate::checkpoint::Files;
use crate::clock::now;
use crate::config::tokens::{self, Token, TokenSpec};
use crate::effects::{Message, Target};
use crate::pods::plan;
use crate::turns::Turns;

/// How long a pod waits for its first token.
const FIRST_ANSWER_MAX: Duration = Duration::from_secs(10);
/// The same where an older one is at hand.
const RENEWAL_MAX: Duration = Duration::from_millis(500);
/// Pause before a renewal that failed is tried again. *Source:* kubelet's token manager.
const RETRY: SignedDuration = SignedDuration::from_secs(30);

/// Tokens by what was asked for.
pub(crate) type Values = BTreeMap<TokenSpec, String>;

type Held = BTreeMap<TokenSpec, Token>;

#[derive(Default)]
struct State {
    held: HashMap<String, Held>,
    due: BTreeSet<(Timestamp, String)>,
    due_of: HashMap<String, Timestamp>,
}

impl State {
    fn set_due(&mut self, uid: &str, moment: Option<Timestamp>) {
        if let Some(old) = self.due_of.remove(uid) {
            self.due.remove(&(old, uid.to_owned()));
        }
        if let Some(moment) = moment {
            self.due.insert((moment, uid.to_owned()));
            self.due_of.insert(uid.to_owned(), moment);
        }
    }
}

/// The tokens of this host's pods.
pub(crate) struct Tokens {
    client: Client,
    files: Files,
    turns: Turns,
    news: mpsc::UnboundedSender<Message>,
    state: Mutex<State>,
    changed: Notify,
}

impl Tokens {
    pub(crate) fn new(
        client: Client,
        files: Files,
        turns: Turns,
        news: mpsc::UnboundedSender<Message>,
    ) -> Arc<Self> {
        let (state, changed) = (Mutex::default(), Notify::new());
        Arc::new(Self { client, files, turns, news, state, changed })
    }

    /// Gives every token that the volumes of a pod ask for; those that are due are renewed before.
    ///
    /// # Errors
    /// A sentence when one cannot be had and none is at hand.
    pub(crate) async fn of(&self, target: &Target) -> Result<Values, String> {
        let wanted = tokens::specs(&target.pod);
        if wanted.is_empty() {
            return Ok(Values::new());
        }
        let uid = &target.key.uid;
        let mut held = self.held(uid);
        let (at, mut next, mut renewed) = (now(), None, false);
        for spec in &wanted {
            let old = held.get(spec);
            let mut due = old.map(|token| token.due_at(uid));
            if due.is_none_or(|due| due <= at) {
                match self.request(target, spec, old.is_some()).await {
                    Ok(token) => {
                        due = Some(token.due_at(uid));
                        held.insert(spec.clone(), token);
                        renewed = true;
                    }
                    Err(error) if old.is_some() => {
                        tracing::debug!(pod = %target.key, error, "token not renewed");
                        due = at.checked_add(RETRY).ok();
                    }
                    Err(error) => return Err(format!("failed to fetch token: {error}")),
                }
            }
            next = next.into_iter().chain(due).min();
        }
        held.retain(|spec, _| wanted.contains(spec));
        let values = held.iter().map(|(spec, token)| (spec.clone(), token.value.clone())).collect();
        self.keep(uid, held, next, renewed).await;
        Ok(values)
    }

    /// Forgets the tokens of a pod that is gone.
    pub(crate) fn release(&self, uid: &str) {
        let mut state = self.state.lock();
        state.set_due(uid, None);
        if state.held.remove(uid).is_some() {
            self.files.remove_tokens(uid);
        }
    }

    /// Tells the loop of each pod whose token is due, until the agent ends.
    pub(crate) async fn follow(self: Arc<Self>) {
        loop {
            let first = self.state.lock().due.first().map(|(moment, _)| *moment);
            let left = first.map(|moment| moment.duration_since(now()));
            match left.map(|left| Duration::try_from(left).unwrap_or_default()) {
                Some(Duration::ZERO) => self.tell_due(),
                Some(left) => {
                    let _ = tokio::time::timeout(left, self.changed.notified()).await;
                }
                None => self.changed.notified().await,
            }
        }
    }

    fn tell_due(&self) {
        let at = now();
        let mut state = self.state.lock();
        while let Some((moment, uid)) = state.due.first().cloned() {
            if moment > at {
                return;
            }
            // Should the pod not be looked at now, it is told again.
            state.set_due(&uid, at.checked_add(RETRY).ok());
            let _ = self.news.send(Message::Refresh(uid));
        }
    }

    fn held(&self, uid: &str) -> Held {
        let known = self.state.lock().held.get(uid).cloned();
        known.unwrap_or_else(|| self.files.tokens(uid).into_iter().collect())
    }

    async fn keep(&self, uid: &str, held: Held, next: Option<Timestamp>, renewed: bool) {
        if renewed {
            let list: Vec<_> = held.clone().into_iter().collect();
            let (files, uid) = (self.files.clone(), uid.to_owned());
            let written = tokio::task::spawn_blocking(move || files.write_tokens(&uid, &list));
            if let Ok(Err(error)) = written.await {
                tracing::warn!(%error, "cannot keep the tokens of a pod");
            }
        }
        let mut state = self.state.lock();
        state.held.insert(uid.to_owned(), held);
        state.set_due(uid, next);
        drop(state);
        self.changed.notify_one();
    }

    async fn request(
        &self,
        target: &Target,
        spec: &TokenSpec,
        at_hand: bool,
    ) -> Result<Token, String> {
        let account = plan::spec(&target.pod).service_account_name.as_deref().unwrap_or("default");
        let wanted: TokenRequest = serde_json::from_value(tokens::request(&target.pod, spec))
            .map_err(|error| error.to_string())?;
        let api = self.client.namespaced::<ServiceAccount>(&target.key.namespace);
        let params = PostParams::default();
        let asked = api.create_token_request(account, &params, &wanted);
        let answer = if at_hand {
            // There is something to go on with, so the wait for a turn counts too.
            let asked = tokio::time::timeout(RENEWAL_MAX, self.turns.ask(asked));
            asked.await.ok().flatten()
        } else {
            let asked = self.turns.ask(tokio::time::timeout(FIRST_ANSWER_MAX, asked));
            asked.await.and_then(Result::ok)
        };
        let answer = answer.ok_or("timed out waiting for the API server")?;
        let answer = answer.map_err(|error| error.message())?;
        let status = answer.status.ok_or("the API server gave no token")?;
        Ok(Token {
            value: status.token,
            issued_at: now(),
            expires_at: status.expiration_timestamp.0,
        })
    }
}
