//! What upstream said, for as long as it said so. Pure: the time comes in.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{RData, RecordType};

/// Answers that are kept: beyond it the one that ends first goes. A few hundred bytes each.
pub(super) const ANSWERS_MAX: usize = 4096;
/// The longest that an answer is kept, so that a change outside is seen soon.
const KEPT_MAX: Duration = Duration::from_mins(5);
/// How long is kept that a name or record does not exist, when nothing says how long.
const NOTHING_KEPT: Duration = Duration::from_secs(5);

/// The question: a lower-case absolute name and a type.
pub(super) type Question = (String, RecordType);

/// Answers by question.
#[derive(Default)]
pub(super) struct Cache {
    answers: HashMap<Question, Entry>,
}

struct Entry {
    answer: Arc<Message>,
    stored: Instant,
    ends: Instant,
}

impl Cache {
    /// The answer and its age, if it still holds.
    pub(super) fn get(
        &self,
        question: &Question,
        now: Instant,
    ) -> Option<(Arc<Message>, Duration)> {
        let entry = self.answers.get(question).filter(|entry| entry.ends > now)?;
        Some((Arc::clone(&entry.answer), now.saturating_duration_since(entry.stored)))
    }

    /// Keeps an answer for as long as it holds; one that says nothing final is not kept.
    pub(super) fn put(&mut self, question: Question, answer: Arc<Message>, now: Instant) {
        let Some(kept) = holds_for(&answer) else { return };
        if self.answers.len() >= ANSWERS_MAX && !self.answers.contains_key(&question) {
            self.answers.retain(|_, entry| entry.ends > now);
            let first = self.answers.iter().min_by_key(|(_, entry)| entry.ends);
            let first = first.map(|(question, _)| question.clone());
            if self.answers.len() >= ANSWERS_MAX
                && let Some(first) = first
            {
                self.answers.remove(&first);
            }
        }
        let ends = now + kept.min(KEPT_MAX);
        self.answers.insert(question, Entry { answer, stored: now, ends });
    }
}

/// The least of its records' times; for a negative answer what the zone says (RFC 2308). `None` for
/// an answer that must not be kept.
fn holds_for(answer: &Message) -> Option<Duration> {
    let code = answer.metadata.response_code;
    if answer.metadata.truncation || !matches!(code, ResponseCode::NoError | ResponseCode::NXDomain)
    {
        return None;
    }
    let seconds = |ttl: u32| Duration::from_secs(u64::from(ttl));
    if let Some(least) = answer.answers.iter().map(|record| record.ttl).min() {
        return Some(seconds(least));
    }
    let negative = answer.authorities.iter().find_map(|record| {
        let RData::SOA(soa) = &record.data else { return None };
        Some(seconds(record.ttl.min(soa.minimum)))
    });
    Some(negative.unwrap_or(NOTHING_KEPT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::rr::rdata::A;
    use hickory_proto::rr::{Name, Record};

    fn question(number: usize) -> Question {
        (format!("n{number}.example."), RecordType::A)
    }

    fn answer(ttl: u32) -> Arc<Message> {
        let mut message = Message::query();
        let name = Name::from_ascii("n.example.").unwrap();
        message.answers.push(Record::from_rdata(name, ttl, RData::A(A::new(192, 0, 2, 1))));
        Arc::new(message)
    }

    #[expect(clippy::disallowed_methods, reason = "any moment to count from")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn an_answer_is_kept_as_long_as_it_says_and_failures_not_at_all() {
        let (mut cache, now) = (Cache::default(), start());
        cache.put(question(1), answer(10), now);
        let at = |seconds: u64| now + Duration::from_secs(seconds);
        assert_eq!(cache.get(&question(1), at(4)).unwrap().1, Duration::from_secs(4));
        assert!(cache.get(&question(1), at(10)).is_none());
        cache.put(question(2), answer(1_000_000), now);
        assert!(cache.get(&question(2), at(299)).is_some());
        assert!(cache.get(&question(2), at(300)).is_none());
        let mut failed = Message::query();
        failed.metadata.response_code = ResponseCode::ServFail;
        cache.put(question(3), Arc::new(failed), now);
        assert!(cache.get(&question(3), now).is_none());
        cache.put(question(4), Arc::new(Message::query()), now);
        assert!(cache.get(&question(4), at(4)).is_some());
        assert!(cache.get(&question(4), at(5)).is_none());
    }

    #[test]
    fn one_answer_too_many_drives_out_the_one_that_ends_first() {
        let (mut cache, now) = (Cache::default(), start());
        for number in 0..=ANSWERS_MAX {
            cache.put(question(number), answer(10 + u32::try_from(number).unwrap() / 100), now);
        }
        assert_eq!(cache.answers.len(), ANSWERS_MAX);
        assert!(cache.get(&question(ANSWERS_MAX), now).is_some());
    }
}
