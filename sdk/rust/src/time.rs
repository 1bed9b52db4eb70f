//! Times as the API writes them.

use std::time::{SystemTime, UNIX_EPOCH};

/// Writes a time as RFC 3339 in UTC with microseconds, which both `Time` and `MicroTime` fields take.
///
/// ```
/// use std::time::{Duration, UNIX_EPOCH};
/// let time = UNIX_EPOCH + Duration::from_millis(1_709_210_096_500);
/// assert_eq!(coracle_sdk::time::rfc3339(time), "2024-02-29T12:34:56.500000Z");
/// ```
///
/// *Source:* days to dates, H. Hinnant, "chrono-compatible low-level date algorithms".
pub fn rfc3339(time: SystemTime) -> String {
    let past = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, rest) = (past.as_secs() / 86_400, past.as_secs() % 86_400);
    // Years begin in March, so that the leap day is the last one.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hours, minutes, seconds) = (rest / 3_600, rest / 60 % 60, rest % 60);
    let micros = past.subsec_micros();
    format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{micros:06}Z")
}
