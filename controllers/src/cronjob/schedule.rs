//! Schedules: five fields as sets of numbers, and the next time that is in all of them.
//!
//! Pure: the time zone's rules come with the schedule.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan, Unit};

/// Years in which a next time is looked for: `0 0 30 2 *` has none. *Source:* robfig/cron, the
/// parser that Kubernetes uses.
const YEARS_MAX: i64 = 5;

/// Minutes of the longest day, with room for any shift of the clock.
const DAY_MINUTES_MAX: i32 = 27 * 60;

/// Why a schedule cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// The five fields do not read.
    #[error(
        "schedule {0:?} is not five fields of numbers, ranges, steps and lists, nor @hourly and the like"
    )]
    Unreadable(String),
    /// The zone is not in the database.
    #[error("unknown time zone {0}")]
    UnknownZone(String),
}

/// The numbers that a field allows, a bit each; and whether it was `*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Field {
    bits: u64,
    is_star: bool,
}

impl Field {
    fn has(self, number: i8) -> bool {
        u32::try_from(number).is_ok_and(|number| self.bits >> number & 1 == 1)
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Rule {
    /// Minute, hour, day of month, month, day of week.
    Fields([Field; 5]),
    /// `@every`: so long after the time before, whole seconds.
    Every(SignedDuration),
}

/// When something is to happen, in a time zone.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    rule: Rule,
    zone: TimeZone,
}

const BOUNDS: [(u32, u32); 5] = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 6)];

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

impl Schedule {
    /// Reads a schedule; without a zone it is in UTC.
    ///
    /// # Errors
    /// `Unreadable` and `UnknownZone`, which validation does not let in.
    pub fn parse(text: &str, zone: Option<&str>) -> Result<Schedule, ScheduleError> {
        let zone = match zone {
            Some(name) => {
                TimeZone::get(name).map_err(|_| ScheduleError::UnknownZone(name.to_owned()))?
            }
            None => TimeZone::UTC,
        };
        let rule = rule(text.trim()).ok_or_else(|| ScheduleError::Unreadable(text.to_owned()))?;
        Ok(Schedule { rule, zone })
    }

    /// Gives the zone in which the schedule counts.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// Gives the first time after another; `None` when there is none in five years.
    ///
    /// A time that a shift of the clock skips does not happen, one that it repeats happens twice.
    pub fn after(&self, time: Timestamp) -> Option<Timestamp> {
        let fields = match &self.rule {
            Rule::Every(length) => return time.checked_add(*length).ok(),
            Rule::Fields(fields) => fields,
        };
        let start = time.checked_add(1.minute()).ok()?;
        let first = start.to_zoned(self.zone.clone()).date();
        (0..YEARS_MAX * 366).find_map(|n| {
            let date = first.checked_add(n.days()).ok()?;
            is_day(fields, date).then(|| self.within(fields, date, time)).flatten()
        })
    }

    /// Gives the first time of a day that is after `time`.
    fn within(&self, fields: &[Field; 5], date: Date, time: Timestamp) -> Option<Timestamp> {
        let begin = self.zone.to_zoned(date.at(0, 0, 0, 0)).ok()?.timestamp();
        let skipped = time.duration_since(begin).as_mins().max(0);
        let mut at = begin.checked_add(skipped.minutes()).ok()?;
        for _ in 0..=DAY_MINUTES_MAX {
            let local = at.to_zoned(self.zone.clone());
            if local.date() > date {
                return None;
            }
            let [minute, hour, ..] = fields;
            if at > time && minute.has(local.minute()) && hour.has(local.hour()) {
                return local.round(Unit::Minute).ok().map(|local| local.timestamp());
            }
            at = at.checked_add(1.minute()).ok()?;
        }
        None
    }

    /// Gives the latest time in a stretch, its end included, and whether there were more than
    /// `many`; `None` when there was none.
    ///
    /// Counts from the beginning, except where the stretch is so long that only its end matters.
    pub fn latest(
        &self,
        after: Timestamp,
        until: Timestamp,
        many: usize,
    ) -> Option<(Timestamp, bool)> {
        let mut found = None;
        let mut from = after;
        for _ in 0..=many {
            match self.after(from).filter(|next| *next <= until) {
                Some(next) => {
                    from = next;
                    found = Some(next);
                }
                None => return found.map(|found| (found, false)),
            }
        }
        Some((self.last_before(from, until), true))
    }

