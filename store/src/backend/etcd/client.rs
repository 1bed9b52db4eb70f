//! Calls to whichever member of etcd answers.
//!
//! An edge: it keeps a connection, and waits between tries.

use super::channel::{Answers, Channel};
use super::config::EtcdConfig;
use super::error::CallError;
use super::messages::{
    AuthenticateRequest, AuthenticateResponse, RangeRequest, RangeResponse, WatchRequest,
};
use prost::Message;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

/// How long one try of a small call may take before another member is asked: longer than an election of etcd with its
/// usual times, so that a member that is about to have a leader is waited for.
pub(super) const TRY_TIME_MAX: Duration = Duration::from_millis(1500);
/// How long a page of all keys may take.
pub(super) const PAGE_TIME_MAX: Duration = Duration::from_secs(30);
/// How long is tried before the caller is told: less than a request of the API may take.
pub(super) const TRIES_TIME_MAX: Duration = Duration::from_secs(15);
/// The first wait between tries; it doubles.
const WAIT_FIRST: Duration = Duration::from_millis(20);
/// The longest wait between tries.
const WAIT_MAX: Duration = Duration::from_millis(500);

/// Reaches an etcd of one or several members.
pub(super) struct Client {
    config: EtcdConfig,
    current: Mutex<Current>,
}

/// The member that is asked now.
#[derive(Default)]
struct Current {
    member: usize,
    link: Option<Link>,
}

/// A connection with the token that is good on it.
#[derive(Clone)]
struct Link {
    channel: Arc<Channel>,
    token: Option<Arc<str>>,
}

impl Client {
    /// Connects with the first call.
    pub(super) fn new(config: EtcdConfig) -> Client {
        Client { config, current: Mutex::default() }
    }

    /// One try of a call.
    ///
    /// # Errors
    /// [`CallError`]; the next try asks another member where that may help.
    pub(super) async fn attempt<A: Message, B: Message + Default>(
        &self,
        method: &str,
        question: &A,
        time: Duration,
    ) -> Result<B, CallError> {
        let link = self.link().await?;
        let answer = link.channel.call(method, link.token.as_deref(), question, time).await;
        if let Err(error) = &answer {
            self.give_up(&link, error).await;
        }
        answer
    }

    /// A call that changes nothing, tried again until it succeeds or cannot, or time is over.
    ///
    /// # Errors
    /// The last [`CallError`].
    pub(super) async fn range(
        &self,
        question: &RangeRequest,
        time: Duration,
    ) -> Result<RangeResponse, CallError> {
        let mut tries = Tries::begin();
        loop {
            match self.attempt("KV/Range", question, time).await {
                Ok(answer) => return Ok(answer),
                Err(error) => tries.again(error).await?,
            }
        }
    }

    /// Begins a watch.
    ///
    /// # Errors
    /// [`CallError`], after one try.
    pub(super) async fn watch(&self, question: &WatchRequest) -> Result<Watching, CallError> {
        let link = self.link().await?;
        let token = link.token.as_deref();
        match link.channel.stream("Watch/Watch", token, question, TRY_TIME_MAX).await {
            Ok(answers) => Ok(Watching { answers, link }),
            Err(error) => {
                self.give_up(&link, &error).await;
                Err(error)
            }
        }
    }

    /// A watch failed: its connection is not used for another one.
    pub(super) async fn leave(&self, watching: Watching) {
        self.drop_link(&watching.link).await;
    }

    async fn give_up(&self, link: &Link, error: &CallError) {
        if error.is_login_over() || error.is_of_the_member() {
            self.drop_link(link).await;
        }
    }

    async fn drop_link(&self, link: &Link) {
        let mut current = self.current.lock().await;
        let same =
            current.link.as_ref().is_some_and(|now| Arc::ptr_eq(&now.channel, &link.channel));
        if same {
            current.link = None;
            current.member = current.member.wrapping_add(1);
        }
    }

    /// The connection that is there, or one to the next member that takes one.
    async fn link(&self) -> Result<Link, CallError> {
        let mut current = self.current.lock().await;
        if let Some(link) = &current.link {
            return Ok(link.clone());
        }
        let members = &self.config.endpoints;
        let mut failed = CallError::Nonsense("no member".to_owned());
        for _ in members {
            let Some(endpoint) = members.get(current.member % members.len()) else { break };
            match self.open(endpoint).await {
                Ok(link) => {
                    current.link = Some(link.clone());
                    return Ok(link);
                }
                Err(error) => {
                    tracing::debug!(%error, "no connection to a member of etcd");
                    failed = error;
                    current.member = current.member.wrapping_add(1);
                }
            }
        }
        Err(failed)
    }

    async fn open(&self, endpoint: &super::config::Endpoint) -> Result<Link, CallError> {
        let channel = Arc::new(Channel::connect(&self.config, endpoint).await?);
        let Some((name, password)) = self.config.user.clone() else {
            return Ok(Link { channel, token: None });
        };
        let question = AuthenticateRequest { name, password };
        let answer: AuthenticateResponse =
            channel.call("Auth/Authenticate", None, &question, TRY_TIME_MAX).await?;
        Ok(Link { channel, token: Some(answer.token.into()) })
    }
}

/// A watch, with the connection that it goes over.
pub(super) struct Watching {
    /// What it tells.
    pub(super) answers: Answers,
    link: Link,
}

/// How long and how often a call has been tried.
pub(super) struct Tries {
    end: Instant,
    wait: Duration,
}

impl Tries {
    /// The first try begins now.
    pub(super) fn begin() -> Tries {
        Tries { end: Instant::now() + TRIES_TIME_MAX, wait: WAIT_FIRST }
    }

    /// Waits for the next try; the error when none is worth it.
    ///
    /// # Errors
    /// The one that it is given.
    pub(super) async fn again(&mut self, error: CallError) -> Result<(), CallError> {
        if !error.is_passing() || Instant::now() + self.wait >= self.end {
            return Err(error);
        }
        tracing::debug!(%error, "a call to etcd is tried again");
        sleep(self.wait).await;
        self.wait = (self.wait * 2).min(WAIT_MAX);
        Ok(())
    }
}
