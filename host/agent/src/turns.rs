//! How many short requests this host has at the API server at once.
//!
//! A request in flight has a connection of its own, and a new one costs both ends a TLS handshake: a
//! thousand pods that report together would open a thousand, more than the server's queue of
//! connections holds. Taking turns over few kept connections is both kinder and faster. Watches and
//! what keeps the node alive do not wait here.
//!
//! An edge: it waits.

use std::sync::Arc;

use std::time::Duration;

use tokio::sync::Semaphore;

/// Requests at once: enough to keep a server busy that is some milliseconds away.
const REQUESTS_MAX: usize = 64;

/// How long an answer may take: a server that went away without a word must not keep its turns.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Turns at the API server; clones share them.
#[derive(Clone)]
pub(crate) struct Turns {
    places: Arc<Semaphore>,
}

impl Default for Turns {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(REQUESTS_MAX)) }
    }
}

impl Turns {
    /// Sends a request when it is its turn, first come first served; gives `None` when no answer comes
    /// in time. As cancel safe as the request.
    pub(crate) async fn ask<T>(&self, request: impl Future<Output = T>) -> Option<T> {
        self.ask_within(ANSWER_MAX, request).await
    }

    async fn ask_within<T>(
        &self,
        patience: Duration,
        request: impl Future<Output = T>,
    ) -> Option<T> {
        // Nobody closes the semaphore; were it closed, nobody need wait.
        let _turn = self.places.acquire().await.ok();
        tokio::time::timeout(patience, request).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_more_than_may_ask_waits_for_the_first_that_is_done() {
        let turns = Turns::default();
        let mut asking: Vec<_> =
            (0..REQUESTS_MAX).map(|_| Box::pin(turns.ask(std::future::pending::<()>()))).collect();
        for one in &mut asking {
            assert!(futures::poll!(one).is_pending());
        }
        let mut next = Box::pin(turns.ask(std::future::ready(7)));
        assert!(futures::poll!(&mut next).is_pending());
        asking.pop();
        assert_eq!(next.await, Some(7));
    }

    #[tokio::test]
    async fn a_server_that_says_nothing_gives_its_turn_back() {
        let turns = Turns::default();
        assert_eq!(turns.ask_within(Duration::ZERO, std::future::pending::<()>()).await, None);
        assert_eq!(turns.places.available_permits(), REQUESTS_MAX);
    }
}
