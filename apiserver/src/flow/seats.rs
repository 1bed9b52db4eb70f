//! Seats of all priority levels: who is worked on, who waits, and who is next. Pure but for the tickets that it hands out.
//!
//! A level has seats by its shares; it may borrow what others lend and do not use. Where there is no free seat, a flow's
//! requests go into one of a few queues that its hash deals it (shuffle sharding), so that a flood fills its own hand
//! alone; of the queues, the one that has had least of the level is next (start-time fair queueing, a request counts its
//! seats).
//! *Source:* KEP-1040.

use serde_json::Value;
use std::collections::{HashMap, VecDeque};
use tokio::sync::oneshot;

use super::Seat;
use super::measures::Reason;

/// Requests that are worked on at once. *Source:* kube-apiserver's limits for reading (400) and writing (200) together.
pub(super) const SEATS: usize = 600;
/// Most queues of a level. *Source:* validation of `queues` upstream.
const QUEUES_MAX: usize = 10_000;

/// What a level does with its requests.
#[derive(Debug)]
enum Handling {
    /// All are worked on at once.
    Exempt,
    /// Those without a seat are refused.
    Reject,
    /// They wait.
    Queue { hand: usize, length_max: usize },
}

/// One priority level.
#[derive(Debug)]
struct Level {
    handling: Handling,
    nominal: usize,
    lendable: usize,
    /// Seats that it may have of others; `None` for as many as there are.
    borrowed_max: Option<usize>,
    seated: usize,
    queues: Vec<Queue>,
    /// How much each queue could have had by now.
    now: u64,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    seated: usize,
    /// How much it has had, if it was never idle.
    had: u64,
}

#[derive(Debug)]
struct Waiting {
    ticket: oneshot::Sender<Seat>,
    width: usize,
}

/// What becomes of a request that arrives.
pub(super) enum Arrival {
    /// It needs no seat.
    Exempt,
    /// It has a seat: the queue that it counts for, and how many seats.
    Seated(usize, usize),
    /// It waits.
    Waits(oneshot::Receiver<Seat>),
    /// It has no seat and may not wait.
    Refused(Reason),
}

/// The seats of all levels.
#[derive(Debug, Default)]
pub(super) struct Seats {
    levels: HashMap<String, Level>,
}

impl Seats {
    /// Takes over the levels as they are configured; those that stay keep who is in them.
    pub(super) fn configure(&mut self, configured: &[Value]) {
        let spec = |level: &Value| level["spec"].clone();
        let shares = |spec: &Value| {
            let kind = if spec["type"] == "Exempt" { "exempt" } else { "limited" };
            spec[kind]["nominalConcurrencyShares"].as_u64().unwrap_or(0)
        };
        let all: u64 = configured.iter().map(|level| shares(&spec(level))).sum::<u64>().max(1);
        let mut old = std::mem::take(&mut self.levels);
        for value in configured {
            let (name, spec) = (coracle_api::meta::name(value), spec(value));
            let nominal = (SEATS as u64 * shares(&spec)).div_ceil(all);
            let fresh = Level::read(&spec, usize::try_from(nominal).unwrap_or(SEATS));
            let level = match old.remove(name) {
                Some(known) => known.reconfigured(fresh),
                None => fresh,
            };
            self.levels.insert(name.to_owned(), level);
        }
    }

    /// Lets a request of a flow in, or into a queue, or not.
    pub(super) fn arrive(&mut self, level: &str, flow: u64, width: usize) -> Arrival {
        let idle = self.idle_beside(level);
        let Some(level) = self.levels.get_mut(level) else { return Arrival::Exempt };
        if matches!(level.handling, Handling::Exempt) {
            return Arrival::Exempt;
        }
        let width = width.clamp(1, level.nominal.max(1));
        let queue = level.choose(flow);
        let is_first = level.queues.iter().all(|queue| queue.waiting.is_empty());
        if is_first && level.has_room(width, idle) {
            level.sit(queue, width);
            return Arrival::Seated(queue, width);
        }
        let (Handling::Queue { length_max, .. }, Some(own)) =
            (&level.handling, level.queues.get_mut(queue))
        else {
            return Arrival::Refused(Reason::ConcurrencyLimit);
        };
        // Those who do not wait any more are still in the queue until their turn.
        own.waiting.retain(|waiting| !waiting.ticket.is_closed());
        if own.waiting.len() >= *length_max {
            return Arrival::Refused(Reason::QueueFull);
        }
        let (ticket, receiver) = oneshot::channel();
        own.waiting.push_back(Waiting { ticket, width });
        Arrival::Waits(receiver)
    }

