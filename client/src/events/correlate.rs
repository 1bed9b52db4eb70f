//! Joins what is said twice, and drops what is said too often: pure, with the clock as input.

use std::collections::{HashMap, VecDeque};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Event, EventSource};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::ObjectMeta;

use super::{Notice, NoticeObject};

/// Distinct notices remembered for joining; one more forgets the oldest. About 2 MiB at most.
pub(super) const NOTICES_MAX: usize = 4096;

/// Objects whose rate is remembered; one more forgets the oldest.
const OBJECTS_MAX: usize = 4096;

/// Events about one object that may come at once.
/// *Source:* client-go's event spam filter.
const OBJECT_BURST_EVENTS: f64 = 25.0;

/// After the burst one event per object in this time, in seconds. *Source:* as above.
const OBJECT_REFILL_SECONDS: f64 = 300.0;

/// A notice said again later than this begins a new event. *Source:* client-go joins for 10 min.
const JOIN_MAX: SignedDuration = SignedDuration::from_mins(10);

/// Longest message of an event in bytes. *Source:* validation of `v1.Event` cuts there.
const MESSAGE_BYTES_MAX: usize = 1024;

/// What to send for a notice.
#[derive(Debug, PartialEq)]
pub(super) enum Write {
    /// A new event.
    Create(Box<Event>),
    /// One more of an event that was sent.
    Count { namespace: String, name: String, count: i32, last: Timestamp, again: Box<Event> },
}

#[derive(Debug)]
struct Sent {
    name: String,
    first: Timestamp,
    last: Timestamp,
    count: i32,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled: Timestamp,
}

/// What one source has said lately.
#[derive(Debug)]
pub(super) struct Correlator {
    component: String,
    host: String,
    sent: HashMap<Notice, Sent>,
    sent_order: VecDeque<Notice>,
    buckets: HashMap<NoticeObject, Bucket>,
    bucket_order: VecDeque<NoticeObject>,
}

impl Correlator {
    pub(super) fn new(component: String, host: String) -> Self {
        Correlator {
            component,
            host,
            sent: HashMap::new(),
            sent_order: VecDeque::new(),
            buckets: HashMap::new(),
            bucket_order: VecDeque::new(),
        }
    }

    /// Decides what a notice becomes; `None` when the object has had its share.
    pub(super) fn take(&mut self, mut notice: Notice, now: Timestamp) -> Option<Write> {
        cut(&mut notice.message);
        if !self.allows(&notice.object, now) {
            return None;
        }
        // The revision is of no account for what is the same.
        let mut same = notice.clone();
        same.object.resource_version.clear();
        if let Some(sent) = self.sent.get_mut(&same)
            && now.duration_since(sent.last) <= JOIN_MAX
        {
            sent.count = sent.count.saturating_add(1);
            sent.last = now;
            let (name, count, first) = (sent.name.clone(), sent.count, sent.first);
            let again = self.event(&notice, name.clone(), count, first, now);
            return Some(Write::Count {
                namespace: event_namespace(&notice.object).to_owned(),
                name,
                count,
                last: now,
                again: Box::new(again),
            });
        }
        let name = format!("{}.{:x}", notice.object.name, now.as_nanosecond());
        let event = self.event(&notice, name.clone(), 1, now, now);
        self.remember(same, Sent { name, first: now, last: now, count: 1 });
        Some(Write::Create(Box::new(event)))
    }

    fn remember(&mut self, notice: Notice, sent: Sent) {
        if self.sent.insert(notice.clone(), sent).is_none() {
            self.sent_order.push_back(notice);
        }
        if self.sent.len() > NOTICES_MAX
            && let Some(oldest) = self.sent_order.pop_front()
        {
            self.sent.remove(&oldest);
        }
    }

    fn allows(&mut self, object: &NoticeObject, now: Timestamp) -> bool {
        let mut object = object.clone();
        object.resource_version.clear();
        object.field_path.clear();
        if !self.buckets.contains_key(&object) {
            self.bucket_order.push_back(object.clone());
            if self.buckets.len() >= OBJECTS_MAX
                && let Some(oldest) = self.bucket_order.pop_front()
            {
                self.buckets.remove(&oldest);
            }
        }
        let full = Bucket { tokens: OBJECT_BURST_EVENTS, filled: now };
        let bucket = self.buckets.entry(object).or_insert(full);
        let elapsed = now.duration_since(bucket.filled).as_secs_f64().max(0.0);
        bucket.tokens = (bucket.tokens + elapsed / OBJECT_REFILL_SECONDS).min(OBJECT_BURST_EVENTS);
        bucket.filled = now;
        let allowed = bucket.tokens >= 1.0;
        if allowed {
            bucket.tokens -= 1.0;
        }
        allowed
    }

