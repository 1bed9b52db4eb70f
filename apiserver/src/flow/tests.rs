//! Turns, limits, and those who stop waiting.

use super::*;

fn flows(seats: usize, flow_seats: usize, waiting: usize) -> Flows {
    Flows::new(Limits { seats, flow_seats, flow_waiting: waiting, waiting: 100 })
}

fn user(name: &str) -> UserInfo {
    UserInfo::new(name, [])
}

async fn seat(flows: &Flows, name: &str) -> Seat {
    flows.enter(&user(name), "/api").await.unwrap()
}

/// Joins a queue without waiting; the receiver gets the seat.
fn queue(flows: &Flows, name: &str) -> oneshot::Receiver<Seat> {
    flows.0.arrive(name).unwrap().err().unwrap()
}

#[tokio::test]
async fn queues_take_turns() {
    let flows = flows(1, 1, 10);
    let first = seat(&flows, "loud").await;
    let mut waiting: Vec<_> =
        ["loud", "loud", "loud", "quiet", "third"].map(|name| (name, queue(&flows, name))).into();
    let mut order = Vec::new();
    let mut current = first;
    while !waiting.is_empty() {
        drop(current);
        let index = waiting.iter_mut().position(|(_, ticket)| !ticket.is_empty()).unwrap();
        let (name, ticket) = waiting.remove(index);
        order.push(name);
        current = ticket.await.unwrap();
    }
    assert_eq!(order, ["loud", "quiet", "third", "loud", "loud"]);
    drop(current);
    assert!(flows.0.state.lock().flows.is_empty());
}

#[tokio::test]
async fn one_more_than_the_queue_takes_is_refused() {
    let flows = flows(2, 1, 2);
    let held = seat(&flows, "loud").await;
    let tickets = [queue(&flows, "loud"), queue(&flows, "loud")];
    let refused = flows.enter(&user("loud"), "/api").await.err().unwrap();
    assert_eq!((refused.code(), refused.retry_after_seconds()), (429, Some(1)));
    // Others have their seats, and some requests need none.
    drop(seat(&flows, "quiet").await);
    drop(flows.enter(&user("loud"), "/livez").await.unwrap());
    drop(flows.enter(&UserInfo::new("root", [MASTERS]), "/api").await.unwrap());
    // Those who stop waiting make room.
    drop(tickets);
    let last = queue(&flows, "loud");
    drop(held);
    drop(last.await.unwrap());
    assert!(flows.0.state.lock().flows.is_empty());
}

#[tokio::test]
async fn all_queues_together_are_bounded() {
    let flows = Flows::new(Limits { seats: 0, flow_seats: 1, flow_waiting: 10, waiting: 3 });
    let held: Vec<_> = ["a", "b", "c"].map(|name| queue(&flows, name)).into();
    assert_eq!(flows.enter(&user("d"), "/api").await.err().unwrap().code(), 429);
    drop(held);
}

#[tokio::test]
async fn a_seat_that_nobody_takes_is_free_again() {
    let flows = flows(1, 1, 10);
    let held = seat(&flows, "a").await;
    let ticket = queue(&flows, "b");
    drop(held);
    // The seat is on its way to somebody who does not wait any more.
    drop(ticket);
    drop(seat(&flows, "c").await);
    assert_eq!(flows.0.state.lock().seated, 0);
}
