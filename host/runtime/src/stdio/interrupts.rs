//! Interrupts, for a guest that takes them itself and waits for something else than its input: a connection, a name,
//! a datagram. What it waits for then fails once, as a system call does that a signal interrupts.
//!
//! An edge: guests wait here.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use super::Input;

/// The interrupts of one guest; none of a guest without a terminal, or that leaves them to its host.
#[derive(Clone, Default)]
pub(crate) struct Interrupts(Option<Arc<Input>>);

impl std::fmt::Debug for Interrupts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Interrupts").field(&self.0.is_some()).finish()
    }
}

impl Interrupts {
    /// Those that are typed in front of this input.
    pub(crate) fn of(input: Arc<Input>) -> Self {
        Self(Some(input))
    }

    /// Says whether the guest was interrupted and has not asked since.
    pub(crate) fn is_there(&self) -> bool {
        self.0.as_ref().is_some_and(|input| input.is_interrupted())
    }

    /// Waits until `work` is done or the guest is interrupted.
    pub(crate) async fn or(&self, work: impl Future<Output = ()> + Send) {
        let Some(input) = &self.0 else { return work.await };
        let mut work = pin!(work);
        std::future::poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => input.poll_interrupted(cx),
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;

    #[tokio::test]
    async fn who_waits_is_let_go_until_the_guest_has_asked() {
        let input = Input::new(false);
        let interrupts = Interrupts::of(input.clone());
        let mut waits = Box::pin(interrupts.or(pending()));
        assert!(futures::poll!(&mut waits).is_pending() && !interrupts.is_there());
        assert!(input.interrupt());
        waits.await;
        assert!(interrupts.is_there() && input.take_interrupt() && !interrupts.is_there());
        assert!(futures::poll!(Box::pin(interrupts.or(pending()))).is_pending());
        interrupts.or(async {}).await;
        let nobodys = Interrupts::default();
        assert!(futures::poll!(Box::pin(nobodys.or(pending()))).is_pending());
    }
}