    fn event(
        &self,
        notice: &Notice,
        name: String,
        count: i32,
        first: Timestamp,
        last: Timestamp,
    ) -> Event {
        Event {
            metadata: ObjectMeta {
                namespace: Some(event_namespace(&notice.object).to_owned()),
                name: Some(name),
                ..ObjectMeta::default()
            },
            involved_object: notice.object.to_reference(),
            reason: Some(notice.reason.clone().into_owned()),
            message: Some(notice.message.clone()),
            type_: Some(notice.kind.as_str().to_owned()),
            count: Some(count),
            first_timestamp: Some(Time(first)),
            last_timestamp: Some(Time(last)),
            source: Some(EventSource {
                component: Some(self.component.clone()),
                host: Some(self.host.clone()).filter(|host| !host.is_empty()),
            }),
            reporting_component: Some(self.component.clone()),
            reporting_instance: Some(self.host.clone()),
            ..Event::default()
        }
    }
}

/// Events about cluster-scoped objects live in `default`. *Source:* API conventions, Events.
fn event_namespace(object: &NoticeObject) -> &str {
    if object.namespace.is_empty() { "default" } else { &object.namespace }
}

fn cut(message: &mut String) {
    if message.len() > MESSAGE_BYTES_MAX {
        let mut end = MESSAGE_BYTES_MAX - '…'.len_utf8();
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        message.truncate(end);
        message.push('…');
    }
}

#[cfg(test)]
mod tests {
    use super::super::EventKind;
    use super::*;

    fn notice(name: &str, message: &str) -> Notice {
        Notice {
            object: NoticeObject {
                api_version: "v1".into(),
                kind: "Pod".into(),
                namespace: "a".into(),
                name: name.into(),
                uid: name.into(),
                resource_version: String::new(),
                field_path: String::new(),
            },
            kind: EventKind::Warning,
            reason: "BackOff".into(),
            message: message.into(),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn show(write: Option<Write>) -> String {
        match write {
            None => "dropped".into(),
            Some(Write::Create(event)) => format!("create {}", event.metadata.name.unwrap()),
            Some(Write::Count { name, count, .. }) => format!("count {name} {count}"),
        }
    }

    #[test]
    fn the_same_notice_raises_the_count_and_after_ten_minutes_begins_anew() {
        let mut correlator = Correlator::new("test".into(), String::new());
        let mut take = |n, s| show(correlator.take(n, at(s)));
        assert_eq!(take(notice("p", "x"), 1), "create p.3b9aca00");
        assert_eq!(take(notice("p", "x"), 2), "count p.3b9aca00 2");
        assert_eq!(take(notice("p", "y"), 3), "create p.b2d05e00");
        assert_eq!(take(notice("p", "x"), 4), "count p.3b9aca00 3");
        assert_eq!(take(notice("p", "x"), 700), "create p.a2fb405800");
    }

    #[test]
    fn an_object_gets_its_burst_and_then_one_in_five_minutes() {
        let mut correlator = Correlator::new("test".into(), String::new());
        for i in 0..25 {
            assert_ne!(show(correlator.take(notice("p", &i.to_string()), at(1))), "dropped");
        }
        assert_eq!(show(correlator.take(notice("p", "more"), at(2))), "dropped");
        assert_ne!(show(correlator.take(notice("q", "more"), at(2))), "dropped");
        assert_ne!(show(correlator.take(notice("p", "more"), at(302))), "dropped");
        assert_eq!(show(correlator.take(notice("p", "again"), at(302))), "dropped");
    }

    #[test]
    fn memory_is_bounded_and_messages_are_cut() {
        let mut correlator = Correlator::new("test".into(), String::new());
        for i in 0..=NOTICES_MAX {
            correlator.take(notice(&i.to_string(), "x"), at(1));
        }
        assert_eq!(correlator.sent.len(), NOTICES_MAX);
        assert_eq!(correlator.buckets.len(), OBJECTS_MAX);
        let long = correlator.take(notice("p", &"ü".repeat(1000)), at(1));
        let Some(Write::Create(event)) = long else { panic!() };
        assert!(event.message.unwrap().len() <= MESSAGE_BYTES_MAX);
    }
}