    /// Finds the last time before `until` by looking at ever longer stretches before it.
    fn last_before(&self, known: Timestamp, until: Timestamp) -> Timestamp {
        let mut back = SignedDuration::from_mins(2);
        loop {
            let from = until.checked_sub(back).unwrap_or(known).max(known);
            let mut last = None;
            let mut at = from;
            while let Some(next) = self.after(at).filter(|next| *next <= until) {
                last = Some(next);
                at = next;
            }
            if let Some(last) = last {
                return last;
            }
            if from <= known {
                return known;
            }
            back = back.saturating_mul(2);
        }
    }
}

/// With both day fields restricted, either is enough. *Source:* crontab(5).
fn is_day([_, _, day, month, weekday]: &[Field; 5], date: Date) -> bool {
    let by_day = day.has(date.day());
    let by_weekday = weekday.has(date.weekday().to_sunday_zero_offset());
    let fits =
        if day.is_star || weekday.is_star { by_day && by_weekday } else { by_day || by_weekday };
    month.has(date.month()) && fits
}

fn rule(text: &str) -> Option<Rule> {
    let fields = match text {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        other => match other.strip_prefix("@every ") {
            Some(length) => {
                let length: SignedDuration = length.trim().parse().ok()?;
                let whole = SignedDuration::from_secs(length.as_secs().max(1));
                return Some(Rule::Every(whole));
            }
            None => other,
        },
    };
    let mut words = fields.split_whitespace();
    let mut parsed = [Field { bits: 0, is_star: false }; 5];
    for (place, (slot, bounds)) in parsed.iter_mut().zip(BOUNDS).enumerate() {
        *slot = field(words.next()?, place, bounds)?;
    }
    words.next().is_none().then_some(Rule::Fields(parsed))
}

fn field(text: &str, place: usize, (low, high): (u32, u32)) -> Option<Field> {
    let mut field = Field { bits: 0, is_star: false };
    for part in text.split(',') {
        let (range, step) = part.split_once('/').map_or((part, None), |(r, s)| (r, Some(s)));
        let step: usize =
            step.map_or(Some(1), |step| step.parse().ok()).filter(|step| *step > 0)?;
        let is_star = matches!(range, "*" | "?");
        let (first, last) = if is_star {
            (low, high)
        } else if let Some((first, last)) = range.split_once('-') {
            (number(first, place)?, number(last, place)?)
        } else {
            let first = number(range, place)?;
            (first, if part.contains('/') { high } else { first })
        };
        if first < low || last > high || first > last {
            return None;
        }
        field.is_star |= is_star && step == 1;
        field.bits |= (first..=last).step_by(step).fold(0, |bits, n| bits | 1 << n);
    }
    Some(field)
}

