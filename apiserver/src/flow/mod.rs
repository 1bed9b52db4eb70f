//! One client in a loop never starves another: requests take seats, and where there is no free one, each client has a
//! queue of its own and the queues take turns.
//!
//! A light form of API priority and fairness: one priority level beside the exempt one, flows by user.
//! FlowSchemas and PriorityLevelConfigurations are stored and not looked at. An edge: requests wait here.
//! *Source:* Kubernetes, "API Priority and Fairness".

use coracle_api::status::Status;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use tokio::sync::oneshot;

use crate::authn::{MASTERS, UserInfo};

/// Requests that are worked on at once. *Source:* kube-apiserver's limits for reading (400) and writing (200) together.
const SEATS: usize = 600;
/// Seats of one flow: whatever it does, others find a free one.
const FLOW_SEATS_MAX: usize = 200;
/// Requests of one flow that wait; one more gets 429.
const FLOW_WAITING_MAX: usize = 200;
/// Requests of all flows that wait; one more gets 429. Bounds what many users together can keep open.
const WAITING_MAX: usize = 4096;

/// Paths that are answered whatever else is going on: health is what decides over the server's life.
const EXEMPT_PATHS: [&str; 3] = ["/healthz", "/livez", "/readyz"];

/// How many requests may be worked on and wait.
#[derive(Debug, Clone, Copy)]
struct Limits {
    seats: usize,
    flow_seats: usize,
    flow_waiting: usize,
    waiting: usize,
}

/// The seats of the server; a clone shares them.
#[derive(Clone)]
pub(crate) struct Flows(Arc<Shared>);

struct Shared {
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    seated: usize,
    waiting: usize,
    flows: HashMap<String, Flow>,
    /// Flows with waiting requests, in the order of their turns.
    turns: VecDeque<String>,
}

#[derive(Default)]
struct Flow {
    seated: usize,
    waiting: VecDeque<oneshot::Sender<Seat>>,
}

/// A seat; free again when it is dropped. Exempt requests hold none.
pub(crate) struct Seat(Option<(Arc<Shared>, String)>);

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some((shared, flow)) = self.0.take() {
            shared.leave(&flow);
        }
    }
}

impl Default for Flows {
    fn default() -> Flows {
        Flows::new(Limits {
            seats: SEATS,
            flow_seats: FLOW_SEATS_MAX,
            flow_waiting: FLOW_WAITING_MAX,
            waiting: WAITING_MAX,
        })
    }
}

impl Flows {
    fn new(limits: Limits) -> Flows {
        Flows(Arc::new(Shared { limits, state: Mutex::default() }))
    }

    /// Takes a seat for a request of a user, when it is the user's turn. Cancel safe: who stops waiting loses the place.
    ///
    /// # Errors
    /// 429 with `Retry-After` when too many requests of the user, or of all, wait already.
    pub(crate) async fn enter(&self, user: &UserInfo, path: &str) -> Result<Seat, Status> {
        let is_health = EXEMPT_PATHS.iter().any(|exempt| path.starts_with(exempt));
        if is_health || user.is_in(MASTERS) {
            return Ok(Seat(None));
        }
        let ticket = match self.0.arrive(&user.name)? {
            Ok(seat) => return Ok(seat),
            Err(ticket) => ticket,
        };
        // The sender lives as long as the queue does.
        ticket.await.map_err(|_| Status::service_unavailable("the server is shutting down"))
    }
}

impl Shared {
    fn arrive(
        self: &Arc<Self>,
        name: &str,
    ) -> Result<Result<Seat, oneshot::Receiver<Seat>>, Status> {
        let mut state = self.state.lock();
        let State { seated, waiting, flows, turns } = &mut *state;
        let flow = flows.entry(name.to_owned()).or_default();
        let has_seat = *seated < self.limits.seats && flow.seated < self.limits.flow_seats;
        if has_seat && flow.waiting.is_empty() {
            *seated += 1;
            flow.seated += 1;
            return Ok(Ok(Seat(Some((Arc::clone(self), name.to_owned())))));
        }
        // Those who do not wait any more are still in the queue until their turn.
        flow.waiting.retain(|ticket| !ticket.is_closed());
        if flow.waiting.len() >= self.limits.flow_waiting || *waiting >= self.limits.waiting {
            return Err(Status::too_many_requests("too many requests, please try again later", 1));
        }
        let (ticket, receiver) = oneshot::channel();
        if flow.waiting.is_empty() && !turns.iter().any(|other| other == name) {
            turns.push_back(name.to_owned());
        }
        flow.waiting.push_back(ticket);
        *waiting = flows.values().map(|flow| flow.waiting.len()).sum();
        Ok(Err(receiver))
    }

    fn leave(self: &Arc<Self>, name: &str) {
        let mut state = self.state.lock();
        state.seated = state.seated.saturating_sub(1);
        if let Some(flow) = state.flows.get_mut(name) {
            flow.seated = flow.seated.saturating_sub(1);
            if flow.seated == 0 && flow.waiting.is_empty() {
                state.flows.remove(name);
            }
        }
        self.seat_next(&mut state);
    }

    /// Gives free seats to those who wait, one flow after another.
    fn seat_next(self: &Arc<Self>, state: &mut State) {
        let mut skipped = 0;
        while state.seated < self.limits.seats && skipped < state.turns.len() {
            let Some(name) = state.turns.pop_front() else { return };
            let Some(flow) = state.flows.get_mut(&name) else { continue };
            if flow.seated >= self.limits.flow_seats {
                state.turns.push_back(name);
                skipped += 1;
                continue;
            }
            while let Some(ticket) = flow.waiting.pop_front() {
                state.waiting = state.waiting.saturating_sub(1);
                let seat = Seat(Some((Arc::clone(self), name.clone())));
                match ticket.send(seat) {
                    Ok(()) => {
                        state.seated += 1;
                        flow.seated += 1;
                        skipped = 0;
                        break;
                    }
                    // Nobody waits there any more, and the seat was never taken.
                    Err(mut seat) => drop(seat.0.take()),
                }
            }
            if !flow.waiting.is_empty() {
                state.turns.push_back(name);
            } else if flow.seated == 0 {
                state.flows.remove(&name);
            }
        }
    }
}

#[cfg(test)]
mod tests;