    /// Gives back the seats of a request.
    pub(super) fn leave(&mut self, level: &str, queue: usize, width: usize) {
        let Some(level) = self.levels.get_mut(level) else { return };
        level.seated = level.seated.saturating_sub(width);
        if let Some(queue) = level.queues.get_mut(queue) {
            queue.seated = queue.seated.saturating_sub(width);
        }
    }

    /// Gives free seats to those who wait. `seat` makes a seat of a level, queue and width; whom nobody waits for any
    /// more comes back.
    pub(super) fn dispatch(&mut self, seat: &dyn Fn(&str, usize, usize) -> Seat) -> Vec<Seat> {
        let mut unwanted = Vec::new();
        let waits = |level: &Level| level.queues.iter().any(|queue| !queue.waiting.is_empty());
        let names: Vec<String> = self
            .levels
            .iter()
            .filter(|(_, level)| waits(level))
            .map(|(name, _)| name.clone())
            .collect();
        for name in names {
            loop {
                let idle = self.idle_beside(&name);
                let Some(level) = self.levels.get_mut(&name) else { break };
                let Some(index) = level.next() else { break };
                let width = level.width_of(index);
                if !level.has_room(width, idle) {
                    break;
                }
                let waiting = level.queues.get_mut(index).and_then(|q| q.waiting.pop_front());
                let Some(waiting) = waiting else { break };
                if waiting.ticket.is_closed() {
                    continue;
                }
                level.sit(index, width);
                if let Err(seat) = waiting.ticket.send(seat(&name, index, width)) {
                    // Nobody waits there any more: the seat is given back when it is dropped.
                    unwanted.push(seat);
                }
            }
        }
        unwanted
    }

    /// Of each level that has limits: its seats by shares, without what it lends, and with what it may borrow.
    pub(super) fn limits(&self) -> impl Iterator<Item = (String, [usize; 3])> {
        let limited =
            self.levels.iter().filter(|(_, level)| !matches!(level.handling, Handling::Exempt));
        limited.map(|(name, level)| {
            let upper = level.borrowed_max.map_or(SEATS, |max| SEATS.min(level.nominal + max));
            let lower = level.nominal.saturating_sub(level.lendable);
            (name.clone(), [level.nominal, lower, upper])
        })
    }

    /// Seats that other levels lend and nobody uses.
    fn idle_beside(&self, name: &str) -> usize {
        let others = self.levels.iter().filter(|(other, _)| *other != name).map(|(_, level)| level);
        let (mut idle, mut borrowed) = (0usize, 0usize);
        for level in others {
            idle += level.nominal.saturating_sub(level.seated).min(level.lendable);
            borrowed += level.seated.saturating_sub(level.nominal);
        }
        idle.saturating_sub(borrowed)
    }

    #[cfg(test)]
    pub(super) fn seated(&self) -> usize {
        self.levels.values().map(|level| level.seated).sum()
    }
}

