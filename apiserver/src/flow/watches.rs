//! How many watches each user has open. Pure but for its lock.

use std::collections::HashMap;
use std::sync::Arc;

use coracle_api::status::Status;
use parking_lot::Mutex;

/// Most watches of one user at a time.
///
/// A hundred clients with an informer for each of two hundred kinds have as many; more are a client's that forgets to
/// close its own. As many idle ones cost the server about 200 MiB.
const WATCHES_OF_A_USER_MAX: usize = 20_000;

/// Seconds after which a client that was refused may try again: open watches end seldom.
const RETRY_SECONDS: u32 = 10;

/// The open watches by user.
pub(super) struct Watches {
    most: usize,
    open: Mutex<HashMap<String, usize>>,
}

impl Default for Watches {
    fn default() -> Watches {
        Watches { most: WATCHES_OF_A_USER_MAX, open: Mutex::default() }
    }
}

/// The place of an open watch; free again when it is dropped.
pub(crate) struct WatchPlace {
    watches: Arc<Watches>,
    user: String,
}

impl Drop for WatchPlace {
    fn drop(&mut self) {
        let mut open = self.watches.open.lock();
        if let Some(count) = open.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.user);
            }
        }
    }
}

impl Watches {
    /// Takes a place for a watch of a user.
    ///
    /// # Errors
    /// 429 with `Retry-After` when the user has as many as one may have.
    pub(super) fn take(self: &Arc<Self>, user: &str) -> Result<WatchPlace, Status> {
        let mut open = self.open.lock();
        let count = open.entry(user.to_owned()).or_default();
        if *count >= self.most {
            let most = self.most;
            let words = format!(
                "user {user:?} has {most} watches open, which is as many as one user may have: close some that are \
                 not needed any more"
            );
            return Err(Status::too_many_requests(words, RETRY_SECONDS));
        }
        *count += 1;
        Ok(WatchPlace { watches: Arc::clone(self), user: user.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_so_many_watches_and_no_more() {
        let watches = Arc::new(Watches { most: 2, open: Mutex::default() });
        let places = [watches.take("ann").ok(), watches.take("ann").ok()];
        assert!(places.iter().all(Option::is_some));
        let refused = watches.take("ann").err().unwrap();
        assert_eq!((refused.code(), refused.retry_after_seconds()), (429, Some(RETRY_SECONDS)));
        assert!(refused.to_string().contains("2 watches"), "{refused}");
        assert!(watches.take("bea").is_ok(), "another user has places of their own");
        drop(places);
        assert!(watches.take("ann").is_ok());
        assert!(watches.open.lock().is_empty(), "nothing is kept of who watches nothing");
    }
}