fn number(text: &str, place: usize) -> Option<u32> {
    let names: &[&str] = match place {
        3 => &MONTHS,
        4 => &DAYS,
        _ => &[],
    };
    let lower = text.to_ascii_lowercase();
    let named = names.iter().position(|name| *name == lower);
    let first = u32::from(place == 3);
    match named.and_then(|index| u32::try_from(index).ok()) {
        Some(index) => Some(index + first),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// Compares with what robfig/cron gives (its own test table, and crontab(5)).
    fn check(schedule: &str, zone: Option<&str>, after: &str, expected: &[&str]) {
        let schedule = Schedule::parse(schedule, zone).unwrap();
        let mut time = at(after);
        for expected in expected {
            time = schedule.after(time).unwrap();
            assert_eq!(time, at(expected), "{schedule:?}");
        }
    }

    #[test]
    fn fields_steps_lists_names_and_descriptors() {
        let from = "2012-07-09T14:45:00Z";
        check("0/15 * * * *", None, from, &["2012-07-09T15:00:00Z", "2012-07-09T15:15:00Z"]);
        check("20-35/15 * * * *", None, from, &["2012-07-09T15:20:00Z", "2012-07-09T15:35:00Z"]);
        check("*/15 * * * *", None, "2012-07-09T14:59:59Z", &["2012-07-09T15:00:00Z"]);
        check("0 9 * * mon-fri", None, "2012-07-13T09:00:00Z", &["2012-07-16T09:00:00Z"]);
        check("0 0 * Feb Mon", None, from, &["2013-02-04T00:00:00Z"]);
        check("0 0 1,15 * *", None, from, &["2012-07-15T00:00:00Z", "2012-08-01T00:00:00Z"]);
        check("30 8 29 2 *", None, from, &["2016-02-29T08:30:00Z"]);
        check("@hourly", None, from, &["2012-07-09T15:00:00Z"]);
        check("@weekly", None, from, &["2012-07-15T00:00:00Z"]);
        check("@yearly", None, from, &["2013-01-01T00:00:00Z"]);
        check("@every 90s", None, from, &["2012-07-09T14:46:30Z"]);
    }

    #[test]
    fn either_of_two_day_fields_is_enough_unless_one_is_a_star() {
        let from = "2012-07-09T00:00:00Z";
        check("0 0 13 * fri", None, from, &["2012-07-13T00:00:00Z", "2012-07-20T00:00:00Z"]);
        check("0 0 11 * fri", None, from, &["2012-07-11T00:00:00Z", "2012-07-13T00:00:00Z"]);
        check("0 0 * * fri", None, from, &["2012-07-13T00:00:00Z", "2012-07-20T00:00:00Z"]);
        check("0 0 11 * ?", None, from, &["2012-07-11T00:00:00Z", "2012-08-11T00:00:00Z"]);
    }

    #[test]
    fn a_zone_says_when_the_hour_is_and_its_shifts_skip_or_repeat() {
        let zurich = Some("Europe/Zurich");
        check("0 9 * * *", zurich, "2026-01-10T08:00:00Z", &["2026-01-11T08:00:00Z"]);
        check("0 9 * * *", zurich, "2026-07-10T07:00:00Z", &["2026-07-11T07:00:00Z"]);
        // 02:30 does not exist on 29 March, and exists twice on 25 October.
        check("30 2 * * *", zurich, "2026-03-28T12:00:00Z", &["2026-03-30T00:30:00Z"]);
        let twice = ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"];
        check("30 2 * * *", zurich, "2026-10-24T12:00:00Z", &twice);
    }

    #[test]
    fn what_never_happens_and_what_does_not_read() {
        let never = Schedule::parse("0 0 30 2 *", None).unwrap();
        assert_eq!(never.after(at("2026-01-01T00:00:00Z")), None);
        for text in [
            "",
            "web",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
            "5-1 * * * *",
            "*/0 * * * *",
            "* * * * wed-x",
            "@never",
            "@every x",
            "1/2/3 * * * *",
        ] {
            assert!(Schedule::parse(text, None).is_err(), "{text}");
        }
        assert_eq!(
            Schedule::parse("* * * * *", Some("Mars/Base")),
            Err(ScheduleError::UnknownZone("Mars/Base".into()))
        );
    }

    #[test]
    fn the_latest_of_many_missed_times_is_found() {
        let minutely = Schedule::parse("* * * * *", None).unwrap();
        let (from, to) = (at("2020-01-01T00:00:00Z"), at("2026-01-01T00:00:30Z"));
        let latest = minutely.latest(from, to, 100);
        assert_eq!(latest, Some((at("2026-01-01T00:00:00Z"), true)));
        let yearly = Schedule::parse("@yearly", None).unwrap();
        assert_eq!(yearly.latest(from, to, 2), Some((at("2026-01-01T00:00:00Z"), true)));
        assert_eq!(yearly.latest(from, at("2020-05-01T00:00:00Z"), 2), None);
    }

    proptest! {
        /// The next time is the first minute after the given one that fits all fields.
        #[test]
        fn the_next_time_is_the_first_that_fits(
            minute in 0..60_u32, hour in 0..24_u32, step in 1..30_usize, from in 0..2_000_000_i64,
        ) {
            let text = format!("{minute}/{step} {hour} * * *");
            let schedule = Schedule::parse(&text, None).unwrap();
            let from = Timestamp::from_second(1_700_000_000 + from).unwrap();
            let next = schedule.after(from).unwrap();
            let fits = |time: Timestamp| {
                let local = time.to_zoned(TimeZone::UTC);
                let (m, h) = (u32::try_from(local.minute()).unwrap(), u32::try_from(local.hour()).unwrap());
                h == hour && m >= minute && usize::try_from(m - minute).unwrap().is_multiple_of(step)
            };
            prop_assert!(next > from && fits(next));
            let minutes = (next.as_second() - from.as_second()) / 60;
            for n in 1..minutes {
                prop_assert!(!fits(next - SignedDuration::from_mins(n)));
            }
        }
    }
}