impl Level {
    fn read(spec: &Value, nominal: usize) -> Level {
        let limited = &spec["limited"];
        let number = |value: &Value, default: u64| {
            usize::try_from(value.as_u64().unwrap_or(default)).unwrap_or(usize::MAX)
        };
        let percent =
            |value: &Value| value.as_u64().map(|percent| nominal * percent as usize / 100);
        let response = &limited["limitResponse"];
        let queuing = &response["queuing"];
        let queues = number(&queuing["queues"], 64).clamp(1, QUEUES_MAX);
        let handling = match (spec["type"].as_str(), response["type"].as_str()) {
            (Some("Exempt"), _) => Handling::Exempt,
            (_, Some("Queue")) => Handling::Queue {
                hand: number(&queuing["handSize"], 8).clamp(1, queues),
                length_max: number(&queuing["queueLengthLimit"], 50),
            },
            _ => Handling::Reject,
        };
        let count = if matches!(handling, Handling::Queue { .. }) { queues } else { 1 };
        Level {
            handling,
            nominal,
            lendable: percent(&limited["lendablePercent"]).unwrap_or(0),
            borrowed_max: percent(&limited["borrowingLimitPercent"]),
            seated: 0,
            queues: (0..count).map(|_| Queue::default()).collect(),
            now: 0,
        }
    }

    /// The level as it is configured anew, with who is in it; queues beyond the new number go on in the first one.
    fn reconfigured(self, mut fresh: Level) -> Level {
        fresh.seated = self.seated;
        fresh.now = self.now;
        let count = fresh.queues.len();
        for (index, queue) in self.queues.into_iter().enumerate() {
            let place = if index < count { index } else { 0 };
            if let Some(own) = fresh.queues.get_mut(place) {
                own.waiting.extend(queue.waiting);
                own.seated += queue.seated;
                own.had = own.had.max(queue.had);
            }
        }
        fresh
    }

    /// The queue of a flow: of those that its hash deals it, the one with the least in it.
    fn choose(&self, flow: u64) -> usize {
        let Handling::Queue { hand, .. } = self.handling else { return 0 };
        let load = |index: &usize| {
            let queue = self.queues.get(*index);
            queue.map_or(usize::MAX, |queue| queue.seated + queue.waiting.len())
        };
        deal(flow, self.queues.len(), hand).into_iter().min_by_key(load).unwrap_or(0)
    }

    fn has_room(&self, width: usize, idle: usize) -> bool {
        let wanted = self.seated + width;
        let borrowed = wanted.saturating_sub(self.nominal);
        let own = self.borrowed_max.is_none_or(|max| borrowed <= max);
        borrowed == 0 || (own && borrowed <= idle)
    }

    fn sit(&mut self, queue: usize, width: usize) {
        self.seated += width;
        if let Some(queue) = self.queues.get_mut(queue) {
            queue.seated += width;
            let begins = queue.had.max(self.now);
            self.now = begins;
            queue.had = begins + width as u64;
        }
    }

    /// The queue whose turn it is.
    fn next(&self) -> Option<usize> {
        let waiting = self.queues.iter().enumerate().filter(|(_, queue)| !queue.waiting.is_empty());
        waiting.min_by_key(|(_, queue)| queue.had.max(self.now)).map(|(index, _)| index)
    }

    fn width_of(&self, queue: usize) -> usize {
        let first = self.queues.get(queue).and_then(|queue| queue.waiting.front());
        first.map_or(1, |waiting| waiting.width)
    }
}

/// Deals a hand of different queues by a hash. *Source:* `k8s.io/apiserver/pkg/util/shufflesharding` in behaviour.
fn deal(mut hash: u64, queues: usize, hand: usize) -> Vec<usize> {
    let mut dealt: Vec<usize> = Vec::with_capacity(hand);
    for taken in 0..hand.min(queues) {
        let left = (queues - taken) as u64;
        let mut card = usize::try_from(hash % left).unwrap_or(0);
        hash /= left;
        let mut sorted = dealt.clone();
        sorted.sort_unstable();
        for other in sorted {
            if card >= other {
                card += 1;
            }
        }
        dealt.push(card);
    }
    dealt
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn a_hand_has_different_queues(hash: u64, queues in 1usize..200, hand in 1usize..12) {
            let mut dealt = deal(hash, queues, hand);
            proptest::prop_assert_eq!(dealt.len(), hand.min(queues));
            proptest::prop_assert!(dealt.iter().all(|card| *card < queues));
            dealt.sort_unstable();
            dealt.dedup();
            proptest::prop_assert_eq!(dealt.len(), hand.min(queues));
        }
    }
}
