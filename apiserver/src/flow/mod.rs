//! One client in a loop never starves another: API priority and fairness.
//!
//! `rules` finds the FlowSchema of a request, `seats` holds the seats and queues of the priority levels, `objects` are
//! those that every cluster has, `follow` keeps all of it as the objects say, `measures` counts. Streams and images, which
//! may take any time, are told their place and take no seat; a watch has seats until its events begin. An edge: requests
//! wait here.
//! *Source:* Kubernetes, "API Priority and Fairness"; KEP-1040.

mod follow;
mod measures;
mod objects;
mod rules;
mod seats;
mod watches;

pub(crate) use follow::follow;
pub(crate) use measures::Measures;
pub(crate) use objects::defaults;
pub(crate) use rules::Place;
pub(crate) use watches::WatchPlace;

use coracle_api::status::Status;
use http::{HeaderMap, HeaderName};
use parking_lot::{Mutex, RwLock};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

use crate::authn::UserInfo;
use crate::clock;
use crate::request_info::RequestInfo;
use measures::{Executing, Reason};
use rules::Rules;
use seats::{Arrival, Seats};

/// How long a request waits for its turn. *Source:* a quarter of the request timeout, as upstream.
const WAIT_MAX: Duration = Duration::from_secs(15);
/// Seconds after which a client that was refused may try again. *Source:* upstream's `Retry-After`.
const RETRY_SECONDS: u32 = 1;

const SCHEMA_HEADER: HeaderName = HeaderName::from_static("x-kubernetes-pf-flowschema-uid");
const LEVEL_HEADER: HeaderName = HeaderName::from_static("x-kubernetes-pf-prioritylevel-uid");

/// The places and seats of the server; a clone shares them.
#[derive(Clone, Default)]
pub(crate) struct Flows(Arc<Shared>);

#[derive(Default)]
struct Shared {
    rules: RwLock<Arc<Rules>>,
    seats: Mutex<Seats>,
    measures: Measures,
    watches: Arc<watches::Watches>,
}

/// A seat; free again when it is dropped. Exempt requests hold none, and are counted.
#[derive(Default)]
pub(crate) struct Seat {
    held: Option<Held>,
    executing: Option<Executing>,
}

struct Held {
    shared: Arc<Shared>,
    level: String,
    queue: usize,
    width: usize,
}

impl std::fmt::Debug for Seat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Seat({:?})", self.held.as_ref().map(|held| &held.level))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.executing = None;
        if let Some(held) = self.held.take() {
            held.shared.seats.lock().leave(&held.level, held.queue, held.width);
            held.shared.seat_next();
        }
    }
}

impl Flows {
    /// Flow control that shows what it does in `measures`.
    pub(crate) fn measured(measures: Measures) -> Flows {
        Flows(Arc::new(Shared { measures, ..Shared::default() }))
    }

    /// Takes over FlowSchemas and PriorityLevelConfigurations as they are now.
    pub(crate) fn publish(&self, schemas: &[Value], levels: &[Value]) {
        *self.0.rules.write() = Arc::new(Rules::read(schemas, levels, &self.0.measures));
        let mut seats = self.0.seats.lock();
        seats.configure(levels);
        self.0.measures.limits(seats.limits());
        drop(seats);
        self.0.seat_next();
    }

    /// Finds where a request belongs.
    pub(crate) fn place(&self, user: &UserInfo, info: &RequestInfo) -> Option<Place> {
        let rules = Arc::clone(&self.0.rules.read());
        rules.place(user, info)
    }

    /// Takes a place for a watch of a user, which it has as long as it is open.
    ///
    /// # Errors
    /// 429 with `Retry-After` when the user has too many.
    pub(crate) fn watch_place(&self, user: &UserInfo) -> Result<WatchPlace, Status> {
        self.0.watches.take(&user.name)
    }

    /// Takes `width` seats for a request, when it is its flow's turn. Cancel safe: who stops waiting loses the place.
    ///
    /// # Errors
    /// 429 with `Retry-After` when too many requests of the flow wait already, or it waited too long.
    pub(crate) async fn enter(&self, place: &Place, width: usize) -> Result<Seat, Status> {
        let arrived = clock::instant();
        let refused = |reason| {
            place.series.refuse(reason);
            Status::too_many_requests("too many requests, please try again later.", RETRY_SECONDS)
        };
        let arrival = self.0.seats.lock().arrive(&place.level, place.flow, width);
        let mut seat = match arrival {
            Arrival::Exempt => Seat::default(),
            Arrival::Seated(queue, width) => self.0.seat(&place.level, queue, width),
            Arrival::Refused(reason) => return Err(refused(reason)),
            Arrival::Waits(ticket) => {
                let _waiting = place.series.wait();
                match tokio::time::timeout(WAIT_MAX, ticket).await {
                    Ok(Ok(seat)) => seat,
                    // A ticket whose other half is gone was of a level that is no more.
                    Ok(Err(_)) | Err(_) => return Err(refused(Reason::TimeOut)),
                }
            }
        };
        let width = seat.held.as_ref().map_or(1, |held| held.width);
        seat.executing = Some(place.series.dispatch(arrived, width));
        Ok(seat)
    }
}

impl Place {
    /// Tells the client where its request belonged.
    pub(crate) fn tell(&self, headers: &mut HeaderMap) {
        headers.insert(SCHEMA_HEADER, self.schema_uid.clone());
        headers.insert(LEVEL_HEADER, self.level_uid.clone());
    }
}

impl Shared {
    fn seat(self: &Arc<Self>, level: &str, queue: usize, width: usize) -> Seat {
        let held = Held { shared: Arc::clone(self), level: level.to_owned(), queue, width };
        Seat { held: Some(held), executing: None }
    }

    fn seat_next(self: &Arc<Self>) {
        let make = |level: &str, queue: usize, width: usize| self.seat(level, queue, width);
        let unwanted = self.seats.lock().dispatch(&make);
        // Dropped without the lock, for that is how they are given back.
        drop(unwanted);
    }
}

#[cfg(test)]
mod tests;
