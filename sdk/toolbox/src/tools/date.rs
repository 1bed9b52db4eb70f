//! `date`, and moments in words. All times are UTC: WASI knows no time zones.

use std::time::SystemTime;

use super::args::Args;
use crate::proc::{Done, Proc};

/// A moment, taken apart.
pub(super) struct Moment {
    pub(super) seconds: i64,
    nanos: u32,
    year: i64,
    month: usize,
    day: i64,
    weekday: usize,
    day_of_year: i64,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

const DAY_SECONDS: i64 = 86_400;

impl Moment {
    pub(super) fn of(seconds: i64, nanos: u32) -> Self {
        let days = seconds.div_euclid(DAY_SECONDS);
        // Days are counted from 1 March of year 0, so that a leap day is a year's last.
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let of_era = shifted.rem_euclid(146_097);
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let first = days_from(year, 1, 1);
        Self {
            seconds,
            nanos,
            year,
            month: month as usize,
            day,
            weekday: (days + 4).rem_euclid(7) as usize,
            day_of_year: days - first + 1,
        }
    }
}

/// Days since 1970 of a date.
fn days_from(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Writes a moment as a format of `strftime` asks for it.
pub(super) fn format(wanted: &str, at: &Moment) -> Result<String, String> {
    let of_day = at.seconds.rem_euclid(DAY_SECONDS);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    let (month, weekday) = (MONTHS[at.month - 1], DAYS[at.weekday]);
    let mut out = String::new();
    let mut chars = wanted.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let inner = |wanted: &str| format(wanted, at);
        let piece = match chars.next() {
            Some('Y') => at.year.to_string(),
            Some('y') => format!("{:02}", at.year.rem_euclid(100)),
            Some('C') => format!("{:02}", at.year / 100),
            Some('m') => format!("{:02}", at.month),
            Some('d') => format!("{:02}", at.day),
            Some('e') => format!("{:2}", at.day),
            Some('H') => format!("{hour:02}"),
            Some('I') => format!("{:02}", (hour + 11) % 12 + 1),
            Some('p') => if hour < 12 { "AM" } else { "PM" }.to_owned(),
            Some('M') => format!("{minute:02}"),
            Some('S') => format!("{second:02}"),
            Some('s') => at.seconds.to_string(),
            Some('N') => format!("{:09}", at.nanos),
            Some('j') => format!("{:03}", at.day_of_year),
            Some('u') => (if at.weekday == 0 { 7 } else { at.weekday }).to_string(),
            Some('w') => at.weekday.to_string(),
            Some('a') => weekday[..3].to_owned(),
            Some('A') => weekday.to_owned(),
            Some('b' | 'h') => month[..3].to_owned(),
            Some('B') => month.to_owned(),
            Some('F') => inner("%Y-%m-%d")?,
            Some('T') => inner("%H:%M:%S")?,
            Some('R') => inner("%H:%M")?,
            Some('D') => inner("%m/%d/%y")?,
            Some('c') => inner("%a %b %e %H:%M:%S %Y")?,
            Some('Z') => "UTC".to_owned(),
            Some('z') => "+0000".to_owned(),
            Some('n') => "\n".to_owned(),
            Some('t') => "\t".to_owned(),
            Some('%') => "%".to_owned(),
            Some(other) => return Err(format!("%{other}: unknown in a format")),
            None => return Err("the format ends behind a '%'".to_owned()),
        };
        out.push_str(&piece);
    }
    Ok(out)
}

pub(super) async fn date(p: &mut Proc) -> Done {
    let mut words = p.args[1..].to_vec();
    let iso =
        words.iter().position(|word| word.starts_with("-I") || word.starts_with("--iso-8601"));
    let iso = iso.map(|at| words.remove(at));
    let args = Args::read(&words, "ud:R", &[("utc", 'u'), ("date", 'd'), ("rfc-email", 'R')])?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let moment = match args.value('d') {
        None | Some("now") => Moment::of(now.as_secs() as i64, now.subsec_nanos()),
        Some(text) => {
            let seconds = text.strip_prefix('@').and_then(|text| text.parse().ok());
            let seconds = seconds.or_else(|| read(text));
            Moment::of(seconds.ok_or_else(|| format!("invalid date '{text}'"))?, 0)
        }
    };
    let wanted = match (args.rest.first(), &iso) {
        (Some(text), _) => {
            text.strip_prefix('+').ok_or("the time cannot be set; a format begins with '+'")?
        }
        (None, Some(iso)) if iso.ends_with('s') => "%FT%T+00:00",
        (None, Some(_)) => "%F",
        (None, None) if args.has('R') => "%a, %d %b %Y %T +0000",
        (None, None) => "%a %b %e %T UTC %Y",
    };
    let text = format(wanted, &moment)?;
    p.print(&format!("{text}\n")).await?;
    Ok(0)
}

/// Reads `2026-11-21`, with `T13:00:00Z` or ` 13:00` behind it.
fn read(text: &str) -> Option<i64> {
    let text = text.trim_end_matches('Z');
    let (date, time) = text.split_once(['T', ' ']).unwrap_or((text, "00:00"));
    let mut parts = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let mut parts = time.splitn(3, ':').map(|part| part.parse::<i64>().ok());
    let (hour, minute) = (parts.next()??, parts.next()??);
    let second = parts.next().unwrap_or(Some(0))?;
    let is_valid = (1..=12).contains(&month) && (1..=31).contains(&day);
    is_valid.then(|| days_from(year, month, day) * DAY_SECONDS + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_taken_apart_and_read_back() {
        let check = |seconds: i64, wanted: &str, want: &str| {
            assert_eq!(format(wanted, &Moment::of(seconds, 5)).as_deref(), Ok(want));
        };
        check(0, "%c %j %u", "Thu Jan  1 00:00:00 1970 001 4");
        check(951_782_400, "%F %A", "2000-02-29 Tuesday");
        check(1_798_761_599, "%FT%TZ %I%p %N", "2026-12-31T23:59:59Z 11PM 000000005");
        check(-1, "%F %T", "1969-12-31 23:59:59");
        assert_eq!(read("2000-02-29T01:00:00Z"), Some(951_782_400 + 3600));
        assert_eq!(read("2000-13-01"), None);
        assert!(format("%Q", &Moment::of(0, 0)).is_err());
    }
}
